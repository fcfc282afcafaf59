//! The runtime of a command, and how it is stopped.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::failure::Failure;

/// How long the parts of a command may take to stop.
pub const GRACE: Duration = Duration::from_secs(25);

/// Runs a command that waits, on a runtime of its own.
pub fn wait_for<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    // However many cores there are: polls have a thread of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Other(error.into()))?;
    let outcome = runtime.block_on(future);
    runtime.shutdown_background();
    outcome
}

/// Cancels the token it gives at the first SIGTERM or SIGINT; the second one ends the program at once.
pub fn stop_on_signal() -> Result<CancellationToken, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    let mut term = signal(SignalKind::terminate()).map_err(anyhow::Error::from)?;
    let mut int = signal(SignalKind::interrupt()).map_err(anyhow::Error::from)?;
    let asked = stop.clone();
    #[expect(clippy::disallowed_methods, reason = "it lives as long as the program and is never waited for")]
    tokio::spawn(async move {
        for times in 1.. {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            if times > 1 {
                std::process::exit(130);
            }
            tracing::info!("stopping; a second signal stops at once");
            asked.cancel();
        }
    });
    Ok(stop)
}
