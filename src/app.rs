//! The exporter: opens the state store, starts the agent and the HTTP servers, reloads the configuration, stops.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{anyhow, bail};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::agent::{Agent, Supervisor};
use crate::clock::Clock;
use crate::config::{self, Config, State};
use crate::files;
use crate::liveness::Liveness;
use crate::metrics::Metrics;
use crate::server::{self, Exposure, Handle, Listener, ReloadRequest, WebOptions, WebSource};
use crate::store::{Event, Location, Store};
use crate::supervise::Tasks;
use crate::systemd;
use crate::telemetry::LogCounts;

/// How long the state store may take for what it does at once. It looks for work every ten seconds.
const STORE_LIMIT: Duration = Duration::from_mins(2);

/// How long reading the configuration and the files that it names may take.
pub const LOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long each task may take to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Options of the exporter that are not in its configuration.
pub struct Options {
    /// Listening sockets, each with its web configuration.
    pub listeners: Vec<(Listener, Arc<WebSource>)>,
    /// What the command line sets for the HTTP server.
    pub web: WebOptions,
    /// The configuration file to reload; `None` if there is none.
    pub reload: Option<Reload>,
}

/// The configuration file, and requests to reload it.
pub struct Reload {
    /// The file.
    pub file: PathBuf,
    /// Sends reload requests.
    pub sender: mpsc::Sender<ReloadRequest>,
    /// Receives reload requests.
    pub requests: mpsc::Receiver<ReloadRequest>,
}

impl Reload {
    /// From a file; without requests.
    pub fn new(file: PathBuf) -> Self {
        let (sender, requests) = mpsc::channel(1);
        Self { file, sender, requests }
    }

    /// Waits for the next request; forever without a file.
    async fn next_request(reload: &mut Option<Self>) -> (PathBuf, ReloadRequest) {
        match reload {
            Some(Self { file, requests, .. }) => match requests.recv().await {
                Some(request) => (file.clone(), request),
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }
}

/// The exporter, with its state loaded and its actors started.
pub struct App {
    config: Arc<Config>,
    supervisor: Supervisor,
    metrics: Arc<Metrics>,
    liveness: Liveness,
    /// Resolves when the store's thread has ended.
    store_ended: oneshot::Receiver<()>,
}

impl App {
    /// Opens the state store and starts the agent.
    ///
    /// # Errors
    /// When the state store cannot be opened; the message says why and what to do.
    pub async fn open(config: Config, logs: LogCounts) -> anyhow::Result<Self> {
        let clock = Clock::default();
        let metrics = Arc::new(Metrics::new(&config.file.metrics, logs, clock.clone())?);
        let liveness = Liveness::default();
        let (exported, pulse) = (metrics.store.clone(), liveness.add("the state store", STORE_LIMIT));
        let watch = move |event| match event {
            Event::Committed(took) => exported.committed(took),
            Event::Failed => exported.failed(),
            Event::Waiting { pending, bytes } => {
                exported.waiting(pending, bytes);
                pulse.beat();
            }
            Event::Begun | Event::Written => {}
        };
        let location = match &config.state {
            State::Sqlite(path) => Location::File(path.clone()),
            State::Memory => Location::Memory,
        };
        let steady = clock.clone();
        let opening = tokio::task::spawn_blocking(move || Store::open(&location, &steady, watch));
        let (store, store_ended) = opening.await??;
        let config = Arc::new(config);
        let supervisor =
            Supervisor::start(config.clone(), Arc::new(store), metrics.clone(), clock, liveness.clone()).await?;
        Ok(Self { config, supervisor, metrics, liveness, store_ended })
    }

    /// Runs until `stop` is cancelled, or until a task ends that should run forever.
    ///
    /// # Errors
    /// When a task ends unexpectedly, or does not stop in time.
    pub async fn run(self, options: Options, stop: CancellationToken) -> anyhow::Result<()> {
        let Self { mut config, mut supervisor, metrics, liveness, mut store_ended } = self;
        let Options { listeners, web, mut reload } = options;
        let sender = reload.as_ref().map(|reload| reload.sender.clone());
        let sources = listeners.iter().map(|(_, source)| source.clone()).collect();
        let handle = Arc::new(Handle::new(supervisor.agent().clone(), liveness.clone(), web, sources, sender));
        handle.set_config(config.clone());
        let mut exposure = Exposure::of(&listeners);
        exposure.log(&config.api);
        tracing::info!(upstreams = config.upstreams.len(), "exporter started");
        let server_stop = CancellationToken::new();
        let mut servers = Tasks::default();
        for (listener, web) in listeners {
            let (router, proxies) = (server::router(handle.clone()), handle.trusted_proxies.clone());
            servers.start(
                "the HTTP server".to_owned(),
                server::serve(listener, web, router, proxies, metrics.server.clone(), server_stop.clone()),
            );
        }
        systemd::ready(&status(&handle.agent));
        let (reported, reports_stop) = (handle.clone(), server_stop.clone());
        servers.start("the report to systemd".to_owned(), async move {
            let report = systemd::report(liveness, || status(&reported.agent));
            reports_stop.run_until_cancelled(report).await;
            Ok(())
        });
        // A disk that hangs must not take a thread for every reload.
        let gate = Arc::new(Semaphore::new(1));
        let serving = servers.run(server_stop.clone(), GRACE);
        tokio::pin!(serving);
        let outcome = loop {
            tokio::select! {
                () = stop.cancelled() => break Ok(()),
                error = supervisor.run() => break Err(error),
                // A server ends by itself only when it fails: the latest readings are saved first.
                ended = &mut serving => return ended.and(supervisor.stop().await),
                _ = &mut store_ended => return Err(anyhow!("the state store stopped unexpectedly")),
                (file, request) = Reload::next_request(&mut reload) => {
                    systemd::reloading();
                    let reloading = reload_config(file, gate.clone(), &config.state, &mut supervisor);
                    let Some(reloaded) = stop.run_until_cancelled(reloading).await else { break Ok(()) };
                    let result = match reloaded {
                        Ok((loaded, notes)) => {
                            config = loaded;
                            handle.set_config(config.clone());
                            exposure.log(&config.api);
                            tracing::info!(upstreams = config.upstreams.len(), "configuration reloaded");
                            Ok(notes)
                        }
                        Err(error) => {
                            metrics.reload_failed();
                            let error = format!("{error:#}");
                            tracing::error!(error, "configuration reload failed; the previous configuration stays in force");
                            Err(error)
                        }
                    };
                    systemd::ready(&status(&handle.agent));
                    // The requester may have disconnected.
                    let _ = request.map(|reply| reply.send(result));
                }
            }
        };
        systemd::stopping();
        handle.stop();
        // The actors stop first, so that their last values can still be scraped.
        let stopped = supervisor.stop().await;
        server_stop.cancel();
        let outcome = outcome.and(stopped).and(serving.await);
        if tokio::time::timeout(GRACE, handle.finish_running()).await.is_err() {
            tracing::warn!("HTTP requests did not finish in time; dropping them");
        }
        drop((handle, supervisor));
        // This was the last handle of the store: its thread ends when all pending writes are done.
        if tokio::time::timeout(GRACE, store_ended).await.is_err() {
            return outcome
                .and(Err(anyhow!("the state store did not stop within {GRACE:?}; its last writes may be lost")));
        }
        outcome
    }
}

/// What `systemctl status` shows.
fn status(agent: &Agent) -> String {
    let views = agent.views();
    let tasks: usize = views.iter().map(|view| view.task_count).sum();
    let count = |count: usize, name: &str| format!("{count} {name}{}", if count == 1 { "" } else { "s" });
    let metrics = agent.metrics();
    let failing = if metrics.store.is_failing() { "; the state cannot be written" } else { "" };
    let refused = if metrics.has_failed_reload() { "; the last reload failed, see the log" } else { "" };
    format!("{} at {}{failing}{refused}", count(tasks, "task"), count(views.len(), "upstream"))
}

/// Loads the file and applies it; returns messages about changes that need a restart.
async fn reload_config(
    file: PathBuf,
    gate: Arc<Semaphore>,
    state: &State,
    supervisor: &mut Supervisor,
) -> anyhow::Result<(Arc<Config>, Vec<String>)> {
    let Ok(permit) = gate.try_acquire_owned() else { bail!("an earlier reload still waits for the disk") };
    let load = move || {
        let loaded = config::load(&file);
        drop(permit);
        loaded
    };
    let mut config = files::in_background(LOAD_TIMEOUT, load).await??;
    let mut notes = Vec::new();
    if config.state != *state {
        let note = "a change of `state` needs a restart; the current state store stays in use";
        tracing::warn!("{note}");
        notes.push(note.to_owned());
        config.state = state.clone();
    }
    let config = Arc::new(config);
    supervisor.reload(config.clone()).await?;
    Ok((config, notes))
}
