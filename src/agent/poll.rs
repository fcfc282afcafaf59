//! Polling one upstream: one dispatcher that holds all its timers, its rate limit and its back-off.
//!
//! The dispatcher is the only one that moves the upstream's tasks, so a task has no two readings at once, and an upstream
//! that is slow or dead holds back nobody else.

use std::collections::{HashSet, VecDeque};
use std::future::poll_fn;
use std::slice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use governor::clock::{Clock as _, QuantaClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::time::DelayQueue;

use super::backoff::{Backoff, Gate};
use super::{Rules, Shared};
use crate::clock;
use crate::config::Upstream;
use crate::domain::{Answer, ApiError, Reading, Reason, Task, TaskId, Timestamp, advance, schedule};
use crate::http::{Client, ClientError, retry_after};
use crate::metrics::Ended;

/// How long polls may take to come home before a new configuration takes over.
const RELOAD_PATIENCE: Duration = Duration::from_secs(1);

/// Unknown status words that are told of; more are only counted.
const MAX_WORDS: usize = 50;

/// The dispatcher of one upstream.
pub struct Poller {
    upstream: Upstream,
    client: Arc<Client>,
    shared: Arc<Shared>,
    rules: Arc<Rules>,
    wake: Arc<Notify>,
    /// Tasks that wait for their time.
    timers: DelayQueue<TaskId>,
    /// Tasks whose time has come, with the moment when it came.
    due: VecDeque<(TaskId, Instant)>,
    in_flight: JoinSet<Outcome>,
    limiter: DefaultDirectRateLimiter,
    limiter_clock: QuantaClock,
    backoff: Backoff,
    /// The back-off that is on the page.
    shown_backoff: Option<Instant>,
    /// Unknown status words that were logged.
    told_words: HashSet<String>,
    /// Since when due polls have been waiting for the rate limit.
    throttled_since: Option<Instant>,
}

/// One request and what came of it.
struct Outcome {
    id: TaskId,
    sent: Instant,
    code: Option<u16>,
    retry_after: Option<String>,
    result: Result<Answer, ApiError>,
}

/// Why nothing more is sent at this moment.
enum Blocked {
    /// Nothing is due, or as much is on its way as may be.
    Idle,
    /// The upstream is left alone, or the rate limit is used up, until then.
    Until(Instant),
}

impl Poller {
    /// Ready to run.
    pub(super) fn new(upstream: Upstream, shared: Arc<Shared>, rules: Arc<Rules>) -> Result<Self, ClientError> {
        let client = Arc::new(Client::new(&upstream.http)?);
        let polling = &upstream.polling;
        // What an upstream asked for is not forgotten because our configuration changes.
        let carried = shared.carried().backoffs.remove(&upstream.name);
        let backoff = carried.map_or_else(|| Backoff::new(polling.pace.max), |held| held.within(polling.pace.max));
        let period = Duration::from_secs_f64(1.0 / polling.requests_per_second);
        let quota = Quota::with_period(period).unwrap_or_else(|| Quota::per_second(std::num::NonZero::<u32>::MIN));
        let quota = quota.allow_burst(polling.burst.try_into().unwrap_or(std::num::NonZero::<u32>::MIN));
        let limiter_clock = QuantaClock::default();
        Ok(Self {
            client,
            wake: shared.tracker.wake(&upstream.name),
            shared,
            rules,
            timers: DelayQueue::new(),
            due: VecDeque::new(),
            in_flight: JoinSet::new(),
            limiter: RateLimiter::direct_with_clock(quota, limiter_clock.clone()),
            limiter_clock,
            backoff,
            shown_backoff: None,
            told_words: HashSet::new(),
            throttled_since: None,
            upstream,
        })
    }

    /// Polls until `stop`. Then what is on its way comes home if the program `ends`; for a new configuration it has a moment,
    /// because nobody is polled meanwhile, and a poll that is cut off is only asked again.
    pub(super) async fn run(mut self, stop: CancellationToken, ends: CancellationToken) -> anyhow::Result<()> {
        self.begin();
        loop {
            let until = match self.send_what_may_go().await {
                Blocked::Until(until) => Some(until),
                Blocked::Idle => self.backoff.until(clock::instant()),
            };
            self.show_backoff();
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.wake.notified() => {
                    let fresh = self.shared.tracker.take_fresh(&self.upstream.name);
                    self.schedule(fresh);
                }
                Some(due) = poll_fn(|cx| self.timers.poll_expired(cx)), if !self.timers.is_empty() => {
                    let at = due.deadline().into_std();
                    self.due.push_back((due.into_inner(), at));
                }
                Some(ended) = self.in_flight.join_next(), if !self.in_flight.is_empty() => self.take_home(ended).await?,
                () = tokio::time::sleep_until(until.unwrap_or_else(clock::instant).into()), if until.is_some() => {}
            }
        }
        let patience =
            if ends.is_cancelled() { self.upstream.polling.timeout + RELOAD_PATIENCE } else { RELOAD_PATIENCE };
        let until = clock::instant() + patience;
        while let Ok(Some(ended)) = tokio::time::timeout_at(until.into(), self.in_flight.join_next()).await {
            self.take_home(ended).await?;
        }
        self.shared.carried().backoffs.insert(self.upstream.name.clone(), self.backoff);
        Ok(())
    }

    /// Schedules the tasks that were there before: each when it would have been asked anyway.
    fn begin(&mut self) {
        let now = Timestamp::from(clock::now());
        let pace = self.upstream.polling.pace;
        let (asked, new): (Vec<_>, Vec<_>) =
            self.shared.tracker.begin(&self.upstream.name).into_iter().partition(|task| task.last_poll.is_some());
        for task in asked {
            let wait = schedule::wait(&task, &pace, now, fastrand::f64());
            let next = task.last_poll.unwrap_or(now) + wait;
            // Not later than that, also when the wall clock was set back meanwhile.
            self.timers.insert(task.id.clone(), next.duration_since(now).min(wait));
        }
        self.schedule(new.into_iter().map(|task| task.id.clone()).collect());
    }

    /// Places the first polls: spread over as much time as the rate limit needs for them, an interval at most.
    fn schedule(&mut self, ids: Vec<TaskId>) {
        let polling = &self.upstream.polling;
        let waiting = f64::from(u32::try_from(self.timers.len() + ids.len()).unwrap_or(u32::MAX));
        let window = Duration::from_secs_f64(waiting / polling.requests_per_second).min(polling.pace.interval);
        for id in ids {
            let wait = schedule::first_wait(&id, window);
            self.timers.insert(id, wait);
        }
    }

    /// Sends due polls for as long as limit, back-off and slots allow.
    async fn send_what_may_go(&mut self) -> Blocked {
        loop {
            let now = clock::instant();
            if self.due.is_empty() {
                return Blocked::Idle;
            }
            let slots = match self.backoff.gate(now) {
                Gate::Open => self.upstream.polling.max_in_flight,
                Gate::Probe => 1,
                Gate::Shut(until) => return Blocked::Until(until),
            };
            if self.in_flight.len() >= slots {
                return Blocked::Idle;
            }
            if let Err(early) = self.limiter.check() {
                self.throttled_since.get_or_insert(now);
                return Blocked::Until(now + early.wait_time_from(self.limiter_clock.now()));
            }
            if let Some(since) = self.throttled_since.take() {
                self.shared.metrics.upstreams.throttled(&self.upstream.name, now - since);
            }
            let Some((id, due)) = self.due.pop_front() else { return Blocked::Idle };
            let Some(task) = self.shared.tracker.get(&self.upstream.name, &id).filter(|task| task.is_active()) else {
                continue; // Forgotten, or ended: it is not asked about again.
            };
            let given_up = Timestamp::from(clock::now()).duration_since(task.first_seen) >= self.rules.give_up_after;
            if given_up {
                // Still active: it could not be committed, and is given up another time.
                if self.advance(&task, Reading::GivenUp, None).await.is_some() {
                    self.timers.insert(id, self.upstream.polling.pace.interval);
                }
            } else {
                self.send(id, now, now.saturating_duration_since(due));
            }
        }
    }

    fn send(&mut self, id: TaskId, now: Instant, lag: Duration) {
        self.shared.metrics.upstreams.poll_sent(&self.upstream.name, lag);
        let (client, provider, key) = (self.client.clone(), self.upstream.provider, self.upstream.key.clone());
        self.in_flight.spawn(async move {
            let request = provider.request(&id);
            let key = match key {
                Some(key) => Some(key.get().await),
                None => None,
            };
            let mut outcome =
                Outcome { id, sent: now, code: None, retry_after: None, result: Err(ApiError::new(Reason::Reset)) };
            match client.send(&request, key.as_ref()).await {
                Err(reason) => outcome.result = Err(ApiError::new(reason)),
                Ok(response) => {
                    outcome.code = Some(response.status);
                    outcome.retry_after = response.retry_after;
                    outcome.result = match response.body {
                        Ok(body) => provider.read(response.status, &body),
                        // What did not come whole still has a status that says more.
                        Err(reason) if (200..300).contains(&response.status) => Err(ApiError::new(reason)),
                        Err(_) => provider.read(response.status, b""),
                    };
                }
            }
            outcome
        });
    }

    async fn take_home(&mut self, ended: Result<Outcome, tokio::task::JoinError>) -> anyhow::Result<()> {
        let outcome = ended?;
        let (now, at) = (clock::instant(), Timestamp::from(clock::now()));
        let name = self.upstream.name.clone();
        let reason = match &outcome.result {
            Ok(answer) if answer.gone => Some(Reason::NotFound),
            Ok(_) => None,
            Err(error) => Some(error.kind),
        };
        let ended = Ended { code: outcome.code, reason, took: now - outcome.sent, at };
        self.shared.metrics.upstreams.poll_ended(&name, &ended);
        self.note_trouble(&outcome, reason, now, at);

        let Some(task) = self.shared.tracker.get(&name, &outcome.id) else { return Ok(()) };
        let (reading, answer) = match outcome.result {
            Ok(answer) if answer.gone => (Reading::NotFound, None),
            Ok(answer) => {
                if let Some(word) = &answer.unknown_word {
                    self.shared.metrics.unknown_word(&name, task.provider);
                    if self.told_words.len() < MAX_WORDS && self.told_words.insert(word.clone()) {
                        tracing::warn!(upstream.name = %name, task.id = %task.id, word, "a status word that no table knows");
                    }
                }
                let names = (answer.model_origin.clone(), answer.model_upstream.clone());
                (Reading::Answer(Box::new(answer)), Some(names))
            }
            Err(error) => {
                let code = error.code.as_deref().unwrap_or("");
                tracing::debug!(upstream.name = %name, task.id = %outcome.id, reason = error.kind.as_str(), code, "poll failed");
                (if error.kind == Reason::NotFound { Reading::NotFound } else { Reading::Failed }, None)
            }
        };
        if let Some(task) = self.advance(&task, reading, answer).await {
            let wait = schedule::wait(&task, &self.upstream.polling.pace, at, fastrand::f64());
            self.timers.insert(outcome.id, wait);
        }
        Ok(())
    }

    /// Tells the back-off how a request ended.
    fn note_trouble(&mut self, outcome: &Outcome, reason: Option<Reason>, now: Instant, at: Timestamp) {
        let asked = matches!(outcome.code, Some(429 | 503)).then_some(outcome.retry_after.as_deref()).flatten();
        let asked = asked.and_then(|value| retry_after(value, at));
        let before = self.backoff.until(now);
        self.backoff.ended(reason, asked, outcome.sent, now, fastrand::f64());
        if let (None, Some(until)) = (before, self.backoff.until(now)) {
            let reason = reason.map_or("", Reason::as_str);
            let seconds = until.duration_since(now).as_secs_f64();
            tracing::warn!(upstream.name = %self.upstream.name, reason, seconds, "leaving the upstream alone");
        }
    }

    /// Puts the back-off in force on the page, or takes it off.
    fn show_backoff(&mut self) {
        let now = clock::instant();
        let until = self.backoff.until(now);
        if until != self.shown_backoff {
            self.shown_backoff = until;
            let shown = until.map(|until| Timestamp::from(clock::now()) + until.duration_since(now));
            self.shared.metrics.upstreams.backoff(&self.upstream.name, shown);
        }
    }

    /// Moves a task: decide, commit, then show and count. Gives the task back if it has to be asked again.
    async fn advance(
        &self,
        task: &Task,
        reading: Reading,
        names: Option<(Option<String>, Option<String>)>,
    ) -> Option<Task> {
        let now = Timestamp::from(clock::now());
        let metrics = &self.shared.metrics;
        let mut task = task.clone();
        if let Some((origin, ran)) = names.filter(|_| task.model.is_none()) {
            let label = |name: Option<&str>| name.and_then(|name| metrics.model_label(&task.upstream, name, now));
            let settled = label(origin.as_deref()).or_else(|| label(ran.as_deref()));
            task.model = settled.or_else(|| label(self.upstream.model.as_deref()));
        }
        let transition = advance(&task, reading, &self.rules.policy, now);
        if transition.durable
            && let Err(error) = self.shared.store.commit(slice::from_ref(&transition)).await
        {
            tracing::error!(upstream.name = %task.upstream, task.id = %task.id, %error, "not committed, so not counted; asking again");
            return Some(task);
        }
        self.shared.tracker.apply(transition.task.clone());
        metrics.observe(&transition, now);
        if transition.from != transition.task.status {
            let (from, to) = (transition.from.as_str(), transition.task.status.as_str());
            tracing::info!(upstream.name = %task.upstream, task.id = %task.id, from, to, "task moved");
        }
        Some(transition.task).filter(Task::is_active)
    }
}
