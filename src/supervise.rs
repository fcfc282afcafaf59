//! Owners of futures: whatever runs long is joined here, and what ends unasked stops the program.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Long-lived futures with one owner.
#[derive(Default)]
pub struct Tasks {
    set: JoinSet<anyhow::Result<()>>,
}

impl Tasks {
    /// Starts `future`; `name` is put before whatever error it ends with.
    pub fn start(&mut self, name: String, future: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.set.spawn(async move { future.await.context(name) });
    }

    /// Runs until `stop` is cancelled or one of the tasks ends by itself, then gives the others `grace` to finish.
    pub async fn run(mut self, stop: CancellationToken, grace: Duration) -> anyhow::Result<()> {
        let early = tokio::select! {
            biased; // A task that ended because it was asked to did not end by itself.
            () = stop.cancelled() => None,
            Some(ended) = self.set.join_next() => Some(ended.context("a task panicked").flatten()),
        };
        stop.cancel();
        let drain = async {
            let mut outcome = Ok(());
            while let Some(ended) = self.set.join_next().await {
                outcome = outcome.and(ended.context("a task panicked").flatten());
            }
            outcome
        };
        let drained = tokio::time::timeout(grace, drain).await.context("some tasks did not stop in time").flatten();
        match early {
            Some(Ok(())) => bail!("a task ended before it was asked to"),
            Some(Err(cause)) => Err(cause),
            None => drained,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_millis(200);

    async fn ended(build: impl FnOnce(&mut Tasks, CancellationToken)) -> String {
        let stop = CancellationToken::new();
        let mut tasks = Tasks::default();
        let waits = stop.clone();
        tasks.start("waiter".into(), async move {
            waits.cancelled().await;
            Ok(())
        });
        build(&mut tasks, stop.clone());
        tasks.run(stop, GRACE).await.map_or_else(|error| format!("{error:#}"), |()| "fine".into())
    }

    #[tokio::test]
    async fn a_task_that_ends_by_itself_stops_the_program() {
        let said = ended(|tasks, _| tasks.start("early".into(), async { Ok(()) })).await;
        assert_eq!(said, "a task ended before it was asked to");
        let said = ended(|tasks, _| tasks.start("failing".into(), async { bail!("no luck") })).await;
        assert_eq!(said, "failing: no luck");
    }

    #[tokio::test]
    async fn a_stop_is_clean_and_a_stuck_task_is_named() {
        assert_eq!(ended(|_, stop| stop.cancel()).await, "fine");
        let said = ended(|tasks, stop| {
            tasks.start("stuck".into(), std::future::pending());
            stop.cancel();
        })
        .await;
        assert!(said.contains("did not stop in time"), "{said}");
    }
}
