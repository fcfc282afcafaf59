//! Reading one source again and again, and telling the tracker what is new.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{Rules, Shared};
use crate::clock;
use crate::config::Upstream;
use crate::domain::{NewTask, Task, TaskId, Timestamp};
use crate::source::{Listing, Source};

/// How long a source waits for the one before it: a hanging one must not keep the others from being read.
const TURN_PATIENCE: Duration = Duration::from_secs(2);

/// A source's place in the order of the first reads.
pub struct Turn {
    before: Option<oneshot::Receiver<()>>,
    /// Dropped when this source was read: that is what the next one waits for.
    _next: oneshot::Sender<()>,
}

impl Turn {
    /// A turn after `before`, and what the turn after it has to wait for.
    pub fn after(before: Option<oneshot::Receiver<()>>) -> (Self, oneshot::Receiver<()>) {
        let (next, after) = oneshot::channel();
        (Self { before, _next: next }, after)
    }

    async fn wait(&mut self) {
        if let Some(before) = self.before.take() {
            let _ = tokio::time::timeout(TURN_PATIENCE, before).await;
        }
    }
}

/// The reader of one source.
pub struct Discoverer {
    pub(super) upstream: Upstream,
    pub(super) label: String,
    pub(super) shared: Arc<Shared>,
    pub(super) rules: Arc<Rules>,
    /// This state loads the source for the first time: what it brings may be history.
    pub(super) first_load: bool,
    pub(super) first_reads: Arc<AtomicUsize>,
}

impl Discoverer {
    /// Reads until `stop`.
    pub(super) async fn run(self, mut source: Source, turn: Turn, stop: CancellationToken) -> anyhow::Result<()> {
        let identity = source.identity();
        let mut late = !self.first_load;
        let mut named = HashSet::new();
        let mut told = Vec::new();
        // Sources of one upstream are read in their order first: who names a task first does not change from start to start.
        let mut turn = Some(turn);
        if let Some(turn) = &mut turn {
            turn.wait().await;
        }
        loop {
            // Files are read off the runtime's threads: a hanging disk must hold up neither polls nor the end.
            let reading = tokio::task::spawn_blocking(move || {
                let listing = source.read();
                (source, listing)
            });
            let Some(read) = stop.run_until_cancelled(reading).await else { return Ok(()) };
            let mut listing;
            (source, listing) = read?;
            listing.keep_askable(&self.upstream.dialect);
            if listing.messages != told {
                told.clone_from(&listing.messages);
                for message in &told {
                    tracing::warn!(upstream.name = %self.upstream.name, source = self.label, "{message}");
                }
            }
            let complete = listing.complete;
            self.take(listing, &mut named, late).await;
            if complete && !late {
                // Only what the first good read brings may be history.
                late = true;
                self.shared.store.loaded(&self.upstream.name, &identity).await?;
            }
            if turn.take().is_some() {
                self.first_reads.fetch_sub(1, Ordering::AcqRel);
            }
            if stop.run_until_cancelled(source.changed()).await.is_none() {
                self.shared.carried().sources.insert((self.upstream.name.clone(), identity), source);
                return Ok(());
            }
        }
    }

    async fn take(&self, listing: Listing, named: &mut HashSet<TaskId>, late: bool) {
        let now = Timestamp::from(clock::now());
        let name = &self.upstream.name;
        let tasks: BTreeMap<TaskId, NewTask> =
            listing.tasks.into_iter().rev().map(|task| (task.id.clone(), task)).collect();
        let good_at = listing.complete.then_some(now);
        self.shared.metrics.upstreams.source_read(name, &self.label, tasks.len(), listing.errors, good_at);

        let gone: HashSet<TaskId> = named.iter().filter(|id| !tasks.contains_key(*id)).cloned().collect();
        let found: Vec<Task> =
            tasks.into_values().filter(|task| !named.contains(&task.id)).map(|new| self.task(new, late, now)).collect();
        let ids: Vec<TaskId> = found.iter().map(|task| task.id.clone()).collect();
        if let Err(error) = self.shared.store.unname(name, &gone, now).await {
            tracing::error!(upstream.name = %name, source = self.label, %error, "trying again at the next read");
            return;
        }
        named.retain(|id| !gone.contains(id));
        match self.shared.store.add(found).await {
            Ok(new) => {
                named.extend(ids);
                if !new.is_empty() {
                    tracing::info!(upstream.name = %name, source = self.label, tasks = new.len(), "found tasks");
                    self.shared.metrics.discovered(name, &self.label, new.len(), now);
                    for task in &new {
                        self.shared.metrics.tracked(task, now);
                    }
                    self.shared.tracker.add(name, new);
                }
            }
            Err(error) => {
                tracing::error!(upstream.name = %name, source = self.label, %error, "trying again at the next read");
            }
        }
    }

    fn task(&self, new: NewTask, late: bool, now: Timestamp) -> Task {
        let mut task = Task::new(self.upstream.name.clone(), self.upstream.dialect.name(), new, now);
        task.brought_late = late;
        task.aggregate_labels = self.shared.metrics.aggregate_labels(&task, &self.rules.aggregate_labels, now);
        task
    }
}
