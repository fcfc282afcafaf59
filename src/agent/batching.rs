//! Batch size: as many tasks per request as the provider allows, fewer while batches are rejected.

use std::time::{Duration, Instant};

use crate::domain::{Reason, Task};
use crate::provider::Batch;

/// After this long the full size is tried again.
const TRY_AGAIN: Duration = Duration::from_mins(10);

/// The size of the next batch.
#[derive(Debug)]
pub struct BatchSizer {
    max: usize,
    /// Below 2 every task is polled alone.
    size: usize,
    /// Until when the size is reduced.
    until: Option<Instant>,
    /// The last batch failed for a reason that concerns the whole upstream.
    upstream_failed: bool,
    /// A single poll has succeeded since: only batches fail.
    singles_succeed: bool,
}

impl BatchSizer {
    /// The provider's batch size; 1 without batches.
    pub fn new(batch: Option<Batch>) -> Self {
        let max = batch.map_or(1, |batch| batch.max);
        Self { max, size: max, until: None, upstream_failed: false, singles_succeed: false }
    }

    /// Whether tasks are polled in batches, and so should become due together.
    pub const fn has_batches(&self) -> bool {
        self.max > 1
    }

    /// How many tasks the next request may have.
    pub fn size(&mut self, now: Instant) -> usize {
        if self.until.is_some_and(|until| until <= now) {
            self.size = self.max;
            self.until = None;
        }
        self.size
    }

    /// Whether a task may be polled in a batch: lists leave out service tiers other than the default.
    pub fn is_batchable(task: &Task) -> bool {
        task.video.service_tier.as_deref().is_none_or(|tier| tier == "default")
    }

    /// A request succeeded.
    pub const fn on_success(&mut self, is_batch: bool) {
        if is_batch {
            self.upstream_failed = false;
        } else {
            self.singles_succeed = true;
        }
    }

    /// A batch of `tasks` failed; returns true when the failure concerns batches, so that its tasks must be polled alone.
    pub fn on_failure(&mut self, tasks: usize, reason: Reason, now: Instant) -> bool {
        let only_batches_fail = self.upstream_failed && self.singles_succeed;
        (self.upstream_failed, self.singles_succeed) = (true, false);
        self.size = match reason {
            // There is no batch request.
            Reason::NotFound | Reason::WrongPath | Reason::Redirect => 1,
            // Possibly too long.
            Reason::BadRequest
            | Reason::Forbidden
            | Reason::BodyTooLarge
            | Reason::InvalidBody
            | Reason::ApiError
            | Reason::HttpOther => self.size.min(tasks / 2),
            // The whole upstream fails, unless single polls succeed meanwhile.
            _ if only_batches_fail => self.size.min(tasks / 2),
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
    fn a_rejected_batch_is_halved_and_the_full_size_tried_again_later() {
        let now = clock::instant();
        let mut sizer = BatchSizer::new(Some(Batch { max: 500, request: |_| Request::get([]) }));
        assert!(!sizer.on_failure(300, Reason::ServerError, now), "a server error is not about the batch size");
        assert_eq!(sizer.size(now), 500);
        assert!(sizer.on_failure(300, Reason::HttpOther, now));
        assert_eq!(sizer.size(now), 150);
        assert!(sizer.on_failure(500, Reason::HttpOther, now), "a batch that was in flight");
        assert_eq!(sizer.size(now), 150);
        assert!(sizer.on_failure(3, Reason::BadRequest, now));
        assert_eq!(sizer.size(now), 1);
        assert_eq!(sizer.size(now + TRY_AGAIN), 500);
        assert!(sizer.on_failure(500, Reason::NotFound, now));
        assert_eq!(sizer.size(now), 1);
        assert!(!BatchSizer::new(None).has_batches());
    }

    #[test]
    fn failing_batches_are_distinguished_from_a_failing_upstream() {
        let now = clock::instant();
        let new = || BatchSizer::new(Some(Batch { max: 500, request: |_| Request::get([]) }));
        let mut down = new();
        for _ in 0..5 {
            assert!(!down.on_failure(40, Reason::ServerError, now));
        }
        assert_eq!(down.size(now), 500);
        let mut lists = new();
        assert!(!lists.on_failure(40, Reason::Timeout, now));
        lists.on_success(false);
        assert!(lists.on_failure(40, Reason::Timeout, now), "single polls succeeded meanwhile");
        assert_eq!(lists.size(now), 20);
        lists.on_success(true);
        lists.on_success(false);
        assert!(!lists.on_failure(20, Reason::Timeout, now), "a batch has succeeded since");
    }
}
