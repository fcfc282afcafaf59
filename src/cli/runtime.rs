//! The tokio runtime of a command, and its stop signals.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::failure::Failure;

/// How long the tasks of a command may take to stop.
pub const GRACE: Duration = Duration::from_secs(25);

/// Runs a future on a new runtime.
pub fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    // Independent of the number of cores, because polls run on threads of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Other(error.into()))?;
    let outcome = runtime.block_on(future);
    runtime.shutdown_background();
    outcome
}

/// Returns a token that the first SIGTERM or SIGINT cancels. The second signal exits at once.
pub fn stop_on_signal() -> Result<CancellationToken, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    let mut term = signal(SignalKind::terminate()).map_err(anyhow::Error::from)?;
    let mut int = signal(SignalKind::interrupt()).map_err(anyhow::Error::from)?;
    let token = stop.clone();
    #[expect(clippy::disallowed_methods, reason = "it lives as long as the program and is never waited for")]
    tokio::spawn(async move {
        for count in 1.. {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            if count > 1 {
                std::process::exit(130);
            }
            tracing::info!("stopping; a second signal exits at once");
            token.cancel();
        }
    });
    Ok(stop)
}
