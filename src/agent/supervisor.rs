//! Starts one actor per upstream, reconfigures and stops them. An actor that ends unasked ends the program.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout, timeout_at};

use super::actor::{UpstreamActor, request_sender};
use super::budgets::BudgetLedger;
use super::command::Command;
use super::handles::{Agent, UpstreamHandle};
use super::request::SendRequest;
use super::services::{Services, request_permits};
use super::settings::{Rules, UpstreamSettings, label_limits};
use super::sweep::StateSweeper;
use super::threads::ActorThreads;
use crate::clock::Clock;
use crate::config::Config;
use crate::counters::CounterSnapshot;
use crate::files;
use crate::liveness::Liveness;
use crate::metrics::{Metrics, SeriesSelection};
use crate::store::{Command as StoreCommand, Loaded, Output, Store, StoreError};
use crate::view::UpstreamView;

/// Commands that wait for one actor; more are refused.
const COMMANDS: usize = 4096;

/// How long an actor may take to stop, beyond the time-out of its polls.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the sweeper may take for a round; it begins one every second, and waits for the store.
const SWEEPER_LIMIT: Duration = Duration::from_mins(3);

/// How long a reload waits for the state store; large states take seconds.
const LOAD_PATIENCE: Duration = Duration::from_mins(1);

/// How often the tasks with per-task series are selected, for the counter of refused ones; each scrape selects again.
const SERIES_INTERVAL: Duration = Duration::from_secs(1);

/// The supervisor.
pub struct Supervisor {
    agent: Arc<Agent>,
    services: Services,
    series: watch::Sender<Arc<SeriesSelection>>,
    threads: ActorThreads,
    actors: BTreeMap<Arc<str>, RunningActor>,
    /// Every actor and the sweeper, with their names.
    running: JoinSet<(Arc<str>, anyhow::Result<()>)>,
    /// Why an actor has ended by itself while others were being stopped.
    failure: Option<anyhow::Error>,
    config: Arc<Config>,
    /// For the sweeper.
    rules: watch::Sender<Rules>,
}

/// An actor that runs.
struct RunningActor {
    handle: UpstreamHandle,
    provider: &'static str,
    /// The time-out of its polls.
    timeout: Duration,
    /// Its task.
    task: AbortHandle,
}

/// What has to be read from the state before a configuration comes into force.
#[derive(Default)]
struct Prepared {
    /// Of upstreams that have no actor.
    loaded: BTreeMap<Arc<str>, Loaded>,
    /// Of upstreams that have one, when the aggregate labels change.
    counters: BTreeMap<Arc<str>, Vec<CounterSnapshot>>,
}

impl Supervisor {
    /// Loads the state, and starts an actor for each upstream.
    ///
    /// # Errors
    /// When the state cannot be read, or a client or thread cannot be created.
    pub async fn start(
        config: Arc<Config>,
        store: Arc<Store>,
        metrics: Arc<Metrics>,
        clock: Clock,
        liveness: Liveness,
    ) -> anyhow::Result<Self> {
        let (series, selection) = watch::channel(Arc::new(SeriesSelection::ALL));
        let services = Services {
            store: store.clone(),
            metrics: metrics.clone(),
            clock: clock.clone(),
            requests: request_permits(files::descriptor_limit()),
            liveness: liveness.clone(),
            series: selection,
        };
        let agent = Arc::new(Agent::new(store, metrics));
        let (rules, current) = watch::channel(Rules::new(&config, services.store.first_start()));
        let mut running = JoinSet::new();
        let sweeper =
            StateSweeper::new(agent.clone(), current, clock, liveness.add("the state sweeper", SWEEPER_LIMIT));
        running.spawn(async move { ("the state sweeper".into(), sweeper.run().await) });
        let mut supervisor = Self {
            rules,
            agent,
            services,
            series,
            threads: ActorThreads::start()?,
            actors: BTreeMap::new(),
            running,
            failure: None,
            config: config.clone(),
        };
        let prepared = supervisor.prepare(&config).await.context("the state cannot be loaded")?;
        supervisor.apply(config, prepared).await?;
        Ok(supervisor)
    }

    /// The agent as others see it.
    pub const fn agent(&self) -> &Arc<Agent> {
        &self.agent
    }

    /// Reads what a configuration needs of the state.
    async fn prepare(&self, config: &Config) -> Result<Prepared, StoreError> {
        let labels = label_limits(config);
        let has_other_labels = labels.labels != label_limits(&self.config).labels;
        let labels = labels.exported_names();
        let mut prepared = Prepared::default();
        for upstream in &config.upstreams {
            let (name, provider) = (&upstream.name, upstream.dialect.name());
            if self.actors.get(name).is_none_or(|actor| actor.provider != provider) {
                let command = StoreCommand::Load((name.clone(), provider), labels.clone());
                let Output::Loaded(loaded) = self.services.store.execute(command).await? else { continue };
                prepared.loaded.insert(name.clone(), loaded);
            } else if has_other_labels {
                let command = StoreCommand::LoadCounters((name.clone(), provider), labels.clone());
                let Output::Counters(counters) = self.services.store.execute(command).await? else { continue };
                prepared.counters.insert(name.clone(), counters);
            }
        }
        Ok(prepared)
    }

    /// Takes another configuration. Actors of upstreams that stay are reconfigured; an upstream that is gone, or has another
    /// provider, has its actor stopped.
    ///
    /// # Errors
    /// When the state cannot be read, or a client cannot be built: the old configuration stays in force then. When an actor
    /// has failed: the program has to end then.
    pub async fn reload(&mut self, config: Arc<Config>) -> anyhow::Result<()> {
        let prepared = timeout(LOAD_PATIENCE, self.prepare(&config)).await;
        let prepared = prepared.map_err(|_| anyhow!("the state store has not answered within {LOAD_PATIENCE:?}"))??;
        self.apply(config, prepared).await
    }

    async fn apply(&mut self, config: Arc<Config>, mut prepared: Prepared) -> anyhow::Result<()> {
        let settings = UpstreamSettings::all(&config, self.services.store.first_start());
        let now = self.services.clock.to_wall(self.services.clock.now().steady);
        self.services.metrics.reloaded(&config, now);
        let stays = |name: &str, provider| {
            settings.iter().any(|s| *s.upstream.name == *name && s.upstream.dialect.name() == provider)
        };
        let stopped = self.actors.iter().filter(|(name, actor)| !stays(name, actor.provider));
        let stopped: Vec<Arc<str>> = stopped.map(|(name, _)| name.clone()).collect();
        if let Err(error) = self.stop_actors(&stopped, false).await {
            // None of them runs any more: no reason to stop polling the others.
            tracing::error!(error = format!("{error:#}"), "upstreams did not stop cleanly");
        }
        let (mut handles, mut starting) = (BTreeMap::new(), Vec::new());
        for settings in settings {
            let (name, send) = (settings.upstream.name.clone(), request_sender(&settings.upstream));
            if let Some(actor) = self.actors.get_mut(&name) {
                actor.timeout = settings.upstream.polling.timeout;
                let counters = prepared.counters.remove(&name).unwrap_or_default();
                let (reply, replied) = oneshot::channel();
                let settings = Box::new(settings);
                let command = Command::Reconfigure { settings, send, counters, reply };
                let reconfigured = async { actor.handle.commands.send(command).await.is_ok() && replied.await.is_ok() };
                match timeout(PATIENCE, reconfigured).await {
                    Ok(true) => {}
                    Ok(false) => return Err(anyhow!("the actor of upstream {name} has ended")),
                    // It takes the command as soon as it can.
                    Err(_) => tracing::warn!(upstream.name = %name, "upstream is busy; it is reconfigured later"),
                }
                handles.insert(name, actor.handle.clone());
            } else {
                // A stopped actor has saved more since `prepare`: the new actor loads again.
                let loaded = prepared.loaded.remove(&name).filter(|_| !stopped.contains(&name));
                let handle = self.start_actor(settings, send, loaded);
                starting.push(handle.view.clone());
                handles.insert(name, handle);
            }
        }
        // Without the first view of an actor, a page would lack series that it had before.
        let _ = timeout(LOAD_PATIENCE, join_all(starting.iter_mut().map(watch::Receiver::changed))).await;
        let names = handles.keys().cloned().collect();
        self.agent.set_handles(handles);
        self.load_other_spending(names).await;
        self.keep_series(&config);
        self.rules.send_replace(Rules::new(&config, self.services.store.first_start()));
        self.config = config;
        Ok(())
    }

    /// Reads what tasks of upstreams that are not configured have spent: it stays in their budgets.
    async fn load_other_spending(&self, configured: Vec<Arc<str>>) {
        let mut ledger = BudgetLedger::default();
        match self.services.store.execute(StoreCommand::LoadOtherSpending(configured)).await {
            Ok(Output::Spending(spending)) => ledger.restore(&spending),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "budgets lack what removed upstreams have spent"),
        }
        self.services.metrics.set_other_spent(ledger.publish());
    }

    /// Drops series of requests and discovery that belong to nobody any more.
    fn keep_series(&self, config: &Config) {
        let sources = config.upstreams.iter().map(|upstream| {
            let labels = crate::source::Source::from_upstream(upstream).into_iter().map(|(label, _)| label);
            (upstream.name.clone(), labels.collect())
        });
        self.services.metrics.upstreams.retain(&sources.collect());
    }

    fn start_actor(&mut self, settings: UpstreamSettings, send: SendRequest, loaded: Option<Loaded>) -> UpstreamHandle {
        let (commands, queue) = mpsc::channel(COMMANDS);
        let (name, provider) = (settings.upstream.name.clone(), settings.upstream.dialect.name());
        let (view, latest) = watch::channel(Arc::new(UpstreamView::empty(name.clone(), provider)));
        let handle = UpstreamHandle { commands: commands.clone(), view: latest };
        let timeout = settings.upstream.polling.timeout;
        let actor = UpstreamActor::new(settings, send, self.services.clone(), view, (commands.downgrade(), queue));
        let named = name.clone();
        let run = async move { (named, actor.run(loaded).await) };
        let task = self.running.spawn_on(run, &self.threads.next());
        self.actors.insert(name, RunningActor { handle: handle.clone(), provider, timeout, task });
        handle
    }

    /// Stops actors, and waits until they have ended; aborts those that do not end in time.
    ///
    /// # Errors
    /// When some do not end in time, or end with an error.
    async fn stop_actors(&mut self, names: &[Arc<str>], is_final: bool) -> anyhow::Result<()> {
        let (mut stopping, mut sends) = (HashMap::new(), Vec::new());
        let mut patience = PATIENCE;
        for name in names {
            let Some(RunningActor { handle, timeout, task, .. }) = self.actors.remove(name) else { continue };
            patience = patience.max(if is_final { timeout + PATIENCE } else { PATIENCE });
            sends.push(async move { handle.commands.send(Command::Stop { is_final }).await });
            stopping.insert(task.id(), (name.clone(), task));
        }
        let until = Instant::now() + patience;
        // An actor whose queue stays full is busy: it is aborted below.
        let _ = timeout_at(until, join_all(sends)).await;
        let mut outcome = self.join(&mut stopping, until).await;
        if !stopping.is_empty() {
            let names: Vec<&str> = stopping.values().map(|(name, _)| &**name).collect();
            outcome = outcome.and(Err(anyhow!("upstreams did not stop in time: {}", names.join(", "))));
            for (_, task) in stopping.values() {
                task.abort();
            }
            let _ = self.join(&mut stopping, Instant::now() + PATIENCE).await;
        }
        outcome
    }

    /// Joins these actors until that time, and removes them from `stopping`. The end of another one is kept for
    /// [`run`](Self::run).
    async fn join(
        &mut self,
        stopping: &mut HashMap<Id, (Arc<str>, AbortHandle)>,
        until: Instant,
    ) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        while !stopping.is_empty()
            && let Ok(Some(ended)) = timeout_at(until, self.running.join_next_with_id()).await
        {
            let (id, ended) = match ended {
                Ok((id, ended)) => (id, Ok(ended)),
                Err(error) => (error.id(), Err(error)),
            };
            match (stopping.remove(&id), ended) {
                (Some((name, _)), Ok((_, ended))) => {
                    outcome = outcome.and(ended.with_context(|| format!("polling {name}")));
                }
                (Some((name, _)), Err(error)) => {
                    outcome = outcome.and(Err(anyhow!(error).context(format!("polling {name}"))));
                }
                (None, ended) => self.failure = Some(unexpected_end(ended)),
            }
        }
        outcome
    }

    /// Works until an actor ends unasked, and returns why.
    pub async fn run(&mut self) -> anyhow::Error {
        let mut tick = interval(SERIES_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if let Some(failure) = self.failure.take() {
                return failure;
            }
            tokio::select! {
                Some(ended) = self.running.join_next(), if !self.running.is_empty() => return unexpected_end(ended),
                _ = tick.tick() => {
                    let selection = self.services.metrics.select_series(&self.agent.views());
                    self.series.send_replace(Arc::new(selection));
                }
            }
        }
    }

    /// Stops every actor, and the sweeper: polls in flight may take their time-out.
    ///
    /// # Errors
    /// When some do not end in time, or end with an error.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let names: Vec<Arc<str>> = self.actors.keys().cloned().collect();
        let stopped = self.stop_actors(&names, true).await;
        // What cannot be stored now was stored half a minute ago.
        let _ = timeout(PATIENCE, self.agent.save_health()).await;
        // The sweeper: what it has not done is done after the next start.
        let _ = timeout(PATIENCE, self.running.shutdown()).await;
        stopped
    }
}

/// Why an actor or the sweeper ended that nobody has stopped.
fn unexpected_end(ended: Result<(Arc<str>, anyhow::Result<()>), JoinError>) -> anyhow::Error {
    match ended {
        Ok((name, outcome)) => {
            let error = outcome.err().unwrap_or_else(|| anyhow!("it ended by itself"));
            error.context(format!("polling {name}"))
        }
        Err(error) => anyhow!(error).context("an actor panicked"),
    }
}
