//! The clocks: no other file reads one.
//!
//! A wall clock can be wrong, and it can jump. So whatever is counted, forgotten or given up is measured by a steady clock: it
//! equals the wall clock when a state is created, then advances with the monotonic clock, and continues from the state after a
//! restart. How long the program was down is only believed when it is short, or when an upstream's own clock confirms it.
//! Exported times are those of the wall clock: [`Clock::to_wall`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Instant, SystemTime};

use crate::domain::Timestamp;
use crate::domain::time::{Now, WallOffset};

/// A downtime, or a step of the wall clock, up to this long is believed.
const BELIEVED: i64 = 3_600_000;

/// The wall clock may deviate from the steady clock by this many milliseconds before exported times follow it. So times that
/// were exported do not change with every correction of the clock.
const TOLERANCE: i64 = 1000;

/// A smaller difference between two clocks, in milliseconds, is none: a `Date` header has whole seconds and takes time to
/// arrive.
const DATE_ACCURACY: i64 = 2000;

/// Reads the wall clock.
#[expect(clippy::disallowed_methods, reason = "the one place where it is read")]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// Reads the monotonic clock.
#[expect(clippy::disallowed_methods, reason = "the one place where it is read")]
pub fn instant() -> Instant {
    Instant::now()
}

/// The steady clock of one state. Clones share it.
#[derive(Clone)]
pub struct Clock(Arc<Steady>);

struct Steady {
    source: ClockSource,
    /// The steady time at `epoch`, in milliseconds.
    base: AtomicI64,
    epoch: Instant,
    /// What to add to a steady time for the wall clock's, in milliseconds.
    offset: AtomicI64,
    jump: OnceLock<Jump>,
    memory: Mutex<ClockMemory>,
}

/// The steady clock was put forward, because a downtime was confirmed after the restart. What was recorded since the restart, but
/// before that, has to be put forward as well: it did not happen before the downtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jump {
    /// The first time that is put forward.
    pub since: Timestamp,
    /// The last one.
    pub until: Timestamp,
    /// By so many milliseconds.
    pub by: i64,
}

impl Jump {
    /// A time, put forward if it has to be.
    #[must_use]
    pub fn apply(self, time: Timestamp) -> Timestamp {
        if (self.since..=self.until).contains(&time) { time.shifted(self.by) } else { time }
    }
}

/// Where the clock is read.
enum ClockSource {
    System,
    #[cfg(test)]
    Manual(Arc<Mutex<ManualClock>>),
}

/// Both clocks of a test.
#[cfg(test)]
#[derive(Clone, Copy)]
pub struct ManualClock {
    /// Wall clock.
    pub wall: Timestamp,
    /// Monotonic clock.
    pub monotonic: Instant,
}

/// What the clock has to remember.
struct ClockMemory {
    /// By upstream: its clock minus the steady clock, in milliseconds, as its last `Date` showed.
    skews: BTreeMap<Arc<str>, i64>,
    /// Grows with each change of `skews`.
    revision: u64,
    /// While it is not known how long the program was down.
    downtime: Option<UnconfirmedDowntime>,
}

/// A downtime that is not believed.
struct UnconfirmedDowntime {
    /// How long it was by the wall clock, in milliseconds.
    by_wall: i64,
    /// The steady time after the restart.
    resumed: Timestamp,
    /// The wall clock minus the steady clock before it, in milliseconds.
    offset_before: i64,
    /// The skews before it.
    skews_before: BTreeMap<Arc<str>, i64>,
}

/// What the state keeps of the clock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SavedClock {
    /// The wall clock at the last write.
    pub wall: Option<Timestamp>,
    /// The steady clock at the last write.
    pub steady: Option<Timestamp>,
    /// By upstream: its clock minus the steady clock, in milliseconds.
    pub skews: BTreeMap<Arc<str>, i64>,
}

impl Default for Clock {
    fn default() -> Self {
        Self::of(ClockSource::System)
    }
}

impl Clock {
    fn of(source: ClockSource) -> Self {
        let (wall, epoch) = source.read();
        Self(Arc::new(Steady {
            source,
            base: AtomicI64::new(wall.as_millis()),
            epoch,
            offset: AtomicI64::new(0),
            jump: OnceLock::new(),
            memory: Mutex::new(ClockMemory { skews: BTreeMap::new(), revision: 0, downtime: None }),
        }))
    }

    /// The steady time is this now, whatever the wall clock says.
    pub fn starting_at(steady: Timestamp) -> Self {
        let clock = Self::default();
        clock.0.base.store(steady.as_millis(), Ordering::Relaxed);
        clock
    }

    /// With clocks that a test sets.
    #[cfg(test)]
    pub fn manual(clock: Arc<Mutex<ManualClock>>) -> Self {
        Self::of(ClockSource::Manual(clock))
    }

    fn memory(&self) -> MutexGuard<'_, ClockMemory> {
        self.0.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The steady time and the monotonic clock.
    pub fn now(&self) -> Now {
        let (_, monotonic) = self.0.source.read();
        Now { steady: self.steady(monotonic), monotonic }
    }

    fn steady(&self, monotonic: Instant) -> Timestamp {
        let base = Timestamp::from_millis(self.0.base.load(Ordering::Relaxed));
        base + monotonic.saturating_duration_since(self.0.epoch)
    }

    /// From steady times to those of the wall clock.
    pub fn wall_offset(&self) -> WallOffset {
        let (wall, monotonic) = self.0.source.read();
        let current = wall.as_millis().saturating_sub(self.steady(monotonic).as_millis());
        let known = self.0.offset.load(Ordering::Relaxed);
        let millis = if current.abs_diff(known) <= TOLERANCE.unsigned_abs() { known } else { current };
        let millis = if millis.abs() <= TOLERANCE { 0 } else { millis };
        self.0.offset.store(millis, Ordering::Relaxed);
        let earlier = self.memory().downtime.as_ref().map(|downtime| (downtime.resumed, downtime.offset_before));
        WallOffset { millis, earlier }
    }

    /// A steady time by the wall clock, to be exported.
    pub fn to_wall(&self, steady: Timestamp) -> Timestamp {
        self.wall_offset().apply(steady)
    }

    /// Continues the clock of a state. Only called when the state is opened.
    pub fn resume(&self, saved: SavedClock) {
        let Some(stopped) = saved.wall else { return };
        let (wall, monotonic) = self.0.source.read();
        let down = wall.as_millis().saturating_sub(stopped.as_millis());
        let is_believed = down.abs() <= BELIEVED;
        let steady = saved.steady.unwrap_or(stopped).as_millis();
        let since_epoch = i64::try_from(monotonic.saturating_duration_since(self.0.epoch).as_millis()).unwrap_or(0);
        let passed = if is_believed { down.max(0) } else { 0 };
        self.0.base.store(steady.saturating_add(passed).saturating_sub(since_epoch), Ordering::Relaxed);
        let mut memory = self.memory();
        memory.skews = saved.skews;
        if !is_believed {
            tracing::warn!(
                seconds = down / 1000,
                "clock differs from the last run by over an hour; nothing is given up or forgotten for it until an upstream's clock confirms it"
            );
            let offset = stopped.as_millis().saturating_sub(steady);
            memory.downtime = Some(UnconfirmedDowntime {
                by_wall: down,
                resumed: Timestamp::from_millis(steady),
                offset_before: if offset.abs() <= TOLERANCE { 0 } else { offset },
                skews_before: memory.skews.clone(),
            });
        }
    }

    /// An upstream's response had this `Date`, and was received then.
    pub fn observe_date(&self, upstream: &Arc<str>, date: Timestamp, received: Instant) {
        let (wall, now) = self.0.source.read();
        let monotonic = received.min(now);
        let wall = wall - now.saturating_duration_since(monotonic);
        let ahead = |of: Timestamp| date.as_millis().saturating_sub(of.as_millis());
        let mut memory = self.memory();
        if let Some(downtime) = &memory.downtime {
            let UnconfirmedDowntime { by_wall, resumed, .. } = *downtime;
            // By the upstream's own clock; where that is not known from before, by whether both clocks agree now.
            let by_upstream = match downtime.skews_before.get(upstream) {
                Some(skew) => Some(ahead(self.steady(monotonic)).saturating_sub(*skew)),
                None => (ahead(wall).abs() <= BELIEVED).then_some(by_wall),
            };
            if let Some(by_upstream) = by_upstream {
                // Of two clocks that disagree, the one by which less time has passed.
                let passed = by_wall.min(by_upstream).max(0);
                if passed > 0 {
                    let jump = Jump { since: resumed, until: self.steady(monotonic), by: passed };
                    // First, so that nobody sees the later time without it.
                    let _ = self.0.jump.set(jump);
                    self.0.base.fetch_add(passed, Ordering::Relaxed);
                }
                memory.downtime = None;
                tracing::info!(upstream.name = %upstream, seconds = passed / 1000, "upstream's clock has confirmed how long the exporter was down");
            }
        }
        let skew = ahead(self.steady(monotonic));
        if memory.skews.get(upstream).is_none_or(|known| known.abs_diff(skew) >= DATE_ACCURACY.unsigned_abs()) {
            memory.skews.insert(upstream.clone(), skew);
            memory.revision += 1;
        }
    }

    /// Whether, and how, the clock was put forward.
    pub fn jump(&self) -> Option<Jump> {
        self.0.jump.get().copied()
    }

    /// An upstream's clock minus the steady clock, in milliseconds; 0 when it is not known or too small to be certain.
    pub fn skew(&self, upstream: &str) -> i64 {
        let skew = self.memory().skews.get(upstream).copied().unwrap_or(0);
        if skew.abs() < DATE_ACCURACY { 0 } else { skew }
    }

    /// What the state has to keep: the skews only when they have changed since `revision`.
    pub fn save(&self, revision: &mut u64) -> SavedClock {
        let (wall, monotonic) = self.0.source.read();
        let memory = self.memory();
        let is_changed = std::mem::replace(revision, memory.revision) != memory.revision;
        let skews = if is_changed { memory.skews.clone() } else { BTreeMap::new() };
        SavedClock { wall: Some(wall), steady: Some(self.steady(monotonic)), skews }
    }
}

impl ClockSource {
    fn read(&self) -> (Timestamp, Instant) {
        match self {
            Self::System => (now().into(), instant()),
            #[cfg(test)]
            Self::Manual(clock) => {
                let clock = *clock.lock().expect("no test panics while it sets the clock");
                (clock.wall, clock.monotonic)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DAY: i64 = 86_400_000;
    const START: Timestamp = Timestamp::from_secs(1_800_000_000);

    /// A clock with its two sources at `wall`, after a run that ended at `START`.
    fn resumed(wall: Timestamp, skew: Option<i64>) -> (Clock, Arc<Mutex<ManualClock>>) {
        let source = Arc::new(Mutex::new(ManualClock { wall, monotonic: instant() }));
        let clock = Clock::manual(source.clone());
        let skews = skew.into_iter().map(|skew| (Arc::from("u"), skew)).collect();
        clock.resume(SavedClock { wall: Some(START), steady: Some(START), skews });
        (clock, source)
    }

    fn steady(clock: &Clock) -> i64 {
        clock.now().steady.as_millis() - START.as_millis()
    }

    #[test]
    fn a_step_of_the_wall_clock_changes_exported_times_alone() {
        let source = Arc::new(Mutex::new(ManualClock { wall: START, monotonic: instant() }));
        let clock = Clock::manual(source.clone());
        let event = clock.now().steady;
        for step in [7 * DAY, -30 * DAY, 12 * 365 * DAY] {
            source.lock().unwrap().wall = START.shifted(step);
            assert_eq!((steady(&clock), clock.to_wall(event)), (0, START.shifted(step)));
        }
        source.lock().unwrap().monotonic += Duration::from_secs(5);
        assert_eq!(steady(&clock), 5000);
        source.lock().unwrap().wall = START.shifted(5000 + 900);
        assert_eq!(clock.to_wall(event), START, "a small correction does not move exported times");
    }

    #[test]
    fn a_short_downtime_is_believed_and_a_long_one_when_an_upstream_confirms_it() {
        let (clock, _) = resumed(START.shifted(1_800_000), None);
        assert_eq!(steady(&clock), 1_800_000);
        // By the wall clock, the upstream's skew before, its `Date`, and how much of that is believed; in days.
        for (down, skew, date, passed) in [
            (8, Some(0), 8, 8),
            (8, None, 8, 8),
            (8, Some(3), 11, 8),
            (8, Some(0), 0, 0),
            (8, None, 0, 0),
            (8, Some(0), 5, 5),
            (-5, Some(0), 2, 0),
            (-5, None, -5, 0),
            (4000, Some(0), 1, 1),
        ] {
            let (clock, _) = resumed(START.shifted(down * DAY), skew.map(|skew| skew * DAY));
            assert_eq!(steady(&clock), 0, "not confirmed yet");
            let before = START.shifted(-5000);
            assert_eq!(clock.to_wall(before), before, "times before the restart do not change for that");
            assert_eq!(clock.to_wall(clock.now().steady), START.shifted(down * DAY));
            clock.observe_date(&"u".into(), START.shifted(date * DAY), clock.now().monotonic);
            assert_eq!(steady(&clock), passed * DAY, "{down} {skew:?} {date}");
            clock.observe_date(&"u".into(), START.shifted(99 * DAY), clock.now().monotonic);
            assert_eq!(steady(&clock), passed * DAY, "confirmed once");
        }
    }

    #[test]
    fn the_clock_of_an_upstream_is_known_by_its_date() {
        let (clock, _) = resumed(START, None);
        assert_eq!(clock.skew("u"), 0);
        clock.observe_date(&"u".into(), START.shifted(-DAY), clock.now().monotonic);
        assert_eq!((clock.skew("u"), clock.skew("other")), (-DAY, 0));
        clock.observe_date(&"u".into(), START.shifted(-900), clock.now().monotonic);
        assert_eq!(clock.skew("u"), 0, "a Date has whole seconds");
        let mut revision = 0;
        assert_eq!(clock.save(&mut revision).skews.len(), 1);
        assert!(clock.save(&mut revision).skews.is_empty(), "not written again");
    }
}
