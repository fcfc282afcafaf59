//! The status words of every upstream in one table.

use crate::domain::Status;
use crate::domain::labels::sanitize;

/// A status word as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// What it means.
    pub status: Status,
    /// The word itself, where the table does not have it; fit to be shown.
    pub unheard: Option<String>,
}

const WORDS: &[(Status, &[&str])] = &[
    (
        Status::Queued,
        &["not_start", "submitted", "queued", "queueing", "pending", "preparing", "created", "in_queue", "waiting"],
    ),
    (Status::Running, &["in_progress", "running", "processing", "suspended", "generating"]),
    (Status::Succeeded, &["success", "succeed", "succeeded", "completed", "complete", "done", "finished"]),
    (Status::Failed, &["failure", "failed", "fail", "error"]),
    (Status::Cancelled, &["cancel", "cancelled", "canceled"]),
    (Status::Expired, &["expired", "timeout", "timed_out"]),
    (Status::Unknown, &["unknown"]),
];

/// Reads a status word, whatever its case; `None` for a blank one.
pub fn word(text: &str) -> Option<Word> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let known = WORDS.iter().find(|(_, words)| words.iter().any(|word| word.eq_ignore_ascii_case(text)));
    Some(match known {
        Some((status, _)) => Word { status: *status, unheard: None },
        None => Word { status: Status::Unknown, unheard: Some(sanitize(text).into_owned()) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_in_any_case_and_new_ones_are_marked() {
        assert_eq!(word(" IN_PROGRESS "), Some(Word { status: Status::Running, unheard: None }));
        assert_eq!(word("Queueing"), Some(Word { status: Status::Queued, unheard: None }));
        assert_eq!(word("UNKNOWN"), Some(Word { status: Status::Unknown, unheard: None }));
        assert_eq!(word("upscaling"), Some(Word { status: Status::Unknown, unheard: Some("upscaling".to_owned()) }));
        assert_eq!(word("  "), None);
    }
}
