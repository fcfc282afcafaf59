//! When each task of an upstream is polled, and which is next.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use super::table::PollToken;

/// Timers are multiples of this, in milliseconds: polls that are due within one tick are sent together. Waking up for each
/// poll alone costs as much as sending it.
const TICK: u64 = 16;

/// When there are more due polls than the rate limit allows, ended tasks get one of so many.
const POPS_PER_ENDED: u32 = 5;

/// Capacity that an empty queue keeps.
const MIN_CAPACITY: usize = 1024;

/// A poll that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DuePoll {
    /// Its token. Once that is invalid the poll was rescheduled.
    pub token: PollToken,
    /// When it became due.
    pub at: Instant,
    /// It is never batched: a batch left it out or failed, or a callback contradicted it.
    pub is_alone: bool,
}

/// Timers, and the polls that are due.
pub struct PollQueue {
    /// The earliest is on top. A rescheduled poll leaves its timer behind with an invalid token: 16 bytes until it
    /// expires. Removal would need an index.
    timers: BinaryHeap<Reverse<Timer>>,
    due: VecDeque<DuePoll>,
    /// Due polls of single tasks; they go first.
    alone: VecDeque<DuePoll>,
    /// Due polls of ended tasks; they go last, for the most part.
    ended: VecDeque<DuePoll>,
    pops: u32,
    /// Timers are rounded to multiples of this, so that tasks become due together and can be polled in batches.
    grid: Option<Duration>,
    epoch: Instant,
}

/// Milliseconds since the queue's epoch, and the token.
type Timer = (u64, PollToken);

impl PollQueue {
    /// An empty queue.
    pub fn new(grid: Option<Duration>, epoch: Instant) -> Self {
        Self {
            timers: BinaryHeap::new(),
            due: VecDeque::new(),
            alone: VecDeque::new(),
            ended: VecDeque::new(),
            pops: 0,
            grid,
            epoch,
        }
    }

    /// Takes another grid, for timers from now on.
    pub const fn configure(&mut self, grid: Option<Duration>) {
        self.grid = grid;
    }

    /// A poll becomes due after about `wait`.
    pub fn schedule(&mut self, token: PollToken, wait: Duration, now: Instant) {
        let at = (now + wait).saturating_duration_since(self.epoch);
        self.push_timer(token, self.grid.map_or(at, |grid| rounded(at, grid)));
    }

    /// A poll becomes due after `wait`, whatever else is due then.
    pub fn schedule_exactly(&mut self, token: PollToken, wait: Duration, now: Instant) {
        self.push_timer(token, (now + wait).saturating_duration_since(self.epoch));
    }

    fn push_timer(&mut self, token: PollToken, at: Duration) {
        // Rounded up: a poll is never too early.
        let millis = u64::try_from(at.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        self.timers.push(Reverse((millis.checked_next_multiple_of(TICK).unwrap_or(u64::MAX), token)));
    }

    /// A poll is due now.
    pub fn push_due(&mut self, token: PollToken, now: Instant) {
        self.due.push_back(DuePoll { token, at: now, is_alone: false });
    }

    /// A poll of a single task is due now.
    pub fn push_alone(&mut self, token: PollToken, now: Instant) {
        self.alone.push_back(DuePoll { token, at: now, is_alone: true });
    }

    /// When the next timer expires.
    pub fn next_timer(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, _))| self.epoch + Duration::from_millis(*at))
    }

    /// Takes those due polls of single tasks that match.
    pub fn take_alone(&mut self, mut matches: impl FnMut(DuePoll) -> bool) -> Vec<DuePoll> {
        let (taken, left): (Vec<_>, Vec<_>) = self.alone.drain(..).partition(|due| matches(*due));
        self.alone.extend(left);
        taken
    }

    /// A poll of an ended task is due now, after all others.
    pub fn push_ended(&mut self, due: DuePoll) {
        self.ended.push_back(due);
    }

    /// Whether a due poll of a single task goes first.
    pub fn has_alone(&self) -> bool {
        !self.alone.is_empty()
    }

    /// When the next poll became due, apart from those of single and ended tasks.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.front().map(|due| due.at)
    }

    /// Makes polls due whose timers have expired, unless `take` takes them.
    pub fn expire(&mut self, now: Instant, mut take: impl FnMut(DuePoll) -> Option<DuePoll>) {
        let now = now.saturating_duration_since(self.epoch).as_millis();
        while let Some(timer) = self.timers.peek_mut().filter(|timer| u128::from(timer.0.0) <= now) {
            let Reverse((at, token)) = PeekMut::pop(timer);
            let due = DuePoll { token, at: self.epoch + Duration::from_millis(at), is_alone: false };
            self.due.extend(take(due));
        }
    }

    /// The next due poll.
    pub fn pop(&mut self) -> Option<DuePoll> {
        if self.alone.is_empty() && self.due.is_empty() {
            // Memory of a burst is returned.
            self.due.shrink_to(MIN_CAPACITY);
            if self.timers.capacity() > 4 * self.timers.len().max(MIN_CAPACITY) {
                self.timers.shrink_to(2 * self.timers.len());
            }
        }
        self.pops = self.pops.wrapping_add(1);
        let first = self.ended.pop_front_if(|_| self.pops.is_multiple_of(POPS_PER_ENDED));
        first.or_else(|| self.alone.pop_front()).or_else(|| self.due.pop_front()).or_else(|| self.ended.pop_front())
    }

    /// Puts a poll back that [`PollQueue::pop`] returned.
    pub fn put_back(&mut self, due: DuePoll) {
        if due.is_alone { &mut self.alone } else { &mut self.due }.push_front(due);
    }

    /// By how much a timer may be rounded down.
    pub fn slack(&self) -> Duration {
        self.grid.unwrap_or_default() / 2
    }
}

/// The nearest multiple of `grid`.
fn rounded(span: Duration, grid: Duration) -> Duration {
    let grid = grid.as_nanos().max(1);
    let multiple = (span.as_nanos() + grid / 2) / grid * grid;
    Duration::from_nanos(u64::try_from(multiple).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::table::TaskTable;
    use crate::clock;
    use crate::domain::{NewTask, Task, TaskId, Timestamp};

    /// Tokens of so many tasks.
    fn tokens(count: usize) -> Vec<PollToken> {
        let mut table = TaskTable::default();
        let mut token = |n| {
            let new = NewTask::new(TaskId::parse(&format!("t{n}")).unwrap());
            let slot = table.add(Task::new("u".into(), "new_api", new, Timestamp::from_secs(0))).unwrap();
            table.new_token(slot).unwrap()
        };
        (0..count).map(&mut token).collect()
    }

    #[test]
    fn timers_are_rounded_to_the_grid() {
        let ms = |span, grid| rounded(Duration::from_millis(span), Duration::from_millis(grid)).as_millis();
        assert_eq!([ms(0, 5000), ms(2499, 5000), ms(2500, 5000), ms(15_300, 5000)], [0, 0, 5000, 15_000]);
        assert_eq!(ms(7, 0), 7, "no grid");
        let queue = PollQueue::new(Some(Duration::from_secs(5)), clock::instant());
        for wait in [60_000u64, 61_234, 64_999] {
            let slack = u64::try_from(queue.slack().as_millis()).unwrap();
            assert!(ms(wait + slack, 5000) >= u128::from(wait), "with its slack a poll is never early");
        }
    }

    #[test]
    fn a_poll_is_never_early_and_due_with_others_of_its_tick() {
        let epoch = clock::instant();
        for wait in [0, 1, 16, 17, 1001, 14_999] {
            let mut queue = PollQueue::new(None, epoch);
            queue.schedule(tokens(1)[0], Duration::from_millis(wait), epoch);
            let at = queue.next_timer().unwrap() - epoch;
            let millis = u64::try_from(at.as_millis()).unwrap();
            assert!(millis >= wait && millis.is_multiple_of(TICK), "{wait} is due at {at:?}");
            if let Some(before) = at.checked_sub(Duration::from_millis(1)) {
                queue.expire(epoch + before, Some);
                assert_eq!(queue.pop(), None);
            }
            queue.expire(epoch + at, Some);
            assert!(queue.pop().is_some() && queue.next_timer().is_none());
        }
    }

    #[test]
    fn polls_of_one_tick_are_due_together_and_single_ones_go_first() {
        let epoch = clock::instant();
        let tokens = tokens(4);
        let mut queue = PollQueue::new(Some(Duration::from_secs(5)), epoch);
        for (token, wait) in tokens[..3].iter().zip([14_000, 14_500, 15_000]) {
            queue.schedule(*token, Duration::from_millis(wait), epoch);
        }
        queue.expire(epoch + Duration::from_millis(15_000 + TICK), Some);
        assert_eq!(queue.next_timer(), None);
        queue.push_alone(tokens[3], epoch);
        let first = queue.pop().unwrap();
        assert_eq!((first.token, first.is_alone), (tokens[3], true));
        let second = queue.pop().unwrap();
        queue.put_back(second);
        assert_eq!(std::iter::from_fn(|| queue.pop()).count(), 3);
    }
}
