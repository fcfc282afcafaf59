//! How many tasks of an upstream are asked for with one request: as many as its provider takes, fewer while that is refused.

use std::time::{Duration, Instant};

use crate::domain::{Reason, Task};
use crate::provider::Batch;

/// After this long it is tried again with as many as can be.
const TRY_AGAIN: Duration = Duration::from_mins(10);

/// The number, as it is now.
#[derive(Debug)]
pub struct Together {
    most: usize,
    /// Less than 2: each by itself.
    now: usize,
    /// Until when fewer are asked for than could be.
    until: Option<Instant>,
    /// The last request for many was answered with trouble of the whole upstream.
    trouble: bool,
    /// Since then one for a single task was answered well: the trouble is with asking for many.
    singles_work: bool,
}

impl Together {
    /// As many as the provider takes; without a batch, each by itself.
    pub fn new(batch: Option<Batch>) -> Self {
        let most = batch.map_or(1, |batch| batch.most);
        Self { most, now: most, until: None, trouble: false, singles_work: false }
    }

    /// True where tasks are meant to come due together.
    pub const fn is_possible(&self) -> bool {
        self.most > 1
    }

    /// How many fit into one request at `now`.
    pub fn size(&mut self, now: Instant) -> usize {
        if self.until.is_some_and(|until| until <= now) {
            self.now = self.most;
            self.until = None;
        }
        self.now
    }

    /// True for a task that may be among many: a list leaves out other service tiers than the default one.
    pub fn may_join(task: &Task) -> bool {
        task.video.service_tier.as_deref().is_none_or(|tier| tier == "default")
    }

    /// Takes note that a request was answered well.
    pub const fn worked(&mut self, many: bool) {
        if many {
            self.trouble = false;
        } else {
            self.singles_work = true;
        }
    }

    /// Takes note that a request for so many was answered with an error; true when that was about asking for many, and
    /// those tasks are to be asked for one by one.
    pub fn refused(&mut self, asked: usize, reason: Reason, now: Instant) -> bool {
        let only_many = self.trouble && self.singles_work;
        (self.trouble, self.singles_work) = (true, false);
        self.now = match reason {
            // There is no list.
            Reason::NotFound | Reason::WrongPath | Reason::Redirect => 1,
            // It is too long, or nobody knows.
            Reason::BadRequest
            | Reason::Forbidden
            | Reason::BodyTooLarge
            | Reason::InvalidBody
            | Reason::ApiError
            | Reason::HttpOther => self.now.min(asked / 2),
            // Trouble of the whole upstream, unless single tasks are answered all the while.
            _ if only_many => self.now.min(asked / 2),
            _ => return false,
        };
        self.until = Some(now + TRY_AGAIN);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::http::Request;

    #[test]
    fn fewer_are_asked_for_while_that_is_refused_and_as_many_as_can_be_later() {
        let now = clock::instant();
        let mut together = Together::new(Some(Batch { most: 500, request: |_| Request::get([]) }));
        assert!(!together.refused(300, Reason::ServerError, now), "that says nothing about lists");
        assert_eq!(together.size(now), 500);
        assert!(together.refused(300, Reason::HttpOther, now));
        assert_eq!(together.size(now), 150);
        assert!(together.refused(500, Reason::HttpOther, now), "one that was on its way");
        assert_eq!(together.size(now), 150);
        assert!(together.refused(3, Reason::BadRequest, now));
        assert_eq!(together.size(now), 1);
        assert_eq!(together.size(now + TRY_AGAIN), 500);
        assert!(together.refused(500, Reason::NotFound, now));
        assert_eq!(together.size(now), 1);
        assert!(!Together::new(None).is_possible());
    }

    #[test]
    fn trouble_with_lists_alone_is_told_from_trouble_with_everything() {
        let now = clock::instant();
        let new = || Together::new(Some(Batch { most: 500, request: |_| Request::get([]) }));
        let mut down = new();
        for _ in 0..5 {
            assert!(!down.refused(40, Reason::ServerError, now));
        }
        assert_eq!(down.size(now), 500);
        let mut lists = new();
        assert!(!lists.refused(40, Reason::Timeout, now));
        lists.worked(false);
        assert!(lists.refused(40, Reason::Timeout, now), "single tasks were answered all the while");
        assert_eq!(lists.size(now), 20);
        lists.worked(true);
        lists.worked(false);
        assert!(!lists.refused(20, Reason::Timeout, now), "a list was answered since");
    }
}
