//! The status words of all upstreams.

use crate::domain::Status;
use crate::domain::labels::sanitize;

/// The words (docs/upstreams.md 1.3).
const WORDS: &[(Status, &[&str])] = &[
    (
        Status::Queued,
        &[
            "not_start",
            "submitted",
            "queued",
            "queueing",
            "queuing",
            "pending",
            "preparing",
            "created",
            "in_queue",
            "waiting",
            "starting",
            "scheduled",
            "throttled",
            "staged",
        ],
    ),
    (
        Status::Running,
        &[
            "in_progress",
            "running",
            "processing",
            "suspended",
            "generating",
            "dreaming",
            "preprocessing",
            "requires_action",
        ],
    ),
    (Status::Succeeded, &["success", "succeed", "succeeded", "completed", "complete", "done", "finished"]),
    (Status::Failed, &["failure", "failed", "fail", "error"]),
    (Status::Cancelled, &["cancel", "cancelled", "canceled", "aborted"]),
    (Status::Expired, &["expired", "timeout", "timed_out"]),
    (Status::Unknown, &["unknown"]),
];

/// The status of a word, ignoring case. For an unknown word it returns the sanitized word, too. `None` for a blank word.
pub fn status(text: &str) -> Option<(Status, Option<String>)> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let known = WORDS.iter().find(|(_, words)| words.iter().any(|word| word.eq_ignore_ascii_case(text)));
    Some(match known {
        Some((status, _)) => (*status, None),
        None => (Status::Unknown, Some(sanitize(text).into_owned())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_is_ignored_and_unknown_words_are_returned() {
        assert_eq!(status(" IN_PROGRESS "), Some((Status::Running, None)));
        assert_eq!(status("Queueing"), Some((Status::Queued, None)));
        assert_eq!(status("UNKNOWN"), Some((Status::Unknown, None)));
        assert_eq!(status("upscaling"), Some((Status::Unknown, Some("upscaling".to_owned()))));
        assert_eq!(status("  "), None);
    }
}
