//! Commits that the store has not settled yet. Their tasks are not polled meanwhile.

use std::collections::HashMap;

use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::oneshot;

use crate::counters::ZeroHold;
use crate::domain::{Answer, TaskId, Transition};
use crate::store::{Command, Reply, Settled, Store};

/// The commits of one upstream.
#[derive(Default)]
pub struct PendingCommits {
    replies: FuturesUnordered<oneshot::Receiver<Reply>>,
    /// The tasks in them, each with the callback that was received meanwhile.
    tasks: HashMap<TaskId, Option<Box<Answer>>>,
}

impl PendingCommits {
    fn add(&mut self, ids: Vec<TaskId>, reply: oneshot::Receiver<Reply>) {
        self.tasks.extend(ids.into_iter().map(|id| (id, None)));
        self.replies.push(reply);
    }

    /// Sends transitions to the store.
    pub fn send(&mut self, store: &Store, transitions: Vec<Transition>, hold: ZeroHold) {
        if !transitions.is_empty() {
            let ids = transitions.iter().map(|transition| transition.task.id.clone()).collect();
            self.add(ids, store.send(Command::Commit(transitions, hold)));
        }
    }

    /// Whether a task is in one of them.
    pub fn contains(&self, id: &TaskId) -> bool {
        self.tasks.contains_key(id)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.replies.is_empty()
    }

    /// Keeps a callback until its task's commit is settled, the most advanced one; false when the task is in no commit.
    pub fn hold_callback(&mut self, id: &TaskId, answer: &Answer) -> bool {
        let Some(held) = self.tasks.get_mut(id) else { return false };
        if held.as_ref().is_none_or(|held| held.status().stage() <= answer.status().stage()) {
            *held = Some(Box::new(answer.clone()));
        }
        true
    }

    /// Removes a task whose commit is settled; returns the callback that was received meanwhile.
    pub fn remove(&mut self, id: &TaskId) -> Option<(TaskId, Answer)> {
        let (id, held) = self.tasks.remove_entry(id)?;
        Some((id, *held?))
    }

    /// Waits for the next settled commit; forever when there is none.
    ///
    /// # Errors
    /// When the store has ended.
    pub async fn next(&mut self) -> anyhow::Result<Settled> {
        match self.replies.next().await {
            Some(reply) => settled(reply),
            None => std::future::pending().await,
        }
    }

    /// A commit that is settled by now.
    pub fn next_now(&mut self) -> Option<anyhow::Result<Settled>> {
        self.replies.next().now_or_never().flatten().map(settled)
    }
}

fn settled(reply: Result<Reply, oneshot::error::RecvError>) -> anyhow::Result<Settled> {
    Settled::from_reply(reply?).ok_or_else(|| anyhow::anyhow!("the state store returned another command"))
}

/// Logs a committed change of status.
pub fn log_transition(Transition { task, from, .. }: &Transition) {
    if *from != task.status {
        let (from, to) = (from.as_str(), task.status.as_str());
        let message = if task.status.is_end() { "task finished" } else { "task status changed" };
        tracing::info!(upstream.name = %task.origin.upstream, task.id = %task.id, from, to, "{message}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Status;

    #[test]
    fn the_most_advanced_callback_is_held_for_a_pending_task_only() {
        let mut commits = PendingCommits::default();
        let id = |text| TaskId::parse(text).unwrap();
        let (_reply, replied) = oneshot::channel();
        commits.add(vec![id("a")], replied);
        assert!(!commits.hold_callback(&id("b"), &Answer::new(Status::Running)));
        for status in [Status::Queued, Status::Succeeded, Status::Running] {
            assert!(commits.hold_callback(&id("a"), &Answer::new(status)));
        }
        assert_eq!(commits.remove(&id("a")).map(|(_, answer)| answer.status()), Some(Status::Succeeded));
        assert!(!commits.contains(&id("a")) && !commits.is_empty());
    }
}
