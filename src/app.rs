//! The program: opens the state, starts the agent and the servers, reloads the configuration, stops.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::agent::Supervisor;
use crate::clock;
use crate::config::{self, Config, State};
use crate::metrics::Metrics;
use crate::server::{self, Handle, ReloadRequest};
use crate::store::{Event, Location, Store};
use crate::supervise::Tasks;
use crate::telemetry::LogCounts;

/// How long each part may take to stop.
const GRACE: Duration = Duration::from_secs(5);

/// What the program is started with, beside its configuration.
pub struct Options {
    /// Where it listens.
    pub listeners: Vec<TcpListener>,
    /// The path of the metrics.
    pub telemetry_path: String,
    /// The configuration file to be reloaded; `None` where there is none.
    pub reload: Option<Reload>,
}

/// The configuration file, and requests to reload it.
pub struct Reload {
    /// The file.
    pub file: PathBuf,
    /// Sends requests.
    pub sender: mpsc::Sender<ReloadRequest>,
    /// Receives them.
    pub requests: mpsc::Receiver<ReloadRequest>,
}

impl Reload {
    /// Of a file, without a request yet.
    pub fn new(file: PathBuf) -> Self {
        let (sender, requests) = mpsc::channel(1);
        Self { file, sender, requests }
    }

    /// The next request; never for a program without a file.
    async fn next(reload: &mut Option<Self>) -> (PathBuf, ReloadRequest) {
        match reload {
            Some(Self { file, requests, .. }) => match requests.recv().await {
                Some(request) => (file.clone(), request),
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }
}

/// The program with its state loaded and its actors started.
pub struct App {
    config: Arc<Config>,
    supervisor: Supervisor,
    metrics: Arc<Metrics>,
    /// Hears when the store has ended.
    store_ended: oneshot::Receiver<()>,
}

impl App {
    /// Opens the state under a configuration and starts the agent.
    ///
    /// # Errors
    /// When the state cannot be used: the message says why and what to do.
    pub async fn open(config: Config, logs: LogCounts) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::new(&config.file.metrics, logs, clock::now().into())?);
        let exported = metrics.store.clone();
        let watch = move |event| match event {
            Event::Committed(took) => exported.committed(took),
            Event::Failed => exported.failed(),
            Event::Begun | Event::Written => {}
        };
        let location = match &config.state {
            State::Sqlite(path) => Location::File(path.clone()),
            State::Memory => Location::Memory,
        };
        let now = clock::now().into();
        let opening = tokio::task::spawn_blocking(move || Store::open(&location, now, watch));
        let (store, store_ended) = opening.await??;
        let config = Arc::new(config);
        let supervisor = Supervisor::start(config.clone(), Arc::new(store), metrics.clone()).await?;
        Ok(Self { config, supervisor, metrics, store_ended })
    }

    /// Runs until `stop` is cancelled or a part ends that should run forever.
    ///
    /// # Errors
    /// When a part ends unasked, or does not stop in time.
    pub async fn run(self, options: Options, stop: CancellationToken) -> anyhow::Result<()> {
        let Self { mut config, mut supervisor, metrics, mut store_ended } = self;
        let Options { listeners, telemetry_path, mut reload } = options;
        let sender = reload.as_ref().map(|reload| reload.sender.clone());
        let handle = Arc::new(Handle::new(supervisor.agent().clone(), telemetry_path, sender));
        handle.put_in_force(Some(config.clone()));
        tracing::info!(upstreams = config.upstreams.len(), "polling");
        let served = CancellationToken::new();
        let mut servers = Tasks::default();
        for listener in listeners {
            let router = server::router(handle.clone());
            servers.start("the HTTP server".to_owned(), server::serve(listener, router, served.clone()));
        }
        let serving = servers.run(served.clone(), GRACE);
        tokio::pin!(serving);
        let outcome = loop {
            tokio::select! {
                () = stop.cancelled() => break Ok(()),
                error = supervisor.run() => break Err(error),
                ended = &mut serving => return ended,
                _ = &mut store_ended => return Err(anyhow!("the state store ended before it was asked to")),
                (file, request) = Reload::next(&mut reload) => {
                    let reloading = reload_config(file, &config.state, &mut supervisor);
                    let Some(reloaded) = stop.run_until_cancelled(reloading).await else { break Ok(()) };
                    let result = match reloaded {
                        Ok((loaded, notes)) => {
                            config = loaded;
                            handle.put_in_force(Some(config.clone()));
                            tracing::info!(upstreams = config.upstreams.len(), "configuration reloaded");
                            Ok(notes)
                        }
                        Err(error) => {
                            metrics.reload_failed();
                            let error = format!("{error:#}");
                            tracing::error!(error, "configuration not reloaded; the old one stays in force");
                            Err(error)
                        }
                    };
                    // Whoever asked may be gone.
                    let _ = request.map(|reply| reply.send(result));
                }
            }
        };
        handle.put_in_force(None);
        // The actors stop first, so that their last numbers can still be scraped.
        let stopped = supervisor.stop().await;
        served.cancel();
        let outcome = outcome.and(stopped).and(serving.await);
        if tokio::time::timeout(GRACE, handle.finish()).await.is_err() {
            tracing::warn!("requests did not finish in time");
        }
        drop((handle, supervisor));
        // Nobody has the store any more: it ends when everything that waits is written.
        if tokio::time::timeout(GRACE, store_ended).await.is_err() {
            tracing::error!("the state store did not end in time");
        }
        outcome
    }
}

/// Loads the file and brings it into force; returns what of it needs a restart, in words.
async fn reload_config(
    file: PathBuf,
    state: &State,
    supervisor: &mut Supervisor,
) -> anyhow::Result<(Arc<Config>, Vec<String>)> {
    let mut config = tokio::task::spawn_blocking(move || config::load(&file)).await??;
    let mut notes = Vec::new();
    if config.state != *state {
        let note = "the change of `state` needs a restart; until then the state stays where it is";
        tracing::warn!("{note}");
        notes.push(note.to_owned());
        config.state = state.clone();
    }
    let config = Arc::new(config);
    supervisor.reload(config.clone()).await?;
    Ok((config, notes))
}
