//! The program: builds the parts, supervises them, reloads them, stops them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::agent::{Agent, Prepared, Shared, TakenUp, both_clocks};
use crate::clock;
use crate::config::{self, Config, State};
use crate::metrics::Metrics;
use crate::server::{self, Handle, ReloadAsk};
use crate::store::{Event, Place, Store};
use crate::supervise::{self, Tasks};
use crate::telemetry::LogCounts;

/// How long polls that are on their way may take to come home at the end, beyond their own time-out.
const GRACE: Duration = Duration::from_secs(5);

/// What the program is started with, beside its configuration.
pub struct Options {
    /// Where it listens.
    pub listeners: Vec<TcpListener>,
    /// The path of the metrics.
    pub telemetry_path: String,
    /// What is read again when somebody asks for it; `None` where there is no file.
    pub reload: Option<Reload>,
}

/// The file of the configuration, and who asks for it to be read again.
pub struct Reload {
    /// The file.
    pub file: PathBuf,
    /// For the server to ask with.
    pub ask: mpsc::Sender<ReloadAsk>,
    /// Where it is asked for.
    pub asked: mpsc::Receiver<ReloadAsk>,
}

impl Reload {
    /// Of a file, with nobody asking yet.
    pub fn of(file: PathBuf) -> Self {
        let (ask, asked) = mpsc::channel(1);
        Self { file, ask, asked }
    }
}

/// The program with its state open and loaded, before anybody can ask it for anything.
pub struct App {
    config: Config,
    shared: Arc<Shared>,
    prepared: Prepared,
    /// Hears when the state has ended.
    state_ended: oneshot::Receiver<()>,
}

impl App {
    /// Opens the state under a configuration.
    ///
    /// # Errors
    /// When it cannot be used: the message says why and what to do.
    pub async fn open(config: Config, logs: LogCounts) -> anyhow::Result<Self> {
        let metrics = Metrics::new(&config.file.metrics, logs, clock::now().into())?;
        let shown = metrics.state.clone();
        let watch = move |event| match event {
            Event::Committed(took) => shown.committed(took),
            Event::Failed => shown.failed(),
            Event::Begun | Event::Written => {}
        };
        let place = match &config.state {
            State::Sqlite(path) => Place::File(path.clone()),
            State::Memory => Place::Memory,
        };
        let now = clock::now().into();
        let opening = tokio::task::spawn_blocking(move || Store::open(&place, now, watch));
        let (store, state_ended) = opening.await??;
        let shared = Arc::new(Shared::new(store, metrics));
        let prepared = shared.prepare(&config).await.context("the state cannot be loaded")?;
        Ok(Self { config, shared, prepared, state_ended })
    }

    /// Runs until `stop` is cancelled or something that should go on forever ends.
    ///
    /// # Errors
    /// When a part cannot be built, or ends unasked, or does not stop in time.
    pub async fn run(self, options: Options, stop: CancellationToken) -> anyhow::Result<()> {
        let Self { config, shared, prepared, mut state_ended } = self;
        let taken_up = shared.take_up(&config, prepared, both_clocks());
        let ask = options.reload.as_ref().map(|reload| reload.ask.clone());
        let handle = Arc::new(Handle::new(shared.clone(), options.telemetry_path, ask));
        let served = CancellationToken::new();
        let mut servers = Tasks::default();
        for listener in options.listeners {
            let router = server::router(handle.clone());
            servers.start("the HTTP server".to_owned(), server::serve(listener, router, served.clone()));
        }
        // The agent is drained first, so that its last numbers can still be scraped.
        // Who lets go of this lets go of the agent, too.
        let stop = stop.child_token();
        let _stops = stop.clone().drop_guard();
        let (grant, granted) = watch::channel(GRACE);
        let parts = (shared.clone(), handle.clone(), grant);
        let agents = run_agents(Arc::new(config), taken_up, parts, options.reload, stop.clone());
        let agent = async {
            tokio::select! {
                outcome = supervise::apart("agent", agents) => outcome,
                // It keeps time itself; but not if something in it never lets go of its thread.
                () = late(&stop, &granted) => Err(anyhow!("the agent did not stop in time")),
            }
        };
        let serving = servers.run(served.clone(), GRACE);
        tokio::pin!(serving);
        let outcome = tokio::select! {
            outcome = agent => outcome,
            ended = &mut serving => return ended,
            _ = &mut state_ended => return Err(anyhow!("the state ended before it was asked to")),
        };
        if let Err(error) = shared.save().await {
            tracing::warn!(%error, "the last readings are not kept; what was counted is");
        }
        served.cancel();
        let outcome = outcome.and(serving.await);
        if tokio::time::timeout(GRACE, handle.finish()).await.is_err() {
            tracing::warn!("not all of what was asked for came to its end");
        }
        drop((handle, shared));
        // Everything that had its hands on the state is gone; it ends when it has written what waits.
        if tokio::time::timeout(GRACE, state_ended).await.is_err() {
            tracing::error!("the state did not end in time");
        }
        outcome
    }
}

/// Waits for the stop, and then for longer than the agent may take to end.
async fn late(stop: &CancellationToken, granted: &watch::Receiver<Duration>) {
    stop.cancelled().await;
    let grace = *granted.borrow();
    tokio::time::sleep(grace + GRACE).await;
}

/// One agent after the other, each under its configuration, until `stop`; and how long each of them may take to end.
async fn run_agents(
    mut config: Arc<Config>,
    mut taken_up: TakenUp,
    (shared, handle, grant): (Arc<Shared>, Arc<Handle>, watch::Sender<Duration>),
    mut reload: Option<Reload>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut told = None;
    // Nobody registers anything while one configuration takes the place of another.
    let mut changing = Some(shared.membership.write().await);
    loop {
        let generation = stop.child_token();
        let mut tasks = Tasks::default();
        let agent = Agent::start(&config, taken_up, &mut tasks, &generation, &stop)?;
        handle.put_in_force(Some((agent, config.clone())));
        changing.take();
        if let Some((who, notes)) = told.take() {
            answer(who, Ok(notes));
        }
        tracing::info!(upstreams = config.upstreams.len(), "polling");
        let grace = GRACE + config.upstreams.iter().map(|upstream| upstream.polling.timeout).max().unwrap_or_default();
        grant.send_replace(grace);
        let running = tasks.run(generation.clone(), grace);
        tokio::pin!(running);
        let (next, prepared, asked) = tokio::select! {
            outcome = &mut running => return outcome,
            () = stop.cancelled() => {
                handle.put_in_force(None);
                return running.await;
            }
            next = reloaded(&mut reload, &shared, &config.state) => next,
        };
        generation.cancel();
        if let Err(error) = running.await {
            // They were asked to stop and are gone now, one way or the other: no reason to stop watching.
            tracing::error!(error = format!("{error:#}"), "the old configuration did not end well");
        }
        changing = Some(shared.membership.write().await);
        taken_up = shared.take_up(&next, prepared, both_clocks());
        config = Arc::new(next);
        told = Some(asked);
    }
}

/// Tells whoever asked how it went.
fn answer(who: ReloadAsk, how: Result<Vec<String>, String>) {
    if let Some(who) = who {
        let _ = who.send(how);
    }
}

/// Waits until a new and valid configuration was loaded; with it comes what the state knows for it, and who asked, who is told
/// when it is in force.
async fn reloaded(
    reload: &mut Option<Reload>,
    shared: &Shared,
    state: &State,
) -> (Config, Prepared, (ReloadAsk, Vec<String>)) {
    let Some(Reload { file, asked, .. }) = reload else { return std::future::pending().await };
    while let Some(who) = asked.recv().await {
        match load_again(file.clone(), shared, state).await {
            Ok((config, prepared, notes)) => {
                tracing::info!(file = %file.display(), "configuration loaded again");
                return (config, prepared, (who, notes));
            }
            Err(error) => {
                shared.metrics.reload_failed();
                let error = format!("{error:#}");
                tracing::error!(error, "the configuration was not loaded again; the one before stays in force");
                answer(who, Err(error));
            }
        }
    }
    std::future::pending().await
}

/// The file's configuration, what the state knows for it, and what of it needs a restart.
async fn load_again(file: PathBuf, shared: &Shared, state: &State) -> anyhow::Result<(Config, Prepared, Vec<String>)> {
    let mut config = tokio::task::spawn_blocking(move || config::load(&file)).await??;
    let mut notes = Vec::new();
    if config.state != *state {
        let note = "the change of `state` needs a restart; until then the state stays where it is";
        tracing::warn!("{note}");
        notes.push(note.to_owned());
        config.state = state.clone();
    }
    let prepared = shared.prepare(&config).await?;
    Ok((config, prepared, notes))
}
