//! Task ids.

use std::fmt;
use std::sync::Arc;

/// Longest accepted id, in bytes.
pub const MAX_TASK_ID: usize = 512;

/// The id of a task at its upstream, safe as a URL path segment and as a label value: 1 to 512 bytes of printable ASCII, not
/// `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(Arc<str>);

/// Why a text is not a task id. It does not contain the text, which may be long or hostile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTaskId {
    /// It is empty.
    #[error("a task id must not be empty")]
    Empty,
    /// It has more than [`MAX_TASK_ID`] bytes.
    #[error("a task id must have at most 512 bytes; this one has {0}")]
    TooLong(usize),
    /// It is `.` or `..`, which URLs remove from a path.
    #[error("a task id must not be `.` or `..`")]
    Dots,
    /// It has a byte outside printable ASCII.
    #[error("a task id must be printable ASCII; byte {0} is not")]
    NotPrintable(usize),
}

impl TaskId {
    /// Checks a text.
    pub fn parse(text: &str) -> Result<Self, InvalidTaskId> {
        if text.is_empty() {
            return Err(InvalidTaskId::Empty);
        }
        if text.len() > MAX_TASK_ID {
            return Err(InvalidTaskId::TooLong(text.len()));
        }
        if text == "." || text == ".." {
            return Err(InvalidTaskId::Dots);
        }
        match text.bytes().position(|byte| !(b' '..=b'~').contains(&byte)) {
            Some(at) => Err(InvalidTaskId::NotPrintable(at)),
            None => Ok(Self(text.into())),
        }
    }

    /// The id as the upstream writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_ids_are_rejected_and_unusual_ones_accepted() {
        let long = "x".repeat(513);
        for (text, why) in [
            ("", InvalidTaskId::Empty),
            (".", InvalidTaskId::Dots),
            ("..", InvalidTaskId::Dots),
            (long.as_str(), InvalidTaskId::TooLong(513)),
            ("a\nb", InvalidTaskId::NotPrintable(1)),
            ("task\u{7f}", InvalidTaskId::NotPrintable(4)),
            ("🎬", InvalidTaskId::NotPrintable(0)),
        ] {
            assert_eq!(TaskId::parse(text), Err(why), "{text:?}");
        }
        for text in ["../keys?all=1", "a b", "\"quoted\\\"", &"y".repeat(512)] {
            assert_eq!(TaskId::parse(text).unwrap().as_str(), text);
        }
    }
}
