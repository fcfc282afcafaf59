//! Which ids the sources name at this moment: what is named is never forgotten, whatever the clock says.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::TaskId;

/// What one source names.
#[derive(Clone, Default)]
pub struct Names(Arc<Mutex<HashSet<TaskId>>>);

/// What all of them name, by upstream.
#[derive(Default)]
pub struct Named(Mutex<Vec<(Arc<str>, Names)>>);

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Names {
    /// Of these ids, those that were not named before.
    pub fn new_among(&self, ids: impl Iterator<Item = TaskId>) -> HashSet<TaskId> {
        let held = lock(&self.0);
        ids.filter(|id| !held.contains(id)).collect()
    }

    /// True for an id that is named.
    pub fn has(&self, id: &TaskId) -> bool {
        lock(&self.0).contains(id)
    }

    /// What was named before and is not any more.
    pub fn gone(&self, named: impl Fn(&TaskId) -> bool) -> Vec<TaskId> {
        lock(&self.0).iter().filter(|id| !named(id)).cloned().collect()
    }

    /// These are named from now on, and these no longer.
    pub fn change(&self, new: impl Iterator<Item = TaskId>, gone: &[TaskId]) {
        let mut held = lock(&self.0);
        for id in gone {
            held.remove(id);
        }
        held.extend(new);
    }
}

impl Named {
    /// Other sources are read from now on.
    pub fn begin(&self) {
        lock(&self.0).clear();
    }

    /// One more source of an upstream.
    pub fn source(&self, upstream: &Arc<str>) -> Names {
        let names = Names::default();
        lock(&self.0).push((upstream.clone(), names.clone()));
        names
    }

    /// Some source names this id.
    pub fn has(&self, upstream: &str, id: &TaskId) -> bool {
        lock(&self.0).iter().any(|(name, names)| **name == *upstream && names.has(id))
    }
}
