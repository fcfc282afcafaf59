//! Runs long-lived futures; when one ends unexpectedly, all are stopped.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A set of long-lived futures.
#[derive(Default)]
pub struct Tasks {
    set: JoinSet<anyhow::Result<()>>,
}

impl Tasks {
    /// Starts a future. Its errors begin with `name`.
    pub fn start(&mut self, name: String, future: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.set.spawn(async move { future.await.context(name) });
    }

    /// Runs until `stop` is cancelled or a task ends by itself. The other tasks then have `grace` to finish.
    pub async fn run(mut self, stop: CancellationToken, grace: Duration) -> anyhow::Result<()> {
        let early = tokio::select! {
            biased; // A task that ends because of `stop` did not end by itself.
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
            Some(Ok(())) => bail!("a task ended unexpectedly"),
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
        tasks.run(stop, GRACE).await.map_or_else(|error| format!("{error:#}"), |()| "ok".into())
    }

    #[tokio::test]
    async fn a_task_that_ends_by_itself_stops_the_program() {
        let error = ended(|tasks, _| tasks.start("early".into(), async { Ok(()) })).await;
        assert_eq!(error, "a task ended unexpectedly");
        let error = ended(|tasks, _| tasks.start("failing".into(), async { bail!("no luck") })).await;
        assert_eq!(error, "failing: no luck");
    }

    #[tokio::test]
    async fn a_stop_is_clean_and_a_stuck_task_is_reported() {
        assert_eq!(ended(|_, stop| stop.cancel()).await, "ok");
        let error = ended(|tasks, stop| {
            tasks.start("stuck".into(), std::future::pending());
            stop.cancel();
        })
        .await;
        assert!(error.contains("did not stop in time"), "{error}");
    }
}
