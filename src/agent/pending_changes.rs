//! Tasks that come and go: discoveries, registrations and removals that the store has not answered yet, in their order.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::{FuturesOrdered, StreamExt as _};
use tokio::sync::oneshot;

use super::command::Registration;
use super::source_registry::SourceKey;
use crate::domain::{Task, TaskId};
use crate::source::Listing;
use crate::store::{Discovery, Output, Reply, StoreError};

/// A change, and the receiver of its result.
pub enum Change {
    /// A source was read.
    Discovered {
        /// The source.
        source: SourceKey,
        /// What is stored.
        discovery: Arc<Discovery>,
        /// What the source named, to be sent again when the store fails.
        listing: Listing,
        /// Receives its result.
        reply: oneshot::Sender<Result<(), Listing>>,
    },
    /// Tasks were registered.
    Registered {
        /// What is stored.
        discovery: Arc<Discovery>,
        /// The ids, in the order of the request.
        ids: Vec<TaskId>,
        /// Receives the results.
        reply: oneshot::Sender<Result<Vec<Registration>, StoreError>>,
    },
    /// A task was forgotten.
    Forgotten {
        /// Its id.
        id: TaskId,
        /// Receives whether it was tracked.
        reply: oneshot::Sender<Result<bool, StoreError>>,
    },
}

/// A change with the store's result.
pub type SettledChange = (Change, Result<Output, StoreError>);

/// Changes that the store has not answered yet.
#[derive(Default)]
pub struct PendingChanges {
    /// The store executes them in this order, and their results are applied in this order: a task that was discovered and
    /// then forgotten is not tracked.
    changes: FuturesOrdered<Pin<Box<dyn Future<Output = SettledChange> + Send>>>,
}

impl PendingChanges {
    /// Adds a change that was sent to the store.
    pub fn add(&mut self, change: Change, reply: oneshot::Receiver<Reply>) {
        let settled = async move {
            let result = reply.await.map_or(Err(StoreError::Closed), |reply| reply.result);
            (change, result)
        };
        self.changes.push_back(Box::pin(settled));
    }

    /// A change that needs nothing from the store.
    pub fn add_done(&mut self, change: Change) {
        let nothing = Output::Added { new: Vec::new(), known: Vec::new(), lost: Vec::new() };
        self.changes.push_back(Box::pin(async move { (change, Ok(nothing)) }));
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Waits for the next change that the store has answered; forever when there is none.
    pub async fn next(&mut self) -> SettledChange {
        match self.changes.next().await {
            Some(settled) => settled,
            None => std::future::pending().await,
        }
    }
}

/// The results of a registration, in the order of its ids: `new` were not known or lost, `known` are tracked again, `tracked`
/// were tracked all the time.
pub fn registrations<'a>(
    ids: &[TaskId],
    new: impl Iterator<Item = &'a Arc<Task>>,
    known: &'a [Arc<Task>],
    tracked: &'a [TaskId],
) -> Vec<Registration> {
    let mut new: BTreeSet<&TaskId> = new.map(|task| &task.id).collect();
    let mut tracked: BTreeSet<&TaskId> = known.iter().map(|task| &task.id).chain(tracked).collect();
    let result = |id| {
        // An id that is listed twice is new once.
        if new.remove(id) {
            tracked.insert(id);
            Registration::New
        } else if tracked.contains(id) {
            Registration::Tracked
        } else {
            Registration::Past
        }
    };
    ids.iter().map(result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{NewTask, Timestamp};

    #[test]
    fn every_id_of_a_registration_has_its_result() {
        let id = |text| TaskId::parse(text).unwrap();
        let task = |text| Arc::new(Task::new("u".into(), "new_api", NewTask::new(id(text)), Timestamp::from_secs(0)));
        let ids = ["new", "tracked", "new", "again", "past"].map(id);
        let results = registrations(&ids, [task("new")].iter(), &[task("again")], &[id("tracked")]);
        let words: Vec<_> = results.into_iter().map(Registration::as_str).collect();
        assert_eq!(words, ["registered", "watched", "watched", "watched", "past"]);
    }

    #[tokio::test]
    async fn results_are_applied_in_the_order_of_the_changes() {
        let mut changes = PendingChanges::default();
        let mut stores = Vec::new();
        for text in ["a", "b"] {
            let (reply, replied) = oneshot::channel();
            let id = TaskId::parse(text).unwrap();
            changes.add(Change::Forgotten { id, reply: oneshot::channel().0 }, replied);
            stores.push(reply);
        }
        // The later reply arrives first.
        drop(stores.pop());
        drop(stores.pop());
        let mut order = Vec::new();
        while !changes.is_empty() {
            let (Change::Forgotten { id, .. }, Err(StoreError::Closed)) = changes.next().await else { panic!() };
            order.push(id.to_string());
        }
        assert_eq!(order, ["a", "b"]);
    }
}
