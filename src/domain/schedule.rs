//! When a task is polled next, by its status, age and progress.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::domain::FailureClass;
use crate::domain::Status;
use crate::domain::Task;
use crate::domain::TaskId;
use crate::domain::Timestamp;

/// By which share of the interval a poll may be earlier or later.
pub const JITTER: f64 = 0.1;

/// Shortest interval of a task whose polls make the gateway send requests (Veo behind new-api).
pub const SIDE_EFFECT_INTERVAL: Duration = Duration::from_mins(2);

/// From this progress on a task is expected to end soon.
const NEARLY_DONE: f64 = 0.9;

/// The interval of an old task is its age divided by this.
const POLLS_PER_AGE: u32 = 40;

/// The configured interval with its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The usual interval.
    pub interval: Duration,
    /// The shortest.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
}

/// The wait until the next poll of an active task; `chance` (0 to 1) decides the jitter.
///
/// It is the usual interval, half of it near the end, and longer for an old task, after failed polls, or if the poll changes the task.
pub fn wait(task: &Task, pace: &Pace, has_effect: bool, now: Timestamp, chance: f64) -> Duration {
    let age = now.duration_since(task.age_start());
    let nearly_done = !task.synthetic_progress && task.progress.is_some_and(|progress| progress.get() >= NEARLY_DONE);
    let base = if task.poll_failures > 0 {
        pace.interval.saturating_mul(1 << task.poll_failures.min(6).saturating_sub(1))
    } else if nearly_done {
        pace.interval / 2
    } else {
        pace.interval.max(age / POLLS_PER_AGE)
    };
    let jittered = base.clamp(pace.min, pace.max).mul_f64(1.0 + JITTER * (2.0 * chance - 1.0));
    let wait = jittered.clamp(pace.min, pace.max);
    let wait = if task.has_large_answers { pace.max } else { wait };
    if has_effect { wait.max(SIDE_EFFECT_INTERVAL) } else { wait }
}

/// When an ended task is polled again for the first time, after its end was read. The wait then doubles each time.
pub const FIRST_RECHECK: Duration = Duration::from_mins(1);

/// When a task that the upstream did not know is polled again for the first time. The wait then doubles, up to
/// [`LONGEST_LOST_RECHECK`].
const FIRST_LOST_RECHECK: Duration = Duration::from_mins(2);

/// The longest wait between two polls of a task that the upstream did not know.
const LONGEST_LOST_RECHECK: Duration = Duration::from_hours(24);

/// How long ended tasks are polled again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecheckRules {
    /// After their end was first read.
    pub ended: Duration,
    /// Lost tasks: after they were first seen.
    pub lost: Duration,
}

/// Whether a task is lost because the upstream did not know it, and may still be found again.
pub fn may_be_found(task: &Task, lost: Duration, now: Timestamp) -> bool {
    task.failure == Some(FailureClass::Lost) && task.status == Status::Lost && now < task.first_seen + lost
}

/// The wait until the next poll of an ended task: 1, 2, 4, … minutes after its end was first read. A task that became active
/// again is polled at the longest interval, until it ends. A task that reading changes at its gateway, or that only a list can read, is not polled again: rows tell what
/// becomes of it. A task that the upstream did not know is polled after 2, 4, 8, …
/// minutes, then daily: it may be the upstream that was wrong.
///
/// `None` for an active task, and for an ended task that is not polled again.
pub fn recheck(task: &Task, rules: RecheckRules, pace: &Pace, now: Timestamp) -> Option<Duration> {
    let ended = task.ended_seen?;
    if task.status == Status::Lost {
        return recheck_lost(task, ended, rules.lost, now);
    }
    let window = rules.ended;
    if task.reopened && !window.is_zero() {
        let least = if task.read_has_side_effect { SIDE_EFFECT_INTERVAL } else { FIRST_RECHECK };
        return Some(pace.max.max(least));
    }
    if task.read_has_side_effect || task.is_list_only {
        return None;
    }
    let mut after = FIRST_RECHECK;
    while after <= window {
        // Later than now, so that the current poll is not scheduled again.
        if ended + after > now {
            // A clock that was set back does not delay it.
            return Some((ended + after).duration_since(now).min(after));
        }
        after = after.saturating_mul(2);
    }
    None
}

fn recheck_lost(task: &Task, lost: Timestamp, patience: Duration, now: Timestamp) -> Option<Duration> {
    let mut after = FIRST_LOST_RECHECK;
    while lost + after <= now {
        after = after.saturating_add(after.min(LONGEST_LOST_RECHECK));
    }
    let next = lost + after;
    may_be_found(task, patience, next).then(|| next.duration_since(now))
}

/// Most first polls a second, even when the rate limit allows more.
const MAX_FIRST_POLLS_PER_SECOND: f64 = 100.0;

/// First polls of very many tasks may exceed that rate: this much faster than one poll per task and interval.
const FIRST_POLL_SPEEDUP: f64 = 1.2;

/// The time over which the first polls of `tasks` are spread, at most an interval. It respects the rate limit, and avoids a burst
/// even when the rate limit allows one.
pub fn first_window(tasks: usize, requests_per_second: f64, interval: Duration) -> Duration {
    // A single task is polled at once.
    let more = f64::from(u32::try_from(tasks.saturating_sub(1)).unwrap_or(u32::MAX));
    let spread = (more / MAX_FIRST_POLLS_PER_SECOND).min(interval.as_secs_f64() / FIRST_POLL_SPEEDUP);
    Duration::try_from_secs_f64((more / requests_per_second).max(spread)).unwrap_or(Duration::MAX).min(interval)
}

/// The wait until the first poll of a task, within `window`. A hash of the id spreads tasks that are loaded together.
pub fn first_wait(id: &TaskId, window: Duration) -> Duration {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    let position = u32::try_from(hasher.finish() >> 32).expect("32 bits are left");
    window.mul_f64(f64::from(position) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::NewTask;
    use crate::domain::number::Number;

    const PACE: Pace =
        Pace { interval: Duration::from_secs(15), min: Duration::from_secs(5), max: Duration::from_mins(1) };

    fn rules(window: u64) -> RecheckRules {
        RecheckRules { ended: Duration::from_secs(window), lost: Duration::ZERO }
    }

    fn task() -> Task {
        let new = NewTask::new(TaskId::parse("t").unwrap());
        Task::new("u".into(), "new_api", new, Timestamp::from_secs(1_000_000))
    }

    #[test]
    fn first_polls_are_spread_over_the_shortest_allowed_window() {
        let window = |tasks, rate| first_window(tasks, rate, Duration::from_secs(30)).as_millis();
        assert_eq!([window(0, 10.0), window(1, 10.0), window(51, 10.0), window(301, 10.0)], [0, 0, 5000, 30_000]);
        // The rate limit alone would allow all of them within a second.
        assert_eq!([window(11, 1e5), window(501, 1e5), window(100_000, 1e5)], [100, 5000, 25_000]);
    }

    #[test]
    fn the_wait_follows_age_progress_and_failures_within_the_bounds() {
        let at = |age: i64| Timestamp::from_secs(1_000_000 + age);
        let secs = |task: &Task, age| wait(task, &PACE, false, at(age), 0.5).as_secs();
        assert_eq!(secs(&task(), 10), 15);
        assert_eq!(secs(&task(), 1200), 30);
        assert_eq!(secs(&task(), 86_400), 60);
        assert_eq!(secs(&Task { progress: Number::new(0.95), ..task() }, 1200), 7);
        assert_eq!(secs(&Task { progress: Number::new(0.95), synthetic_progress: true, ..task() }, 1200), 30);
        assert_eq!(secs(&Task { poll_failures: 1, ..task() }, 0), 15);
        assert_eq!(secs(&Task { poll_failures: 3, ..task() }, 0), 60);
        assert_eq!(secs(&Task { poll_failures: u32::MAX, ..task() }, 0), 60);
        let almost = Task { progress: Number::new(0.99), ..task() };
        assert_eq!(wait(&almost, &PACE, true, at(0), 0.5).as_secs(), 120, "polling changes it");
        for chance in [0.0, 1.0] {
            let wait = wait(&task(), &PACE, false, at(0), chance);
            assert!((13_500..=16_500).contains(&wait.as_millis()), "{wait:?}");
        }
    }

    #[test]
    fn an_ended_task_is_polled_again_at_doubling_intervals() {
        let ended = Task { ended_seen: Some(Timestamp::from_secs(1000)), ..task() };
        let next = |window, at| recheck(&ended, rules(window), &PACE, Timestamp::from_secs(at)).map(|w| w.as_secs());
        let mut now = 1000;
        let mut at = Vec::new();
        while let Some(wait) = next(600, now) {
            now += i64::try_from(wait).unwrap();
            at.push(now - 1000);
        }
        assert_eq!(at, [60, 120, 240, 480]);
        assert_eq!(next(600, 1100), Some(20), "a late poll does not delay the next one");
        assert_eq!(next(60, 1000), Some(60));
        assert_eq!((next(0, 1000), next(59, 1000), next(600, 900)), (None, None, Some(60)));
        assert_eq!(recheck(&task(), rules(3600), &PACE, Timestamp::from_secs(0)), None, "it has not ended");
        let changes = Task { read_has_side_effect: true, ..ended.clone() };
        assert_eq!(recheck(&changes, rules(3600), &PACE, Timestamp::from_secs(1000)), None, "reading changes it");
        let reopened = Task { reopened: true, ..ended.clone() };
        let wait = |window| recheck(&reopened, rules(window), &PACE, Timestamp::from_secs(99_999));
        assert_eq!((wait(600), wait(0)), (Some(PACE.max), None));
    }

    #[test]
    fn a_task_that_the_upstream_did_not_know_is_polled_again_until_it_would_be_given_up() {
        let hour = 3600;
        let start = 1_000_000;
        let lost = Task {
            status: Status::Lost,
            failure: Some(FailureClass::Lost),
            ended_seen: Some(Timestamp::from_secs(start)),
            ..task()
        };
        let patience = RecheckRules { ended: Duration::ZERO, lost: Duration::from_hours(72) };
        let mut now = start;
        let mut at = Vec::new();
        while let Some(wait) = recheck(&lost, patience, &PACE, Timestamp::from_secs(now)) {
            now += i64::try_from(wait.as_secs()).unwrap();
            at.push((now - start) / 60);
        }
        assert_eq!(at, [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3488], "minutes");
        assert!(now - start < 72 * hour && may_be_found(&lost, patience.lost, Timestamp::from_secs(now)));
        assert!(!may_be_found(&lost, patience.lost, Timestamp::from_secs(start + 72 * hour)));
        let given_up = Task { failure: Some(FailureClass::Timeout), ..lost };
        assert_eq!(recheck(&given_up, patience, &PACE, Timestamp::from_secs(start)), None);
    }

    #[test]
    fn tasks_loaded_at_once_spread_over_the_whole_window() {
        let window = Duration::from_secs(10);
        let mut slots = [0u32; 10];
        for n in 0..10_000 {
            let wait = first_wait(&TaskId::parse(&format!("task_{n}")).unwrap(), window);
            slots[usize::try_from(wait.as_secs()).unwrap().min(9)] += 1;
        }
        assert!(slots.iter().all(|n| (850..=1150).contains(n)), "{slots:?}");
    }
}
