//! The table in memory: every task that is active, or has ended and is still shown.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::table::{Table, Told, Turn};
use crate::domain::rows::Row;
use crate::domain::task::AggregateLabels;
use crate::domain::{Answer, Place, Task, TaskId, Texts, Timestamp};
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

impl Tracker {
    /// An empty table.
    pub fn new() -> Self {
        let limits = SeriesLimits { max: 0, only_active: false, off: true };
        Self { held: Mutex::new(Held { upstreams: BTreeMap::new(), limits, refused: 0, texts: Texts::default() }) }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is asked of the table of an upstream; nothing of one that is not there.
    fn of<T: Default>(&self, upstream: &Arc<str>, ask: impl FnOnce(&mut Table) -> T) -> T {
        self.held().upstreams.get_mut(upstream).map(ask).unwrap_or_default()
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
        tasks.into_iter().map(Arc::unwrap_or_clone).for_each(|task| table.add(task));
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

    /// Places of tasks that were added since the last call.
    pub fn take_fresh(&self, upstream: &Arc<str>) -> Vec<Place> {
        self.of(upstream, Table::take_fresh)
    }

    /// What is notified when there are fresh tasks, or something was told.
    pub fn wake(&self, upstream: &Arc<str>) -> Arc<Notify> {
        self.held().upstreams.entry(upstream.clone()).or_default().wake.clone()
    }

    /// Where the tasks of an upstream lie, for a poller that begins; none of them is fresh any more.
    pub fn begin(&self, upstream: &Arc<str>) -> Vec<Place> {
        self.of(upstream, |table| {
            table.take_fresh();
            table.rows.places(|_| true)
        })
    }

    /// It is decided anew when the task at this place is asked; nothing where none is.
    pub fn next_turn(&self, upstream: &Arc<str>, place: Place) -> Option<Turn> {
        self.of(upstream, |table| table.next_turn(place))
    }

    /// A task as it is now, if this turn still stands.
    pub fn at(&self, upstream: &Arc<str>, turn: Turn) -> Option<Task> {
        self.of(upstream, |table| table.at(turn).cloned())
    }

    /// Somebody tells where a task stands.
    pub fn tell(&self, upstream: &Arc<str>, id: TaskId, answer: Answer) -> Told {
        self.of(upstream, |table| Some(table.tell(id, answer))).unwrap_or(Told::Unknown)
    }

    /// What was told since the last call.
    pub fn take_told(&self, upstream: &Arc<str>) -> HashMap<TaskId, Answer> {
        self.of(upstream, Table::take_told)
    }

    /// A task as it is now.
    pub fn get(&self, upstream: &Arc<str>, id: &TaskId) -> Option<Task> {
        self.find(upstream, id).map(|(_, task)| task)
    }

    /// The same, and where it lies.
    pub fn find(&self, upstream: &Arc<str>, id: &TaskId) -> Option<(Place, Task)> {
        self.of(upstream, |table| table.find(id).map(|(place, task)| (place, task.clone())))
    }

    /// What lies at a place.
    pub fn lying(&self, upstream: &Arc<str>, place: Place) -> Option<Task> {
        self.of(upstream, |table| Some(table.rows.get(place)?.task.clone()))
    }

    /// Where a task lies.
    pub fn place(&self, upstream: &Arc<str>, id: &TaskId) -> Option<Place> {
        self.of(upstream, |table| table.place(id))
    }

    /// Of the tasks after this one, in the order of upstreams and ids, the first `limit` that are wanted; and whether there may be
    /// more. The lock is let go of in between, however many there are.
    pub fn page(
        &self,
        after: Option<(Arc<str>, TaskId)>,
        limit: usize,
        wanted: impl Fn(&Task) -> bool,
    ) -> (Vec<Task>, bool) {
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
    fn some_after(&self, after: Option<&(Arc<str>, TaskId)>) -> Vec<Task> {
        const SOME: usize = 1000;
        let held = self.held();
        let (from, rest) = match after {
            Some((upstream, id)) => {
                let from = held.upstreams.get(upstream).map(|table| table.after(Some(id)));
                (from, held.upstreams.range::<Arc<str>, _>((Excluded(upstream.clone()), Unbounded)))
            }
            None => (None, held.upstreams.range::<Arc<str>, _>(..)),
        };
        let rest = rest.flat_map(|(_, table)| table.after(None));
        from.into_iter().flatten().chain(rest).take(SOME).cloned().collect()
    }

    /// Puts the new record of a task in the place of the old one; nothing if the task is gone from there.
    pub fn apply(&self, place: Place, mut task: Task) {
        let mut held = self.held();
        let Held { upstreams, texts, .. } = &mut *held;
        let Some(table) = upstreams.get_mut(&task.home.upstream) else { return };
        // Another one may have taken its place meanwhile.
        if let Some(row) = table.rows.get_mut(place).filter(|row| row.task.id == task.id) {
            // As a rule it is what it was.
            if !(Arc::ptr_eq(&task.home, &row.task.home) && Arc::ptr_eq(&task.video, &row.task.video)) {
                texts.share(&mut task);
            }
            row.task = task;
        }
    }

    /// Lets go of a task.
    pub fn remove(&self, upstream: &Arc<str>, id: &TaskId) {
        self.of(upstream, |table| {
            if let Some(place) = table.place(id) {
                table.remove(place);
            }
        });
    }

    /// Lets go of tasks that ended more than `retention` ago, and decides anew who has series.
    pub fn sweep(&self, retention: Duration, now: Timestamp) {
        let mut held = self.held();
        for table in held.upstreams.values_mut() {
            table.remove_where(|row| row.task.ended_seen.is_some_and(|ended| ended + retention <= now));
        }
        held.texts.tidy();
        held.grant();
    }

    /// Gives every task the aggregate labels that `labels` finds for it: they have changed.
    pub fn relabel(&self, labels: impl Fn(&Task) -> AggregateLabels) {
        let mut held = self.held();
        let Held { upstreams, texts, .. } = &mut *held;
        for table in upstreams.values_mut() {
            for place in table.rows.places(|_| true) {
                if let Some(row) = table.rows.get_mut(place) {
                    row.task.relabel(labels(&row.task));
                    texts.share(&mut row.task);
                }
            }
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
        Snapshot {
            chunks: held.upstreams.values().flat_map(|table| table.rows.chunks()).collect(),
            only_active: held.limits.only_active,
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
        let SeriesLimits { max, only_active, off } = self.limits;
        let wants = |row: &Row| row.task.is_active() || !only_active;
        let tables = self.upstreams.values().enumerate();
        let rows = tables.flat_map(|(n, table)| table.rows.iter().map(move |(place, row)| (n, place, row)));
        // As a rule nothing changes, and then nothing is copied that somebody is reading.
        let mut changes = Vec::new();
        let mut decide = |(n, place, row): (usize, Place, &Row), has_series: bool| {
            let was_refused = row.was_refused || (wants(row) && !has_series && !off);
            if (row.has_series, row.was_refused) != (has_series, was_refused) {
                changes.push((n, place, has_series, was_refused));
            }
        };
        if rows.clone().filter(|(.., row)| wants(row)).count() <= max {
            rows.for_each(|row| decide(row, wants(row.2)));
        } else {
            let (mut wanting, others): (Vec<_>, Vec<_>) = rows.partition(|(.., row)| wants(row));
            if max > 0 {
                // Who is among the first is all that matters; and of those that came at once, always the same ones.
                let rank = |task: &Task| {
                    let ended = task.ended_seen.map(|at| -at.as_millis());
                    (ended.is_some(), ended, task.first_seen)
                };
                wanting.select_nth_unstable_by(max, |(.., a), (.., b)| {
                    rank(&a.task).cmp(&rank(&b.task)).then_with(|| a.task.id.cmp(&b.task.id))
                });
            }
            wanting.into_iter().enumerate().for_each(|(n, row)| decide(row, n < max));
            for row in others {
                decide(row, false);
            }
        }
        let mut tables: Vec<&mut Table> = self.upstreams.values_mut().collect();
        for (n, place, has_series, was_refused) in changes {
            if let Some(row) = tables[n].rows.get_mut(place) {
                self.refused += u64::from(was_refused && !row.was_refused);
                (row.has_series, row.was_refused) = (has_series, was_refused);
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
        let mut ids: Vec<_> = tracker.snapshot().with_series().map(|task| task.id.to_string()).collect();
        ids.sort();
        ids
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
        assert_eq!(tracker.snapshot().tasks().count(), 2);
        tracker.sweep(hour, Timestamp::from_secs(100 + 3600));
        assert_eq!(tracker.snapshot().tasks().count(), 1);
        assert_eq!(tracker.begin(&upstream).len(), 1);
    }
}
