//! Sweeps the state: drops rows of ended tasks, forgets ids that no source has named for long, and drops label sets that no
//! task has had for long; also of upstreams that are not configured any more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::command::CommandError;
use super::handles::Agent;
use super::settings::Rules;
use crate::clock::Clock;
use crate::counters::UNUSED_FOR;
use crate::domain::{TaskId, Timestamp};
use crate::liveness::Pulse;
use crate::store::{Command, Cursor, KnownId, KnownIdsPage, Output, StoreError};

/// Sweep interval.
const INTERVAL: Duration = Duration::from_secs(1);

/// Sweeps between two removals of ended tasks.
const ENDED_EVERY: u32 = 10;

/// Sweeps between two removals of unused label sets.
const LABEL_SETS_EVERY: u32 = 600;

/// Sweeps between two writes of what is known of upstreams' health.
const HEALTH_EVERY: u32 = 30;

/// Accuracy of the stored time at which a source last named an id.
const NAMED_WITHIN: Duration = Duration::from_hours(24);

/// Known ids of one sweep.
const PAGE: usize = 5000;

/// The sweeper.
pub struct StateSweeper {
    agent: Arc<Agent>,
    rules: watch::Receiver<Rules>,
    /// Nothing is forgotten because the wall clock jumps.
    clock: Clock,
    pulse: Pulse,
}

impl StateSweeper {
    /// Sweeps by these rules.
    pub const fn new(agent: Arc<Agent>, rules: watch::Receiver<Rules>, clock: Clock, pulse: Pulse) -> Self {
        Self { agent, rules, clock, pulse }
    }

    /// Sweeps until the supervisor is dropped.
    pub async fn run(self) -> anyhow::Result<()> {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut cursor = Cursor::default();
        let mut has_jumped = false;
        for round in 1u32.. {
            ticks.tick().await;
            self.pulse.beat();
            if let Some(jump) = self.clock.jump().filter(|_| !has_jumped) {
                if self.agent.store().execute(Command::PutForward(jump)).await.is_err() {
                    // Nothing may be forgotten before.
                    continue;
                }
                has_jumped = true;
            }
            // What fails is done in a later round; the store has logged it.
            if let Ok(next) = self.sweep(round, cursor.clone(), self.clock.now().steady).await {
                cursor = next;
            }
        }
        Ok(())
    }

    /// One round; returns where the next page of known ids begins.
    async fn sweep(&self, round: u32, cursor: Cursor, now: Timestamp) -> Result<Cursor, CommandError> {
        let store = self.agent.store();
        if round.is_multiple_of(ENDED_EVERY) {
            let Rules { retention, forget_after, give_up_after, .. } = *self.rules.borrow();
            let command =
                Command::DropEnded { before: now - retention, lost_before: now - forget_after.max(give_up_after) };
            store.execute(command).await?;
        }
        if round.is_multiple_of(HEALTH_EVERY) {
            self.agent.save_health().await?;
        }
        let next = self.sweep_known_ids(cursor, now).await?;
        if round.is_multiple_of(LABEL_SETS_EVERY) {
            store.execute(Command::DropUnused(now - UNUSED_FOR)).await?;
        }
        Ok(next)
    }

    /// Notes which ids of a page are still named, and forgets those that nobody has named for long.
    async fn sweep_known_ids(&self, cursor: Cursor, now: Timestamp) -> Result<Cursor, CommandError> {
        let forget_after = self.rules.borrow().forget_after;
        // Stored long before an id could be forgotten: after a restart its source may not name it at once.
        let named_before = now - (forget_after / 4).min(NAMED_WITHIN);
        let command = Command::KnownIds { named_before, after: cursor.clone(), limit: PAGE };
        let Output::KnownIds(KnownIdsPage { ids, next }) = self.agent.store().execute(command).await? else {
            return Err(StoreError::Closed.into());
        };
        let before = now - forget_after;
        let Some(are_named) = self.are_named(&ids).await? else { return Ok(cursor) };
        let handles = self.agent.handles();
        let (mut named, mut forgotten) = (Vec::new(), Vec::new());
        for (known, is_named) in ids.into_iter().zip(are_named) {
            if is_named {
                named.push(known);
            } else if known.named <= before && !(known.has_row && handles.contains_key(&known.upstream)) {
                forgotten.push(known);
            }
        }
        if !named.is_empty() || !forgotten.is_empty() {
            tracing::debug!(named = named.len(), forgotten = forgotten.len(), "known ids swept");
            self.agent.store().execute(Command::UpdateKnownIds { named, now, forgotten, before }).await?;
        }
        Ok(next.unwrap_or_default())
    }

    /// Whether sources name these ids now; `None` while some source was not read yet. Nobody names the ids of an upstream
    /// that is not configured.
    async fn are_named(&self, ids: &[KnownId]) -> Result<Option<Vec<bool>>, CommandError> {
        if !self.agent.is_ready() {
            return Ok(None);
        }
        let mut are_named = vec![false; ids.len()];
        let mut by_upstream: BTreeMap<&Arc<str>, Vec<(usize, TaskId)>> = BTreeMap::new();
        for (position, known) in ids.iter().enumerate() {
            if let Ok(id) = TaskId::parse(&known.id) {
                by_upstream.entry(&known.upstream).or_default().push((position, id));
            }
        }
        for (upstream, ids) in by_upstream {
            if !self.agent.handles().contains_key(upstream) {
                continue;
            }
            let (positions, ids): (Vec<usize>, Vec<TaskId>) = ids.into_iter().unzip();
            let Some(named) = self.agent.are_named(upstream, ids).await? else { return Ok(None) };
            positions.into_iter().zip(named).for_each(|(position, is_named)| are_named[position] = is_named);
        }
        Ok(Some(are_named))
    }
}
