//! What is counted about tasks: it outlives them, never falls, and never carries a task id.
//!
//! A label set is born at 0 when its first task is tracked and stays shown at 0 for `metrics.zero_hold`, so that
//! `increase()` sees the first event. What happened meanwhile is released together, by time and not by being looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::counts::Counts;
use super::exemplar::Exemplar;
use super::hold::{Hold, Now};
use super::kept::UNUSED_FOR;
use crate::domain::cell::Timed;
use crate::domain::drift::{Field, FieldProblem};
use crate::domain::tally::SourceTally;
use crate::domain::task::Agg;
use crate::domain::{Birth, Cell, Drift, Increment, Tally, TaskId, Timestamp};

/// All label sets. A copy shares the sets with what it was copied from, until they are counted on.
#[derive(Debug, Clone)]
pub struct Aggregates {
    hold: Duration,
    /// Names of the aggregate labels.
    labels: Vec<Arc<str>>,
    pub(super) sets: BTreeMap<Agg, Arc<Set>>,
    /// What a set shows that is still held back.
    pub(super) zero: Counts,
    pub(super) discovered: BTreeMap<SourceKey, Delayed>,
    pub(super) drift: BTreeMap<(Arc<str>, &'static str, Field, FieldProblem), Delayed>,
    pub(super) unknown_words: BTreeMap<(Arc<str>, &'static str), u64>,
}

/// An upstream and the label of one of its sources.
pub type SourceKey = (Arc<str>, String);

/// The counters and histograms of one aggregate.
#[derive(Debug, Clone)]
pub struct Set {
    pub(super) hold: Hold,
    used: Timestamp,
    /// When it was born, for good.
    pub(super) created: Timestamp,
    pub(super) counts: Counts,
    /// The last task in a cell, of those that tell.
    exemplars: BTreeMap<Cell, Exemplar>,
}

impl Set {
    fn new(birth: Birth, used: Timestamp, counts: Counts, now: Now) -> Self {
        Self { hold: Hold::new(birth, now), used, created: birth.created, counts, exemplars: BTreeMap::new() }
    }

    /// The last task that was counted in a cell; none while its value is held back.
    pub fn exemplar(&self, cell: Cell) -> Option<&Exemplar> {
        self.exemplars.get(&cell).filter(|_| self.hold.is_shown())
    }

    /// Counts an increment, and notes whose it was.
    fn count(&mut self, increment: Increment, whose: Option<(&TaskId, Timestamp)>) {
        for (cell, more) in Cell::of(increment) {
            self.counts.add(cell, more);
            let value = match (cell, increment) {
                (Cell::Finished(_) | Cell::Failures(..), _) => 1.0,
                (Cell::Bucket(Timed::Latency(_), _), Increment::Latency(_, seconds)) => seconds,
                _ => continue,
            };
            if let Some((task_id, at)) = whose.filter(|(task_id, _)| Exemplar::fits(task_id)) {
                self.exemplars.insert(cell, Exemplar { task_id: task_id.clone(), value, at });
            }
        }
    }
}

/// A counter that is held at 0 at first.
#[derive(Debug, Clone)]
pub struct Delayed {
    hold: Hold,
    pub(super) created: Timestamp,
    count: u64,
}

/// Label sets that have been at 0 for long enough.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// Aggregates.
    pub sets: Vec<Agg>,
    /// Sources.
    pub sources: Vec<SourceKey>,
}

impl Delayed {
    fn new(birth: Birth, count: u64, now: Now) -> Self {
        Self { hold: Hold::new(birth, now), created: birth.created, count }
    }

    /// What it shows now.
    pub fn shown(&self) -> u64 {
        if self.hold.is_shown() { self.count } else { 0 }
    }
}

impl Aggregates {
    /// Nothing counted yet.
    pub fn new(hold: Duration, labels: Vec<Arc<str>>) -> Self {
        Self {
            hold,
            labels,
            sets: BTreeMap::new(),
            zero: Counts::default(),
            discovered: BTreeMap::new(),
            drift: BTreeMap::new(),
            unknown_words: BTreeMap::new(),
        }
    }

    /// Takes a new hold and new aggregate labels; sets under other labels go, because their series would clash.
    pub fn configure(&mut self, hold: Duration, labels: Vec<Arc<str>>) {
        self.hold = hold;
        if self.labels != labels {
            self.sets.clear();
            self.labels = labels;
        }
    }

    /// Names of the aggregate labels.
    pub fn label_names(&self) -> &[Arc<str>] {
        &self.labels
    }

    /// How a label set is born at `now`.
    pub const fn birth(&self, now: Timestamp) -> Birth {
        Birth { created: now, shown: self.hold.is_zero() }
    }

    /// True when there is such a set.
    pub fn has(&self, agg: &Agg) -> bool {
        self.sets.contains_key(agg)
    }

    /// Its label names are those of the page. What waited to be committed while they changed is not shown under the old ones.
    fn fits(&self, agg: &Agg) -> bool {
        self.labels.iter().eq(agg.labels.iter().map(|(name, _)| name))
    }

    /// The set of `agg` is born at 0 if it is new.
    pub fn add(&mut self, agg: Agg, birth: Birth, now: Now) {
        self.count(agg, &[], None, birth, now);
    }

    /// Adds the increments of one transition, if it has any, to the set of `agg`, which is born at 0 if it is new.
    pub fn count(
        &mut self,
        agg: Agg,
        increments: &[Increment],
        whose: Option<(&TaskId, Timestamp)>,
        birth: Birth,
        now: Now,
    ) {
        if !self.fits(&agg) {
            return;
        }
        let set = self.sets.entry(agg).or_insert_with(|| Set::new(birth, now.wall, Counts::default(), now).into());
        if !increments.is_empty() {
            let set = Arc::make_mut(set);
            for increment in increments {
                set.count(*increment, whose);
            }
        }
    }

    /// Goes on with a set that was counted before a restart, unless it is here.
    pub fn restore(&mut self, tally: Tally, now: Now) {
        if !self.fits(&tally.agg) {
            return;
        }
        self.sets.entry(tally.agg).or_insert_with(|| {
            let mut counts = Counts::default();
            tally.cells.into_iter().for_each(|(cell, value)| counts.add(cell, value));
            Set::new(tally.birth, tally.used, counts, now).into()
        });
    }

    /// Goes on with the counter of a source, unless it is here.
    pub fn restore_source(&mut self, tally: SourceTally, now: Now) {
        let new = || Delayed::new(tally.birth, tally.tasks, now);
        self.discovered.entry((tally.upstream, tally.source)).or_insert_with(new);
    }

    /// Counts tasks that a source brought first; its counter is born at 0 if it is new.
    pub fn discovered(&mut self, source: SourceKey, tasks: u64, birth: Birth, now: Now) {
        let new = || Delayed::new(birth, 0, now);
        self.discovered.entry(source).or_insert_with(new).count += tasks;
    }

    /// What has been held back for long enough. What belongs to this process alone is shown at once; for the rest that has
    /// to be committed first, and is then [released](Self::release).
    pub fn due(&mut self, now: Instant) -> Due {
        let hold = self.hold;
        for counter in self.drift.values_mut().filter(|counter| counter.hold.is_due(hold, now)) {
            counter.hold.release();
        }
        let sets = self.sets.iter().filter(|(_, set)| set.hold.is_due(hold, now));
        let sources = self.discovered.iter().filter(|(_, counter)| counter.hold.is_due(hold, now));
        Due {
            sets: sets.map(|(agg, _)| agg.clone()).collect(),
            sources: sources.map(|(source, _)| source.clone()).collect(),
        }
    }

    /// Shows what was due and is now committed as shown.
    pub fn release(&mut self, due: &Due) {
        for agg in &due.sets {
            if let Some(set) = self.sets.get_mut(agg) {
                Arc::make_mut(set).hold.release();
            }
        }
        for source in &due.sources {
            if let Some(counter) = self.discovered.get_mut(source) {
                counter.hold.release();
            }
        }
    }

    /// Notes which sets tracked tasks have now, and lets go of those that none has had for long.
    pub fn free(&mut self, in_use: &BTreeSet<Agg>, now: Timestamp) {
        for (agg, set) in &mut self.sets {
            if in_use.contains(agg) {
                Arc::make_mut(set).used = now;
            }
        }
        self.sets.retain(|_, set| set.used + UNUSED_FOR > now);
    }

    /// Creates the counter of unknown status words of an upstream at 0.
    pub fn upstream(&mut self, upstream: Arc<str>, provider: &'static str) {
        self.unknown_words.entry((upstream, provider)).or_default();
    }

    /// Counts an answer with a status word that no table knows.
    pub fn unknown_word(&mut self, upstream: Arc<str>, provider: &'static str) {
        *self.unknown_words.entry((upstream, provider)).or_default() += 1;
    }

    /// Counts where an answer was not as its provider documents it.
    pub fn drifted(&mut self, upstream: &Arc<str>, provider: &'static str, drift: Drift, now: Now) {
        let birth = self.birth(now.wall);
        for (field, problem) in drift.iter() {
            let key = (upstream.clone(), provider, field, problem);
            let new = || Delayed::new(birth, 0, now);
            self.drift.entry(key).or_insert_with(new).count += 1;
        }
    }

    /// Forgets upstreams that are not configured any more.
    pub fn keep_upstreams(&mut self, keep: impl Fn(&str) -> bool) {
        self.sets.retain(|agg, _| keep(&agg.upstream));
        self.discovered.retain(|(upstream, _), _| keep(upstream));
        self.drift.retain(|(upstream, ..), _| keep(upstream));
        self.unknown_words.retain(|(upstream, _), _| keep(upstream));
    }

    /// The sets that there are.
    pub fn aggs(&self) -> impl Iterator<Item = &Agg> {
        self.sets.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{FailureClass, Status};
    use crate::metrics::encoder::Encoder;
    use crate::metrics::format::Format;

    const HOLD: Duration = Duration::from_mins(2);

    fn agg() -> Agg {
        Agg { upstream: "u".into(), provider: "new_api", model: "m".into(), labels: Arc::new([]) }
    }

    fn page(aggregates: &Aggregates) -> String {
        written(aggregates, Format::Text)
    }

    fn written(aggregates: &Aggregates, format: Format) -> String {
        let mut out = Encoder::new(format, false);
        aggregates.write(&mut out, Timestamp::from_secs(0));
        String::from_utf8(out.finish()).unwrap()
    }

    #[test]
    fn a_set_is_born_at_zero_held_and_then_released_together() {
        let steady = crate::clock::instant();
        let now =
            |secs| Now { wall: Timestamp::from_secs(secs), steady: steady + Duration::from_secs(secs.unsigned_abs()) };
        let mut aggregates = Aggregates::new(HOLD, Vec::new());
        let birth = aggregates.birth(now(0).wall);
        aggregates.add(agg(), birth, now(0));
        let ending = [Increment::Finished(Status::Failed), Increment::Latency(Status::Failed, 30.0)];
        let id = TaskId::parse("t").unwrap();
        aggregates.count(agg(), &ending, Some((&id, now(100).wall)), birth, now(100));
        let exemplars =
            |aggregates: &Aggregates| written(aggregates, Format::OpenMetrics).matches(" # {task_id=\"t\"} ").count();
        let finished =
            "videogen_tasks_finished_total{upstream=\"u\",provider=\"new_api\",model=\"m\",status=\"failed\"}";
        let count =
            "videogen_task_latency_seconds_count{upstream=\"u\",provider=\"new_api\",model=\"m\",status=\"failed\"}";
        let shows = |aggregates: &Aggregates, value| {
            let page = page(aggregates);
            [finished, count].iter().all(|series| page.contains(&format!("{series} {value}\n")))
        };
        assert_eq!(aggregates.due(now(119).steady), Due::default());
        assert!(shows(&aggregates, 0));
        let due = aggregates.due(now(120).steady);
        assert_eq!(due.sets, [agg()]);
        assert!(shows(&aggregates, 0), "not before that is committed");
        assert_eq!(exemplars(&aggregates), 0, "a task of what is held back");
        aggregates.release(&due);
        assert!(shows(&aggregates, 1));
        assert_eq!(exemplars(&aggregates), 2, "of the end and of its latency");
        assert_eq!(aggregates.due(now(500).steady), Due::default());
        aggregates.count(agg(), &ending, None, birth, now(501));
        assert!(shows(&aggregates, 2), "an old set is not held");
    }

    #[test]
    fn a_restored_set_is_held_for_the_rest_of_its_time_and_never_again_once_shown() {
        let steady = crate::clock::instant() + Duration::from_hours(24);
        let now = |secs: i64| Now { wall: Timestamp::from_secs(1000 + secs), steady };
        let restored = |shown, at| {
            let mut aggregates = Aggregates::new(HOLD, Vec::new());
            let created = Timestamp::from_secs(1000);
            let cells = vec![(Cell::Finished(Status::Failed), 7)];
            let tally = Tally { agg: agg(), birth: Birth { created, shown }, used: created, cells };
            aggregates.restore(tally, now(at));
            aggregates
        };
        let due_after =
            |aggregates: &mut Aggregates, secs| !aggregates.due(steady + Duration::from_secs(secs)).sets.is_empty();
        let mut young = restored(false, 90);
        assert!(!due_after(&mut young, 29) && due_after(&mut young, 30));
        let mut clock_went_back = restored(false, -3600);
        assert!(!due_after(&mut clock_went_back, 119) && due_after(&mut clock_went_back, 120));
        for at in [-3600, 1, 9999] {
            let mut shown = restored(true, at);
            assert!(page(&shown).contains("status=\"failed\"} 7\n"), "{at}");
            assert!(!due_after(&mut shown, 9999));
        }
    }

    #[test]
    fn a_set_that_nobody_uses_goes() {
        let now = Now { wall: Timestamp::from_secs(0), steady: crate::clock::instant() };
        let mut aggregates = Aggregates::new(HOLD, Vec::new());
        let birth = aggregates.birth(now.wall);
        let other = Agg { model: "n".into(), ..agg() };
        aggregates.add(agg(), birth, now);
        aggregates.add(other.clone(), birth, now);
        let mut left = |used: &[Agg], part| {
            aggregates.free(&used.iter().cloned().collect(), now.wall + UNUSED_FOR * part / 2);
            aggregates.aggs().cloned().collect::<Vec<_>>()
        };
        assert_eq!(left(&[agg()], 1), [agg(), other]);
        assert_eq!(left(&[], 2), [agg()]);
        assert_eq!(left(&[], 3), []);
    }

    #[test]
    fn every_possible_series_is_there_from_the_start() {
        let now = Now { wall: Timestamp::from_secs(0), steady: crate::clock::instant() };
        let mut aggregates = Aggregates::new(Duration::ZERO, Vec::new());
        let birth = aggregates.birth(now.wall);
        aggregates.add(agg(), birth, now);
        let before = page(&aggregates).lines().count();
        for end in Status::ENDS {
            let mut increments = vec![Increment::Finished(end), Increment::Moved(Status::Running, end)];
            increments.extend(FailureClass::possible(end).iter().map(|class| Increment::Failure(end, *class)));
            aggregates.count(agg(), &increments, None, birth, now);
        }
        aggregates.count(agg(), &[Increment::Latency(Status::Expired, 1e6), Increment::Quota(0.5)], None, birth, now);
        let after = page(&aggregates);
        assert_eq!(after.lines().count(), before);
        assert!(after.contains("model=\"m\"} 0.5\n"));
    }
}
