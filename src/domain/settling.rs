//! When the quota of a task is final. A new-api gateway writes the end of a task first and its settled quota after that: a reading
//! between the two has the amount that was charged in advance (docs/upstreams.md 2.3).

use std::time::Duration;

use crate::domain::{Status, Task, Timestamp};

/// A reading that is asked for this long after the end was first read has the settled quota.
pub const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// Without such a reading, the quota of the end counts after this long.
pub const GIVEN_UP_AFTER: Duration = Duration::from_mins(5);

/// So long before a task is removed it is given up, so that the count is committed.
const BEFORE_REMOVAL: Duration = Duration::from_secs(5);

/// When the settling reading is asked for, after the end was first read; the later times are for reads that fail.
const ATTEMPTS: [Duration; 6] = [
    Duration::from_secs(3),
    Duration::from_secs(15),
    Duration::from_mins(1),
    Duration::from_mins(2),
    Duration::from_mins(4),
    GIVEN_UP_AFTER,
];

/// Whether the known quota is final; `is_told` by the last reading.
pub fn is_settled(task: &Task, is_told: bool, now: Timestamp) -> bool {
    let is_settling = |ended| is_told && has_settling_reading(task, ended);
    task.ended_seen.is_some_and(|ended| is_settling(ended) || ended + GIVEN_UP_AFTER <= now)
}

/// Whether a counted success, or an end whose cost depends on the quota, still needs its settling reading.
pub fn needs_reading(task: &Task) -> bool {
    let is_uncounted = task.status == Status::Succeeded && !task.counted.quota;
    // A gateway that has told no quota by then does not tell it.
    let may_be_told = |ended| task.quota.is_some() || !has_settling_reading(task, ended);
    let needs_quota = || is_uncounted && task.ended_seen.is_some_and(may_be_told);
    task.counted.ends != 0 && (task.waiting_bill.is_some() || needs_quota())
}

/// Whether the settling reading is given up: the known quota counts.
pub fn is_given_up(task: &Task, now: Timestamp) -> bool {
    is_given_up_after(task, GIVEN_UP_AFTER, now)
}

/// Whether it is given up early, because the task is soon removed.
pub fn is_removed_soon(task: &Task, retention: Duration, now: Timestamp) -> bool {
    is_given_up_after(task, retention.saturating_sub(BEFORE_REMOVAL), now)
}

fn is_given_up_after(task: &Task, after: Duration, now: Timestamp) -> bool {
    needs_reading(task)
        && (task.quota.is_some() || task.waiting_bill.is_some())
        && task.ended_seen.is_some_and(|ended| ended + after <= now)
}

/// The wait until the settling reading is asked for next, or given up; `None` when the task needs none. A task that only a list reads
/// is not asked for: its next row tells.
pub fn wait(task: &Task, is_asked: bool, now: Timestamp) -> Option<Duration> {
    let ended = task.ended_seen.filter(|_| needs_reading(task))?;
    let attempts = if is_asked { &ATTEMPTS[..] } else { &[GIVEN_UP_AFTER] };
    let next = attempts.iter().map(|after| ended + *after).find(|at| *at > now)?;
    // A clock that was set back does not delay it.
    Some(next.duration_since(now).min(GIVEN_UP_AFTER))
}

fn has_settling_reading(task: &Task, ended: Timestamp) -> bool {
    task.last_poll.is_some_and(|asked| asked >= ended + SETTLED_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::number::Number;
    use crate::domain::{NewTask, TaskId};

    fn ended(last_poll: i64) -> Task {
        let new = NewTask::new(TaskId::parse("t").unwrap());
        let mut task = Task::new("u".into(), "new_api", new, Timestamp::from_secs(0));
        (task.status, task.ended_seen) = (Status::Succeeded, Some(Timestamp::from_secs(1000)));
        task.quota = Number::new(7.0);
        (task.counted.ends, task.last_poll) = (1 << Status::Succeeded.index(), Some(Timestamp::from_secs(last_poll)));
        task
    }

    #[test]
    fn one_settling_reading_is_asked_for_and_given_up_after_five_minutes() {
        let mut now = 1000;
        let mut at = Vec::new();
        while let Some(wait) = wait(&ended(999), true, Timestamp::from_secs(now)) {
            now += i64::try_from(wait.as_secs()).unwrap();
            at.push(now - 1000);
        }
        assert_eq!(at, [3, 15, 60, 120, 240, 300]);
        let given_up = |secs| is_given_up(&ended(999), Timestamp::from_secs(secs));
        assert_eq!((given_up(1299), given_up(1300)), (false, true));
        let settled = |asked, now| is_settled(&ended(asked), true, Timestamp::from_secs(now));
        assert_eq!((settled(1001, 1299), settled(1001, 1300), settled(1002, 1003)), (false, true, true));
        assert!(!is_settled(&ended(1002), false, Timestamp::from_secs(1003)), "that reading did not tell it");
        let silent = Task { quota: None, ..ended(1002) };
        assert_eq!(wait(&silent, true, Timestamp::from_secs(1003)), None, "it has been read, and told no quota");
        assert_eq!(wait(&ended(999), false, Timestamp::from_secs(1000)), Some(GIVEN_UP_AFTER), "its row tells");
        let failed = Task { status: Status::Failed, ..ended(999) };
        assert_eq!(wait(&failed, true, Timestamp::from_secs(1000)), None, "only successes count quota");
    }
}
