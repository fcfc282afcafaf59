//! Selects the tasks that have per-task series when there are more than `metrics.max_task_series`.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::domain::{Task, TaskId, Timestamp};

/// The configured limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesLimits {
    /// Most tasks.
    pub max: usize,
    /// Only active tasks.
    pub only_active: bool,
    /// No task; none is counted as refused.
    pub off: bool,
}

/// The tasks that have series at one time.
#[derive(Debug, Clone)]
pub struct SeriesSelection {
    limits: SeriesLimits,
    cutoff: Cutoff,
}

#[derive(Debug, Clone)]
enum Cutoff {
    /// Every task is selected.
    None,
    /// Tasks up to this one are selected, in the order of [`rank`].
    At { is_ended: bool, ended: i64, first_seen: Timestamp, id: TaskId, upstream: Arc<str> },
    /// No task is selected.
    Zero,
}

/// The order of selection: active tasks before ended ones, the latest end first, then the earliest first sight.
type Rank<'a> = (bool, i64, Timestamp, &'a TaskId, &'a str);

fn rank(task: &Task) -> Rank<'_> {
    let ended = task.ended_seen.map_or(0, |at| -at.as_millis());
    (task.ended_seen.is_some(), ended, task.first_seen, &task.id, &task.origin.upstream)
}

impl SeriesLimits {
    /// No limit.
    pub const NONE: Self = Self { max: usize::MAX, only_active: false, off: false };

    fn is_eligible(self, task: &Task) -> bool {
        !self.off && (task.is_active() || !self.only_active)
    }

    /// Selects from `count` tasks.
    pub fn select<'a>(self, count: usize, tasks: impl Iterator<Item = &'a Task>) -> SeriesSelection {
        let cutoff = if count <= self.max || self.off {
            Cutoff::None
        } else {
            self.cutoff(tasks.filter(|task| self.is_eligible(task)).collect())
        };
        SeriesSelection { limits: self, cutoff }
    }

    fn cutoff(self, mut eligible: Vec<&Task>) -> Cutoff {
        if eligible.len() <= self.max {
            return Cutoff::None;
        }
        let Some(last) = self.max.checked_sub(1) else { return Cutoff::Zero };
        let (_, last, _) = eligible.select_nth_unstable_by(last, |a, b| rank(a).cmp(&rank(b)));
        let (is_ended, ended, first_seen, id, _) = rank(last);
        let upstream = last.origin.upstream.clone();
        Cutoff::At { is_ended, ended, first_seen, id: id.clone(), upstream }
    }
}

impl SeriesSelection {
    /// Selects every task.
    pub const ALL: Self = Self { limits: SeriesLimits::NONE, cutoff: Cutoff::None };

    /// Whether a task has series.
    pub fn has(&self, task: &Task) -> bool {
        self.limits.is_eligible(task) && self.is_within(task)
    }

    /// Whether a task has none because of the limit.
    pub fn refuses(&self, task: &Task) -> bool {
        self.limits.is_eligible(task) && !self.is_within(task)
    }

    /// Whether some task may have none because of the limit.
    pub const fn is_limited(&self) -> bool {
        !matches!(self.cutoff, Cutoff::None)
    }

    fn is_within(&self, task: &Task) -> bool {
        match &self.cutoff {
            Cutoff::None => true,
            Cutoff::At { is_ended, ended, first_seen, id, upstream } => {
                rank(task).cmp(&(*is_ended, *ended, *first_seen, id, upstream)) != Ordering::Greater
            }
            Cutoff::Zero => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{NewTask, Status};

    fn task(id: &str, status: Status, seen: i64) -> Task {
        let at = Timestamp::from_secs(seen);
        let ended_seen = status.is_end().then_some(at);
        let new = NewTask::new(TaskId::parse(id).unwrap());
        Task { status, ended_seen, ..Task::new("u".into(), "new_api", new, at) }
    }

    fn selected(limits: SeriesLimits, tasks: &[Task]) -> Vec<&str> {
        let selection = limits.select(tasks.len(), tasks.iter());
        assert!(tasks.iter().all(|task| !(selection.has(task) && selection.refuses(task))));
        tasks.iter().filter(|task| selection.has(task)).map(|task| task.id.as_str()).collect()
    }

    #[test]
    fn at_the_limit_an_active_task_replaces_the_oldest_ended_one() {
        let mut tasks = vec![task("e1", Status::Failed, 10), task("e2", Status::Succeeded, 20)];
        let limits = SeriesLimits { max: 2, only_active: false, off: false };
        assert_eq!(selected(limits, &tasks), ["e1", "e2"]);
        tasks.push(task("a1", Status::Running, 30));
        assert_eq!(selected(limits, &tasks), ["e2", "a1"]);
        tasks.extend([task("a2", Status::Queued, 40), task("a3", Status::Queued, 50)]);
        assert_eq!(selected(limits, &tasks), ["a1", "a2"]);
        assert_eq!(selected(SeriesLimits { max: 3, only_active: true, off: false }, &tasks), ["a1", "a2", "a3"]);
        assert_eq!(selected(SeriesLimits { max: 9, only_active: true, off: false }, &tasks), ["a1", "a2", "a3"]);
        let none = SeriesLimits { max: 0, ..limits };
        assert!(selected(none, &tasks).is_empty());
        assert_eq!(tasks.iter().filter(|task| none.select(5, tasks.iter()).refuses(task)).count(), 5);
        let off = SeriesLimits { off: true, ..none };
        assert!(selected(off, &tasks).is_empty());
        assert!(!tasks.iter().any(|task| off.select(5, tasks.iter()).refuses(task)), "no task is refused");
    }
}
