//! Owners of futures: whatever runs long is joined here, and what ends unasked stops the program.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use tokio::sync::oneshot;
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

/// Runs a future, and what it starts, on a thread of its own: it takes turns with nobody else's work, and nothing in it has to wake
/// another thread. Whoever lets go of it has to tell it to end.
///
/// # Errors
/// What it ends with; or that there is no thread for it, or that it panicked.
pub async fn apart(
    name: &str,
    future: impl Future<Output = anyhow::Result<()>> + Send + 'static,
) -> anyhow::Result<()> {
    let (ended, end) = oneshot::channel();
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let outcome = tokio::runtime::Builder::new_current_thread().enable_all().build().map(|runtime| {
            let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(future)));
            // Whatever still blocks a thread of it is not waited for.
            runtime.shutdown_background();
            outcome
        });
        let _ = ended.send(outcome);
    })?;
    end.await??.map_err(|_| anyhow!("{name} panicked"))?
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
    #[expect(clippy::panic, reason = "it is what is tested")]
    async fn what_runs_apart_is_heard_of() {
        let name = || thread::current().name().map(str::to_owned);
        assert!(
            apart("agent", async move {
                anyhow::ensure!(name().as_deref() == Some("agent"));
                Ok(())
            })
            .await
            .is_ok()
        );
        let said = apart("agent", async { bail!("no luck") }).await.unwrap_err();
        assert_eq!(said.to_string(), "no luck");
        let said = apart("agent", async { panic!("planned") }).await.unwrap_err();
        assert_eq!(said.to_string(), "agent panicked");
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
