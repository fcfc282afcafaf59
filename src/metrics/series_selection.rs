//! Selects the tasks that have per-task series when there are more than `metrics.max_task_series`. Upstreams share the places
//! fairly, so that many tasks of one do not hide those of the others.

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
    /// The cut-offs of upstreams without a place for each of their tasks, sorted by name.
    cutoffs: Vec<(Arc<str>, Cutoff)>,
}

/// The last selected task of an upstream, in the order of [`rank`]; `None` when no task is selected.
type Cutoff = Option<(bool, i64, Timestamp, TaskId)>;

/// The order of selection: active tasks before ended ones, the latest end first, then the earliest first sight.
type Rank<'a> = (bool, i64, Timestamp, &'a TaskId);

fn rank(task: &Task) -> Rank<'_> {
    let ended = task.ended_seen.map_or(0, |at| -at.as_millis());
    (task.ended_seen.is_some(), ended, task.first_seen, &task.id)
}

impl SeriesLimits {
    /// No limit.
    pub const NONE: Self = Self { max: usize::MAX, only_active: false, off: false };

    fn is_eligible(self, task: &Task) -> bool {
        !self.off && (!self.only_active || task.is_active())
    }

    /// Selects from `count` tasks. The selection is fastest when the tasks of an upstream follow each other.
    pub fn select<'a>(self, count: usize, tasks: impl Iterator<Item = &'a Task>) -> SeriesSelection {
        let cutoffs = if count <= self.max || self.off {
            Vec::new()
        } else {
            self.cutoffs(tasks.filter(|task| self.is_eligible(task)))
        };
        SeriesSelection { limits: self, cutoffs }
    }

    fn cutoffs<'a>(self, eligible: impl Iterator<Item = &'a Task>) -> Vec<(Arc<str>, Cutoff)> {
        let mut upstreams = by_upstream(eligible);
        let counts: Vec<usize> = upstreams.iter().map(|(_, tasks)| tasks.len()).collect();
        let places = fair_shares(self.max, &counts);
        let short = upstreams.iter_mut().zip(places).filter(|((_, tasks), places)| places < &tasks.len());
        short.map(|((upstream, tasks), places)| (upstream.clone(), cutoff(tasks, places))).collect()
    }
}

/// The tasks of each upstream, sorted by its name.
fn by_upstream<'a>(tasks: impl Iterator<Item = &'a Task>) -> Vec<(Arc<str>, Vec<&'a Task>)> {
    let mut upstreams: Vec<(Arc<str>, Vec<&Task>)> = Vec::new();
    let mut last = 0;
    for task in tasks {
        let name = &task.origin.upstream;
        if upstreams.get(last).is_none_or(|(upstream, _)| !Arc::ptr_eq(upstream, name)) {
            last = upstreams.iter().position(|(upstream, _)| upstream == name).unwrap_or_else(|| {
                upstreams.push((name.clone(), Vec::new()));
                upstreams.len() - 1
            });
        }
        upstreams[last].1.push(task);
    }
    upstreams.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    upstreams
}

/// Shares `max` places among upstreams with these numbers of tasks (max-min fairness): who needs fewer than an equal share
/// leaves the rest to the others.
fn fair_shares(max: usize, counts: &[usize]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by_key(|upstream| counts[*upstream]);
    let mut places = vec![0; counts.len()];
    let mut left = max;
    for (served, upstream) in order.into_iter().enumerate() {
        places[upstream] = counts[upstream].min(left / (counts.len() - served));
        left -= places[upstream];
    }
    places
}

/// The last task that has one of these places, which are fewer than there are tasks.
fn cutoff(tasks: &mut [&Task], places: usize) -> Cutoff {
    let (_, last, _) = tasks.select_nth_unstable_by(places.checked_sub(1)?, |a, b| rank(a).cmp(&rank(b)));
    let (is_ended, ended, first_seen, id) = rank(last);
    Some((is_ended, ended, first_seen, id.clone()))
}

impl SeriesSelection {
    /// Selects every task.
    pub const ALL: Self = Self { limits: SeriesLimits::NONE, cutoffs: Vec::new() };

    /// The selection among the tasks of one upstream.
    pub fn of(&self, upstream: &str) -> UpstreamSelection<'_> {
        let found = self.cutoffs.binary_search_by(|(name, _)| (**name).cmp(upstream));
        UpstreamSelection { limits: self.limits, cutoff: found.ok().map(|found| &self.cutoffs[found].1) }
    }

    /// Whether some task may have none because of the limit.
    pub const fn is_limited(&self) -> bool {
        !self.cutoffs.is_empty()
    }
}

/// The tasks of one upstream that have series at one time.
#[derive(Debug, Clone, Copy)]
pub struct UpstreamSelection<'a> {
    limits: SeriesLimits,
    /// `None` when every task is selected.
    cutoff: Option<&'a Cutoff>,
}

impl UpstreamSelection<'_> {
    /// Whether a task has series.
    pub fn has(&self, task: &Task) -> bool {
        self.limits.is_eligible(task) && self.is_within(task)
    }

    /// Whether a task has none because of the limit.
    pub fn refuses(&self, task: &Task) -> bool {
        self.limits.is_eligible(task) && !self.is_within(task)
    }

    fn is_within(&self, task: &Task) -> bool {
        self.cutoff.is_none_or(|cutoff| {
            let last = cutoff.as_ref().map(|(is_ended, ended, first_seen, id)| (*is_ended, *ended, *first_seen, id));
            last.is_some_and(|last| rank(task) <= last)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{NewTask, Status};

    fn task(id: &str, status: Status, seen: i64) -> Task {
        let at = Timestamp::from_secs(seen);
        let ended_seen = status.is_end().then_some(at);
        let new = NewTask::new(TaskId::parse(id).unwrap());
        Task { status, ended_seen, ..Task::new("u".into(), "new_api", new, at) }
    }

    fn of(upstream: &str, mut task: Task) -> Task {
        Arc::make_mut(&mut task.origin).upstream = upstream.into();
        task
    }

    fn selected(limits: SeriesLimits, tasks: &[Task]) -> Vec<&str> {
        let selection = limits.select(tasks.len(), tasks.iter());
        let of = |task: &Task| selection.of(&task.origin.upstream);
        assert!(tasks.iter().all(|task| !(of(task).has(task) && of(task).refuses(task))));
        tasks.iter().filter(|task| of(task).has(task)).map(|task| task.id.as_str()).collect()
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
        assert_eq!(tasks.iter().filter(|task| none.select(5, tasks.iter()).of("u").refuses(task)).count(), 5);
        let off = SeriesLimits { off: true, ..none };
        assert!(selected(off, &tasks).is_empty());
        assert!(!tasks.iter().any(|task| off.select(5, tasks.iter()).of("u").refuses(task)), "no task is refused");
    }

    #[test]
    fn an_upstream_with_many_tasks_leaves_the_others_their_share() {
        let many = (0..20).map(|n| of("big", task(&format!("b{n:02}"), Status::Running, n)));
        let few = ["s1", "s2"].map(|id| of("small", task(id, Status::Failed, 5)));
        let some = (0..5).map(|n| of("mid", task(&format!("m{n}"), Status::Queued, 100 + n)));
        let tasks: Vec<Task> = many.chain(few).chain(some).collect();
        let limits = SeriesLimits { max: 9, only_active: false, off: false };
        // Small needs two of its three; the others share seven, and the one with fewer tasks is served first.
        let expected = ["b00", "b01", "b02", "b03", "s1", "s2", "m0", "m1", "m2"];
        assert_eq!(selected(limits, &tasks), expected);
        let limited = limits.select(tasks.len(), tasks.iter());
        assert!(limited.of("new").has(&of("new", task("n", Status::Queued, 0))), "an upstream that was not there yet");
    }

    proptest! {
        #[test]
        fn places_are_shared_fairly(max in 0usize..100, counts in proptest::collection::vec(0usize..60, 0..8)) {
            let places = fair_shares(max, &counts);
            let total: usize = places.iter().sum();
            prop_assert_eq!(total, max.min(counts.iter().sum()), "all places are used");
            for (a, (count, own)) in counts.iter().zip(&places).enumerate() {
                prop_assert!(own <= count);
                // Nobody has more than one place more than an upstream that lacks some.
                if own < count {
                    prop_assert!(places.iter().all(|other| *other <= own + 1), "{} lacks places: {:?}", a, places);
                }
            }
        }
    }
}
