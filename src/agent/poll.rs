//! Polling one upstream: one dispatcher that holds all its timers, its rate limit and its back-off.
//!
//! The dispatcher is the only one that moves the upstream's tasks, so a task has no two readings at once, and an upstream
//! that is slow or dead holds back nobody else.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::ask::{Answers, Asked, Asker, Outcome, Work};
use super::backoff::{Backoff, Gate};
use super::limit::Limit;
use super::moves::{Commits, Move};
use super::oddities::Oddities;
use super::table::Turn;
use super::timetable::{Due, Timetable};
use super::together::Together;
use super::{Rules, Shared, both_clocks};
use crate::clock;
use crate::config::Upstream;
use crate::domain::labels::sanitise;
use crate::domain::{Answer, Place, Reading, Reason, Task, Timestamp, schedule};
use crate::http::{Client, ClientError, retry_after};
use crate::metrics::{Ended, Now};

/// How long polls may take to come home before a new configuration takes over.
const RELOAD_PATIENCE: Duration = Duration::from_secs(1);

/// The dispatcher of one upstream.
pub struct Poller {
    pub(super) upstream: Upstream,
    asker: Arc<Asker>,
    pub(super) shared: Arc<Shared>,
    pub(super) rules: Arc<Rules>,
    wake: Arc<Notify>,
    pub(super) timetable: Timetable,
    /// Asked for and not answered yet. They go on only while the dispatcher waits, so that nobody has to be woken for an answer.
    in_flight: FuturesUnordered<Pin<Box<dyn Future<Output = Outcome> + Send>>>,
    /// What is on its way to the state.
    pub(super) commits: Commits,
    together: Together,
    limit: Arc<Limit>,
    backoff: Backoff,
    /// The back-off that is on the page.
    shown_backoff: Option<Instant>,
    oddities: Oddities,
    /// Since when due polls have been waiting for the rate limit.
    throttled_since: Option<Instant>,
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
    pub(super) fn new(
        upstream: Upstream,
        limit: Arc<Limit>,
        shared: Arc<Shared>,
        rules: Arc<Rules>,
    ) -> Result<Self, ClientError> {
        let client = Client::new(&upstream.http)?;
        let asker = Arc::new(Asker { client, dialect: upstream.dialect.clone(), key: upstream.key.clone() });
        let polling = &upstream.polling;
        // What an upstream asked for is not forgotten because our configuration changes, nor what is on its way to the state.
        let carried = shared.carried().backoffs.remove(&upstream.name);
        let commits = shared.carried().commits.remove(&upstream.name).unwrap_or_default();
        let backoff = carried.map_or_else(|| Backoff::new(polling.pace.max), |held| held.within(polling.pace.max));
        let together = Together::new(upstream.dialect.batch());
        Ok(Self {
            asker,
            wake: shared.tracker.wake(&upstream.name),
            shared,
            rules,
            timetable: Timetable::new(together.is_possible().then_some(polling.pace.min)),
            in_flight: FuturesUnordered::new(),
            commits,
            together,
            limit,
            backoff,
            shown_backoff: None,
            oddities: Oddities::new(upstream.name.clone(), upstream.dialect.name()),
            throttled_since: None,
            upstream,
        })
    }

    /// Polls until `stop`. Then what is on its way comes home if the program `ends`; for a new configuration it has a moment,
    /// because nobody is polled meanwhile, and a poll that is cut off is only asked again.
    pub(super) async fn run(mut self, stop: CancellationToken, ends: CancellationToken) -> anyhow::Result<()> {
        self.begin();
        loop {
            let until = match self.send_what_may_go() {
                Blocked::Until(until) => Some(until),
                Blocked::Idle => self.backoff.until(clock::instant()),
            };
            self.show_backoff();
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.wake.notified() => {
                    let fresh = self.shared.tracker.take_fresh(&self.upstream.name);
                    self.schedule(fresh);
                    let told = self.shared.tracker.take_told(&self.upstream.name);
                    self.hear(told);
                }
                () = self.timetable.expire() => {}
                Some(outcome) = self.in_flight.next(), if !self.in_flight.is_empty() => self.take_home(outcome),
                settled = self.commits.next() => self.settled(settled?),
                () = tokio::time::sleep_until(until.unwrap_or_else(clock::instant).into()), if until.is_some() => {}
            }
        }
        let patience =
            if ends.is_cancelled() { self.upstream.polling.timeout + RELOAD_PATIENCE } else { RELOAD_PATIENCE };
        let until = clock::instant() + patience;
        while let Ok(Some(outcome)) = tokio::time::timeout_at(until.into(), self.in_flight.next()).await {
            self.take_home(outcome);
        }
        // What cannot be committed in a moment is carried on, or read again after the next start.
        let until = clock::instant() + RELOAD_PATIENCE;
        while !self.commits.is_empty()
            && let Ok(settled) = tokio::time::timeout_at(until.into(), self.commits.next()).await
        {
            self.settled(settled?);
        }
        self.shared.carried().commits.insert(self.upstream.name.clone(), self.commits);
        self.shared.carried().backoffs.insert(self.upstream.name.clone(), self.backoff);
        Ok(())
    }

    /// Schedules the tasks that were there before: each when it would have been asked anyway.
    fn begin(&mut self) {
        let now = Timestamp::from(clock::now());
        let mut soon = Vec::new();
        for place in self.shared.tracker.begin(&self.upstream.name) {
            let Some(task) = self.shared.tracker.lying(&self.upstream.name, place) else { continue };
            if self.commits.has(&task.id) {
                continue;
            }
            let Some(wait) = self.wait(&task, now) else { continue };
            // Not later than that, also when the wall clock was set back meanwhile.
            let left = match task.last_poll.filter(|_| task.is_active()) {
                Some(last) => (last + wait).duration_since(now).min(wait),
                None if task.is_active() => Duration::ZERO,
                None => wait,
            };
            if left.is_zero() {
                soon.push(place);
            } else {
                self.ask_after(place, left);
            }
        }
        self.schedule(soon);
    }

    /// Places the first polls. Where many are asked for at once, that is at once.
    fn schedule(&mut self, places: Vec<Place>) {
        let polling = &self.upstream.polling;
        let window = schedule::first_window(places.len(), polling.requests_per_second, polling.pace.interval);
        for place in places {
            if self.together.is_possible() {
                self.take_turn(place, Timetable::ask_now);
            } else if let Some(task) = self.shared.tracker.lying(&self.upstream.name, place) {
                self.ask_after(place, schedule::first_wait(&task.id, window));
            }
        }
    }

    /// The task is asked again after about `wait`, and at no other time.
    pub(super) fn ask_after(&mut self, place: Place, wait: Duration) {
        self.take_turn(place, |timetable, turn| timetable.insert(turn, wait));
    }

    /// The task is asked by itself, at once.
    pub(super) fn ask_alone(&mut self, place: Place) {
        self.take_turn(place, Timetable::ask_alone);
    }

    /// Decides anew when a task is asked.
    fn take_turn(&mut self, place: Place, decide: impl FnOnce(&mut Timetable, Turn)) {
        if let Some(turn) = self.shared.tracker.next_turn(&self.upstream.name, place) {
            decide(&mut self.timetable, turn);
        }
    }

    /// How long until a task is asked again; `None` for one that is not.
    pub(super) fn wait(&self, task: &Task, now: Timestamp) -> Option<Duration> {
        if !task.is_active() {
            let wait = schedule::recheck(task, self.rules.recheck_ended, &self.upstream.polling.pace, now)?;
            return Some(wait + self.timetable.slack());
        }
        // Jitter would keep apart what is to be asked together.
        let chance = if self.together.is_possible() { 0.5 } else { fastrand::f64() };
        let wait = schedule::wait(task, &self.upstream.polling.pace, now, chance);
        // What is told need not be asked for; that is for when nobody tells.
        Some(if self.upstream.webhook.is_some() { wait.max(self.upstream.polling.pace.max) } else { wait })
    }

    /// Sends due polls for as long as limit, back-off and slots allow.
    fn send_what_may_go(&mut self) -> Blocked {
        loop {
            let now = clock::instant();
            let Some((task, due)) = self.next_due() else { return Blocked::Idle };
            if let Some(blocked) = self.blocked(now) {
                self.timetable.put_back(due);
                return blocked;
            }
            self.shared.metrics.upstreams.poll_sent(&self.upstream.name, now.saturating_duration_since(due.at));
            // Whether the upstream is well again is seen by the simplest question.
            let simple = due.alone || !Together::may_join(&task) || self.backoff.gate(now) == Gate::Probe;
            let most = if simple { 1 } else { self.together.size(now) };
            let first = Asked { turn: due.turn, id: task.id };
            let work = if most > 1 { self.gather(first, most) } else { Work::One(first) };
            let asker = self.asker.clone();
            self.in_flight.push(Box::pin(async move { asker.ask(work).await }));
        }
    }

    /// Why nothing more may be sent; a request's place in the rate limit is taken when there is no reason.
    fn blocked(&mut self, now: Instant) -> Option<Blocked> {
        let slots = match self.backoff.gate(now) {
            Gate::Open => self.upstream.polling.max_in_flight,
            Gate::Probe => 1,
            Gate::Shut(until) => return Some(Blocked::Until(until)),
        };
        if self.in_flight.len() >= slots {
            return Some(Blocked::Idle);
        }
        if let Err(until) = self.limit.take(now) {
            self.throttled_since.get_or_insert(now);
            return Some(Blocked::Until(until));
        }
        if let Some(since) = self.throttled_since.take() {
            self.shared.metrics.upstreams.throttled(&self.upstream.name, now - since);
        }
        None
    }

    /// The next task whose time has come and that is still to be asked; what is given up on the way is moved.
    fn next_due(&mut self) -> Option<(Task, Due)> {
        while let Some(due) = self.timetable.next() {
            let now = Timestamp::from(clock::now());
            // A task may have been forgotten meanwhile, or have got another turn. One that has ended is here to be read again.
            let Some(task) = self.shared.tracker.at(&self.upstream.name, due.turn) else { continue };
            if task.is_active() && now.duration_since(task.first_seen) >= self.rules.give_up_after {
                self.advance(vec![Move { place: due.turn.place, task, reading: Reading::GivenUp }]);
                continue;
            }
            return Some((task, due));
        }
        None
    }

    /// Adds as many more due tasks as fit into one request.
    fn gather(&mut self, first: Asked, most: usize) -> Work {
        let mut asked = vec![first];
        let mut left_out = Vec::new();
        while asked.len() < most {
            match self.next_due() {
                Some((task, due)) if !due.alone && Together::may_join(&task) => {
                    asked.push(Asked { turn: due.turn, id: task.id });
                }
                Some((_, due)) => left_out.push(due),
                None => break,
            }
        }
        for due in left_out.into_iter().rev() {
            self.timetable.put_back(due);
        }
        if asked.len() == 1 { Work::One(asked.remove(0)) } else { Work::Many(asked) }
    }

    fn take_home(&mut self, outcome: Outcome) {
        let clocks = both_clocks();
        let (now, at) = (clocks.steady, clocks.wall);
        let reason = match &outcome.result {
            Ok(Answers::One(answer)) if answer.gone => Some(Reason::NotFound),
            Ok(_) => None,
            Err(error) => Some(error.kind),
        };
        let (operation, took) = (outcome.work.operation(), outcome.came - outcome.sent);
        let ended = Ended { operation, code: outcome.code, reason, took, at, date: outcome.date };
        self.shared.metrics.upstreams.poll_ended(&self.upstream.name, &ended);
        self.note_trouble(&outcome, reason, now, at);

        let many = matches!(outcome.work, Work::Many(_));
        if outcome.result.is_ok() {
            self.together.worked(many);
        }
        let asked = outcome.work.tasks();
        let tasks: Vec<(Place, Task)> = asked.iter().filter_map(|asked| self.awaited(asked)).collect();
        let mut moves = Vec::with_capacity(tasks.len());
        match outcome.result {
            Ok(Answers::One(answer)) => {
                let answers = tasks.into_iter().zip([*answer]);
                moves.extend(answers.map(|((place, task), answer)| self.look_at(place, task, answer, clocks)));
            }
            Ok(Answers::Many(mut answers)) => {
                for (place, task) in tasks {
                    match answers.remove(task.id.as_str()) {
                        Some(answer) => moves.push(self.look_at(place, task, answer, clocks)),
                        None => self.ask_alone(place),
                    }
                }
            }
            Err(error) => {
                // An upstream may repeat a key in what it calls a code.
                let code = &*sanitise(error.code.as_deref().unwrap_or(""));
                let (name, reason) = (&self.upstream.name, error.kind.as_str());
                tracing::debug!(upstream.name = %name, task.id = %asked[0].id, tasks = asked.len(), reason, code, "poll failed");
                self.oddities.note_drift(error.drift, &asked[0].id, &self.shared.metrics, clocks);
                if many && self.together.refused(asked.len(), error.kind, now) {
                    let fewer = self.together.size(now).max(1);
                    tracing::warn!(upstream.name = %name, reason, code, asked = asked.len(), fewer, "asking for many tasks at once did not work");
                    for (place, _) in tasks {
                        self.ask_alone(place);
                    }
                } else {
                    let reading = if error.kind == Reason::NotFound { Reading::NotFound } else { Reading::Failed };
                    moves.extend(tasks.into_iter().map(|(place, task)| Move { place, task, reading: reading.clone() }));
                }
            }
        }
        self.advance(moves);
    }

    /// A task whose answer is still waited for. Its upstream may have told by itself meanwhile where it stands, which is younger.
    fn awaited(&self, asked: &Asked) -> Option<(Place, Task)> {
        let task = self.shared.tracker.at(&self.upstream.name, asked.turn).filter(|_| !self.commits.has(&asked.id))?;
        Some((asked.turn.place, task))
    }

    /// What an answer does to its task; what is odd about it is counted and told.
    pub(super) fn look_at(&mut self, place: Place, task: Task, answer: Answer, now: Now) -> Move {
        if answer.gone {
            return Move { place, task, reading: Reading::NotFound };
        }
        self.oddities.note(&answer, &task.id, &self.shared.metrics, now);
        Move { place, task, reading: Reading::Answer(Box::new(answer)) }
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
}
