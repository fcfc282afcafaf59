//! When each task of an upstream is asked, and who is next.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use super::table::Turn;
use crate::clock;

/// Tasks that come due in a moment, as a rule.
const SOME: usize = 1024;

/// Times are multiples of this, in milliseconds: what comes due in a moment is asked for at one go, and its answers come home together.
/// To be woken for each task alone costs as much as to ask for it.
const TICK: u64 = 16;

/// A task whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Its turn. A task that was given another one since is not due by this.
    pub turn: Turn,
    /// When its time came.
    pub at: Instant,
    /// It has to be asked by itself: an answer for many left it out.
    pub alone: bool,
}

/// Timers, and the tasks whose time has come.
pub struct Timetable {
    /// The first one is on top. A task that gets another turn keeps its old timer, which then means nothing: it has one timer a
    /// poll, and 16 bytes each.
    timers: BinaryHeap<Reverse<Timer>>,
    due: VecDeque<Due>,
    /// Those that are asked alone, and first.
    alone: VecDeque<Due>,
    /// Times are rounded to multiples of this, so that tasks come due together and can be asked together.
    grid: Option<Duration>,
    epoch: Instant,
}

/// When a task's time comes, in milliseconds since the table's epoch, and its turn.
type Timer = (u64, Turn);

impl Timetable {
    /// An empty one.
    pub fn new(grid: Option<Duration>) -> Self {
        Self { timers: BinaryHeap::new(), due: VecDeque::new(), alone: VecDeque::new(), grid, epoch: clock::instant() }
    }

    /// The task's time comes after about `wait`.
    pub fn insert(&mut self, turn: Turn, wait: Duration) {
        let at = (clock::instant() + wait).saturating_duration_since(self.epoch);
        let at = self.grid.map_or(at, |grid| rounded(at, grid));
        // Rounded up: a time never comes too soon.
        let millis = u64::try_from(at.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        self.timers.push(Reverse((millis.checked_next_multiple_of(TICK).unwrap_or(u64::MAX), turn)));
    }

    /// The task's time has come.
    pub fn ask_now(&mut self, turn: Turn) {
        self.due.push_back(Due { turn, at: clock::instant(), alone: false });
    }

    /// The task's time has come, and it is asked by itself.
    pub fn ask_alone(&mut self, turn: Turn) {
        self.alone.push_back(Due { turn, at: clock::instant(), alone: true });
    }

    /// Waits until the time of at least one task has come, and takes all whose time has.
    pub async fn expire(&mut self) {
        let Some(&Reverse((first, ..))) = self.timers.peek() else { return std::future::pending().await };
        tokio::time::sleep_until((self.epoch + Duration::from_millis(first)).into()).await;
        let now = clock::instant().saturating_duration_since(self.epoch).as_millis().max(first.into());
        while let Some(timer) = self.timers.peek_mut().filter(|timer| u128::from(timer.0.0) <= now) {
            let Reverse((at, turn)) = PeekMut::pop(timer);
            self.due.push_back(Due { turn, at: self.epoch + Duration::from_millis(at), alone: false });
        }
    }

    /// The next task whose time has come.
    pub fn next(&mut self) -> Option<Due> {
        if self.alone.is_empty() && self.due.is_empty() {
            // After a rush its room is given back.
            self.due.shrink_to(SOME);
            if self.timers.capacity() > 4 * self.timers.len().max(SOME) {
                self.timers.shrink_to(2 * self.timers.len());
            }
        }
        self.alone.pop_front().or_else(|| self.due.pop_front())
    }

    /// Puts back what [`Timetable::next`] gave.
    pub fn put_back(&mut self, due: Due) {
        if due.alone { &mut self.alone } else { &mut self.due }.push_front(due);
    }

    /// By how much a time may be rounded down.
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
    use crate::agent::table::Table;
    use crate::domain::{NewTask, Task, TaskId, Timestamp};

    #[test]
    fn times_are_rounded_to_the_grid() {
        let ms = |span, grid| rounded(Duration::from_millis(span), Duration::from_millis(grid)).as_millis();
        assert_eq!([ms(0, 5000), ms(2499, 5000), ms(2500, 5000), ms(15_300, 5000)], [0, 0, 5000, 15_000]);
        assert_eq!(ms(7, 0), 7, "no grid at all");
        let table = Timetable::new(Some(Duration::from_secs(5)));
        for wait in [60_000u64, 61_234, 64_999] {
            let slack = u64::try_from(table.slack().as_millis()).unwrap();
            assert!(ms(wait + slack, 5000) >= u128::from(wait), "with its slack a time is never sooner");
        }
    }

    #[test]
    fn a_time_never_comes_too_soon_and_always_with_others() {
        let mut tasks = Table::default();
        let new = NewTask::new(TaskId::parse("t").unwrap());
        tasks.add(Task::new("u".into(), "new_api", new, Timestamp::from_secs(0)));
        let place = tasks.take_fresh()[0];
        for wait in [0, 1, 16, 17, 1001, 14_999] {
            let mut table = Timetable::new(None);
            table.insert(tasks.next_turn(place).unwrap(), Duration::from_millis(wait));
            let Reverse((at, _)) = table.timers.pop().unwrap();
            assert!(at >= wait && at.is_multiple_of(TICK), "{wait} came at {at}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_due_together_is_taken_together_and_who_is_alone_goes_first() {
        let mut tasks = Table::default();
        let mut turn = |n: u32| {
            let new = NewTask::new(TaskId::parse(&format!("t{n}")).unwrap());
            tasks.add(Task::new("u".into(), "new_api", new, Timestamp::from_secs(0)));
            let place = tasks.take_fresh()[0];
            tasks.next_turn(place).unwrap()
        };
        let mut table = Timetable::new(Some(Duration::from_secs(5)));
        for n in 0..3 {
            table.insert(turn(n), Duration::from_millis(14_000 + 500 * u64::from(n)));
        }
        table.expire().await;
        assert!(table.timers.is_empty());
        let alone = turn(9);
        table.ask_alone(alone);
        let order: Vec<_> = std::iter::from_fn(|| table.next()).map(|due| (due.turn, due.alone)).collect();
        assert_eq!(order[0], (alone, true));
        assert_eq!(order.len(), 4);
    }
}
