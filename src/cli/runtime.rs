//! The tokio runtime of a command, and its stop signals.

use std::io;
use std::num::NonZero;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::failure::Failure;

/// How long the tasks of a command may take to stop.
pub const GRACE: Duration = Duration::from_secs(25);

/// Most threads for blocking calls: a hanging disk must not take more.
const MAX_BLOCKING: usize = 32;

/// How long these threads live without work.
const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);

/// How many threads a start needs besides two for each CPU.
const THREADS: usize = 8;

/// Starts threads and ends them: where the system has too few, the runtime would panic.
fn try_threads(count: usize) -> io::Result<()> {
    let (hold, held) = mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let start = |_| {
        let held = held.clone();
        thread::Builder::new().spawn(move || drop(held.lock().map(|held| held.recv())))
    };
    let threads = (0..count).map(start).collect::<io::Result<Vec<_>>>();
    drop(hold);
    threads?.into_iter().for_each(|thread| drop(thread.join()));
    Ok(())
}

/// Runs a future on a new runtime.
pub fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    // Independent of the number of cores, because polls run on threads of their own.
    let count = THREADS + 2 * thread::available_parallelism().map_or(1, NonZero::get);
    let no_threads = |error: io::Error| {
        let advice = "raise the limit of processes (ulimit -u, or pids of the container)";
        Failure::Other(anyhow::Error::new(error).context(format!("cannot start {count} threads; {advice}")))
    };
    try_threads(count).map_err(no_threads)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(MAX_BLOCKING)
        .thread_keep_alive(FOREVER)
        .enable_all()
        .build();
    let runtime = runtime.map_err(no_threads)?;
    // While one such thread lives, work for them waits when the system has no other thread.
    runtime.spawn_blocking(|| ());
    let outcome = runtime.block_on(future);
    runtime.shutdown_background();
    outcome
}

/// Runs a short future on this thread.
pub fn block_on_one_thread<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(anyhow::Error::from)?.block_on(future)
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
            // First: logging may be what has to be stopped.
            token.cancel();
            tracing::info!("stopping; a second signal exits at once");
        }
    });
    Ok(stop)
}
