//! The status words of every upstream in one table.

use crate::domain::Status;

/// A status word as read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// What it means.
    pub status: Status,
    /// False for a word that the table does not have.
    pub known: bool,
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
    Some(
        known.map_or(Word { status: Status::Unknown, known: false }, |(status, _)| Word {
            status: *status,
            known: true,
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_in_any_case_and_new_ones_are_marked() {
        assert_eq!(word(" IN_PROGRESS "), Some(Word { status: Status::Running, known: true }));
        assert_eq!(word("Queueing"), Some(Word { status: Status::Queued, known: true }));
        assert_eq!(word("UNKNOWN"), Some(Word { status: Status::Unknown, known: true }));
        assert_eq!(word("upscaling"), Some(Word { status: Status::Unknown, known: false }));
        assert_eq!(word("  "), None);
    }
}
