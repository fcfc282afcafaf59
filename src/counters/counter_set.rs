//! The counters of one label set, with their zero holds and exemplars.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::exemplar::Exemplar;
use super::state_key::{Part, StateKey, observed, state_increments};
use super::values::CounterValues;
use super::zero_hold::{HoldEnd, HoldTimer, ZeroHold};
use crate::domain::counter::{CounterKind, MAX_COUNT};
use crate::domain::time::Now;
use crate::domain::{Counter, CounterKey, Increment, TaskId, Timestamp};

/// The counters of one label set.
#[derive(Debug, Clone)]
pub struct CounterSet {
    hold: SeriesHold,
    used: Timestamp,
    values: CounterValues,
    /// Series that appeared with their first count.
    late: BTreeMap<CounterKey, SeriesHold>,
    /// The last task of each number that has exemplars.
    exemplars: BTreeMap<StateKey, Exemplar>,
}

/// The creation and the zero hold of one or all series.
#[derive(Debug, Clone)]
struct SeriesHold {
    created: Timestamp,
    timer: HoldTimer,
}

impl SeriesHold {
    fn new(hold: ZeroHold, now: Now) -> Self {
        Self { created: hold.created, timer: HoldTimer::new(hold, now) }
    }
}

/// Nothing is counted.
static ZERO: CounterValues = CounterValues::ZERO;

impl CounterSet {
    /// Nothing counted yet.
    pub fn new(hold: ZeroHold, used: Timestamp, now: Now) -> Self {
        Self {
            hold: SeriesHold::new(hold, now),
            used,
            values: CounterValues::default(),
            late: BTreeMap::new(),
            exemplars: BTreeMap::new(),
        }
    }

    /// Continues with the numbers of the state.
    pub fn restore(hold: ZeroHold, used: Timestamp, numbers: &[(StateKey, u64)], now: Now) -> Self {
        let mut set = Self::new(hold, used, now);
        let mut late: BTreeMap<CounterKey, ZeroHold> = BTreeMap::new();
        // Earlier versions exported all series together with their label set, and stored no times of late ones.
        let exported = ZeroHold { created: hold.created, released: true };
        for (StateKey { series, .. }, _) in numbers.iter().filter(|(key, _)| key.series.counter.is_late()) {
            late.insert(*series, exported);
        }
        for (key, number) in numbers {
            if key.part == Part::Created
                && let Ok(millis) = i64::try_from(*number)
            {
                let created = Timestamp::from_millis(millis);
                late.insert(key.series, ZeroHold { created, released: false });
            }
        }
        for (key, number) in numbers {
            match (key.part, late.get_mut(&key.series)) {
                (Part::Released, Some(hold)) => hold.released = true,
                (Part::Created | Part::Released, _) => {}
                _ => set.values.add(*key, *number),
            }
        }
        set.late = late.into_iter().map(|(series, hold)| (series, SeriesHold::new(hold, now))).collect();
        set
    }

    /// Whether a late series has appeared.
    pub fn has_late(&self, series: CounterKey) -> bool {
        self.late.contains_key(&series)
    }

    /// Lets a late series appear, at 0; `hold` is its own.
    pub fn create_late(&mut self, series: CounterKey, hold: ZeroHold, now: Now) {
        if let Entry::Vacant(place) = self.late.entry(series) {
            // It is on the page from now on, even if its commit took long.
            let timer = HoldTimer::new(ZeroHold { created: now.steady, ..hold }, now);
            place.insert(SeriesHold { created: hold.created, timer });
            self.values.add(StateKey { series, part: Part::Count }, 0);
        }
    }

    /// Counts an increment of a task; `hold` is that of a series that appears with it.
    pub fn count(&mut self, increment: Increment, (task_id, at): (&TaskId, Timestamp), hold: ZeroHold, now: Now) {
        let (series, amount) = increment;
        if series.counter.is_late() {
            self.create_late(series, hold, now);
        }
        let spec = series.counter.spec();
        for (key, more) in state_increments(increment) {
            self.values.add(key, more);
            #[expect(clippy::cast_precision_loss, reason = "one task")]
            let value = match (spec.kind, key.part) {
                (CounterKind::Counter, Part::Count) => more as f64,
                (CounterKind::Histogram(_), Part::Bucket(_)) => observed(series, amount),
                _ => continue,
            };
            if spec.has_exemplars && Exemplar::is_allowed(task_id) {
                self.exemplars.insert(key, Exemplar { task_id: task_id.clone(), value, at });
            }
        }
    }

    /// Whether an amount may be added. A counter that is half full refuses what would fill it: other tasks still count then.
    pub fn has_room(&self, (series, amount): Increment) -> bool {
        let is_amount = series.counter.spec().kind == CounterKind::Counter;
        !is_amount || self.values.count(series).saturating_add(amount) <= MAX_COUNT / 2
    }

    /// The series of a counter that are exported.
    pub fn series(&self, counter: Counter) -> impl Iterator<Item = CounterKey> {
        self.values.series(counter)
    }

    /// When a series was created, for good.
    pub fn created(&self, series: CounterKey) -> Timestamp {
        self.late.get(&series).unwrap_or(&self.hold).created
    }

    /// Whether the values of a series are exported; otherwise it is exported as 0.
    fn is_released(&self, series: CounterKey) -> bool {
        self.hold.timer.is_released() && self.late.get(&series).is_none_or(|late| late.timer.is_released())
    }

    /// What is exported of a series.
    pub fn values(&self, series: CounterKey) -> &CounterValues {
        if self.is_released(series) { &self.values } else { &ZERO }
    }

    /// The last task that was counted in a number; none while its series is exported as 0.
    pub fn exemplar(&self, key: StateKey) -> Option<&Exemplar> {
        self.exemplars.get(&key).filter(|_| self.is_released(key.series))
    }

    /// Whether the zero hold of the set is over.
    pub fn is_due(&self, end: HoldEnd) -> bool {
        self.hold.timer.is_due(end)
    }

    /// The late series whose zero holds are over.
    pub fn due_series(&self, end: HoldEnd) -> impl Iterator<Item = CounterKey> {
        self.late.iter().filter(move |(_, late)| late.timer.is_due(end)).map(|(series, _)| *series)
    }

    /// Whether some of its series are still exported as 0.
    pub fn is_held(&self) -> bool {
        !self.hold.timer.is_released() || self.late.values().any(|late| !late.timer.is_released())
    }

    /// Exports the values of the set from now on.
    pub const fn release(&mut self) {
        self.hold.timer.release();
    }

    /// Exports the value of a late series from now on.
    pub fn release_series(&mut self, series: CounterKey) {
        if let Some(late) = self.late.get_mut(&series) {
            late.timer.release();
        }
    }

    /// A tracked task has it now.
    pub const fn mark_used(&mut self, now: Timestamp) {
        self.used = now;
    }

    /// When a tracked task last had it.
    pub const fn used(&self) -> Timestamp {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::Status;

    const HOLD: Duration = Duration::from_mins(2);

    fn now(secs: u64) -> Now {
        let begun = crate::clock::instant();
        Now { steady: Timestamp::from_secs(secs.cast_signed()), monotonic: begun + Duration::from_secs(secs) }
    }

    fn failed() -> CounterKey {
        Counter::Failures.with([Status::Failed.index(), 0])
    }

    #[test]
    fn a_late_series_is_at_zero_for_a_hold_of_its_own() {
        let (begun, task) = (now(0), TaskId::parse("t").unwrap());
        let later = |secs| Now {
            steady: begun.steady + Duration::from_secs(secs),
            monotonic: begun.monotonic + Duration::from_secs(secs),
        };
        let mut set = CounterSet::new(ZeroHold { created: begun.steady, released: true }, begun.steady, begun);
        assert_eq!(set.series(Counter::Failures).count(), 0);
        // Its commit took 500 s.
        let hold = ZeroHold { created: later(500).steady, released: false };
        set.count((failed(), 1), (&task, later(500).steady), hold, later(1000));
        assert_eq!(set.series(Counter::Failures).collect::<Vec<_>>(), [failed()]);
        assert_eq!((set.values(failed()).count(failed()), set.created(failed())), (0, later(500).steady));
        assert_eq!(set.exemplar(StateKey { series: failed(), part: Part::Count }), None);
        let end = |secs| HoldEnd { longest: HOLD, now: later(secs).monotonic, read: None };
        let due = |secs| set.due_series(end(secs)).collect::<Vec<_>>();
        assert_eq!((due(1119), due(1120)), (vec![], vec![failed()]));
        set.release_series(failed());
        set.count((failed(), 1), (&task, later(1200).steady), hold, later(1200));
        assert_eq!(set.values(failed()).count(failed()), 2);
        assert!(set.exemplar(StateKey { series: failed(), part: Part::Count }).is_some());
        assert_eq!(set.due_series(end(9999)).count(), 0);
    }

    #[test]
    fn a_late_series_of_the_state_continues_its_hold_unless_it_was_released() {
        let (begun, key) = (now(1000), |part| StateKey { series: failed(), part });
        let set_hold = ZeroHold { created: Timestamp::from_secs(7), released: true };
        let restored = |marks: &[(Part, u64)]| {
            let marks = marks.iter().map(|(part, value)| (key(*part), *value));
            let numbers: Vec<_> = marks.chain([(key(Part::Count), 5)]).collect();
            CounterSet::restore(set_hold, begun.steady, &numbers, begun)
        };
        let shown = |set: &CounterSet| (set.values(failed()).count(failed()), set.created(failed()).as_millis());
        let held = restored(&[(Part::Created, 950_000)]);
        assert_eq!(shown(&held), (0, 950_000));
        let end = |secs| HoldEnd { longest: HOLD, now: begun.monotonic + Duration::from_secs(secs), read: None };
        let due = |secs| held.due_series(end(secs)).count();
        assert_eq!((due(69), due(70)), (0, 1));
        // The clock went back meanwhile.
        let released = restored(&[(Part::Released, 1), (Part::Created, 2_000_000)]);
        assert_eq!(shown(&released), (5, 2_000_000));
        assert_eq!(shown(&restored(&[])), (5, 7000), "an earlier version had exported it");
    }
}
