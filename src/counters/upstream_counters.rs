//! Everything that is counted of one upstream's tasks. It outlives them, never falls, and never carries a task id.
//!
//! A label set is created at 0 when its first task is tracked and exported as 0 until every Prometheus has read that, for
//! `metrics.zero_hold` at most. What happened meanwhile is released together. Late series have a zero hold of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::counter_set::CounterSet;
use super::held_count::HeldCount;
use super::label_limits::UNUSED_FOR;
use super::snapshot::{CounterSnapshot, SourceCounters};
use super::zero_hold::{HoldEnd, ZeroHold};
use crate::domain::drift::{Field, FieldProblem};
use crate::domain::time::Now;
use crate::domain::{CounterKey, Drift, Increment, LabelSet, Timestamp, Transition};

/// The counters. A clone shares the label sets with its original until one of them is counted on.
#[derive(Debug, Clone)]
pub struct UpstreamCounters {
    hold: Duration,
    /// Names of the aggregate labels, as exported.
    labels: Vec<Arc<str>>,
    sets: BTreeMap<LabelSet, Arc<CounterSet>>,
    sources: BTreeMap<String, HeldCount>,
    drift: BTreeMap<(Field, FieldProblem), HeldCount>,
    unknown_words: u64,
    /// Late series that new label sets have from the start.
    born: Arc<[CounterKey]>,
}

/// Zero holds that are over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DueHolds {
    /// Of label sets.
    pub label_sets: Vec<LabelSet>,
    /// Of late series.
    pub series: Vec<(LabelSet, CounterKey)>,
    /// Of sources.
    pub sources: Vec<String>,
    /// Of fields that were not as documented, which are counted by this process alone.
    pub drift: Vec<(Field, FieldProblem)>,
}

impl DueHolds {
    /// Whether the state has to commit that something is exported.
    pub fn needs_commit(&self) -> bool {
        !(self.label_sets.is_empty() && self.series.is_empty() && self.sources.is_empty())
    }
}

impl UpstreamCounters {
    /// Nothing counted yet.
    pub fn new(hold: Duration, labels: Vec<Arc<str>>) -> Self {
        Self {
            hold,
            labels,
            sets: BTreeMap::new(),
            sources: BTreeMap::new(),
            drift: BTreeMap::new(),
            unknown_words: 0,
            born: Arc::new([]),
        }
    }

    /// Takes a new hold and new aggregate labels; label sets with other labels are dropped, their series would clash. Sources
    /// that are not configured any more are dropped, too.
    pub fn configure(&mut self, hold: Duration, labels: Vec<Arc<str>>, is_source: impl Fn(&str) -> bool) {
        self.hold = hold;
        if self.labels != labels {
            self.sets.clear();
            self.labels = labels;
        }
        self.sources.retain(|source, _| is_source(source));
    }

    /// Takes other late series that label sets have from the start.
    pub fn set_born(&mut self, born: Arc<[CounterKey]>) {
        self.born = born;
    }

    /// The increments that create those series.
    pub fn born(&self) -> Vec<Increment> {
        self.born.iter().map(|series| (*series, 0)).collect()
    }

    /// The label sets that lack some of those series.
    pub fn unborn(&self) -> Vec<LabelSet> {
        let lacks = |set: &CounterSet| self.born.iter().any(|series| !set.has_late(*series));
        self.sets.iter().filter(|(_, set)| lacks(set)).map(|(label_set, _)| label_set.clone()).collect()
    }

    /// The zero hold of a series created at `now`.
    pub const fn zero_hold(&self, now: Timestamp) -> ZeroHold {
        ZeroHold { created: now, released: self.hold.is_zero() }
    }

    /// Whether there is such a label set.
    pub fn has(&self, label_set: &LabelSet) -> bool {
        self.sets.contains_key(label_set)
    }

    /// Whether its labels are the configured ones: they may have changed while its transition was being committed.
    fn has_current_labels(&self, label_set: &LabelSet) -> bool {
        self.labels.iter().eq(label_set.labels.iter().map(|(name, _)| name))
    }

    /// Creates a label set at 0, if it is new, and those of its late series that it has from the start.
    pub fn create_series(&mut self, label_set: LabelSet, hold: ZeroHold, now: Now) {
        if !self.has_current_labels(&label_set) {
            return;
        }
        let born = self.born.clone();
        let set = self.sets.entry(label_set).or_insert_with(|| CounterSet::new(hold, now.steady, now).into());
        for series in born.iter().filter(|series| !set.has_late(**series)).copied().collect::<Vec<_>>() {
            Arc::make_mut(set).create_late(series, hold, now);
        }
    }

    /// Counts a committed transition; creates its label set, if it is new.
    pub fn count(&mut self, transition: &Transition, hold: ZeroHold, now: Now) {
        let Transition { task, increments, at, .. } = transition;
        let label_set = task.label_set();
        self.create_series(label_set.clone(), hold, now);
        if let Some(set) = self.sets.get_mut(&label_set).filter(|_| !increments.is_empty()) {
            let set = Arc::make_mut(set);
            for increment in increments {
                set.count(*increment, (&task.id, *at), hold, now);
            }
        }
    }

    /// Whether the counter of a label set has room for an increment.
    pub fn has_room(&self, label_set: &LabelSet, increment: Increment) -> bool {
        self.sets.get(label_set).is_none_or(|set| set.has_room(increment))
    }

    /// Continues a label set of the state, unless it is in memory already.
    pub fn restore(&mut self, snapshot: CounterSnapshot, now: Now) {
        if self.has_current_labels(&snapshot.label_set) {
            self.sets.entry(snapshot.label_set).or_insert_with(|| {
                CounterSet::restore(snapshot.zero_hold, snapshot.used, &snapshot.numbers, now).into()
            });
        }
    }

    /// Continues the count of a source, unless it is in memory already.
    pub fn restore_source(&mut self, source: SourceCounters, now: Now) {
        let new = || HeldCount::new(source.zero_hold, source.tasks, now);
        self.sources.entry(source.source).or_insert_with(new);
    }

    /// Counts tasks that a source discovered first; creates its count at 0, if it is new.
    pub fn discovered(&mut self, source: &str, tasks: u64, hold: ZeroHold, now: Now) {
        if let Some(held) = self.sources.get_mut(source) {
            held.add(tasks);
        } else {
            self.sources.insert(source.to_owned(), HeldCount::new(hold, tasks, now));
        }
    }

    /// Counts an answer with an unknown status word.
    pub const fn unknown_word(&mut self) {
        self.unknown_words += 1;
    }

    /// Counts where an answer was not as its provider documents it.
    pub fn drifted(&mut self, drift: Drift, now: Now) {
        let hold = self.zero_hold(now.steady);
        for key in drift.iter() {
            self.drift.entry(key).or_insert_with(|| HeldCount::new(hold, 0, now)).add(1);
        }
    }

    /// Label sets with values that are still exported as 0.
    pub fn held_sets(&self) -> usize {
        self.sets.values().filter(|set| set.is_held()).count()
    }

    /// Whether values of a label set are still exported as 0.
    pub fn is_held(&self, label_set: &LabelSet) -> bool {
        self.sets.get(label_set).is_some_and(|set| set.is_held())
    }

    /// The zero holds that are over; every Prometheus has read what was published at `read` or before. Those of label sets and
    /// sources are [released](Self::release) once the state has committed that.
    pub fn due_holds(&self, now: Instant, read: Option<Instant>) -> DueHolds {
        let end = HoldEnd { longest: self.hold, now, read };
        let label_sets = self.sets.iter().filter(|(_, set)| set.is_due(end));
        let series =
            self.sets.iter().flat_map(|(label_set, set)| set.due_series(end).map(|series| (label_set.clone(), series)));
        let sources = self.sources.iter().filter(|(_, count)| count.is_due(end));
        let drift = self.drift.iter().filter(|(_, count)| count.is_due(end));
        DueHolds {
            label_sets: label_sets.map(|(label_set, _)| label_set.clone()).collect(),
            series: series.collect(),
            sources: sources.map(|(source, _)| source.clone()).collect(),
            drift: drift.map(|(key, _)| *key).collect(),
        }
    }

    /// Exports the values of what was due.
    pub fn release(&mut self, due: &DueHolds) {
        for label_set in &due.label_sets {
            if let Some(set) = self.sets.get_mut(label_set) {
                Arc::make_mut(set).release();
            }
        }
        for (label_set, series) in &due.series {
            if let Some(set) = self.sets.get_mut(label_set) {
                Arc::make_mut(set).release_series(*series);
            }
        }
        let sources = due.sources.iter();
        let drift = due.drift.iter();
        for source in sources {
            self.sources.get_mut(source).into_iter().for_each(HeldCount::release);
        }
        for key in drift {
            self.drift.get_mut(key).into_iter().for_each(HeldCount::release);
        }
    }

    /// Notes which label sets tracked tasks have now, and drops those that none has had for [`UNUSED_FOR`].
    pub fn free_unused(&mut self, in_use: &BTreeSet<LabelSet>, now: Timestamp) {
        for (label_set, set) in &mut self.sets {
            if in_use.contains(label_set) {
                Arc::make_mut(set).mark_used(now);
            }
        }
        self.sets.retain(|_, set| set.used() + UNUSED_FOR > now);
    }

    /// Only the counters of some label sets, and nothing that is counted of the whole upstream.
    #[must_use]
    pub fn only(&self, has: impl Fn(&LabelSet) -> bool) -> Self {
        let sets = self.sets.iter().filter(|(label_set, _)| has(label_set));
        let sets = sets.map(|(label_set, set)| (label_set.clone(), set.clone())).collect();
        Self { sets, ..Self::new(self.hold, self.labels.clone()) }
    }

    /// The label sets, with their counters.
    pub fn sets(&self) -> impl Iterator<Item = (&LabelSet, &Arc<CounterSet>)> {
        self.sets.iter()
    }

    /// Tasks by the source that discovered them first.
    pub fn sources(&self) -> impl Iterator<Item = (&str, &HeldCount)> {
        self.sources.iter().map(|(source, count)| (source.as_str(), count))
    }

    /// Fields of answers that were not as documented.
    pub fn drift(&self) -> impl Iterator<Item = (Field, FieldProblem, &HeldCount)> {
        self.drift.iter().map(|((field, problem), count)| (*field, *problem, count))
    }

    /// Answers with an unknown status word.
    pub const fn unknown_words(&self) -> u64 {
        self.unknown_words
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::state_increments;
    use crate::domain::task::Video;
    use crate::domain::{Counter, NewTask, Status, Task, TaskId};

    const HOLD: Duration = Duration::from_mins(2);

    fn task() -> Task {
        let new = NewTask::new(TaskId::parse("t").unwrap());
        let video = Arc::new(Video { model: Some("m".into()), ..Video::default() });
        Task { video, ..Task::new("u".into(), "new_api", new, Timestamp::from_secs(0)) }
    }

    fn failed(at: Timestamp) -> Transition {
        let failed = Status::Failed.index();
        let increments = vec![(Counter::Finished.with([failed]), 1), (Counter::Latency.with([failed]), 30_000)];
        Transition {
            task: task(),
            from: Status::Running,
            at,
            increments,
            durable: true,
            sample: None,
            spent: Vec::new(),
        }
    }

    /// Exported ends and exemplars.
    fn exported(counters: &UpstreamCounters) -> (u64, usize) {
        let (_, set) = counters.sets().next().unwrap();
        let key = Counter::Finished.with([Status::Failed.index()]);
        let keys = state_increments((key, 1)).chain(state_increments((Counter::Latency.with([3]), 30_000)));
        let exemplars = keys.filter(|(key, _)| set.exemplar(*key).is_some()).count();
        (set.values(key).count(key), exemplars)
    }

    #[test]
    fn a_label_set_is_created_at_zero_and_released_after_its_hold() {
        let begun = crate::clock::instant();
        let now = |secs: u64| Now {
            steady: Timestamp::from_secs(secs.cast_signed()),
            monotonic: begun + Duration::from_secs(secs),
        };
        let mut counters = UpstreamCounters::new(HOLD, Vec::new());
        let hold = counters.zero_hold(now(0).steady);
        counters.create_series(task().label_set(), hold, now(0));
        counters.count(&failed(now(100).steady), hold, now(100));
        assert_eq!(counters.due_holds(now(119).monotonic, None), DueHolds::default());
        assert_eq!(exported(&counters), (0, 0));
        let due = counters.due_holds(now(120).monotonic, None);
        assert_eq!(due.label_sets, [task().label_set()]);
        assert_eq!(exported(&counters), (0, 0), "not released before the commit");
        counters.release(&due);
        assert_eq!(exported(&counters), (1, 2), "exemplars of the end and of its latency");
        assert_eq!(counters.due_holds(now(500).monotonic, None), DueHolds::default());
        counters.count(&failed(now(501).steady), hold, now(501));
        assert_eq!(exported(&counters), (2, 2), "an old label set is not held");
    }

    #[test]
    fn a_hold_ends_when_every_prometheus_has_read_the_zero() {
        let begun = crate::clock::instant();
        let now = Now { steady: Timestamp::from_secs(0), monotonic: begun };
        let mut counters = UpstreamCounters::new(HOLD, Vec::new());
        // It took a second to store the label set, so no page before had it.
        let hold = counters.zero_hold(now.steady.shifted(-1000));
        counters.create_series(task().label_set(), hold, now);
        let due = |read| counters.due_holds(begun + Duration::from_secs(1), Some(read)).needs_commit();
        assert!(!due(begun.checked_sub(Duration::from_millis(1)).unwrap()) && due(begun));
        assert!(counters.is_held(&task().label_set()) && counters.held_sets() == 1);
        let due = counters.due_holds(begun, Some(begun));
        counters.release(&due);
        assert!(!counters.is_held(&task().label_set()) && counters.held_sets() == 0);
    }

    #[test]
    fn a_restored_label_set_is_held_for_the_rest_of_its_hold_and_only_once() {
        let begun = crate::clock::instant() + Duration::from_hours(24);
        let at = |secs: i64, released| {
            let mut counters = UpstreamCounters::new(HOLD, Vec::new());
            let created = Timestamp::from_secs(1000);
            let numbers = state_increments((Counter::Finished.with([Status::Failed.index()]), 7)).collect();
            let zero_hold = ZeroHold { created, released };
            let snapshot = CounterSnapshot { label_set: task().label_set(), zero_hold, used: created, numbers };
            counters.restore(snapshot, Now { steady: Timestamp::from_secs(1000 + secs), monotonic: begun });
            counters
        };
        let is_due = |counters: &UpstreamCounters, secs| {
            counters.due_holds(begun + Duration::from_secs(secs), None).needs_commit()
        };
        let young = at(90, false);
        assert!(!is_due(&young, 29) && is_due(&young, 30));
        let clock_went_back = at(-3600, false);
        assert!(!is_due(&clock_went_back, 119) && is_due(&clock_went_back, 120));
        for secs in [-3600, 1, 9999] {
            let released = at(secs, true);
            assert_eq!(exported(&released).0, 7, "{secs}");
            assert!(!is_due(&released, 9999));
        }
    }

    #[test]
    fn an_unused_label_set_is_dropped() {
        let now = Now { steady: Timestamp::from_secs(0), monotonic: crate::clock::instant() };
        let mut counters = UpstreamCounters::new(HOLD, Vec::new());
        let hold = counters.zero_hold(now.steady);
        let (one, other) = (task().label_set(), LabelSet { model: "n".into(), ..task().label_set() });
        counters.create_series(one.clone(), hold, now);
        counters.create_series(other.clone(), hold, now);
        let mut left = |used: &[LabelSet], part| {
            counters.free_unused(&used.iter().cloned().collect(), now.steady + UNUSED_FOR * part / 2);
            counters.sets().map(|(label_set, _)| label_set.clone()).collect::<Vec<_>>()
        };
        assert_eq!(left(std::slice::from_ref(&one), 1), [one.clone(), other]);
        assert_eq!(left(&[], 2), [one]);
        assert_eq!(left(&[], 3), []);
    }

    #[test]
    fn label_sets_with_other_labels_are_neither_created_nor_counted() {
        let now = Now { steady: Timestamp::from_secs(0), monotonic: crate::clock::instant() };
        let mut counters = UpstreamCounters::new(HOLD, vec!["label_team".into()]);
        counters.count(&failed(now.steady), counters.zero_hold(now.steady), now);
        assert_eq!(counters.sets().count(), 0);
    }
}
