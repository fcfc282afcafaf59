//! Reading one source again and again, and telling the tracker what is new.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::limit::Limit;
use super::named::Names;
use super::registry::TakenIn;
use super::{Shared, both_clocks};
use crate::config::Upstream;
use crate::domain::{NewTask, TaskId};
use crate::metrics::{Ended, Operation};
use crate::source::{Asked, Listing, Source};
use crate::store::Found;

/// How long a source waits for the one before it: a hanging one must not keep the others from being read.
const TURN_PATIENCE: Duration = Duration::from_secs(2);

/// How long after the state could not take what a source names it is asked again.
const STATE_PATIENCE: Duration = Duration::from_secs(1);

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
    pub(super) limit: Arc<Limit>,
    pub(super) shared: Arc<Shared>,
    /// What it names now.
    pub(super) names: Names,
    /// This state loads the source for the first time: what it brings may be history.
    pub(super) first_load: bool,
    pub(super) first_reads: Arc<AtomicUsize>,
}

impl Discoverer {
    /// Reads until `stop`.
    pub(super) async fn run(self, mut source: Source, turn: Turn, stop: CancellationToken) -> anyhow::Result<()> {
        let identity = source.identity();
        let mut late = !self.first_load;
        let mut told = Vec::new();
        let mut left_out = 0;
        // Sources of one upstream are read in their order first: who names a task first does not change from start to start.
        let mut turn = Some(turn);
        if let Some(turn) = &mut turn {
            turn.wait().await;
        }
        loop {
            let read = stop.run_until_cancelled(self.read(&mut source)).await;
            let Some(mut listing) = read else { break };
            let more = listing.more;
            let without = listing.keep_askable(&self.upstream.dialect, |id| self.names.has(id));
            // As long as the same ones are left out, that is no news; only the whole says how many there are.
            if !more {
                listing.errors += without.saturating_sub(std::mem::replace(&mut left_out, without));
            }
            if listing.messages != told {
                told.clone_from(&listing.messages);
                for message in &told {
                    tracing::warn!(upstream.name = %self.upstream.name, source = self.label, "{message}");
                }
            }
            // Only what the first good read brings may be history.
            let first = (listing.complete && !listing.absent && !late).then(|| identity.clone());
            let is_first = first.is_some();
            let found = self.found(listing, first, late);
            late |= is_first;
            let mut taken = self.take(&found).await;
            while !taken && stop.run_until_cancelled(sleep(STATE_PATIENCE)).await.is_some() {
                taken = self.take(&found).await;
            }
            if taken && !more && turn.take().is_some() {
                self.first_reads.fetch_sub(1, Ordering::AcqRel);
            }
            if stop.run_until_cancelled(source.changed()).await.is_none() {
                break;
            }
        }
        // The next reader of the same place goes on with what this one has read.
        self.shared.carried().sources.insert((self.upstream.name.clone(), identity), source);
        Ok(())
    }

    /// Reads the source, or a part of it, when the upstream may be asked.
    async fn read(&self, source: &mut Source) -> Listing {
        if source.asks_upstream()
            && let Some(waited) = self.limit.wait().await
        {
            self.shared.metrics.upstreams.throttled(&self.upstream.name, waited);
        }
        source.read().await
    }

    /// What is new in a listing and what is gone.
    fn found(&self, listing: Listing, first: Option<String>, late: bool) -> Arc<Found> {
        let now = both_clocks().wall;
        let name = &self.upstream.name;
        let tasks: BTreeMap<TaskId, NewTask> =
            listing.tasks.into_iter().rev().map(|task| (task.id.clone(), task)).collect();
        let good_at = listing.complete.then_some(now);
        let metrics = &self.shared.metrics.upstreams;
        let named = (!listing.more).then_some(tasks.len());
        metrics.source_read(name, &self.label, named, listing.errors, listing.truncated, good_at);
        for asked in listing.asked {
            let Asked { code, reason, took, date, sent } = asked;
            let at = now - both_clocks().steady.saturating_duration_since(sent + took);
            metrics.ended(name, &Ended { operation: Operation::List, code, reason, took, at, date });
        }

        let gone = if listing.more { Vec::new() } else { self.names.gone(|id| tasks.contains_key(id)) };
        let new = self.names.new_among(tasks.keys().cloned());
        let (mut untracked, mut tracked) = (Vec::new(), Vec::new());
        for task in tasks.into_values().filter(|task| new.contains(&task.id)) {
            match self.shared.tracker.get(name, &task.id) {
                Some(known) => tracked.push(known.id.clone()),
                None => untracked.push(self.shared.new_task(&self.upstream, task, &self.label, late, now)),
            }
        }
        Arc::new(Found {
            upstream: name.clone(),
            source: self.label.clone(),
            asked_for: false,
            identity: first,
            tasks: untracked,
            also: tracked,
            gone,
            birth: self.shared.metrics.birth(now),
            now,
        })
    }

    /// Tells state, table and page what was found; false when the state cannot take it now.
    async fn take(&self, found: &Arc<Found>) -> bool {
        if found.is_nothing() {
            return true;
        }
        let name = &self.upstream.name;
        match self.shared.take_in(found).await {
            Ok(TakenIn { new, .. }) => {
                let named = found.tasks.iter().map(|task| task.id.clone()).chain(found.also.iter().cloned());
                self.names.change(named, &found.gone);
                if !new.is_empty() {
                    tracing::info!(upstream.name = %name, source = self.label, tasks = new.len(), "found tasks");
                }
                true
            }
            Err(error) => {
                tracing::debug!(upstream.name = %name, source = self.label, %error, "what the source names is not taken yet");
                false
            }
        }
    }
}
