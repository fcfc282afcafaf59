//! The result of reading a source.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::{Answer, NewTask, Reason, TaskId, Timestamp};
use crate::provider::Dialect;

/// The result of one read of a source.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listing {
    /// All tasks of the source; only those of this part when [`has_more`](Self::has_more) is set.
    pub tasks: Vec<NewTask>,
    /// Number of failed reads and invalid ids.
    pub errors: u64,
    /// Messages about these errors.
    pub messages: Vec<String>,
    /// The source was read completely, without a failure.
    pub is_complete: bool,
    /// The source has no data yet; for example, no file matches.
    pub is_absent: bool,
    /// The source has more tasks than the limit; the rest was skipped.
    pub is_truncated: bool,
    /// This is one part; the next read continues.
    pub has_more: bool,
    /// Requests that were sent to the upstream.
    pub requests: Vec<ListRequest>,
    /// Rows of the upstream's own list, each a reading of its task.
    pub rows: Option<ListRows>,
}

/// What the tasks of an upstream need of its list now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListDemand {
    /// Its rows back to this submit time.
    pub since: Option<Timestamp>,
    /// A pass that began before has shown the newest tasks too early.
    pub not_before: Option<Instant>,
    /// The rows of these tasks, one by one.
    pub tasks: Vec<TaskId>,
}

/// Rows of an upstream's list.
#[derive(Debug, Clone, PartialEq)]
pub struct ListRows {
    /// What they tell.
    pub answers: Vec<Answer>,
    /// When they were asked for.
    pub sent: Instant,
    /// The only task that was asked for; `None` for a page.
    pub task: Option<TaskId>,
    /// When the pass began that this page belongs to.
    pub began: Instant,
    /// The list's tasks that were submitted after this were shown since then; `None` while that is not known.
    pub reached: Option<Timestamp>,
    /// The list has no further page.
    pub is_end: bool,
}

/// A finished request for an upstream's task list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListRequest {
    /// HTTP status, if there was a response.
    pub code: Option<u16>,
    /// Why it failed, if it did.
    pub reason: Option<Reason>,
    /// When it was sent.
    pub sent: Instant,
    /// Time from sending it to reading the response.
    pub took: Duration,
    /// The response's `Date`.
    pub date: Option<Timestamp>,
    /// What was wrong with the connection or the body.
    pub cause: Option<String>,
    /// Names its key, where that is not the one of the upstream's polls; otherwise empty.
    pub own_key: Arc<str>,
}

impl ListRequest {
    /// Without a response yet.
    pub const fn sent(sent: Instant, own_key: Arc<str>) -> Self {
        Self { code: None, reason: None, sent, took: Duration::ZERO, date: None, cause: None, own_key }
    }
}

impl Listing {
    /// Rejects ids for which this dialect cannot build a request; returns their number. Known ids were checked before.
    pub fn reject_ids(&mut self, dialect: &Dialect, is_known: impl Fn(&TaskId) -> bool) -> u64 {
        let (mut rejected, mut reason) = (0, None);
        self.tasks.retain(|task| {
            let request = if is_known(&task.id) { Ok(()) } else { dialect.request(&task.id).map(drop) };
            request.map_err(|error| (rejected, reason) = (rejected + 1, Some(error))).is_ok()
        });
        if let Some(reason) = reason {
            self.messages.push(format!("ids rejected: {rejected}; {reason}"));
        }
        rejected
    }

    /// Records a failed read.
    pub fn add_failure(&mut self, message: String) {
        self.errors += 1;
        self.messages.push(message);
        self.is_complete = false;
    }
}
