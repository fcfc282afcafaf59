//! What the server and the sweeper can do with upstreams: read their views and send them commands.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{mpsc, oneshot, watch};

use super::command::{CallbackOutcome, Command, CommandError, Registration};
use crate::domain::{Answer, NewTask, Task, TaskId};
use crate::metrics::Metrics;
use crate::store::{Command as StoreCommand, Step, Store, StoreError};
use crate::view::UpstreamView;

/// One upstream's actor.
#[derive(Clone)]
pub struct UpstreamHandle {
    /// Takes its commands.
    pub commands: mpsc::Sender<Command>,
    /// Its latest view.
    pub view: watch::Receiver<Arc<UpstreamView>>,
}

/// The upstreams by name.
pub type Handles = Arc<BTreeMap<Arc<str>, UpstreamHandle>>;

/// The agent as others see it.
pub struct Agent {
    handles: RwLock<Handles>,
    store: Arc<Store>,
    metrics: Arc<Metrics>,
}

impl Agent {
    /// Without upstreams.
    pub fn new(store: Arc<Store>, metrics: Arc<Metrics>) -> Self {
        Self { handles: RwLock::default(), store, metrics }
    }

    /// The metrics of the process.
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The state store.
    pub(super) const fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The upstreams.
    pub(super) fn handles(&self) -> Handles {
        self.handles.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// These are the upstreams from now on.
    pub(super) fn set_handles(&self, handles: BTreeMap<Arc<str>, UpstreamHandle>) {
        *self.handles.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(handles);
    }

    /// The latest view of every upstream, by name.
    pub fn views(&self) -> Vec<Arc<UpstreamView>> {
        self.handles().values().map(|handle| handle.view.borrow().clone()).collect()
    }

    /// The latest view of one upstream.
    fn view(&self, upstream: &str) -> Option<Arc<UpstreamView>> {
        Some(self.handles().get(upstream)?.view.borrow().clone())
    }

    /// Stores what is known of upstreams' health, if that has changed.
    pub(super) async fn save_health(&self) -> Result<(), StoreError> {
        let unsaved = self.metrics.upstreams.take_unsaved();
        if !unsaved.is_empty() {
            self.store.execute(StoreCommand::SaveHealth(unsaved)).await?;
        }
        Ok(())
    }

    /// Whether every source of every upstream was read.
    pub fn is_ready(&self) -> bool {
        self.handles().values().all(|handle| handle.view.borrow().is_ready)
    }

    /// A task.
    pub fn task(&self, upstream: &str, id: &TaskId) -> Option<Task> {
        self.view(upstream)?.tasks().find(|task| task.id == *id).cloned()
    }

    /// The timeline of a task, oldest step first.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn timeline(&self, upstream: Arc<str>, id: TaskId) -> Result<Vec<Step>, StoreError> {
        self.store.timeline(upstream, id).await
    }

    /// Registers tasks; the results are in their order.
    ///
    /// # Errors
    /// When they cannot be stored now; repeating it does no harm.
    pub async fn register(&self, upstream: &str, tasks: Vec<NewTask>) -> Result<Vec<Registration>, CommandError> {
        Ok(self.ask(upstream, |reply| Command::Register { tasks, reply }).await??)
    }

    /// Stops tracking a task; false when it was not tracked.
    ///
    /// # Errors
    /// When that cannot be stored now; nothing has changed then.
    pub async fn forget(&self, upstream: &str, id: TaskId) -> Result<bool, CommandError> {
        Ok(self.ask(upstream, |reply| Command::Forget { id, reply }).await??)
    }

    /// The upstream called back about a task; without an answer the task is polled.
    ///
    /// # Errors
    /// When the actor cannot take it now.
    pub async fn call_back(
        &self,
        upstream: &str,
        id: TaskId,
        answer: Option<Box<Answer>>,
    ) -> Result<CallbackOutcome, CommandError> {
        self.ask(upstream, |reply| Command::Callback { id, answer, reply }).await
    }

    /// Which of these ids the sources of an upstream name now; `None` while one of them was not read yet.
    pub(super) async fn are_named(&self, upstream: &str, ids: Vec<TaskId>) -> Result<Option<Vec<bool>>, CommandError> {
        self.ask(upstream, |reply| Command::AreNamed { ids, reply }).await
    }

    /// Sends a command, unless the queue is full, and waits for its answer.
    async fn ask<T>(
        &self,
        upstream: &str,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, CommandError> {
        let commands = self.handles().get(upstream).ok_or(CommandError::Stopped)?.commands.clone();
        let (reply, replied) = oneshot::channel();
        commands.try_send(command(reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => CommandError::Busy,
            mpsc::error::TrySendError::Closed(_) => CommandError::Stopped,
        })?;
        drop(commands);
        replied.await.map_err(|_| CommandError::Stopped)
    }
}
