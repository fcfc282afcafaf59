//! Polls the tasks of one upstream: decides which are due, what may be sent now, and sends it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::backoff::{Backoff, Gate};
use super::batching::BatchSizer;
use super::queue::{DuePoll, PollQueue};
use super::rate_limit::RateLimit;
use super::request::{Outcome, PendingRequest, PolledTask, SendRequest, Work};
use super::services::Services;
use super::settings::UpstreamSettings;
use super::table::{PollToken, TaskTable};
use crate::clock::Clock;
use crate::config::Polling;
use crate::domain::labels::sanitize;
use crate::domain::schedule::RecheckRules;
use crate::domain::time::Now;
use crate::domain::{Answer, ApiError, Reason, Task, TaskId, Timestamp, schedule};
use crate::metrics::UpstreamMetrics;
use crate::view::RowSlot;

/// How often a permit is tried again while other upstreams have all of them.
const PERMIT_INTERVAL: Duration = Duration::from_millis(50);

/// The poller.
pub struct Poller {
    upstream: Arc<str>,
    polling: Polling,
    rechecks: RecheckRules,
    /// When polling began.
    began: Instant,
    /// The upstream calls back: polls are only for callbacks that are missed.
    has_callbacks: bool,
    send: SendRequest,
    pub(super) queue: PollQueue,
    sizer: BatchSizer,
    limit: Arc<RateLimit>,
    backoff: Backoff,
    /// Requests without a response. They make progress only while the actor waits, so that no response wakes another thread.
    in_flight: FuturesUnordered<PendingRequest>,
    /// One for each of them.
    permits: Vec<OwnedSemaphorePermit>,
    /// Permits for the requests of all upstreams.
    requests: Arc<Semaphore>,
    /// Their tasks.
    in_flight_slots: HashSet<RowSlot>,
    /// Answers of tasks whose results are to be requested, by the poll that does it.
    need_results: HashMap<PollToken, Box<Answer>>,
    /// Since when due polls have been waiting for the rate limit.
    throttled_since: Option<Instant>,
    /// The back-off that is exported.
    exported_backoff: Option<Instant>,
    metrics: UpstreamMetrics,
}

/// What came of dispatching due polls.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Dispatched {
    /// Active tasks that are given up, not polled.
    pub given_up: Vec<RowSlot>,
    /// When something more may be sent; `None` when nothing is due, or only a response can change that.
    pub blocked_until: Option<Instant>,
}

/// Why nothing more may be sent.
enum Blocked {
    /// Too many requests are in flight.
    InFlight,
    /// The upstream is being backed off from, or the rate limit is exhausted, until then.
    Until(Instant),
}

impl Poller {
    /// Nothing is scheduled yet.
    pub fn new(settings: &UpstreamSettings, send: SendRequest, services: &Services) -> Self {
        let now = services.clock.now();
        let (metrics, requests) = (services.metrics.upstreams.clone(), services.requests.clone());
        let upstream = &settings.upstream;
        let polling = upstream.polling;
        let sizer = BatchSizer::new(upstream.dialect.batch());
        Self {
            upstream: upstream.name.clone(),
            polling,
            rechecks: settings.rules.rechecks(),
            began: now.monotonic,
            has_callbacks: upstream.webhook.is_some(),
            send,
            queue: PollQueue::new(sizer.has_batches().then_some(polling.pace.min), now.monotonic),
            sizer,
            limit: Arc::new(RateLimit::new(polling.requests_per_second, polling.burst)),
            backoff: Backoff::new(polling.pace.max),
            in_flight: FuturesUnordered::new(),
            permits: Vec::new(),
            requests,
            in_flight_slots: HashSet::new(),
            need_results: HashMap::new(),
            throttled_since: None,
            exported_backoff: None,
            metrics,
        }
    }

    /// Takes another configuration. Requests in flight and the back-off continue. Returns whether tasks have to be
    /// [scheduled](Poller::schedule_all) anew.
    pub fn configure(&mut self, settings: &UpstreamSettings, send: SendRequest) -> bool {
        let upstream = &settings.upstream;
        let polling = upstream.polling;
        let rechecks = settings.rules.rechecks();
        let has_callbacks = upstream.webhook.is_some();
        let had_batches = self.sizer.has_batches();
        self.sizer = BatchSizer::new(upstream.dialect.batch());
        let is_other_schedule = polling.pace != self.polling.pace
            || rechecks != self.rechecks
            || has_callbacks != self.has_callbacks
            || had_batches != self.sizer.has_batches();
        let limit = |polling: &Polling| (polling.requests_per_second.to_bits(), polling.burst);
        if limit(&polling) != limit(&self.polling) {
            self.limit = Arc::new(RateLimit::new(polling.requests_per_second, polling.burst));
        }
        self.queue.configure(self.sizer.has_batches().then_some(polling.pace.min));
        self.backoff.configure(polling.pace.max);
        (self.polling, self.rechecks) = (polling, rechecks);
        (self.has_callbacks, self.send) = (has_callbacks, send);
        is_other_schedule
    }

    /// The rate limit, for requests that are no polls.
    pub const fn limit(&self) -> &Arc<RateLimit> {
        &self.limit
    }

    /// When the dispatcher has something to do: the next timer, or the end of the back-off.
    pub fn next_event(&self, now: Instant) -> Option<Instant> {
        [self.queue.next_timer(), self.backoff.until(now)].into_iter().flatten().min()
    }

    /// How long until a task is polled again; `None` for one that is not.
    fn wait(&self, task: &Task, now: Timestamp) -> Option<Duration> {
        let pace = &self.polling.pace;
        if !task.is_active() {
            let wait = schedule::recheck(task, self.rechecks, pace, now)?;
            return Some(wait + self.queue.slack());
        }
        // Jitter would keep apart what should be polled in a batch.
        let chance = if self.sizer.has_batches() { 0.5 } else { fastrand::f64() };
        let wait = schedule::wait(task, pace, now, chance);
        Some(if self.has_callbacks { wait.max(pace.max) } else { wait })
    }

    /// Schedules the next poll of a task after a reading.
    pub fn schedule_next(&mut self, table: &mut TaskTable, slot: RowSlot, now: Now) {
        let wait = table.get(slot).and_then(|task| self.wait(task, now.steady));
        if let Some(wait) = wait {
            self.schedule(table, slot, wait, now.monotonic);
        }
    }

    /// Schedules the next poll of a task after the usual interval.
    pub fn schedule_after_interval(&mut self, table: &mut TaskTable, slot: RowSlot, has_effect: bool, now: Instant) {
        let least = if has_effect { schedule::SIDE_EFFECT_INTERVAL } else { Duration::ZERO };
        self.schedule(table, slot, self.polling.pace.interval.max(least), now);
    }

    fn schedule(&mut self, table: &mut TaskTable, slot: RowSlot, wait: Duration, now: Instant) {
        if let Some(token) = table.new_token(slot) {
            self.queue.schedule(token, wait, now);
        }
    }

    /// Polls a task at once, and alone.
    pub fn poll_alone(&mut self, table: &mut TaskTable, slot: RowSlot, now: Instant) {
        if let Some(token) = table.new_token(slot) {
            self.queue.push_alone(token, now);
        }
    }

    /// Requests the result of a task with this answer at once.
    pub fn request_result(&mut self, token: PollToken, answer: Box<Answer>, now: Instant) {
        self.need_results.insert(token, answer);
        self.queue.push_alone(token, now);
    }

    /// Schedules first polls, spread over time; in batches they are due at once.
    pub fn schedule_first(&mut self, table: &mut TaskTable, slots: &[RowSlot], now: Instant) {
        let Polling { requests_per_second, pace, .. } = self.polling;
        let window = schedule::first_window(slots.len(), requests_per_second, pace.interval);
        for slot in slots {
            let Some(wait) = table.get(*slot).map(|task| schedule::first_wait(&task.id, window)) else { continue };
            if self.sizer.has_batches() {
                table.new_token(*slot).into_iter().for_each(|token| self.queue.push_due(token, now));
            } else {
                self.schedule(table, *slot, wait, now);
            }
        }
    }

    /// Schedules all tasks: each when it would have been polled, had it been scheduled after its last poll. Tasks that are
    /// being polled or committed are left alone.
    pub fn schedule_all(&mut self, table: &mut TaskTable, is_pending: impl Fn(&TaskId) -> bool, now: Now) {
        let mut overdue = Vec::new();
        for slot in table.rows().slots(|row| !is_pending(&row.task.id)) {
            if self.in_flight_slots.contains(&slot) {
                continue;
            }
            let Some(task) = table.get(slot) else { continue };
            let Some(wait) = self.wait(task, now.steady) else {
                // It is not polled any more: the token of a scheduled poll becomes invalid.
                table.new_token(slot);
                continue;
            };
            // Never later than that, even when the wall clock was set back.
            let left = match task.last_poll.filter(|_| task.is_active()) {
                Some(last) => (last + wait).duration_since(now.steady).min(wait),
                None if task.is_active() => Duration::ZERO,
                None => wait,
            };
            if left.is_zero() {
                overdue.push(slot);
            } else {
                self.schedule(table, slot, left, now.monotonic);
            }
        }
        self.schedule_first(table, &overdue, now.monotonic);
    }

    /// Sends due polls for as long as rate limit, back-off and the limit of requests in flight allow.
    pub fn dispatch_due(&mut self, table: &TaskTable, now: Now) -> Dispatched {
        self.queue.expire(now.monotonic);
        let mut dispatched = Dispatched::default();
        while let Some((due, task)) = self.pop_due(table, now, &mut dispatched.given_up) {
            match self.admit(now.monotonic) {
                Ok(()) => {}
                Err(blocked) => {
                    self.queue.put_back(due);
                    dispatched.blocked_until = match blocked {
                        Blocked::InFlight => None,
                        Blocked::Until(until) => Some(until),
                    };
                    break;
                }
            }
            self.metrics.poll_sent(&self.upstream, now.monotonic.saturating_duration_since(due.at));
            // A single poll shows whether the upstream has recovered.
            let is_single =
                due.is_alone || !BatchSizer::is_batchable(task) || self.backoff.gate(now.monotonic) == Gate::Probe;
            let max = if is_single { 1 } else { self.sizer.size(now.monotonic) };
            let first = PolledTask { token: due.token, id: task.id.clone() };
            let work = if let Some(answer) = self.need_results.remove(&first.token) {
                Work::Result(first, answer)
            } else if max > 1 {
                self.fill_batch(table, first, max, now, &mut dispatched.given_up)
            } else {
                Work::One(first)
            };
            self.in_flight_slots.extend(work.tasks().iter().map(|task| task.token.slot));
            self.in_flight.push((self.send)(work));
        }
        dispatched
    }

    /// Takes a permit for one request.
    fn admit(&mut self, now: Instant) -> Result<(), Blocked> {
        let max_in_flight = match self.backoff.gate(now) {
            Gate::Open => self.polling.max_in_flight,
            Gate::Probe => 1,
            Gate::Closed(until) => return Err(Blocked::Until(until)),
        };
        if self.in_flight.len() >= max_in_flight {
            return Err(Blocked::InFlight);
        }
        let Ok(permit) = self.requests.clone().try_acquire_owned() else {
            return Err(Blocked::Until(now + PERMIT_INTERVAL));
        };
        if let Err(until) = self.limit.take(now) {
            self.throttled_since.get_or_insert(now);
            return Err(Blocked::Until(until));
        }
        self.permits.push(permit);
        if let Some(since) = self.throttled_since.take() {
            self.metrics.throttled(&self.upstream, now - since);
        }
        Ok(())
    }

    /// The next due poll that was not rescheduled; tasks that are given up are set aside.
    fn pop_due<'a>(
        &mut self,
        table: &'a TaskTable,
        now: Now,
        given_up: &mut Vec<RowSlot>,
    ) -> Option<(DuePoll, &'a Task)> {
        while let Some(due) = self.queue.pop() {
            let Some(task) = table.by_token(due.token) else {
                self.need_results.remove(&due.token);
                continue;
            };
            if self.is_given_up(table, due.token.slot, task, now) {
                self.need_results.remove(&due.token);
                given_up.push(due.token.slot);
                continue;
            }
            return Some((due, task));
        }
        None
    }

    /// Whether an active task is not polled any more. It may have ended while the exporter was down: after a start it is not given
    /// up before the upstream has answered, unless that takes as long again.
    fn is_given_up(&self, table: &TaskTable, slot: RowSlot, task: &Task, now: Now) -> bool {
        let patience = self.rechecks.lost;
        task.is_active()
            && now.steady.duration_since(task.first_seen) >= patience
            && (table.is_answered(slot) || now.monotonic.saturating_duration_since(self.began) >= patience)
    }

    /// Adds as many more due polls as fit into one request.
    fn fill_batch(
        &mut self,
        table: &TaskTable,
        first: PolledTask,
        max: usize,
        now: Now,
        given_up: &mut Vec<RowSlot>,
    ) -> Work {
        let mut tasks = vec![first];
        let mut left_out = Vec::new();
        while tasks.len() < max {
            match self.pop_due(table, now, given_up) {
                Some((due, task)) if !due.is_alone && BatchSizer::is_batchable(task) => {
                    tasks.push(PolledTask { token: due.token, id: task.id.clone() });
                }
                Some((due, _)) => left_out.push(due),
                None => break,
            }
        }
        left_out.into_iter().rev().for_each(|due| self.queue.put_back(due));
        if tasks.len() == 1 { Work::One(tasks.remove(0)) } else { Work::Batch(tasks) }
    }

    /// Waits for the next response; forever when no request is in flight.
    pub async fn next_response(&mut self) -> Outcome {
        match self.in_flight.next().await {
            Some(outcome) => outcome,
            None => std::future::pending().await,
        }
    }

    /// Whether no request is in flight.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// A request ended, with this error or well.
    pub fn on_request_ended(&mut self, outcome: &Outcome, reason: Option<Reason>, now: Now) {
        self.permits.pop();
        for task in outcome.work.tasks() {
            self.in_flight_slots.remove(&task.token.slot);
        }
        if reason.is_none() {
            self.sizer.on_success(matches!(outcome.work, Work::Batch(_)));
        }
        let asked = outcome.retry_after.filter(|_| matches!(outcome.code, Some(429 | 503)));
        let before = self.backoff.until(now.monotonic);
        self.backoff.on_request_ended(reason, asked, outcome.sent, now.monotonic, fastrand::f64());
        if let (None, Some(until)) = (before, self.backoff.until(now.monotonic)) {
            let reason = reason.map_or("", Reason::as_str);
            let seconds = until.duration_since(now.monotonic).as_secs_f64();
            tracing::warn!(upstream.name = %self.upstream, reason, seconds, "backing off");
        }
    }

    /// A batch failed; true when its tasks must be polled alone.
    pub fn on_batch_failed(&mut self, tasks: usize, error: &ApiError, now: Instant) -> bool {
        let concerns_batches = self.sizer.on_failure(tasks, error.kind, now);
        if concerns_batches {
            let code = &*sanitize(error.code.as_deref().unwrap_or(""));
            let (name, reason, size) = (&self.upstream, error.kind.as_str(), self.sizer.size(now).max(1));
            tracing::warn!(upstream.name = %name, reason, code, tasks, size, "batch failed; smaller batches for a while");
        }
        concerns_batches
    }

    /// Exports the current back-off, if it has changed.
    pub fn export_backoff(&mut self, clock: &Clock, now: Now) {
        let until = self.backoff.until(now.monotonic);
        if until != self.exported_backoff {
            self.exported_backoff = until;
            let exported = until.map(|until| clock.to_wall(now.steady) + until.duration_since(now.monotonic));
            self.metrics.backoff(&self.upstream, exported);
        }
    }
}
