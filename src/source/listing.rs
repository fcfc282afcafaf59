//! What reading a source gives.

use std::time::{Duration, Instant};

use crate::domain::{NewTask, Reason, TaskId, Timestamp};
use crate::provider::Dialect;

/// What a source names at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The tasks; as long as there is [more](Self::more), only those that it had not named yet.
    pub tasks: Vec<NewTask>,
    /// What went wrong: reads that failed and ids that are none.
    pub errors: u64,
    /// The same in words, with their files.
    pub messages: Vec<String>,
    /// Everything was read well.
    pub complete: bool,
    /// There is nothing to read yet, such as a file that somebody has still to write.
    pub absent: bool,
    /// It stopped before the end: there is more than it may read.
    pub truncated: bool,
    /// It is a part: the next read goes on.
    pub more: bool,
    /// What was asked of the upstream for it.
    pub asked: Vec<Asked>,
}

/// A request of an upstream's list, as it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// HTTP status, where there was an answer.
    pub code: Option<u16>,
    /// What was wrong.
    pub reason: Option<Reason>,
    /// When it was sent.
    pub sent: Instant,
    /// From sending it to having read the answer.
    pub took: Duration,
    /// What the answer's `Date` said.
    pub date: Option<Timestamp>,
}

impl Listing {
    /// Leaves out ids that an upstream of this dialect cannot be asked for, and says how many. Those that are known can be.
    pub fn keep_askable(&mut self, dialect: &Dialect, is_known: impl Fn(&TaskId) -> bool) -> u64 {
        let mut left_out = 0;
        let mut why = None;
        self.tasks.retain(|task| {
            let askable = if is_known(&task.id) { Ok(()) } else { dialect.request(&task.id).map(drop) };
            askable.map_err(|error| why = Some(error)).inspect_err(|()| left_out += 1).is_ok()
        });
        if let Some(why) = why {
            self.messages.push(format!("ids left out: {left_out}; {why}"));
        }
        left_out
    }

    /// A read that failed: what was read before stays.
    pub fn failed(&mut self, message: String) {
        self.errors += 1;
        self.messages.push(message);
        self.complete = false;
    }
}
