//! Polls the tasks of one upstream: decides which are due, what may be sent now, and sends it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::backoff::{Backoff, Gate};
use super::batching::BatchSizer;
use super::by_list::ListPolling;
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
use crate::domain::{Answer, ApiError, Reading, Reason, Task, settling};
use crate::metrics::UpstreamMetrics;
use crate::view::RowSlot;

/// How often a permit is tried again while other upstreams have all of them.
const PERMIT_INTERVAL: Duration = Duration::from_millis(50);

/// The poller.
pub struct Poller {
    upstream: Arc<str>,
    pub(super) polling: Polling,
    pub(super) rechecks: RecheckRules,
    /// When polling began.
    began: Instant,
    /// The upstream calls back: polls are only for callbacks that are missed.
    pub(super) has_callbacks: bool,
    send: SendRequest,
    pub(super) queue: PollQueue,
    pub(super) sizer: BatchSizer,
    /// What the upstream's lists read.
    pub(super) lists: ListPolling,
    /// The quota of its tasks needs a reading some seconds after their end.
    pub(super) settles_quota: bool,
    pub(super) limit: RateLimit,
    backoff: Backoff,
    /// Requests without a response. They make progress only while the actor waits, so that no response wakes another thread.
    in_flight: FuturesUnordered<PendingRequest>,
    /// One for each of them.
    permits: Vec<OwnedSemaphorePermit>,
    /// Permits for the requests of all upstreams.
    requests: Arc<Semaphore>,
    /// Their tasks.
    pub(super) in_flight_slots: HashMap<RowSlot, PollToken>,
    /// Answers of tasks whose results are to be requested, by the poll that does it.
    pub(super) need_results: HashMap<PollToken, Box<Answer>>,
    /// Since when due polls have been waiting for the rate limit.
    throttled_since: Option<Instant>,
    /// The back-off that is exported.
    exported_backoff: Option<Instant>,
    metrics: UpstreamMetrics,
}

/// What came of dispatching due polls.
#[derive(Debug, Default, PartialEq)]
pub struct Dispatched {
    /// Readings of tasks that are not polled any more: they are given up, or their quota is final.
    pub readings: Vec<(RowSlot, Reading)>,
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
        let lists = ListPolling::new(upstream, now.monotonic);
        let grid = (sizer.has_batches() || lists.is_active()).then_some(polling.pace.min);
        Self {
            upstream: upstream.name.clone(),
            polling,
            rechecks: settings.rules.rechecks(),
            began: now.monotonic,
            has_callbacks: upstream.webhook.is_some(),
            send,
            queue: PollQueue::new(grid, now.monotonic),
            sizer,
            lists,
            settles_quota: upstream.dialect.is_new_api(),
            limit: RateLimit::new(polling.requests_per_second, polling.burst),
            backoff: Backoff::new(polling.pace.max),
            in_flight: FuturesUnordered::new(),
            permits: Vec::new(),
            requests,
            in_flight_slots: HashMap::new(),
            need_results: HashMap::new(),
            throttled_since: None,
            exported_backoff: None,
            metrics,
        }
    }

    /// Takes another configuration. Requests in flight and the back-off continue. Returns whether tasks have to be
    /// [scheduled](Poller::schedule_all) anew.
    pub fn configure(&mut self, settings: &UpstreamSettings, send: SendRequest, now: Instant) -> bool {
        let upstream = &settings.upstream;
        let polling = upstream.polling;
        let rechecks = settings.rules.rechecks();
        let has_callbacks = upstream.webhook.is_some();
        let was_together = self.are_polled_together();
        self.sizer = BatchSizer::new(upstream.dialect.batch());
        let mut lists = ListPolling::new(upstream, now);
        lists.inherit(&self.lists);
        for due in std::mem::replace(&mut self.lists, lists).into_due() {
            self.queue.push_due(due.token, now);
        }
        let is_other_schedule = polling.pace != self.polling.pace
            || rechecks != self.rechecks
            || has_callbacks != self.has_callbacks
            || was_together != self.are_polled_together();
        let limit = |polling: &Polling| (polling.requests_per_second.to_bits(), polling.burst);
        if limit(&polling) != limit(&self.polling) {
            self.limit = RateLimit::new(polling.requests_per_second, polling.burst);
        }
        self.queue.configure(self.are_polled_together().then_some(polling.pace.min));
        self.backoff.configure(polling.pace.max);
        (self.polling, self.rechecks) = (polling, rechecks);
        (self.has_callbacks, self.send) = (has_callbacks, send);
        is_other_schedule
    }

    /// When the dispatcher has something to do: the next timer, or the end of the back-off.
    pub fn next_event(&self, now: Instant) -> Option<Instant> {
        [self.queue.next_timer(), self.backoff.until(now)].into_iter().flatten().min()
    }

    /// Sends due polls for as long as rate limit, back-off and the limit of requests in flight allow.
    pub fn dispatch_due(&mut self, table: &TaskTable, now: Now) -> Dispatched {
        let mut dispatched = Dispatched::default();
        self.expire(table, now, &mut dispatched.readings);
        while let Some((due, task)) = self.pop_due(table, now, &mut dispatched.readings) {
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
                self.fill_batch(table, first, max, now, &mut dispatched.readings)
            } else {
                Work::One(first)
            };
            self.in_flight_slots.extend(work.tasks().iter().map(|task| (task.token.slot, task.token)));
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

    /// Makes polls due; those that lists may read are left to them.
    fn expire(&mut self, table: &TaskTable, now: Now, readings: &mut Vec<(RowSlot, Reading)>) {
        if !self.lists.is_active() {
            self.queue.expire(now.monotonic, Some);
            return;
        }
        let mut expired = self.queue.take_alone(|due| self.lists.is_for_list(due, table, now));
        self.queue.expire(now.monotonic, |due| {
            expired.push(due);
            None
        });
        for due in expired {
            let Some(task) = table.by_token(due.token) else { continue };
            let is_for_list = self.lists.is_for_list(due, table, now);
            if let Some(reading) = self.last_reading(table, due.token.slot, task, now) {
                readings.push((due.token.slot, reading));
            } else if !task.is_active() && !is_for_list {
                self.queue.push_ended(due);
            } else if let Some(due) = self.lists.take(due, table, now) {
                self.queue.push_due(due.token, due.at);
            }
        }
        self.lists.plan(table, now);
    }

    /// Readings of tasks that were left to lists and are not polled any more.
    pub fn take_overdue(&mut self, table: &TaskTable, now: Now) -> Vec<(RowSlot, Reading)> {
        let mut readings = Vec::new();
        let mut lists = std::mem::take(&mut self.lists);
        lists.drop_due(|due| {
            let slot = due.token.slot;
            let reading = table.by_token(due.token).and_then(|task| self.last_reading(table, slot, task, now));
            readings.extend(reading.map(|reading| (slot, reading)));
            readings.last().is_some_and(|(last, _)| *last == slot)
        });
        self.lists = lists;
        readings
    }

    /// The next due poll that was not rescheduled; tasks that are not polled any more are set aside.
    fn pop_due<'a>(
        &mut self,
        table: &'a TaskTable,
        now: Now,
        readings: &mut Vec<(RowSlot, Reading)>,
    ) -> Option<(DuePoll, &'a Task)> {
        while let Some(due) = self.pop(table, now.monotonic) {
            let Some(task) = table.by_token(due.token) else {
                self.need_results.remove(&due.token);
                continue;
            };
            if let Some(reading) = self.last_reading(table, due.token.slot, task, now) {
                self.need_results.remove(&due.token);
                readings.push((due.token.slot, reading));
                continue;
            }
            if self.lists.is_for_list(due, table, now) {
                self.lists.take(due, table, now);
                continue;
            }
            return Some((due, task));
        }
        None
    }

    fn pop(&mut self, table: &TaskTable, now: Instant) -> Option<DuePoll> {
        let other = self.queue.next_due();
        let of_list = if self.queue.has_alone() { None } else { self.lists.next_single(table, other, now) };
        of_list.or_else(|| self.queue.pop())
    }

    /// The reading of a task that is not polled any more.
    fn last_reading(&self, table: &TaskTable, slot: RowSlot, task: &Task, now: Now) -> Option<Reading> {
        if self.is_given_up(table, slot, task, now) {
            return Some(Reading::GivenUp);
        }
        (self.settles_quota && settling::is_given_up(task, now.steady)).then_some(Reading::QuotaSettled)
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
        readings: &mut Vec<(RowSlot, Reading)>,
    ) -> Work {
        let mut tasks = vec![first];
        let mut left_out = Vec::new();
        while tasks.len() < max {
            match self.pop_due(table, now, readings) {
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
