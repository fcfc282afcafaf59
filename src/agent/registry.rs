//! Tasks come in, by a source or by somebody who registers them, and go when somebody asks for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Shared, both_clocks};
use crate::config::Upstream;
use crate::domain::{NewTask, Task, TaskId, Timestamp};
use crate::store::{Found, StoreError};

/// The `source` label of tasks that were registered.
pub const API: &str = "api";

/// Ids of what was taken in.
pub struct TakenIn {
    /// Nobody had named them before.
    pub new: BTreeSet<TaskId>,
    /// The state had them, and they are watched again.
    pub again: BTreeSet<TaskId>,
}

/// What came of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registered {
    /// It is new, and watched from now on.
    New,
    /// It is watched, and was before.
    Watched,
    /// It was watched until it ended, or until that was asked for and has become final.
    Past,
}

impl Registered {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "registered",
            Self::Watched => "watched",
            Self::Past => "past",
        }
    }
}

impl Shared {
    /// The record of a task that a source names for the first time, for all that we know.
    pub(super) fn new_task(
        &self,
        upstream: &Upstream,
        new: NewTask,
        source: &str,
        late: bool,
        now: Timestamp,
    ) -> Arc<Task> {
        let mut task = Task::new(upstream.name.clone(), upstream.dialect.name(), new, now);
        task.brought_late = late;
        source.clone_into(&mut Arc::make_mut(&mut task.home).source);
        task.relabel(self.metrics.aggregate_labels(&task, now));
        self.tracker.share(&mut task);
        Arc::new(task)
    }

    /// Tells state, table and page what was found.
    pub(super) async fn take_in(&self, found: &Arc<Found>) -> Result<TakenIn, StoreError> {
        let name = &found.upstream;
        let (new, again) = self.store.add(found.clone()).await?;
        let ids = |tasks: &[Arc<Task>]| tasks.iter().map(|task| task.id.clone()).collect();
        let taken = TakenIn { new: ids(&new), again: ids(&again) };
        if !new.is_empty() {
            let source = (name.clone(), found.source.clone());
            let _moment = self.moment();
            self.metrics.tracked(source, &new, found.birth, both_clocks());
            self.tracker.add(name, new);
        }
        self.track(name, again);
        Ok(taken)
    }

    /// Somebody names tasks of an upstream that is in force. What comes back is in their order.
    ///
    /// # Errors
    /// When the state cannot take them now; asked again, it does no harm.
    pub async fn register(&self, upstream: &Upstream, tasks: Vec<NewTask>) -> Result<Vec<Registered>, StoreError> {
        let now = both_clocks().wall;
        let name = &upstream.name;
        let asked: Vec<TaskId> = tasks.iter().map(|task| task.id.clone()).collect();
        let mut named = BTreeSet::new();
        let (mut untracked, mut also) = (Vec::new(), Vec::new());
        for task in tasks.into_iter().filter(|task| named.insert(task.id.clone())) {
            match self.tracker.get(name, &task.id) {
                Some(known) => also.push(known.id.clone()),
                None => untracked.push(self.new_task(upstream, task, API, true, now)),
            }
        }
        let watched: BTreeSet<TaskId> = also.iter().cloned().collect();
        let found = Arc::new(Found {
            upstream: name.clone(),
            source: API.to_owned(),
            asked_for: true,
            identity: None,
            tasks: untracked,
            also,
            gone: Vec::new(),
            birth: self.metrics.birth(now),
            now,
        });
        let TakenIn { new, again } = self.take_in(&found).await?;
        if !new.is_empty() {
            tracing::info!(upstream.name = %name, source = API, tasks = new.len(), "tasks were registered");
        }
        // Named twice it is new once.
        let mut first = BTreeSet::new();
        let what = |id: &TaskId| {
            if new.contains(id) && first.insert(id.clone()) {
                Registered::New
            } else if [&new, &again, &watched].iter().any(|ids| ids.contains(id)) {
                Registered::Watched
            } else {
                Registered::Past
            }
        };
        Ok(asked.iter().map(what).collect())
    }

    /// Watches a task no longer and takes it off the page; what was counted stays. False when it was not watched.
    ///
    /// # Errors
    /// When the state cannot be written now; nothing has changed then.
    pub async fn forget(&self, upstream: &Upstream, id: &TaskId) -> Result<bool, StoreError> {
        let key = (upstream.name.clone(), upstream.dialect.name());
        let was_watched = self.store.drop_task(key, id.clone(), both_clocks().wall).await?;
        if was_watched {
            self.tracker.remove(&upstream.name, id);
        }
        Ok(was_watched)
    }
}
