//! State that lives as long as the process: which ids were seen, so that none is tracked or counted twice.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::{Task, TaskId, Timestamp, Transition};

/// The state.
pub struct Memory {
    first_start: Timestamp,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    rows: HashMap<Arc<str>, HashMap<TaskId, Row>>,
    loaded: HashSet<(Arc<str>, String)>,
}

/// What is remembered of a task after the tracker has let go of it.
struct Row {
    ended: bool,
    /// How many sources name it now.
    names: u32,
    /// Since when none does.
    unnamed: Option<Timestamp>,
}

impl Memory {
    /// An empty state, started now.
    pub fn new(now: Timestamp) -> Self {
        Self { first_start: now, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) const fn first_start(&self) -> Timestamp {
        self.first_start
    }

    pub(super) fn add(&self, tasks: Vec<Task>) -> Vec<Task> {
        let mut held = self.held();
        let mut new = Vec::new();
        for task in tasks {
            let rows = held.rows.entry(task.upstream.clone()).or_default();
            if let Some(row) = rows.get_mut(&task.id) {
                row.names += 1;
                row.unnamed = None;
            } else {
                rows.insert(task.id.clone(), Row { ended: false, names: 1, unnamed: None });
                new.push(task);
            }
        }
        new
    }

    pub(super) fn unname(&self, upstream: &Arc<str>, ids: &HashSet<TaskId>, now: Timestamp) {
        let mut held = self.held();
        let Some(rows) = held.rows.get_mut(upstream) else { return };
        for id in ids {
            if let Some(row) = rows.get_mut(id) {
                row.names = row.names.saturating_sub(1);
                if row.names == 0 {
                    row.unnamed.get_or_insert(now);
                }
            }
        }
    }

    pub(super) fn unname_all(&self, now: Timestamp) {
        for row in self.held().rows.values_mut().flat_map(HashMap::values_mut) {
            row.names = 0;
            row.unnamed.get_or_insert(now);
        }
    }

    pub(super) fn commit(&self, transitions: &[Transition]) {
        let mut held = self.held();
        for Transition { task, .. } in transitions {
            if let Some(row) = held.rows.get_mut(&task.upstream).and_then(|rows| rows.get_mut(&task.id)) {
                row.ended = task.status.is_end();
            }
        }
    }

    pub(super) fn is_first_load(&self, upstream: &Arc<str>, source: &str) -> bool {
        !self.held().loaded.contains(&(upstream.clone(), source.to_owned()))
    }

    pub(super) fn loaded(&self, upstream: &Arc<str>, source: &str) {
        self.held().loaded.insert((upstream.clone(), source.to_owned()));
    }

    pub(super) fn forget(&self, after: Duration, now: Timestamp) -> usize {
        let mut forgotten = 0;
        for rows in self.held().rows.values_mut() {
            let before = rows.len();
            rows.retain(|_, row| !row.ended || row.unnamed.is_none_or(|since| since + after > now));
            forgotten += before - rows.len();
        }
        forgotten
    }

    pub(super) fn keep_upstreams(&self, names: &HashSet<Arc<str>>) {
        self.held().rows.retain(|upstream, _| names.contains(upstream));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{NewTask, Policy, Reading, advance};

    fn task(id: &str) -> Task {
        let new = NewTask { id: TaskId::parse(id).unwrap(), labels: Arc::default() };
        Task::new("u".into(), "new_api", new, Timestamp::from_secs(0))
    }

    fn ids(names: &[&str]) -> HashSet<TaskId> {
        names.iter().map(|id| TaskId::parse(id).unwrap()).collect()
    }

    #[test]
    fn a_row_is_forgotten_only_when_ended_and_unnamed_for_long() {
        let at = Timestamp::from_secs;
        let hour = Duration::from_hours(1);
        let memory = Memory::new(at(0));
        let upstream: Arc<str> = "u".into();
        assert_eq!(memory.add(vec![task("a"), task("b")]).len(), 2);
        assert!(memory.add(vec![task("a")]).is_empty(), "a second source names it: it is not new");
        memory.unname(&upstream, &ids(&["a"]), at(10));
        let policy = Policy { count_since: crate::domain::advance::CountSince::Always, forget_after: hour };
        let ended = ["a", "b"].map(|id| advance(&task(id), Reading::GivenUp, &policy, at(20)));
        memory.commit(&ended);
        assert_eq!(memory.forget(hour, at(99_999)), 0, "both are still named");
        memory.unname(&upstream, &ids(&["a"]), at(50));
        assert_eq!(memory.forget(hour, at(50 + 3599)), 0);
        assert_eq!(memory.forget(hour, at(50 + 3600)), 1);
        assert_eq!(memory.add(vec![task("a")]).len(), 1, "forgotten: new again");
        assert!(memory.add(vec![task("b")]).is_empty());
    }
}
