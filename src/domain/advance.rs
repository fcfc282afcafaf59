//! The state machine of a task: applies readings and computes what they count.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::FailureClass;
use crate::domain::Status;
use crate::domain::Task;
use crate::domain::Timestamp;
use crate::domain::apply::apply_answer;
use crate::domain::budget::Spending;
use crate::domain::costing;
use crate::domain::counter::{Counter, Increment, thousandths};
use crate::domain::latency::{self, LatencySample};
use crate::domain::policy::{CountSince, Policy};
use crate::domain::reading::{Answer, PollError, Reading, Times};
use crate::domain::settling;
use crate::domain::span::{Span, SpanProblem};
use crate::domain::task::{FailedPoll, Strikes, is_possible_span};
use crate::domain::video_words::ResolutionClass;

/// Consecutive not-found answers after which a task is lost.
pub const LOST_AFTER_STRIKES: u32 = 3;

/// The time over which those answers must be spread: a gateway may not know a task right after its creation.
pub const LOST_AFTER: Duration = Duration::from_mins(1);

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
    /// How long a task took that has succeeded, and was counted for it.
    pub sample: Option<LatencySample>,
    /// What its increments spend of budgets.
    pub spent: Vec<Spending>,
}

/// Applies a reading to a task. No other function changes the status of a task.
pub fn advance(task: &Task, reading: Reading, policy: &Policy<'_>, now: Timestamp) -> Transition {
    let mut next = task.clone();
    let mut answer = None;
    let mut is_quota_given_up = false;
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
        Reading::Answer(told) => {
            apply_answer(&mut next, &told, now);
            answer = Some(told);
        }
        Reading::QuotaSettled => is_quota_given_up = true,
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
    let tells_quota = answer.as_ref().is_some_and(|answer| answer.credits.is_some());
    let is_quota_final = !policy.settles_quota || is_quota_given_up || settling::is_settled(&next, tells_quota, now);
    let told = Told { answer: answer.as_deref(), is_quota_final };
    let (increments, sample) = count_changes(task, &mut next, told, policy, now);
    // After a restart `seen_active` decides what is counted, and `reopened` what is polled. The two statuses belong to the
    // timeline.
    let durable = next.status != task.status
        || !increments.is_empty()
        || next.counted != task.counted
        || next.cost != task.cost
        || next.waiting_bill != task.waiting_bill
        || next.seen_active != task.seen_active
        || next.reopened != task.reopened
        || next.gateway_status != task.gateway_status
        || next.upstream_status != task.upstream_status
        || next.video.model != task.video.model
        || !Arc::ptr_eq(&next.origin.labels, &task.origin.labels)
        || next.error.as_ref().map(|error| &error.code) != task.error.as_ref().map(|error| &error.code);
    if durable {
        next.revision = next.revision.wrapping_add(1);
    }
    Transition { task: next, from: task.status, at: now, increments, durable, sample, spent: Vec::new() }
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

/// Whether a task is counted. A task that was never seen active may have ended before the exporter ran.
fn is_counted(task: &Task, policy: &Policy<'_>, now: Timestamp) -> bool {
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

/// What counting needs to know of a reading, beside the task.
#[derive(Clone, Copy)]
struct Told<'a> {
    answer: Option<&'a Answer>,
    is_quota_final: bool,
}

fn count_changes(
    before: &Task,
    task: &mut Task,
    told: Told<'_>,
    policy: &Policy<'_>,
    now: Timestamp,
) -> (Vec<Increment>, Option<LatencySample>) {
    let Told { answer, is_quota_final } = told;
    let mut increments = Vec::new();
    let mut sample = None;
    let ended = task.status.is_end();
    let is_new_end = ended && task.status != before.status;
    let is_counted = (ended || task.seen_active) && is_counted(task, policy, now);
    if is_new_end {
        task.waiting_bill = None;
    }
    if is_new_end || task.waiting_bill.is_some() && is_quota_final {
        costing::apply_cost(task, answer, is_quota_final, is_counted, policy, &mut increments);
    }
    if !is_counted {
        return (increments, sample);
    }
    let status = task.status.index();
    // An upstream that names no model does so in its first answer, if at all: the second one shows that it does not.
    let is_second_answer = answer.is_some() && before.last_poll.is_some();
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
        let observed = latency::observed(before, task, policy);
        if let Some(seconds) = observed {
            increments.push((Counter::ObservedLatency.with([status]), thousandths(seconds)));
        }
        if task.status == Status::Succeeded {
            sample = LatencySample::new(task, observed, policy, now);
            increments.extend(answer.and_then(|answer| costing::token_deviation(task, answer)));
        }
    }
    if ended && task.status != Status::Lost {
        count_spans(task, answer, &mut increments);
        count_usage(task, is_quota_final, policy, &mut increments);
    }
    (increments, sample)
}

fn count_spans(task: &mut Task, answer: Option<&Answer>, increments: &mut Vec<Increment>) {
    let Times { submit, start, finish, .. } = task.times;
    let real_finish = finish.filter(|_| !task.finish_is_synthetic);
    let status = task.status.index();
    let (latency, queue, run) =
        (task.span(submit, real_finish), task.span(submit, start), task.span(start, real_finish));
    let (gateway_lag, vendor_latency) =
        (answer.and_then(|answer| answer.gateway_lag), answer.and_then(|answer| answer.vendor_latency));
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
    if let Some(seconds) = vendor_latency.filter(|seconds| is_possible_span(*seconds) && !counted.vendor_latency) {
        counted.vendor_latency = true;
        increments.push((Counter::VendorLatency.with([status]), thousandths(seconds)));
    }
}

fn count_usage(task: &mut Task, is_quota_final: bool, policy: &Policy<'_>, increments: &mut Vec<Increment>) {
    if !task.counted.tokens && !task.tokens.get().is_empty() {
        task.counted.tokens = true;
        for (kind, tokens) in task.tokens.get().parts() {
            increments.extend(tokens.map(|tokens| (Counter::Tokens.with([kind.index()]), thousandths(tokens))));
        }
    }
    if task.status != Status::Succeeded {
        return;
    }
    if let Some(quota) = task.quota.filter(|_| is_quota_final && !task.counted.quota) {
        task.counted.quota = true;
        increments.push((Counter::Quota.with([]), thousandths(quota.get())));
        task.counted.charge_waits = true;
    }
    if task.counted.charge_waits {
        increments.extend(costing::charge(task, policy.billing.charge_rate));
    }
    if let Some(seconds) = task.video_seconds.filter(|_| !task.counted.video) {
        task.counted.video = true;
        let class = ResolutionClass::from_text(task.video.resolution.as_deref());
        increments.push((Counter::VideoSeconds.with([class.index()]), thousandths(seconds.get())));
    }
}
