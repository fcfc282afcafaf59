//! The state machine of a task: applies readings and computes what they count.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::FailureClass;
use crate::domain::Status;
use crate::domain::Task;
use crate::domain::Timestamp;
use crate::domain::counter::{Counter, Increment, thousandths};
use crate::domain::labels::sanitize;
use crate::domain::number::Number;
use crate::domain::reading::{Answer, ClockSource, PollError, Reading, Times};
use crate::domain::scrub::scrub;
use crate::domain::span::{Span, SpanProblem};
use crate::domain::task::{FailedPoll, Strikes, TaskError, is_possible_span};
use crate::domain::video_words::{self, ResolutionClass};

/// Consecutive not-found answers after which a task is lost.
pub const LOST_AFTER_STRIKES: u32 = 3;

/// The time over which those answers must be spread: a gateway may not know a task right after its creation.
pub const LOST_AFTER: Duration = Duration::from_mins(1);

/// Which tasks that were discovered after their end are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountSince {
    /// All of them.
    Always,
    /// Those that finished at or after this time of the steady clock.
    Moment(Timestamp),
    /// Those that finished at or after this time by the upstream's own clock.
    Configured(Timestamp),
}

/// The rules that a transition depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Which tasks that were discovered after their end are counted.
    pub count_since: CountSince,
    /// An end that is older than this when it is first read is not counted.
    pub forget_after: Duration,
    /// The upstream's clock minus the steady clock, in milliseconds.
    pub upstream_skew: i64,
    /// The upstream does not know most of its tasks, so that it is the upstream that is wrong: no task is lost for that.
    pub has_amnesia: bool,
}

impl Policy {
    /// Counts every end, however old.
    pub const COUNT_ALL: Self =
        Self { count_since: CountSince::Always, forget_after: Duration::MAX, upstream_skew: 0, has_amnesia: false };
}

/// The effect of a reading on a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// The task afterwards.
    pub task: Task,
    /// Its status before.
    pub from: Status,
    /// When it was read.
    pub at: Timestamp,
    /// What it counts, under the label set of the task afterwards.
    pub increments: Vec<Increment>,
    /// It must be committed before it is exported or counted.
    pub durable: bool,
}

/// Applies a reading to a task. No other function changes the status of a task.
pub fn advance(task: &Task, reading: Reading, policy: &Policy, now: Timestamp) -> Transition {
    let mut next = task.clone();
    let mut gateway_lag = None;
    let is_second_answer = task.last_poll.is_some() && matches!(reading, Reading::Answer(_));
    match reading {
        Reading::Failed(error) => record_failed_poll(&mut next, error, now),
        Reading::NotFound(error) => {
            record_failed_poll(&mut next, error, now);
            let strikes = next.strikes.get_or_insert(Strikes { count: 0, since: now });
            strikes.count = strikes.count.saturating_add(1);
            let is_lost = strikes.count >= LOST_AFTER_STRIKES && now.duration_since(strikes.since) >= LOST_AFTER;
            if is_lost && task.is_active() && !policy.has_amnesia {
                mark_lost(&mut next, FailureClass::Lost);
            }
        }
        Reading::GivenUp => {
            if task.is_active() {
                mark_lost(&mut next, FailureClass::Timeout);
            }
        }
        Reading::Answer(answer) => {
            gateway_lag = answer.gateway_lag;
            apply_answer(&mut next, &answer, now);
        }
    }
    if next.status != task.status || next.progress != task.progress {
        next.last_change = now;
    }
    // A lost task that the upstream knows again is active, or has its real end now.
    let is_revived = task.status == Status::Lost && next.status != Status::Lost;
    if next.status.is_end() && (next.ended_seen.is_none() || is_revived) {
        next.ended_seen = Some(now);
    } else if is_revived {
        next.ended_seen = None;
    }
    let increments = count_changes(task, &mut next, gateway_lag, is_second_answer, policy, now);
    // After a restart `seen_active` decides what is counted, and `reopened` what is polled. The two statuses belong to the
    // timeline.
    let durable = next.status != task.status
        || !increments.is_empty()
        || next.seen_active != task.seen_active
        || next.reopened != task.reopened
        || next.gateway_status != task.gateway_status
        || next.upstream_status != task.upstream_status
        || next.video.model != task.video.model
        || next.error.as_ref().map(|error| &error.code) != task.error.as_ref().map(|error| &error.code);
    if durable {
        next.revision = next.revision.wrapping_add(1);
    }
    Transition { task: next, from: task.status, at: now, increments, durable }
}

fn record_failed_poll(task: &mut Task, error: PollError, now: Timestamp) {
    task.poll_failures = task.poll_failures.saturating_add(1);
    task.failed_poll = Some(Arc::new(FailedPoll { error, at: now }));
}

fn mark_lost(task: &mut Task, class: FailureClass) {
    task.status = Status::Lost;
    task.progress = None;
    task.failure = Some(class);
    task.gateway_status = None;
    task.upstream_status = None;
}

fn apply_answer(task: &mut Task, answer: &Answer, now: Timestamp) {
    task.last_poll = Some(now);
    task.poll_failures = 0;
    task.strikes = None;
    if task.video.model.is_none() && answer.model.is_some() {
        Arc::make_mut(&mut task.video).model.clone_from(&answer.model);
    }
    task.read_has_side_effect |= answer.read_has_side_effect;
    task.has_large_answers = answer.is_large;
    task.gateway_status = answer.gateway_status;
    task.upstream_status = answer.upstream_status;
    // The upstream has never reported a lost task as ended.
    task.reopened = task.status.is_end() && task.status != Status::Lost && !answer.status().is_end();
    if task.reopened {
        return; // Only another end replaces an end.
    }
    task.failure = FailureClass::of_end(answer.status(), answer.failure);
    apply_error(task, answer);
    task.status = answer.status();
    task.progress = answer.progress.and_then(Number::new);
    task.synthetic_progress = answer.synthetic_progress;
    task.seen_active |= !answer.status().is_end();
    task.times = merge_times(task.times, answer.times);
    task.finish_is_synthetic = answer.finish_is_synthetic;
    task.video_seconds = answer.video_seconds.and_then(Number::new).or(task.video_seconds);
    task.quota = answer.credits.and_then(Number::new).or(task.quota);
    task.deadline = answer.deadline.or(task.deadline);
    task.result_expiry = answer.expires_at.or(task.result_expiry);
    if !answer.tokens.is_empty() {
        task.tokens = answer.tokens.into();
    }
    let video = &task.video;
    let upstream_model =
        changed_text(video.upstream_model.as_deref(), answer.model_upstream.as_deref(), |text| Some(sanitize(text)));
    let resolution = changed_text(video.resolution.as_deref(), answer.resolution.as_deref(), |text| {
        video_words::resolution(text).map(Cow::Borrowed)
    });
    let service_tier = changed_text(video.service_tier.as_deref(), answer.service_tier.as_deref(), |text| {
        video_words::service_tier(text).map(Cow::Borrowed)
    });
    // Usually nothing has changed, and tasks continue to share the record.
    if upstream_model.is_some() || resolution.is_some() || service_tier.is_some() {
        let video = Arc::make_mut(&mut task.video);
        video.upstream_model = upstream_model.or(video.upstream_model.take());
        video.resolution = resolution.or(video.resolution.take());
        video.service_tier = service_tier.or(video.service_tier.take());
    }
}

/// Keeps the error of an answer. An answer without one leaves the last error.
fn apply_error(task: &mut Task, answer: &Answer) {
    if answer.error_code.is_none() && answer.error_message.is_none() {
        return;
    }
    let code = answer.error_code.as_deref().map(|code| sanitize(code).into_owned());
    let message = answer.error_message.as_deref().and_then(scrub);
    let error = TaskError { code, message, class: task.failure };
    if task.error.as_deref() != Some(&error) {
        task.error = Some(Arc::new(error));
    }
}

/// The text of an answer in the form that is exported, if it differs from the known one. An answer without the text changes
/// nothing.
fn changed_text<'a>(
    known: Option<&str>,
    text: Option<&'a str>,
    exported: impl FnOnce(&'a str) -> Option<Cow<'a, str>>,
) -> Option<Arc<str>> {
    // Usually it is the text of the answer before.
    let text = text.filter(|text| known != Some(*text)).and_then(exported)?;
    (!text.is_empty() && known != Some(&*text)).then(|| Arc::from(text))
}

/// Adds known times to the times of an answer that lacks them, unless this would mix two clocks unnoticed.
fn merge_times(old: Times, new: Times) -> Times {
    if new.submit.is_none() && old.submit.is_some() {
        let clock = if new.finish.is_some() && new.clock != old.clock { ClockSource::Mixed } else { old.clock };
        return Times { start: new.start.or(old.start), submit: old.submit, finish: new.finish, clock };
    }
    let start = new.start.or(if new.clock == old.clock { old.start } else { None });
    Times { start, ..new }
}

/// Whether a task is counted. A task that was never seen active may have ended before the exporter ran.
fn is_counted(task: &Task, policy: &Policy, now: Timestamp) -> bool {
    if task.seen_active || policy.count_since == CountSince::Always {
        return true;
    }
    match task.times.finish {
        Some(finish) => {
            let steady = finish.shifted(policy.upstream_skew.saturating_neg());
            let is_since = match policy.count_since {
                CountSince::Always => true,
                CountSince::Moment(since) => steady >= since,
                CountSince::Configured(since) => finish >= since,
            };
            is_since && steady >= now - policy.forget_after
        }
        None => task.discovered_after_first_load,
    }
}

fn count_changes(
    before: &Task,
    task: &mut Task,
    gateway_lag: Option<f64>,
    is_second_answer: bool,
    policy: &Policy,
    now: Timestamp,
) -> Vec<Increment> {
    let mut increments = Vec::new();
    let ended = task.status.is_end();
    if !(ended || task.seen_active) || !is_counted(task, policy, now) {
        return increments;
    }
    let status = task.status.index();
    // An upstream that names no model does so in its first answer, if at all: the second one shows that it does not.
    if !task.counted.submitted && (task.video.model.is_some() || ended || is_second_answer) {
        task.counted.submitted = true;
        increments.push((Counter::Submitted.with([]), 1));
    }
    if task.status != before.status {
        increments.push((Counter::Transitions.with([before.status.index(), status]), 1));
        if before.status.is_end() {
            increments.push((Counter::Regressions.with([]), 1));
        }
    }
    let bit = 1u8 << status;
    if ended && task.counted.ends & bit == 0 {
        task.counted.ends |= bit;
        increments.push((Counter::Finished.with([status]), 1));
        if let Some(class) = task.failure {
            increments.push((Counter::Failures.with([status, class.index()]), 1));
        }
    }
    if ended && task.status != Status::Lost {
        count_spans(task, gateway_lag, &mut increments);
        count_usage(task, &mut increments);
    }
    increments
}

fn count_spans(task: &mut Task, gateway_lag: Option<f64>, increments: &mut Vec<Increment>) {
    let Times { submit, start, finish, .. } = task.times;
    let real_finish = finish.filter(|_| !task.finish_is_synthetic);
    let status = task.status.index();
    let (latency, queue, run) =
        (task.span(submit, real_finish), task.span(submit, start), task.span(start, real_finish));
    let counted = &mut task.counted;
    for (span, counter, seconds, done) in [
        (Span::Latency, Counter::Latency.with([status]), latency, &mut counted.latency),
        (Span::Queue, Counter::Queue.with([]), queue, &mut counted.queue),
        (Span::Run, Counter::Run.with([status]), run, &mut counted.run),
        (Span::GatewayLag, Counter::GatewayLag.with([]), gateway_lag, &mut counted.gateway_lag),
    ] {
        let Some(seconds) = seconds.filter(|_| !*done) else { continue };
        *done = true;
        increments.push(if is_possible_span(seconds) {
            (counter, thousandths(seconds))
        } else {
            let problem = if seconds < 0.0 { SpanProblem::Negative } else { SpanProblem::TooLong };
            (Counter::InvalidDurations.with([span.index(), problem.index()]), 1)
        });
    }
}

fn count_usage(task: &mut Task, increments: &mut Vec<Increment>) {
    if !task.counted.tokens && !task.tokens.get().is_empty() {
        task.counted.tokens = true;
        for (kind, tokens) in task.tokens.get().parts() {
            increments.extend(tokens.map(|tokens| (Counter::Tokens.with([kind.index()]), thousandths(tokens))));
        }
    }
    if task.status != Status::Succeeded {
        return;
    }
    if let Some(quota) = task.quota.filter(|_| !task.counted.quota) {
        task.counted.quota = true;
        increments.push((Counter::Quota.with([]), thousandths(quota.get())));
    }
    if let Some(seconds) = task.video_seconds.filter(|_| !task.counted.video) {
        task.counted.video = true;
        let class = ResolutionClass::from_text(task.video.resolution.as_deref());
        increments.push((Counter::VideoSeconds.with([class.index()]), thousandths(seconds.get())));
    }
}
