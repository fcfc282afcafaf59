//! The actor of one upstream: the only one that touches its tasks. It reacts to commands, due polls, responses, settled
//! commits and a tick, and publishes what readers see.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout, timeout_at};

use super::API_SOURCE;
use super::account::{self, AccountReader, KnownAccount};
use super::command::Command;
use super::discovery::{SourceReaders, sources_of};
use super::members::Members;
use super::publisher::Publisher;
use super::request::{SendRequest, UpstreamClient};
use super::services::Services;
use super::settings::UpstreamSettings;
use super::tracker::Tracker;
use crate::clock;
use crate::config::Upstream;
use crate::counters::CounterSnapshot;
use crate::domain::Task;
use crate::liveness::Pulse;
use crate::metrics::Operation;
use crate::source::Source;
use crate::store::{Command as StoreCommand, Loaded, Output, Store};
use crate::view::UpstreamView;

/// How long the actor may stand still; it looks around every second.
const LIMIT: Duration = Duration::from_mins(1);

/// How often retention, zero holds and series are looked at.
const TICK: Duration = Duration::from_secs(1);

/// How long polls in flight may take when their upstream stops, beyond their time-out when the program stops.
const POLL_PATIENCE: Duration = Duration::from_secs(1);

/// How long commits, and then the last save, may take when the actor stops. What is not committed is read again.
const STORE_PATIENCE: Duration = Duration::from_secs(1);

/// How often the state is tried again that could not be loaded.
const LOAD_RETRY: Duration = Duration::from_secs(1);

/// The actor.
pub struct UpstreamActor {
    tracker: Tracker,
    members: Members,
    readers: SourceReaders,
    account: AccountReader,
    commands: mpsc::Receiver<Command>,
    /// For the readers of sources.
    command_sender: mpsc::WeakSender<Command>,
}

/// The function that sends an upstream's requests.
pub fn request_sender(upstream: &Upstream) -> SendRequest {
    UpstreamClient::new(upstream.client.clone(), upstream.dialect.clone(), upstream.key.clone()).into_send()
}

impl UpstreamActor {
    /// Without tasks; `view` is where it publishes, `sender` the other end of `commands`.
    pub fn new(
        settings: UpstreamSettings,
        send: SendRequest,
        services: Services,
        view: watch::Sender<Arc<UpstreamView>>,
        (sender, commands): (mpsc::WeakSender<Command>, mpsc::Receiver<Command>),
    ) -> Self {
        let publisher = Publisher::new(view, services.clock.now().monotonic);
        Self {
            tracker: Tracker::new(settings, send, services, publisher),
            members: Members::default(),
            readers: SourceReaders::default(),
            account: AccountReader::default(),
            commands,
            command_sender: sender,
        }
    }

    /// Runs until a command stops it or every sender of commands is dropped.
    ///
    /// # Errors
    /// When the store has ended, or a reader has panicked.
    pub async fn run(mut self, loaded: Option<Loaded>) -> anyhow::Result<()> {
        let name = format!("upstream {}", self.tracker.settings.upstream.name);
        let pulse = self.tracker.services.liveness.add(name, LIMIT);
        let loaded = match loaded {
            Some(loaded) => loaded,
            None => load(&self.tracker.settings, self.tracker.services.store.clone(), &pulse).await,
        };
        self.restore(loaded);
        self.start_readers(BTreeMap::new());
        self.start_account(None);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let is_final = loop {
            pulse.beat();
            let next = self.tracker.poll_due_tasks();
            self.tracker.publish_if_due(self.members.sources().is_ready());
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(Command::Stop { is_final }) => break is_final,
                    Some(command) => self.on_command(command).await,
                    None => break true,
                },
                outcome = self.tracker.poller.next_response() => self.tracker.on_response(outcome),
                settled = self.tracker.commits.next() => {
                    self.tracker.on_committed(settled?);
                    // Whatever the same transaction has settled is published together.
                    while let Some(settled) = self.tracker.commits.next_now() {
                        self.tracker.on_committed(settled?);
                    }
                }
                settled = self.members.next() => self.members.on_settled(&mut self.tracker, settled),
                _ = tick.tick() => self.tracker.on_tick(),
                () = sleep_until(next.unwrap_or_else(clock::instant).into()), if next.is_some() => {}
                error = self.readers.panicked() => return Err(error),
                error = self.account.panicked() => return Err(error),
            }
        };
        self.stop(is_final).await
    }

    /// The tasks.
    #[cfg(test)]
    pub(super) const fn tracker_mut(&mut self) -> &mut Tracker {
        &mut self.tracker
    }

    /// Continues with what the state has.
    pub(super) fn restore(&mut self, loaded: Loaded) {
        let now = self.tracker.services.clock.now();
        let Loaded { tasks, counters, sources, loaded_sources, skipped, spending, samples, health } = loaded;
        self.tracker.services.metrics.upstreams.restore(&self.tracker.settings.upstream.name, health);
        self.tracker.skipped_rows = skipped;
        self.members = Members::new(loaded_sources);
        self.tracker.counters.restore(counters, now);
        let labels = source_labels(&self.tracker.settings);
        let sources = sources.into_iter().filter(|source| labels.contains(&source.source)).collect();
        self.tracker.counters.restore_sources(sources, now);
        self.tracker.restore_costs(&spending, samples, now);
        self.tracker.track(tasks, now);
        self.tracker.remove_ended(now);
        self.tracker.counters.create_missing(self.tracker.label_sets_in_use(), now);
        self.create_series();
        self.tracker.schedule_all();
        self.tracker.publish(self.members.sources().is_ready());
    }

    /// Creates the series of the upstream and its sources at 0.
    fn create_series(&mut self) {
        let now = self.tracker.services.clock.now();
        let upstream = &self.tracker.settings.upstream;
        let metrics = &self.tracker.services.metrics.upstreams;
        let batch = upstream.dialect.batch().map(|_| Operation::Batch);
        let list = (!upstream.list_sources.is_empty()).then_some(Operation::List);
        let billing = &upstream.billing;
        let balance = billing.balance.as_ref().map(|_| Operation::Balance);
        let units = account::needs_rate(billing).then_some(Operation::QuotaPerUnit);
        let operations: Vec<Operation> =
            [Some(Operation::Get), batch, list, balance, units].into_iter().flatten().collect();
        metrics.create(&upstream.name, &operations);
        if upstream.webhook.is_some() {
            metrics.create_webhook(&upstream.name);
        }
        let sources = sources_of(upstream);
        for (key, _) in &sources {
            metrics.create_source(&upstream.name, &key.label);
        }
        self.members.configure(sources.into_iter().map(|(key, _)| key));
        let hold = self.tracker.counters.zero_hold(now.steady);
        for label in source_labels(&self.tracker.settings) {
            self.tracker.counters.discovered(&label, 0, hold, now);
        }
    }

    fn start_readers(&mut self, earlier: BTreeMap<String, Source>) {
        let Tracker { settings, services, poller, .. } = &self.tracker;
        let metrics = &services.metrics.upstreams;
        self.readers.start(&settings.upstream, earlier, &poller.lists.demands(), &self.command_sender, metrics);
    }

    /// Reads the account as it is configured now.
    fn start_account(&mut self, earlier: Option<KnownAccount>) {
        let Tracker { settings, services, account, .. } = &mut self.tracker;
        let (upstream, metrics) = (&settings.upstream, &services.metrics.upstreams);
        self.account = AccountReader::start(upstream, earlier, metrics, &services.clock);
        *account = self.account.known();
    }

    /// Carries out a command other than [`Command::Stop`].
    pub(super) async fn on_command(&mut self, command: Command) {
        match command {
            Command::Discovered(discovered) => self.members.on_discovered(&mut self.tracker, *discovered),
            Command::Register { tasks, reply } => self.members.on_register(&mut self.tracker, tasks, reply),
            Command::Forget { id, reply } => self.members.on_forget(&self.tracker, id, reply),
            Command::Callback { id, answer, reply } => {
                let has_short_ids = self.tracker.settings.upstream.dialect.has_short_callback_ids();
                let id = if has_short_ids { self.tracker.table.id_with_last_part(id) } else { id };
                let outcome = self.tracker.apply_callbacks([(id, answer.map(|answer| *answer))]);
                let _ = reply.send(outcome);
            }
            Command::AreNamed { ids, reply } => {
                let sources = self.members.sources();
                let named = sources.is_ready().then(|| ids.iter().map(|id| sources.is_named(id)).collect());
                let _ = reply.send(named);
            }
            Command::Reconfigure { settings, send, counters, reply } => {
                let earlier = self.readers.stop().await;
                // What is known of an account is of one address.
                let base_url = |upstream: &Upstream| upstream.client.options().base_url.clone();
                let is_same = base_url(&self.tracker.settings.upstream) == base_url(&settings.upstream);
                let account = is_same.then(|| *self.tracker.account.borrow());
                self.reconfigure(*settings, send, counters);
                self.start_readers(earlier);
                self.start_account(account);
                let _ = reply.send(());
            }
            Command::Stop { .. } => {}
        }
    }

    /// Takes another configuration; tasks, requests in flight, back-off and commits continue.
    pub(super) fn reconfigure(
        &mut self,
        settings: UpstreamSettings,
        send: SendRequest,
        counters: Vec<CounterSnapshot>,
    ) {
        self.tracker.services.metrics.upstreams.forget_refusals(&settings.upstream.name);
        let labels = source_labels(&settings);
        self.tracker.configure(settings, send, counters, |source| labels.iter().any(|label| label == source));
        self.create_series();
        self.tracker.publish(self.members.sources().is_ready());
    }

    /// Finishes what has begun, within limits, and saves the latest readings.
    pub(super) async fn stop(mut self, is_final: bool) -> anyhow::Result<()> {
        self.commands.close();
        self.readers.stop().await;
        let polling = &self.tracker.settings.upstream.polling;
        let patience = if is_final { polling.timeout + POLL_PATIENCE } else { POLL_PATIENCE };
        let until = clock::instant() + patience;
        while !self.tracker.poller.is_idle()
            && let Ok(outcome) = timeout_at(until.into(), self.tracker.poller.next_response()).await
        {
            self.tracker.on_response(outcome);
        }
        self.settle(clock::instant() + STORE_PATIENCE).await?;
        let tasks = self.tracker.table.rows().iter().map(|(_, row)| &row.task).filter(|task| task.is_active());
        let tasks: Vec<Arc<Task>> = tasks.cloned().map(Arc::new).collect();
        self.tracker.publish(self.members.sources().is_ready());
        let saved = timeout(STORE_PATIENCE, self.tracker.services.store.execute(StoreCommand::Save(tasks))).await;
        let name = &self.tracker.settings.upstream.name;
        match saved {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(upstream.name = %name, %error, "latest readings not saved; counters are safe");
            }
            Err(_) => tracing::warn!(upstream.name = %name, "latest readings not saved in time; counters are safe"),
        }
        Ok(())
    }

    /// Waits until the store has answered everything, or that time.
    pub(super) async fn settle(&mut self, until: Instant) -> anyhow::Result<()> {
        while !(self.tracker.commits.is_empty() && self.members.is_settled()) {
            tokio::select! {
                settled = self.tracker.commits.next() => self.tracker.on_committed(settled?),
                settled = self.members.next() => self.members.on_settled(&mut self.tracker, settled),
                () = sleep_until(until.into()) => break,
            }
        }
        Ok(())
    }
}

/// Labels of everything that may discover tasks.
fn source_labels(settings: &UpstreamSettings) -> Vec<String> {
    let api = settings.has_api.then(|| API_SOURCE.to_owned());
    sources_of(&settings.upstream).into_iter().map(|(key, _)| key.label).chain(api).collect()
}

/// Loads an upstream's tasks and counters, however long the store takes.
fn load<'a>(
    settings: &UpstreamSettings,
    store: Arc<Store>,
    pulse: &'a Pulse,
) -> impl Future<Output = Loaded> + use<'a> {
    let key = (settings.upstream.name.clone(), settings.upstream.dialect.name());
    let command = StoreCommand::Load(key.clone(), settings.labels.exported_names());
    async move {
        loop {
            pulse.beat();
            match store.execute(command.clone()).await {
                Ok(Output::Loaded(loaded)) => return loaded,
                Ok(_) => {}
                Err(error) => tracing::warn!(upstream.name = %key.0, %error, "state cannot be loaded; trying again"),
            }
            tokio::time::sleep(LOAD_RETRY).await;
        }
    }
}
