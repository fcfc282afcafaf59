//! The tasks of one upstream and everything that moves them: readings, callbacks and settled commits. Whatever has to be
//! durable is committed first, and counted and shown after that.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

use super::account::KnownAccount;
use super::amnesia::Amnesia;
use super::baselines::Baselines;
use super::budgets::BudgetLedger;
use super::command::CallbackOutcome;
use super::commits::{self, PendingCommits};
use super::failure_log::FailureLog;
use super::held_ends::HeldEnds;
use super::poller::Poller;
use super::publisher::Publisher;
use super::request::SendRequest;
use super::services::Services;
use super::settings::UpstreamSettings;
use super::settlement;
use super::table::TaskTable;
use super::task_counters::TaskCounters;
use crate::counters::CounterSnapshot;
use crate::domain::budget::Spending;
use crate::domain::latency::LatencySample;
use crate::domain::time::Now;
use crate::domain::{Answer, LabelSet, NewTask, Policy, Reading, Status, Task, TaskId, Timestamp, Transition, advance};
use crate::metrics::Via;
use crate::store::Settled;
use crate::view::{RowSlot, UpstreamView};

/// Ticks between two looks at which label sets are in use; a tick is a second.
const LABEL_SET_TICKS: u32 = 600;

/// The tasks of one upstream.
pub struct Tracker {
    pub(super) settings: UpstreamSettings,
    pub(super) services: Services,
    pub(super) table: TaskTable,
    pub(super) poller: Poller,
    pub(super) commits: PendingCommits,
    pub(super) publisher: Publisher,
    pub(super) counters: TaskCounters,
    /// Rows of the state that could not be read.
    pub(super) skipped_rows: usize,
    amnesia: Amnesia,
    pub(super) failures: FailureLog,
    pub(super) held_ends: HeldEnds,
    baselines: Baselines,
    budgets: BudgetLedger,
    /// The gateway's units for one unit of money, as its account tells.
    pub(super) account: watch::Receiver<KnownAccount>,
    /// The table has followed the clock, which was put forward.
    has_jumped: bool,
    ticks: u32,
}

impl Tracker {
    /// Without tasks.
    pub fn new(settings: UpstreamSettings, send: SendRequest, services: Services, publisher: Publisher) -> Self {
        Self {
            table: TaskTable::default(),
            poller: Poller::new(&settings, send, &services),
            commits: PendingCommits::default(),
            publisher,
            counters: TaskCounters::new(&settings, services.store.clone(), services.metrics.clone()),
            skipped_rows: 0,
            amnesia: Amnesia::default(),
            failures: FailureLog::new(settings.upstream.name.clone()),
            held_ends: HeldEnds::default(),
            baselines: Baselines::new(settings.stuck()),
            budgets: BudgetLedger::default(),
            account: watch::channel(KnownAccount::default()).1,
            has_jumped: false,
            ticks: 0,
            services,
            settings,
        }
    }

    /// Takes another configuration, with the counters that the state has for its aggregate labels.
    pub fn configure(
        &mut self,
        settings: UpstreamSettings,
        send: SendRequest,
        counters: Vec<CounterSnapshot>,
        is_source: impl Fn(&str) -> bool,
    ) {
        let now = self.services.clock.now();
        self.settings = settings;
        self.table.forget_lists();
        if self.poller.configure(&self.settings, send, now.monotonic) {
            self.schedule_all();
        }
        let needs_labels = self.counters.configure(&self.settings, is_source);
        self.counters.restore(counters, now);
        if needs_labels {
            let Self { table, counters, .. } = self;
            table.relabel(|task| counters.assign_label_set(task, now.steady));
        }
        self.remove_ended(now);
        self.baselines.configure(self.settings.stuck());
        self.counters.set_born(self.settings.born_series(), now);
        self.counters.create_missing(self.label_sets_in_use(), now);
        self.publisher.mark_urgent();
    }

    /// Continues with what the state has of costs and latencies.
    pub fn restore_costs(&mut self, spending: &[Spending], samples: Vec<(Arc<str>, LatencySample)>, now: Now) {
        self.budgets.restore(spending);
        for (model, sample) in samples {
            self.baselines.add(&model, sample);
        }
        self.baselines.update(now.steady);
        self.counters.set_born(self.settings.born_series(), now);
    }

    /// Schedules every task.
    pub fn schedule_all(&mut self) {
        let Self { poller, table, commits, services, .. } = self;
        poller.schedule_all(table, |id| commits.contains(id), services.clock.now());
    }

    /// A task that is not tracked yet.
    pub fn new_task(&mut self, new: NewTask, source: &str, after_first_load: bool, now: Timestamp) -> Arc<Task> {
        let upstream = &self.settings.upstream;
        let mut task = Task::new(upstream.name.clone(), upstream.dialect.name(), new, now);
        task.discovered_after_first_load = after_first_load;
        source.clone_into(&mut Arc::make_mut(&mut task.origin).source);
        self.counters.assign_label_set(&mut task, now);
        self.table.intern(&mut task);
        Arc::new(task)
    }

    /// Tracks tasks that the state has.
    pub fn track(&mut self, tasks: Vec<Arc<Task>>, now: Now) -> Vec<RowSlot> {
        let mut slots = Vec::with_capacity(tasks.len());
        for task in tasks {
            let mut task = Arc::unwrap_or_clone(task);
            self.services.clock.jump().inspect(|jump| task.put_forward(|time| jump.apply(time)));
            self.counters.assign_label_set(&mut task, now.steady);
            slots.extend(self.table.add(task));
        }
        if !slots.is_empty() {
            self.publisher.mark_urgent();
        }
        slots
    }

    /// The label sets of tracked tasks.
    pub fn label_sets_in_use(&self) -> BTreeSet<LabelSet> {
        self.table.rows().iter().map(|(_, row)| row.task.label_set()).collect()
    }

    /// Sends due polls. Returns when to come back, if nothing happens before.
    pub fn poll_due_tasks(&mut self) -> Option<std::time::Instant> {
        self.follow_clock();
        loop {
            let now = self.services.clock.now();
            let dispatched = self.poller.dispatch_due(&self.table, now);
            self.poller.export_backoff(&self.services.clock, now);
            let next = self.poller.next_event(now.monotonic);
            if dispatched.readings.is_empty() {
                return [dispatched.blocked_until, next, self.publisher.next()].into_iter().flatten().min();
            }
            self.apply_readings(dispatched.readings, now.steady, now);
        }
    }

    /// Puts forward what was recorded before the clock was put forward.
    fn follow_clock(&mut self) {
        if let Some(jump) = self.services.clock.jump().filter(|_| !self.has_jumped) {
            self.has_jumped = true;
            self.table.put_forward(jump);
        }
    }

    /// The one way in for readings, however they came, with the time when they were asked for. A reading that is older than the
    /// last one changes nothing. What has to be durable is sent to the store.
    pub(super) fn apply_readings(&mut self, readings: Vec<(RowSlot, Reading)>, asked: Timestamp, now: Now) {
        let prices = self.settings.upstream.billing.clone();
        let billing = self.settings.billing(&prices, self.account.borrow().rate);
        let policy = Policy { billing, ..self.settings.policy(&self.services.clock, self.amnesia.is_present()) };
        let wall = now.steady.shifted(policy.wall_skew);
        let (mut ends, mut others) = (Vec::new(), Vec::new());
        for (slot, mut reading) in readings {
            let Some(task) = self.table.get(slot) else { continue };
            if task.last_poll.is_some_and(|last| asked < last) {
                self.poller.schedule_next(&mut self.table, slot, now);
                continue;
            }
            let had_model = task.video.model.is_some();
            if let Some(answer) = reading.answer_mut() {
                answer.asked = Some(asked);
                let fallback = self.settings.upstream.model_of(&task.id);
                if !had_model {
                    answer.model = self.counters.model(answer, fallback, now.steady);
                }
                if answer.told_model().is_none() && task.video.asked_model.is_none() {
                    answer.model_origin = fallback.map(str::to_owned);
                }
            }
            let mut transition = advance(task, reading, &policy, now.steady);
            let has_new_labels = !Arc::ptr_eq(&transition.task.origin.labels, &task.origin.labels);
            if has_new_labels || !had_model && transition.task.video.model.is_some() {
                self.counters.on_known(&mut transition.task, now.steady);
            }
            if transition.durable {
                self.counters.refuse_full(&mut transition, now);
                self.counters.add_born(&mut transition);
                BudgetLedger::note(&mut transition, &prices.budgets, wall);
                let sent = if transition.task.status.is_end() { &mut ends } else { &mut others };
                // Usually one transition, possibly kept for long: avoid the default capacity of four.
                sent.reserve_exact(usize::from(sent.is_empty()));
                sent.push(transition);
            } else {
                self.replace_and_reschedule(slot, transition.task, now);
            }
        }
        // In separate commands: only ends may wait for a store that cannot be written.
        let hold = self.counters.zero_hold(now.steady);
        for transitions in [ends, others] {
            self.commits.send(&self.services.store, transitions, hold);
        }
    }

    /// Applies a task's new record, and schedules its next poll.
    fn replace_and_reschedule(&mut self, slot: RowSlot, task: Task, now: Now) {
        self.table.update(slot, task);
        self.poller.schedule_next(&mut self.table, slot, now);
        self.publisher.mark_changed();
    }

    /// A callback may be late, repeated, out of order or forged: it only moves a task forward. An end that contradicts the
    /// known one is checked by a poll, as is one without an answer; everything else is ignored.
    pub fn apply_callbacks(
        &mut self,
        callbacks: impl IntoIterator<Item = (TaskId, Option<Answer>)>,
    ) -> CallbackOutcome {
        let now = self.services.clock.now();
        let mut readings = Vec::new();
        let mut outcome = CallbackOutcome::UnknownTask;
        for (id, answer) in callbacks {
            let Some(slot) = self.table.slot(&id) else { continue };
            outcome = CallbackOutcome::Accepted;
            let Some(answer) = answer else {
                self.poller.poll_alone(&mut self.table, slot, now.monotonic);
                continue;
            };
            // Until its commit is settled nobody knows where the task stands.
            if self.commits.hold_callback(&id, &answer) {
                continue;
            }
            let Some(task) = self.table.get(slot) else { continue };
            if task.is_active() && answer.status().stage() > task.status.stage() {
                readings.push((slot, self.interpret_answer(slot, answer, Via::Webhook, now)));
                // A response in flight is older than the callback.
                self.table.new_token(slot);
            } else if task.status == Status::Lost || answer.status().is_end() && answer.status() != task.status {
                self.poller.poll_alone(&mut self.table, slot, now.monotonic);
            }
        }
        self.apply_readings(readings, now.steady, now);
        outcome
    }

    /// A commit is settled: what is durable is counted and shown.
    pub fn on_committed(&mut self, settled: Settled) {
        let now = self.services.clock.now();
        let mut callbacks = Vec::new();
        match settled {
            Settled::Committed { transitions, stale, zero_hold } => {
                for transition in transitions {
                    callbacks.extend(self.commits.remove(&transition.task.id));
                    commits::log_transition(&transition);
                    self.counters.count(&transition, zero_hold, now);
                    self.budgets.add(&transition.spent);
                    if let Some(sample) = transition.sample {
                        self.baselines.add(&transition.task.label_set().model, sample);
                    }
                    self.apply_committed(transition.task, now);
                }
                for (id, task) in stale {
                    callbacks.extend(self.commits.remove(&id));
                    match task {
                        // It was forgotten, and perhaps registered again since.
                        Some(task) if task.is_forgotten => {
                            self.poll_again(&task, now);
                            continue;
                        }
                        Some(task) => self.apply_committed(task, now),
                        None => self.table.remove(&id),
                    }
                    let name = &self.settings.upstream.name;
                    tracing::error!(upstream.name = %name, task.id = %id, "task differs from its row in the state; row taken");
                }
                self.publisher.mark_urgent();
            }
            Settled::Refused(transitions, error) => {
                let name = &self.settings.upstream.name;
                tracing::debug!(upstream.name = %name, tasks = transitions.len(), %error, "commit refused; polling again");
                for Transition { task, .. } in transitions {
                    callbacks.extend(self.commits.remove(&task.id));
                    self.poll_again(&task, now);
                }
            }
        }
        self.apply_callbacks(callbacks.into_iter().map(|(id, answer)| (id, Some(answer))));
    }

    /// Applies a committed record: the aggregate labels may have changed meanwhile.
    fn apply_committed(&mut self, mut task: Task, now: Now) {
        self.services.clock.jump().inspect(|jump| task.put_forward(|time| jump.apply(time)));
        self.counters.assign_label_set(&mut task, now.steady);
        let Some(slot) = self.table.slot(&task.id) else { return };
        // A task that was forgotten and registered again has a newer record.
        if self.table.get(slot).is_none_or(|known| known.revision <= task.revision) {
            self.replace_and_reschedule(slot, task, now);
        }
    }

    /// Polls a task again whose change was refused. What reading does to it is known by that change.
    fn poll_again(&mut self, changed: &Task, now: Now) {
        if let Some(slot) = self.table.slot(&changed.id) {
            let has_effect = changed.read_has_side_effect;
            self.poller.schedule_after_interval(&mut self.table, slot, has_effect, now.monotonic);
        }
    }

    /// What is done every second.
    pub fn on_tick(&mut self) {
        let now = self.services.clock.now();
        self.ticks = self.ticks.wrapping_add(1);
        self.apply_held_ends(now);
        let mut overdue = self.poller.take_overdue(&self.table, now);
        let has_rate = self.account.borrow().rate.is_some();
        overdue.extend(settlement::readings(&self.table, &self.commits, &self.settings, has_rate, now.steady));
        self.apply_readings(overdue, now.steady, now);
        if self.remove_ended(now) {
            self.publisher.mark_urgent();
        }
        let (name, metrics) = (&self.settings.upstream.name, &self.services.metrics);
        self.amnesia.update(self.table.rows(), name, &metrics.upstreams);
        if self.counters.release_holds(now) {
            self.publisher.mark_urgent();
        }
        if self.baselines.update(now.steady) {
            self.publisher.mark_changed();
        }
        let selection = self.services.series.borrow().clone();
        if selection.is_limited() {
            metrics.series_refused(self.table.mark_refused(selection.of(name)));
        }
        if self.ticks.is_multiple_of(LABEL_SET_TICKS) {
            self.counters.free_unused(&self.label_sets_in_use(), now.steady);
            self.publisher.mark_changed();
        }
    }

    /// Removes tasks whose retention is over; whether there were any.
    pub fn remove_ended(&mut self, now: Now) -> bool {
        let rules = &self.settings.rules;
        self.table.remove_ended(rules.retention, rules.give_up_after, now.steady)
    }

    /// Publishes the view, if that is due.
    pub fn publish_if_due(&mut self, is_ready: bool) {
        if self.publisher.is_due(self.services.clock.now().monotonic) {
            self.publish(is_ready);
        }
    }

    /// Publishes the view now.
    pub fn publish(&mut self, is_ready: bool) {
        let now = self.services.clock.now().monotonic;
        let view = UpstreamView {
            upstream: self.settings.upstream.name.clone(),
            provider: self.settings.upstream.dialect.name(),
            chunks: self.table.rows().chunks(),
            task_count: self.table.len(),
            skipped_rows: self.skipped_rows,
            counters: self.counters.publish(),
            outlook: self.baselines.publish(),
            spent: self.budgets.publish(),
            is_ready,
            published: Some(now),
        };
        self.publisher.publish(view, now);
    }
}
