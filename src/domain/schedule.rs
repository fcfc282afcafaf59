//! When a task is asked again: by its state, its age and its expected end.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::domain::Task;
use crate::domain::TaskId;
use crate::domain::Timestamp;

/// Share of the interval by which two polls of one task may differ, either way.
pub const JITTER: f64 = 0.1;

/// Slowest reading of a task whose reading makes the gateway act (Veo behind new-api).
pub const SIDE_EFFECT_INTERVAL: Duration = Duration::from_secs(30);

/// A task this far along is about to end.
const NEARLY_DONE: f64 = 0.9;

/// A task is asked about this many times within its age so far, and not more.
const POLLS_PER_AGE: u32 = 40;

/// The bounds within which the interval moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The usual wait.
    pub interval: Duration,
    /// The shortest.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
}

/// The wait before `task` is asked again, with `chance` (0 to 1) deciding the jitter.
///
/// The usual interval; half of it near the end; longer for a task that is old for its kind or whose polls keep failing.
pub fn wait(task: &Task, pace: &Pace, now: Timestamp, chance: f64) -> Duration {
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
    if task.read_has_side_effect { wait.max(SIDE_EFFECT_INTERVAL) } else { wait }
}

/// The first re-reading of an ended task comes this long after its end was read; each one after that, twice as long.
pub const FIRST_RECHECK: Duration = Duration::from_mins(1);

/// The wait before an ended task is read again: 1, 2, 4, ... minutes after its end was first read, for as long as `window`;
/// and a task that goes on all the same is followed at the slowest pace, until it has ended truly.
///
/// `None` for an active task, and when no such moment is left.
pub fn recheck(task: &Task, window: Duration, pace: &Pace, now: Timestamp) -> Option<Duration> {
    let ended = task.ended_seen?;
    if task.reopened && !window.is_zero() {
        return Some(pace.max.max(FIRST_RECHECK));
    }
    let mut after = FIRST_RECHECK;
    while after <= window {
        // Strictly later: the reading that is due now does not schedule itself again.
        if ended + after > now {
            // Nor does a clock that was set back delay it.
            return Some((ended + after).duration_since(now).min(after));
        }
        after = after.saturating_mul(2);
    }
    None
}

/// First polls a second that are no rush, whatever the upstream allows.
const NO_RUSH: f64 = 100.0;

/// By how much the first polls of very many tasks may come faster than later ones, which come once an interval.
const HASTE: f64 = 1.2;

/// Over how long the first polls of so many tasks are spread, an interval at most: as fast as the rate limit lets them, but a rush
/// that is allowed is a rush all the same.
pub fn first_window(tasks: usize, requests_per_second: f64, interval: Duration) -> Duration {
    // A single one is asked at once.
    let more = f64::from(u32::try_from(tasks.saturating_sub(1)).unwrap_or(u32::MAX));
    let calm = (more / NO_RUSH).min(interval.as_secs_f64() / HASTE);
    Duration::try_from_secs_f64((more / requests_per_second).max(calm)).unwrap_or(Duration::MAX).min(interval)
}

/// Where within `window` the first poll of a task is placed: a hash of its id, so that tasks loaded together spread out.
pub fn first_wait(id: &TaskId, window: Duration) -> Duration {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    let place = u32::try_from(hasher.finish() >> 32).expect("32 bits are left");
    window.mul_f64(f64::from(place) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::NewTask;
    use crate::domain::number::Number;

    const PACE: Pace =
        Pace { interval: Duration::from_secs(15), min: Duration::from_secs(5), max: Duration::from_mins(1) };

    fn task() -> Task {
        let new = NewTask::new(TaskId::parse("t").unwrap());
        Task::new("u".into(), "new_api", new, Timestamp::from_secs(1_000_000))
    }

    #[test]
    fn first_polls_are_spread_but_no_longer_than_they_have_to_be() {
        let window = |tasks, rate| first_window(tasks, rate, Duration::from_secs(30)).as_millis();
        assert_eq!([window(0, 10.0), window(1, 10.0), window(51, 10.0), window(301, 10.0)], [0, 0, 5000, 30_000]);
        // The limit alone would let a hundred thousand come within a second.
        assert_eq!([window(11, 1e5), window(501, 1e5), window(100_000, 1e5)], [100, 5000, 25_000]);
    }

    #[test]
    fn the_wait_follows_age_progress_and_failures_within_the_bounds() {
        let at = |age: i64| Timestamp::from_secs(1_000_000 + age);
        let secs = |task: &Task, age| wait(task, &PACE, at(age), 0.5).as_secs();
        assert_eq!(secs(&task(), 10), 15);
        assert_eq!(secs(&task(), 1200), 30);
        assert_eq!(secs(&task(), 86_400), 60);
        assert_eq!(secs(&Task { progress: Number::new(0.95), ..task() }, 1200), 7);
        assert_eq!(secs(&Task { progress: Number::new(0.95), synthetic_progress: true, ..task() }, 1200), 30);
        assert_eq!(secs(&Task { poll_failures: 1, ..task() }, 0), 15);
        assert_eq!(secs(&Task { poll_failures: 3, ..task() }, 0), 60);
        assert_eq!(secs(&Task { poll_failures: u32::MAX, ..task() }, 0), 60);
        assert_eq!(secs(&Task { read_has_side_effect: true, progress: Number::new(0.99), ..task() }, 0), 30);
        for chance in [0.0, 1.0] {
            let wait = wait(&task(), &PACE, at(0), chance);
            assert!((13_500..=16_500).contains(&wait.as_millis()), "{wait:?}");
        }
    }

    #[test]
    fn an_ended_task_is_read_again_at_a_falling_rate_for_a_while() {
        let ended = Task { ended_seen: Some(Timestamp::from_secs(1000)), ..task() };
        let again = |window, at| {
            recheck(&ended, Duration::from_secs(window), &PACE, Timestamp::from_secs(at)).map(|w| w.as_secs())
        };
        let mut now = 1000;
        let mut at = Vec::new();
        while let Some(wait) = again(600, now) {
            now += i64::try_from(wait).unwrap();
            at.push(now - 1000);
        }
        assert_eq!(at, [60, 120, 240, 480]);
        assert_eq!(again(600, 1100), Some(20), "a late reading does not move the next one");
        assert_eq!(again(60, 1000), Some(60));
        assert_eq!((again(0, 1000), again(59, 1000), again(600, 900)), (None, None, Some(60)));
        assert_eq!(recheck(&task(), Duration::from_hours(1), &PACE, Timestamp::from_secs(0)), None, "it has not ended");
        let undead = Task { reopened: true, ..ended.clone() };
        let followed = |window| recheck(&undead, Duration::from_secs(window), &PACE, Timestamp::from_secs(99_999));
        assert_eq!((followed(600), followed(0)), (Some(PACE.max), None));
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
