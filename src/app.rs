//! The program: builds the parts, supervises them, reloads them, stops them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::agent::{Agent, Shared};
use crate::clock;
use crate::config::{self, Config};
use crate::metrics::Metrics;
use crate::server::{self, Handle};
use crate::store::{Memory, Store};
use crate::supervise::Tasks;
use crate::telemetry::LogCounts;

/// How long polls that are on their way may take to come home at the end, beyond their own time-out.
const GRACE: Duration = Duration::from_secs(5);

/// What the program is started with, beside its configuration.
pub struct Options {
    /// Where it listens.
    pub listeners: Vec<TcpListener>,
    /// The path of the metrics.
    pub telemetry_path: String,
    /// Log messages so far.
    pub logs: LogCounts,
    /// The file to read again when told to; `None` where there is none.
    pub reload: Option<(PathBuf, mpsc::Receiver<()>)>,
}

/// Runs until `stop` is cancelled or something that should go on forever ends.
///
/// # Errors
/// When a part cannot be built, or ends unasked, or does not stop in time.
pub async fn run(config: Config, options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let now = clock::now().into();
    let shared =
        Arc::new(Shared::new(Store::Memory(Memory::new(now)), Metrics::new(&config.file.metrics, options.logs)?));
    let handle = Arc::new(Handle::new(shared.clone(), options.telemetry_path));
    let served = CancellationToken::new();
    let mut servers = Tasks::default();
    for listener in options.listeners {
        let router = server::router(handle.clone());
        servers.start("the HTTP server".to_owned(), server::serve(listener, router, served.clone()));
    }
    // The agent is drained first, so that its last numbers can still be scraped.
    let agent = run_agents(config, &shared, &handle, options.reload, stop.clone());
    let serving = servers.run(served.clone(), GRACE);
    tokio::pin!(serving);
    let outcome = tokio::select! {
        outcome = agent => outcome,
        ended = &mut serving => return ended,
    };
    served.cancel();
    outcome.and(serving.await)
}

/// One agent after the other, each under its configuration, until `stop`.
async fn run_agents(
    mut config: Config,
    shared: &Arc<Shared>,
    handle: &Handle,
    mut reload: Option<(PathBuf, mpsc::Receiver<()>)>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        let generation = stop.child_token();
        let mut tasks = Tasks::default();
        let agent = Agent::start(&config, shared, &mut tasks, &generation, &stop).await?;
        let shown = serde_json::to_string_pretty(&config.file).context("the configuration cannot be shown")?;
        handle.put_in_force(Some((agent, shown + "\n")));
        tracing::info!(upstreams = config.upstreams.len(), "polling");
        let grace = GRACE + config.upstreams.iter().map(|upstream| upstream.polling.timeout).max().unwrap_or_default();
        let running = tasks.run(generation.clone(), grace);
        tokio::pin!(running);
        let next = tokio::select! {
            outcome = &mut running => return outcome,
            () = stop.cancelled() => {
                handle.put_in_force(None);
                return running.await;
            }
            next = reloaded(&mut reload, shared) => next,
        };
        generation.cancel();
        if let Err(error) = running.await {
            // They were asked to stop and are gone now, one way or the other: no reason to stop watching.
            tracing::error!(error = format!("{error:#}"), "the old configuration did not end well");
        }
        config = next;
    }
}

/// Waits until a new and valid configuration was loaded.
async fn reloaded(reload: &mut Option<(PathBuf, mpsc::Receiver<()>)>, shared: &Shared) -> Config {
    let Some((path, asked)) = reload else { return std::future::pending().await };
    while asked.recv().await.is_some() {
        let file = path.clone();
        match tokio::task::spawn_blocking(move || config::load(&file)).await {
            Ok(Ok(config)) => {
                tracing::info!(file = %path.display(), "configuration loaded again");
                return config;
            }
            Ok(Err(error)) => {
                shared.metrics.reload_failed();
                tracing::error!(%error, "the configuration was not loaded again; the one before stays in force");
            }
            Err(panic) => tracing::error!(%panic, "loading the configuration failed"),
        }
    }
    std::future::pending().await
}
