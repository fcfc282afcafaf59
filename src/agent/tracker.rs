//! The table in memory: every task that is active, or has ended and is still shown.

use std::collections::{BTreeMap, HashMap, HashSet, btree_map, hash_map};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::domain::task::AggregateLabels;
use crate::domain::{Answer, Task, TaskId, Texts, Timestamp};
use crate::metrics::Snapshot;

/// Which tasks may have series of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesLimits {
    /// Most tasks at once.
    pub max: usize,
    /// Only tasks that have not ended.
    pub only_active: bool,
    /// None at all, which refuses nobody.
    pub off: bool,
}

/// Most of what was told that waits to be looked at; the rest is polled.
const MAX_TOLD: usize = 10_000;

/// What became of something that was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It is looked at.
    Taken,
    /// There is no such task.
    Unknown,
    /// There is no room.
    TooMuch,
}

/// The table. Its lock is held for moments only, never over I/O.
pub struct Tracker {
    held: Mutex<Held>,
}

struct Held {
    upstreams: BTreeMap<Arc<str>, Table>,
    limits: SeriesLimits,
    refused: u64,
    texts: Texts,
}

#[derive(Default)]
struct Table {
    entries: BTreeMap<TaskId, Entry>,
    /// Added and not yet scheduled.
    fresh: Vec<TaskId>,
    /// What was told of tasks, not yet looked at: of each what is furthest along.
    told: HashMap<TaskId, Answer>,
    wake: Arc<Notify>,
}

struct Entry {
    task: Arc<Task>,
    has_series: bool,
    was_refused: bool,
    /// How many times it was decided when it is asked next: only the last decision counts.
    turn: u32,
}

impl Tracker {
    /// An empty table.
    pub fn new() -> Self {
        let limits = SeriesLimits { max: 0, only_active: false, off: true };
        Self { held: Mutex::new(Held { upstreams: BTreeMap::new(), limits, refused: 0, texts: Texts::default() }) }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes new limits.
    pub fn limit(&self, limits: SeriesLimits) {
        let mut held = self.held();
        held.limits = limits;
        held.grant();
    }

    /// Lets a task that is to come share what others have, too.
    pub fn share(&self, task: &mut Task) {
        self.held().texts.share(task);
    }

    /// Adds tasks of one upstream; one that is there already stays as it is.
    pub fn add(&self, upstream: &Arc<str>, tasks: Vec<Arc<Task>>) {
        let mut held = self.held();
        let table = held.upstreams.entry(upstream.clone()).or_default();
        for task in tasks {
            if let btree_map::Entry::Vacant(vacant) = table.entries.entry(task.id.clone()) {
                table.fresh.push(task.id.clone());
                vacant.insert(Entry { task, has_series: false, was_refused: false, turn: 0 });
            }
        }
        table.wake.notify_one();
        held.grant();
    }

    /// Adds tasks that were kept, each to its upstream.
    pub fn add_all(&self, tasks: Vec<Arc<Task>>) {
        let mut by_upstream: BTreeMap<Arc<str>, Vec<Arc<Task>>> = BTreeMap::new();
        for task in tasks {
            by_upstream.entry(task.home.upstream.clone()).or_default().push(task);
        }
        for (upstream, tasks) in by_upstream {
            self.add(&upstream, tasks);
        }
    }

    /// True when this upstream was here before, with tasks or without.
    pub fn knows(&self, upstream: &Arc<str>) -> bool {
        self.held().upstreams.contains_key(upstream)
    }

    /// Ids that were added since the last call.
    pub fn take_fresh(&self, upstream: &Arc<str>) -> Vec<TaskId> {
        let mut held = self.held();
        held.upstreams.get_mut(upstream).map(|table| std::mem::take(&mut table.fresh)).unwrap_or_default()
    }

    /// What is notified when there are fresh ids.
    pub fn wake(&self, upstream: &Arc<str>) -> Arc<Notify> {
        self.held().upstreams.entry(upstream.clone()).or_default().wake.clone()
    }

    /// The tasks of an upstream, for a poller that begins; none of them is fresh any more.
    pub fn begin(&self, upstream: &Arc<str>) -> Vec<Arc<Task>> {
        let mut held = self.held();
        let Some(table) = held.upstreams.get_mut(upstream) else { return Vec::new() };
        table.fresh.clear();
        table.entries.values().map(|entry| entry.task.clone()).collect()
    }

    /// It is decided anew when a task is asked; gives back the number of the decision.
    pub fn next_turn(&self, upstream: &Arc<str>, id: &TaskId) -> u32 {
        let mut held = self.held();
        let entry = held.upstreams.get_mut(upstream).and_then(|table| table.entries.get_mut(id));
        entry.map_or(0, |entry| {
            entry.turn = entry.turn.wrapping_add(1);
            entry.turn
        })
    }

    /// A task as it is now, if that decision still stands.
    pub fn at_turn(&self, upstream: &Arc<str>, id: &TaskId, turn: u32) -> Option<Arc<Task>> {
        let held = self.held();
        let entry = held.upstreams.get(upstream)?.entries.get(id)?;
        (entry.turn == turn).then(|| entry.task.clone())
    }

    /// Somebody tells where a task stands.
    pub fn tell(&self, upstream: &Arc<str>, id: TaskId, answer: Answer) -> Told {
        let mut held = self.held();
        let Some(table) = held.upstreams.get_mut(upstream).filter(|table| table.entries.contains_key(&id)) else {
            return Told::Unknown;
        };
        let is_full = table.told.len() >= MAX_TOLD;
        match table.told.entry(id) {
            hash_map::Entry::Occupied(mut held) => {
                if answer.status.stage() >= held.get().status.stage() {
                    held.insert(answer);
                }
            }
            hash_map::Entry::Vacant(_) if is_full => return Told::TooMuch,
            hash_map::Entry::Vacant(vacant) => _ = vacant.insert(answer),
        }
        table.wake.notify_one();
        Told::Taken
    }

    /// What was told since the last call.
    pub fn take_told(&self, upstream: &Arc<str>) -> HashMap<TaskId, Answer> {
        let mut held = self.held();
        held.upstreams.get_mut(upstream).map(|table| std::mem::take(&mut table.told)).unwrap_or_default()
    }

    /// A task as it is now.
    pub fn get(&self, upstream: &Arc<str>, id: &TaskId) -> Option<Arc<Task>> {
        Some(self.held().upstreams.get(upstream)?.entries.get(id)?.task.clone())
    }

    /// Of the tasks after this one, in the order of upstreams and ids, the first `limit` that are wanted; and whether there may be
    /// more. The lock is let go of in between, however many there are.
    pub fn page(
        &self,
        after: Option<(Arc<str>, TaskId)>,
        limit: usize,
        wanted: impl Fn(&Task) -> bool,
    ) -> (Vec<Arc<Task>>, bool) {
        let mut found = Vec::new();
        let mut place = after;
        loop {
            let some = self.some_after(place.as_ref());
            let Some(last) = some.last() else { return (found, false) };
            place = Some((last.home.upstream.clone(), last.id.clone()));
            for task in some.into_iter().filter(|task| wanted(task)) {
                if found.len() == limit {
                    return (found, true);
                }
                found.push(task);
            }
        }
    }

    /// The next tasks after this one.
    fn some_after(&self, after: Option<&(Arc<str>, TaskId)>) -> Vec<Arc<Task>> {
        const SOME: usize = 1000;
        let held = self.held();
        let (from, rest) = match after {
            Some((upstream, id)) => {
                let table = held.upstreams.get(upstream);
                let from = table.into_iter().flat_map(|table| table.entries.range((Excluded(id.clone()), Unbounded)));
                (Some(from), held.upstreams.range::<Arc<str>, _>((Excluded(upstream.clone()), Unbounded)))
            }
            None => (None, held.upstreams.range::<Arc<str>, _>(..)),
        };
        let rest = rest.flat_map(|(_, table)| table.entries.iter());
        from.into_iter().flatten().chain(rest).take(SOME).map(|(_, entry)| entry.task.clone()).collect()
    }

    /// Puts the new record of a task in the place of the old one; nothing if the task is gone.
    pub fn apply(&self, mut task: Task) {
        let mut held = self.held();
        let Held { upstreams, texts, .. } = &mut *held;
        if let Some(entry) = upstreams.get_mut(&task.home.upstream).and_then(|table| table.entries.get_mut(&task.id)) {
            // As a rule it is what it was.
            if !(Arc::ptr_eq(&task.home, &entry.task.home) && Arc::ptr_eq(&task.video, &entry.task.video)) {
                texts.share(&mut task);
            }
            // Nobody else looks at it as a rule: the room it has is used again.
            match Arc::get_mut(&mut entry.task) {
                Some(held) => *held = task,
                None => entry.task = Arc::new(task),
            }
        }
    }

    /// Lets go of a task.
    pub fn remove(&self, upstream: &Arc<str>, id: &TaskId) {
        if let Some(table) = self.held().upstreams.get_mut(upstream) {
            table.entries.remove(id);
        }
    }

    /// Lets go of tasks that ended more than `retention` ago, and decides anew who has series.
    pub fn sweep(&self, retention: Duration, now: Timestamp) {
        let mut held = self.held();
        for table in held.upstreams.values_mut() {
            table.entries.retain(|_, entry| entry.task.ended_seen.is_none_or(|ended| ended + retention > now));
        }
        held.texts.tidy();
        held.grant();
    }

    /// Gives every task the aggregate labels that `labels` finds for it: they have changed.
    pub fn relabel(&self, labels: impl Fn(&Task) -> AggregateLabels) {
        let mut held = self.held();
        let Held { upstreams, texts, .. } = &mut *held;
        for entry in upstreams.values_mut().flat_map(|table| table.entries.values_mut()) {
            let task = Arc::make_mut(&mut entry.task);
            task.relabel(labels(task));
            texts.share(task);
        }
    }

    /// Drops the tasks of upstreams that are not among these.
    pub fn keep_upstreams(&self, names: &HashSet<Arc<str>>) {
        let mut held = self.held();
        held.upstreams.retain(|name, _| names.contains(name));
    }

    /// All tasks as they are now.
    pub fn snapshot(&self) -> Snapshot {
        let held = self.held();
        let entries = held.upstreams.values().flat_map(|table| table.entries.values());
        let has_series = |entry: &Entry| entry.has_series && (entry.task.is_active() || !held.limits.only_active);
        Snapshot {
            tasks: entries.map(|entry| (entry.task.clone(), has_series(entry))).collect(),
            refused: held.refused,
        }
    }
}

impl Default for Tracker {
    fn default() -> Self {
        Self::new()
    }
}

impl Held {
    /// Gives series to those who may have them: active tasks before ended ones, then the ones that came first, then the
    /// ones that ended last. Whoever has to go without is counted once.
    fn grant(&mut self) {
        let limits = self.limits;
        let mut wanting: Vec<&mut Entry> =
            self.upstreams.values_mut().flat_map(|table| table.entries.values_mut()).collect();
        if limits.only_active {
            wanting.retain_mut(|entry| {
                entry.has_series &= entry.task.is_active();
                entry.task.is_active()
            });
        }
        if wanting.len() > limits.max && !limits.off {
            wanting.sort_by_key(|entry| {
                let ended = entry.task.ended_seen.map(|at| -at.as_millis());
                (ended.is_some(), ended, entry.task.first_seen)
            });
        }
        for (n, entry) in wanting.into_iter().enumerate() {
            entry.has_series = n < limits.max;
            if !entry.has_series && !limits.off && !entry.was_refused {
                entry.was_refused = true;
                self.refused += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::NewTask;
    use crate::domain::Status;

    fn task(id: &str, status: Status, seen: i64) -> Arc<Task> {
        let new = NewTask::new(TaskId::parse(id).unwrap());
        let at = Timestamp::from_secs(seen);
        let ended_seen = status.is_end().then_some(at);
        Arc::new(Task { status, ended_seen, ..Task::new("u".into(), "new_api", new, at) })
    }

    fn shown(tracker: &Tracker) -> Vec<String> {
        tracker.snapshot().tasks.iter().filter(|(_, shown)| *shown).map(|(task, _)| task.id.to_string()).collect()
    }

    #[test]
    fn when_full_the_oldest_ended_task_gives_way_to_an_active_one() {
        let tracker = Tracker::new();
        tracker.limit(SeriesLimits { max: 2, only_active: false, off: false });
        let upstream: Arc<str> = "u".into();
        tracker.add(&upstream, vec![task("e1", Status::Failed, 10), task("e2", Status::Succeeded, 20)]);
        assert_eq!(shown(&tracker), ["e1", "e2"]);
        tracker.add(&upstream, vec![task("a1", Status::Running, 30)]);
        assert_eq!(shown(&tracker), ["a1", "e2"]);
        tracker.add(&upstream, vec![task("a2", Status::Queued, 40), task("a3", Status::Queued, 50)]);
        assert_eq!(shown(&tracker), ["a1", "a2"]);
        assert_eq!(tracker.snapshot().refused, 3, "e1, e2 and a3, each once");
        tracker.limit(SeriesLimits { max: 9, only_active: true, off: false });
        assert_eq!(shown(&tracker), ["a1", "a2", "a3"]);
        tracker.limit(SeriesLimits { max: 0, only_active: false, off: true });
        assert!(shown(&tracker).is_empty());
        assert_eq!(tracker.snapshot().refused, 3);
    }

    #[test]
    fn an_ended_task_goes_after_its_retention() {
        let tracker = Tracker::new();
        let upstream: Arc<str> = "u".into();
        tracker.add(&upstream, vec![task("e", Status::Lost, 100), task("a", Status::Unknown, 0)]);
        let hour = Duration::from_hours(1);
        tracker.sweep(hour, Timestamp::from_secs(100 + 3599));
        assert_eq!(tracker.snapshot().tasks.len(), 2);
        tracker.sweep(hour, Timestamp::from_secs(100 + 3600));
        assert_eq!(tracker.snapshot().tasks.len(), 1);
        assert_eq!(tracker.begin(&upstream).len(), 1);
    }
}
