//! The counters of one upstream's tasks, with what belongs to counting them: limits on labels, zero holds, drift.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::drift_report::DriftReporter;
use super::settings::UpstreamSettings;
use crate::counters::{CounterSnapshot, DueHolds, LabelLimiter, SourceCounters, UpstreamCounters, ZeroHold};
use crate::domain::drift::{Field, FieldProblem};
use crate::domain::label_set::UNKNOWN_MODEL;
use crate::domain::labels::sanitize;
use crate::domain::time::Now;
use crate::domain::{Answer, Counter, CounterKey, Drift, Increment, LabelSet, Task, TaskId, Timestamp, Transition};
use crate::metrics::Metrics;
use crate::store::{Command, Reply, Store};

/// The counters.
pub struct TaskCounters {
    upstream: Arc<str>,
    /// Shared with views until it is changed.
    counters: Arc<UpstreamCounters>,
    labels: LabelLimiter,
    drift: DriftReporter,
    /// Zero holds whose release is being committed.
    releasing: Option<(DueHolds, oneshot::Receiver<Reply>)>,
    store: Arc<Store>,
    metrics: Arc<Metrics>,
}

impl TaskCounters {
    /// Nothing counted yet.
    pub fn new(settings: &UpstreamSettings, store: Arc<Store>, metrics: Arc<Metrics>) -> Self {
        Self {
            upstream: settings.upstream.name.clone(),
            counters: Arc::new(UpstreamCounters::new(settings.zero_hold, settings.labels.exported_names())),
            labels: LabelLimiter::new(settings.labels.clone()),
            drift: DriftReporter::new(settings.upstream.name.clone()),
            releasing: None,
            store,
            metrics,
        }
    }

    fn counters_mut(&mut self) -> &mut UpstreamCounters {
        Arc::make_mut(&mut self.counters)
    }

    /// Takes another configuration; whether tasks need other aggregate labels.
    pub fn configure(&mut self, settings: &UpstreamSettings, is_source: impl Fn(&str) -> bool) -> bool {
        let has_other_labels = settings.labels.labels != self.labels.limits().labels;
        self.labels.configure(settings.labels.clone());
        self.counters_mut().configure(settings.zero_hold, settings.labels.exported_names(), is_source);
        has_other_labels
    }

    /// Continues counters of the state.
    pub fn restore(&mut self, snapshots: Vec<CounterSnapshot>, now: Now) {
        for snapshot in snapshots {
            self.labels.restore(&snapshot.label_set, snapshot.used);
            self.counters_mut().restore(snapshot, now);
        }
    }

    /// Continues the counts of sources.
    pub fn restore_sources(&mut self, sources: Vec<SourceCounters>, now: Now) {
        for source in sources {
            self.counters_mut().restore_source(source, now);
        }
    }

    /// The zero hold of a series created now.
    pub fn zero_hold(&self, now: Timestamp) -> ZeroHold {
        self.counters.zero_hold(now)
    }

    /// Gives a task its label set. A task keeps the one that it has.
    pub fn assign_label_set(&mut self, task: &mut Task, now: Timestamp) {
        self.labels.assign(task, now);
    }

    /// Gives a task whose model or labels have become known its label set.
    pub fn on_known(&mut self, task: &mut Task, now: Timestamp) {
        self.labels.assign_again(task, now);
    }

    /// The model label of a task by its answer; the configured model where that names none.
    pub fn model(&mut self, answer: &Answer, fallback: Option<&str>, now: Timestamp) -> Option<Arc<str>> {
        let names = [answer.model_origin.as_deref(), answer.model_upstream.as_deref(), fallback];
        names.into_iter().flatten().find_map(|name| self.labels.model(name, now))
    }

    /// Creates those of these label sets that were never exported, here and in the state.
    pub fn create_missing(&mut self, label_sets: BTreeSet<LabelSet>, now: Now) {
        let missing = label_sets.into_iter().filter(|label_set| !self.counters.has(label_set));
        let missing: Vec<LabelSet> = missing.collect();
        if !missing.is_empty() {
            let hold = self.zero_hold(now.steady);
            // Nobody waits for it: what is lost is created again with the next count.
            drop(self.store.send(Command::CreateLabelSets(missing.clone(), hold, self.born())));
            self.create(missing, hold, now);
        }
    }

    /// Lets label sets have these late series from the start, those that exist from now on.
    pub fn set_born(&mut self, born: Vec<CounterKey>, now: Now) {
        self.counters_mut().set_born(born.into());
        let unborn = self.counters.unborn();
        if !unborn.is_empty() {
            let hold = self.zero_hold(now.steady);
            drop(self.store.send(Command::CreateLabelSets(unborn.clone(), hold, self.born())));
            self.create(unborn, hold, now);
        }
    }

    /// The increments of 0 that create the late series of a new label set.
    pub fn born(&self) -> Vec<Increment> {
        self.counters.born()
    }

    /// Adds them to a transition whose label set is new.
    pub fn add_born(&self, transition: &mut Transition) {
        if !self.counters.has(&transition.task.label_set()) {
            transition.increments.extend(self.born());
        }
    }

    /// Creates label sets that the state has.
    pub fn create(&mut self, label_sets: impl IntoIterator<Item = LabelSet>, hold: ZeroHold, now: Now) {
        for label_set in label_sets {
            self.counters_mut().create_series(label_set, hold, now);
        }
    }

    /// Counts tasks that a source discovered first.
    pub fn discovered(&mut self, source: &str, tasks: usize, hold: ZeroHold, now: Now) {
        self.counters_mut().discovered(source, tasks as u64, hold, now);
    }

    /// Counts a committed transition.
    pub fn count(&mut self, transition: &Transition, hold: ZeroHold, now: Now) {
        self.counters_mut().count(transition, hold, now);
    }

    /// Removes increments that would fill a counter for good, before they are committed; that is drift, counted and logged.
    pub fn refuse_full(&mut self, transition: &mut Transition, now: Now) {
        let Transition { task, increments, .. } = transition;
        let label_set = task.label_set();
        let mut drift = Drift::NONE;
        increments.retain(|increment| {
            let has_room = self.counters.has_room(&label_set, *increment);
            if !has_room {
                drift.add(field_of(increment.0.counter), FieldProblem::Unreadable);
            }
            has_room
        });
        self.note_drift(drift, &task.id, now);
    }

    /// Counts and logs what is unusual about an answer; whether there was anything.
    pub fn note_answer(&mut self, answer: &Answer, id: &TaskId, now: Now) -> bool {
        if let Some(word) = &answer.unknown_word {
            self.drift.report_word(word, id);
            self.counters_mut().unknown_word();
        }
        if answer.has_unknown_body {
            self.drift.report_unknown_body(&sanitize(answer.told_model().unwrap_or(UNKNOWN_MODEL)), id);
        }
        self.note_drift(answer.drift, id, now) || answer.unknown_word.is_some()
    }

    /// A task was read alone, which changed it at its gateway.
    pub fn note_effect(&mut self, id: &TaskId) {
        self.drift.report_effect(id);
    }

    /// A task is read by lists only, because the key does not know it.
    pub fn note_list_only(&mut self, id: &TaskId) {
        self.drift.report_list_only(id);
    }

    /// Counts and logs where an answer was not as documented; whether there was anything.
    pub fn note_drift(&mut self, drift: Drift, id: &TaskId, now: Now) -> bool {
        if drift.is_none() {
            return false;
        }
        self.drift.report_drift(drift, id);
        self.counters_mut().drifted(drift, now);
        true
    }

    /// Releases zero holds that are over, once it is committed that their values are exported; whether any was.
    pub fn release_holds(&mut self, now: Now) -> bool {
        let mut is_released = false;
        if let Some((due, mut replied)) = self.releasing.take() {
            match replied.try_recv() {
                Ok(Reply { result: Ok(_), .. }) => {
                    self.counters_mut().release(&due);
                    is_released = true;
                }
                Err(oneshot::error::TryRecvError::Empty) => self.releasing = Some((due, replied)),
                // Tried again: it is still due.
                Ok(_) | Err(oneshot::error::TryRecvError::Closed) => {}
            }
        }
        let read = self.metrics.scrapes.read_by_all(&self.upstream, now.monotonic);
        let mut due = self.counters.due_holds(now.monotonic, read);
        // Drift is counted by this process alone: nothing has to be committed.
        let drift = std::mem::take(&mut due.drift);
        if !drift.is_empty() {
            self.counters_mut().release(&DueHolds { drift, ..DueHolds::default() });
            is_released = true;
        }
        if self.releasing.is_none() && due.needs_commit() {
            let command = Command::Release {
                label_sets: due.label_sets.clone(),
                series: due.series.clone(),
                upstream: self.upstream.clone(),
                sources: due.sources.clone(),
                now: now.steady,
            };
            self.releasing = Some((due, self.store.send(command)));
        }
        is_released
    }

    /// Records which label sets are in use, and drops those that have been unused for long.
    pub fn free_unused(&mut self, in_use: &BTreeSet<LabelSet>, now: Timestamp) {
        drop(self.store.send(Command::MarkUsed(in_use.iter().cloned().collect(), now)));
        self.counters_mut().free_unused(in_use, now);
        self.labels.free_unused(self.counters.sets().map(|(label_set, _)| label_set), now);
    }

    /// The counters as they are now, for a view.
    pub fn publish(&mut self) -> Arc<UpstreamCounters> {
        let folded = self.labels.take_folded();
        if !folded.is_empty() {
            self.metrics.labels_folded(folded);
        }
        self.metrics.upstreams.label_sets_folded(&self.upstream, self.labels.take_folded_sets());
        self.counters.clone()
    }
}

/// The field that an amount comes from.
const fn field_of(counter: Counter) -> Field {
    match counter {
        Counter::Tokens => Field::TokensTotal,
        Counter::Quota | Counter::Charged => Field::Credits,
        Counter::VideoSeconds => Field::Duration,
        Counter::Cost => Field::Cost,
        _ => Field::Finish,
    }
}
