//! Letting go: ended tasks after their retention, ids after theirs, label sets that nobody uses any more; and showing what has
//! been at 0 for long enough.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Rules, Shared, both_clocks};
use crate::domain::{TaskId, Timestamp};
use crate::metrics::UNUSED_FOR;
use crate::store::{Cursor, LedgerPage, StoreError};

/// How exactly a retention and a hold end.
const EVERY: Duration = Duration::from_secs(1);

/// The state is swept once in so many rounds.
const SELDOM: u32 = 10;

/// Label sets have days: they are looked at once in so many rounds.
const RARELY: u32 = 600;

/// How many ids of the ledger are looked at in one round.
const PAGE: usize = 5000;

/// Sweeps the table until `stop`.
pub async fn table(shared: Arc<Shared>, rules: Arc<Rules>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut tick = ticks();
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        shared.tracker.sweep(rules.retention, both_clocks().wall);
    }
    Ok(())
}

fn ticks() -> Interval {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}

/// The one who sweeps the state: apart from the table, because the state may keep one waiting.
pub struct Sweeper {
    pub(super) shared: Arc<Shared>,
    pub(super) rules: Arc<Rules>,
    pub(super) upstreams: Vec<Arc<str>>,
    /// Sources that were not read yet: until then nobody knows what they name.
    pub(super) first_reads: Arc<AtomicUsize>,
}

impl Sweeper {
    /// Sweeps until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut tick = ticks();
        let mut round = 0u32;
        let mut at = Cursor::default();
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            round = round.wrapping_add(1);
            // What fails is done in a later round: the state has told of it.
            if let Some(swept) = stop.run_until_cancelled(self.sweep(round, at.clone())).await {
                at = swept.unwrap_or_default();
            }
        }
        Ok(())
    }

    /// One round; gives back where in the ledger to go on.
    async fn sweep(&self, round: u32, mut at: Cursor) -> Result<Cursor, StoreError> {
        let now = both_clocks().wall;
        self.release().await?;
        if round.is_multiple_of(SELDOM) {
            self.shared.store.retire(now - self.rules.retention).await?;
        }
        if self.first_reads.load(Ordering::Acquire) == 0 {
            at = self.forget(at, now).await?;
        }
        if round.is_multiple_of(RARELY) {
            self.free(now).await?;
        }
        Ok(at)
    }

    /// Shows label sets whose hold is over, once it is committed that they are shown.
    async fn release(&self) -> Result<(), StoreError> {
        let now = both_clocks();
        let due = self.shared.metrics.due(now);
        if !due.sets.is_empty() || !due.sources.is_empty() {
            self.shared.store.show(due.sets.clone(), due.sources.clone(), now.wall).await?;
            self.shared.metrics.release(&due);
        }
        Ok(())
    }

    /// Forgets ids of the next page of the ledger that nobody has named for long; gives back where to go on.
    async fn forget(&self, at: Cursor, now: Timestamp) -> Result<Cursor, StoreError> {
        let before = now - self.rules.forget_after;
        let LedgerPage { mut ids, next } =
            self.shared.store.unnamed_since(before, at, PAGE, self.upstreams.clone()).await?;
        ids.retain(|(upstream, id)| !TaskId::parse(id).is_ok_and(|id| self.shared.named.has(upstream, &id)));
        if !ids.is_empty() {
            tracing::debug!(ids = ids.len(), "forgetting ids that no source names any more");
            self.shared.store.forget(ids, before).await?;
        }
        Ok(next.unwrap_or_default())
    }

    /// Lets go of label sets that nobody has used for long.
    async fn free(&self, now: Timestamp) -> Result<(), StoreError> {
        let in_use = self.shared.metrics.free(&self.shared.snapshot().tasks, now);
        self.shared.store.used(in_use.into_iter().collect(), now, now - UNUSED_FOR).await
    }
}
