//! Letting go: ended tasks after their retention, rows after theirs, model names that nobody has any more.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Rules, Shared};
use crate::clock;
use crate::domain::Timestamp;

/// How exactly a retention ends.
const EVERY: Duration = Duration::from_secs(1);

/// Rows and names have days: they are looked at once in so many rounds.
const RARELY: u32 = 600;

/// Sweeps until `stop`.
pub async fn run(shared: Arc<Shared>, rules: Arc<Rules>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut round = 0u32;
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        let now = Timestamp::from(clock::now());
        shared.tracker.sweep(rules.retention, now);
        round = round.wrapping_add(1);
        if round.is_multiple_of(RARELY) {
            let forgotten = shared.store.forget(rules.forget_after, now);
            tracing::debug!(forgotten, "rows that no source names any more");
            shared.metrics.free_names(&shared.snapshot().tasks, now);
        }
    }
    Ok(())
}
