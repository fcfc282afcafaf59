//! Reading one source again and again, and telling the tracker what is new.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;

use super::{Rules, Shared};
use crate::clock;
use crate::config::Upstream;
use crate::domain::{NewTask, Task, TaskId, Timestamp};
use crate::source::{Listing, Source};

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
    pub(super) async fn run(self, source: Source, stop: CancellationToken) -> anyhow::Result<()> {
        let mut source = source;
        let mut late = !self.first_load;
        let mut named = HashSet::new();
        let mut told = Vec::new();
        let mut first = true;
        loop {
            // Files are read off the runtime's threads: a hanging disk must not hold up polls.
            let (back, listing) = tokio::task::spawn_blocking(move || {
                let listing = source.read();
                (source, listing)
            })
            .await?;
            source = back;
            if listing.messages != told {
                told.clone_from(&listing.messages);
                for message in &told {
                    tracing::warn!(upstream.name = %self.upstream.name, source = self.label, "{message}");
                }
            }
            self.take(listing, &mut named, late).await;
            late = true;
            if std::mem::take(&mut first) {
                self.first_reads.fetch_sub(1, Ordering::AcqRel);
            }
            if stop.run_until_cancelled(source.changed()).await.is_none() {
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
        let mut task = Task::new(self.upstream.name.clone(), self.upstream.provider.name(), new, now);
        task.brought_late = late;
        task.aggregate_labels = self.shared.metrics.aggregate_labels(&task, &self.rules.aggregate_labels, now);
        task
    }
}
