//! Letting go: ended tasks after their retention, ids after theirs, label sets that nobody uses any more; and showing what has
//! been at 0 for long enough.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Rules, Shared, both_clocks};
use crate::domain::task::Agg;
use crate::domain::{Task, TaskId, Timestamp};
use crate::metrics::UNUSED_FOR;
use crate::store::{Cursor, LedgerPage, Seen, StoreError};

/// How exactly a retention and a hold end.
const EVERY: Duration = Duration::from_secs(1);

/// The state is swept once in so many rounds.
const SELDOM: u32 = 10;

/// Label sets have days: they are looked at once in so many rounds.
const RARELY: u32 = 600;

/// It is known this well when a source last named an id that it goes on naming.
const NOTED_WITHIN: Duration = Duration::from_hours(24);

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
            if let Some(Ok(next)) = stop.run_until_cancelled(self.sweep(round, at.clone())).await {
                at = next;
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

    /// Looks at the next page of the ledger: notes which ids are still named, and forgets those that nobody has named for long.
    /// Gives back where to go on.
    async fn forget(&self, at: Cursor, now: Timestamp) -> Result<Cursor, StoreError> {
        let forget_after = self.rules.forget_after;
        // What is named is noted far sooner than it could be forgotten: after a restart nobody may name it for a moment.
        let (noted, before) = (now - (forget_after / 4).min(NOTED_WITHIN), now - forget_after);
        let LedgerPage { ids, next } = self.shared.store.ledger(noted, at, PAGE).await?;
        let is_named = |seen: &Seen| TaskId::parse(&seen.id).is_ok_and(|id| self.shared.named.has(&seen.upstream, &id));
        let (named, unnamed): (Vec<_>, Vec<_>) = ids.into_iter().partition(is_named);
        let is_over =
            |seen: &Seen| seen.named <= before && !(seen.is_watched && self.upstreams.contains(&seen.upstream));
        let forgotten: Vec<_> = unnamed.into_iter().filter(is_over).collect();
        if !named.is_empty() || !forgotten.is_empty() {
            tracing::debug!(named = named.len(), forgotten = forgotten.len(), "a page of the ledger");
            self.shared.store.settle_ledger((named, now), (forgotten, before)).await?;
        }
        Ok(next.unwrap_or_default())
    }

    /// Lets go of label sets that nobody has used for long.
    async fn free(&self, now: Timestamp) -> Result<(), StoreError> {
        let in_use: BTreeSet<Agg> = self.shared.snapshot().tasks().map(Task::agg).collect();
        self.shared.store.used(in_use.iter().cloned().collect(), now, now - UNUSED_FOR).await?;
        self.shared.metrics.free(&in_use, now);
        Ok(())
    }
}
