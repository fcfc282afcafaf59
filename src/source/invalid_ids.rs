//! Ids of a source that are not valid: their number, and the one that is too long, by name.

use std::fmt;

use crate::domain::id::{InvalidTaskId, MAX_TASK_ID};
use crate::domain::labels::is_invisible;

/// How much of an id that is too long is shown, in characters.
const SHOWN: usize = 64;

/// The invalid ids of one read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InvalidIds {
    /// Their number.
    pub count: u64,
    /// The beginning of the first one that is too long, and its length in bytes.
    too_long: Option<(String, usize)>,
}

impl InvalidIds {
    /// Adds an id.
    pub fn add(&mut self, id: &str, why: InvalidTaskId) {
        self.count += 1;
        if let (None, InvalidTaskId::TooLong(bytes)) = (&self.too_long, why) {
            let beginning = id.chars().filter(|c| !is_invisible(*c)).take(SHOWN).collect();
            self.too_long = Some((beginning, bytes));
        }
    }
}

impl fmt::Display for InvalidIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "skipped {} invalid task ids", self.count)?;
        if let Some((id, bytes)) = &self.too_long {
            write!(f, "; id {id}… has {bytes} bytes, more than {MAX_TASK_ID}")?;
        }
        Ok(())
    }
}
