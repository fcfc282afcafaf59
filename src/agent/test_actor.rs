//! An actor that a test drives step by step, with a manual clock, its own store and a scripted upstream.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::actor::UpstreamActor;
use super::command::{Command, Discovered};
use super::discovery::sources_of;
use super::request::{Answers, Outcome, SendRequest, Work};
use super::services::{Services, request_permits};
use super::settings::UpstreamSettings;
use crate::clock::{self, Clock, ManualClock};
use crate::config::{self, Config};
use crate::domain::time::Now;
use crate::domain::{Answer, ApiError, NewTask, Reason, TaskId, Timestamp};
use crate::liveness::Liveness;
use crate::metrics::{Format, Metrics, SeriesSelection};
use crate::source::{ListDemand, ListRequest, ListRows, Listing};
use crate::store::{Command as StoreCommand, Location, Output, Store};
use crate::telemetry::LogCounts;
use crate::view::UpstreamView;

/// The answers of the upstream by task id; other ids are unknown to it.
pub type Upstream = Arc<Mutex<BTreeMap<String, Answer>>>;

/// A `Date` header that a test sets.
pub type Date = Arc<Mutex<Option<Timestamp>>>;

/// The actor and its environment.
pub struct TestActor {
    pub actor: UpstreamActor,
    pub store: Arc<Store>,
    pub metrics: Arc<Metrics>,
    pub clock: Arc<Mutex<ManualClock>>,
    pub steady: Clock,
    pub upstream: Upstream,
    /// The `Date` of its responses.
    pub date: Date,
    /// Polled ids, in order.
    pub polled: Arc<Mutex<Vec<String>>>,
    view: watch::Receiver<Arc<UpstreamView>>,
    _commands: mpsc::Sender<Command>,
    store_ended: oneshot::Receiver<()>,
}

/// A manual clock.
pub fn clock() -> Arc<Mutex<ManualClock>> {
    let monotonic = clock::instant() + Duration::from_hours(24);
    Arc::new(Mutex::new(ManualClock { wall: Timestamp::from_secs(1_800_000_000), monotonic }))
}

/// The configuration of upstream `u`, with `more` at its head.
pub fn config(folder: &Path, more: &str) -> Config {
    let polling =
        if more.contains("polling:") { "" } else { "polling: {requests_per_second: 1000000, burst: 100000}\n" };
    let text = format!(
        "{polling}{more}\nstate: {{sqlite: {{path: s.db}}}}\n\
         upstreams: [{{name: u, provider: new_api, base_url: 'http://127.0.0.1:9',\n\
         file_sd_configs: [{{files: [a.json]}}, {{files: [b.json]}}]}}]\n"
    );
    config::parse(&text, &folder.join("c.yml")).unwrap()
}

/// The configuration of upstream `u` with a list, and `list` and `upstream` as more keys of both.
pub fn config_with_list(folder: &Path, list: &str, upstream: &str) -> Config {
    let text = format!(
        "polling: {{requests_per_second: 1000000, burst: 100000}}\nmetrics: {{zero_hold: 0s, aggregate_labels: [user]}}\n\
         tasks: {{count_since: always}}\nstate: {{memory: {{}}}}\nupstreams: [{{name: u, provider: new_api, base_url: 'http://127.0.0.1:9',\n\
         file_sd_configs: [{{files: [a.json]}}], list_configs: [{{{list}}}], {upstream}}}]\n"
    );
    config::parse(&text, &folder.join("c.yml")).unwrap()
}

pub fn settings(config: &Config, store: &Store) -> UpstreamSettings {
    UpstreamSettings::all(config, store.first_start()).remove(0)
}

pub fn id(text: &str) -> TaskId {
    TaskId::parse(text).unwrap()
}

impl TestActor {
    /// Starts the actor with the state at `location`.
    pub async fn start(
        config: &Config,
        location: &Location,
        clock: Arc<Mutex<ManualClock>>,
        upstream: Upstream,
    ) -> Self {
        let steady = Clock::manual(clock.clone());
        let metrics = Arc::new(Metrics::new(&config.file.metrics, LogCounts::default(), steady.clone()).unwrap());
        metrics.reloaded(config, steady.now().steady);
        let (store, store_ended) = Store::open(location, &steady, |_| {}).unwrap();
        let store = Arc::new(store);
        let (_, series) = watch::channel(Arc::new(SeriesSelection::ALL));
        let services = Services {
            store: store.clone(),
            metrics: metrics.clone(),
            clock: steady.clone(),
            requests: request_permits(1 << 16),
            liveness: Liveness::default(),
            series,
        };
        let settings = settings(config, &store);
        let load = StoreCommand::Load(("u".into(), "new_api"), settings.labels.exported_names());
        let Output::Loaded(loaded) = store.execute(load).await.unwrap() else { panic!("unexpected output") };
        let (commands, queue) = mpsc::channel(9);
        let (publish, view) = watch::channel(Arc::new(UpstreamView::empty("u".into(), "new_api")));
        let (polled, date) = (Arc::default(), Date::default());
        let send = sender(clock.clone(), upstream.clone(), Arc::clone(&polled), date.clone());
        let mut actor = UpstreamActor::new(settings, send, services, publish, (commands.downgrade(), queue));
        actor.restore(loaded);
        Self { actor, store, metrics, clock, steady, upstream, date, polled, view, _commands: commands, store_ended }
    }

    pub fn now(&self) -> Now {
        self.steady.now()
    }

    /// Advances both clocks.
    pub fn advance(&self, by: Duration) {
        let mut now = self.clock.lock().unwrap();
        *now = ManualClock { wall: now.wall + by, monotonic: now.monotonic + by };
    }

    /// Sets the wall clock alone.
    pub fn step_wall_clock(&self, by: i64) {
        let mut now = self.clock.lock().unwrap();
        now.wall = now.wall.shifted(by * 1000);
    }

    /// The function that sends its requests.
    pub fn sender(&self) -> SendRequest {
        sender(self.clock.clone(), self.upstream.clone(), self.polled.clone(), self.date.clone())
    }

    /// A source lists these tasks; the store has not answered yet.
    pub async fn discover(&mut self, label: &str, tasks: Vec<NewTask>) -> oneshot::Receiver<Result<(), Listing>> {
        let sources = sources_of(&self.actor.tracker_mut().settings.upstream);
        let source = sources.into_iter().map(|(key, _)| key).find(|key| key.label == label).unwrap();
        let (reply, replied) = oneshot::channel();
        let listing = Listing { tasks, is_complete: true, ..Listing::default() };
        let discovered = Discovered { source, listing, is_retry: false, reply };
        self.actor.on_command(Command::Discovered(Box::new(discovered))).await;
        replied
    }

    /// A list was asked so long ago; its rows, or the reason why it has failed.
    pub async fn list(&mut self, rows: Result<Vec<Answer>, Reason>, ago: Duration) {
        let sources = sources_of(&self.actor.tracker_mut().settings.upstream);
        let source = sources.into_iter().map(|(key, _)| key).find(|key| key.label == "list/0").unwrap();
        let sent = self.now().monotonic.checked_sub(ago).unwrap();
        let (code, reason) = (Some(200), rows.as_ref().err().copied());
        let request = ListRequest { code, reason, ..ListRequest::sent(sent, Arc::default()) };
        let mut listing = Listing { has_more: true, requests: vec![request], ..Listing::default() };
        if let Ok(answers) = rows {
            let ids = answers.iter().filter_map(|answer| TaskId::parse(answer.task_id.as_deref()?).ok());
            listing.tasks = ids.map(NewTask::new).collect();
            listing.rows = Some(ListRows { answers, sent, task: None, began: sent, reached: None, is_end: true });
        }
        self.send_listing(source, listing).await;
    }

    /// A list was asked for one task, and has this row of it, or none.
    pub async fn list_one(&mut self, task: &TaskId, row: Option<Answer>) {
        let sources = sources_of(&self.actor.tracker_mut().settings.upstream);
        let source = sources.into_iter().map(|(key, _)| key).find(|key| key.label == "list/0").unwrap();
        let (answers, sent) = (row.into_iter().collect(), self.now().monotonic);
        let rows = ListRows { answers, sent, task: Some(task.clone()), began: sent, reached: None, is_end: false };
        self.send_listing(source, Listing { has_more: true, rows: Some(rows), ..Listing::default() }).await;
    }

    async fn send_listing(&mut self, source: super::source_registry::SourceKey, listing: Listing) {
        let (reply, _replied) = oneshot::channel();
        let discovered = Discovered { source, listing, is_retry: false, reply };
        self.actor.on_command(Command::Discovered(Box::new(discovered))).await;
        self.settle().await;
    }

    /// What the tasks need of the list.
    pub fn demand(&mut self) -> ListDemand {
        let demand = self.actor.tracker_mut().poller.lists.demands().remove("list/0").unwrap();
        (*demand.borrow()).clone()
    }

    /// Sends what is due and applies the responses; the store has not answered yet.
    pub async fn poll_due(&mut self) {
        let tracker = self.actor.tracker_mut();
        loop {
            tracker.poll_due_tasks();
            if tracker.poller.is_idle() {
                return;
            }
            let outcome = tracker.poller.next_response().await;
            tracker.on_response(outcome);
        }
    }

    /// Polls a task at once; false when it is not tracked.
    pub async fn poll(&mut self, id: &TaskId) -> bool {
        let now = self.now().monotonic;
        let tracker = self.actor.tracker_mut();
        let Some(token) = tracker.table.slot(id).and_then(|slot| tracker.table.new_token(slot)) else { return false };
        tracker.poller.queue.push_due(token, now);
        self.poll_due().await;
        true
    }

    /// The store answers everything that was sent to it.
    pub async fn settle(&mut self) {
        self.actor.settle(clock::instant() + Duration::from_mins(1)).await.unwrap();
        // Commands are executed in order: earlier ones are complete when this one is.
        let read = StoreCommand::Timeline("u".into(), id("t"));
        self.store.execute(read).await.unwrap();
    }

    /// The page of the last view that was published.
    pub fn page(&mut self) -> String {
        self.actor.tracker_mut().publish_if_due(true);
        self.last_page()
    }

    /// The page of the last view that was published, without publishing another.
    pub fn last_page(&self) -> String {
        let views = [self.view.borrow().clone()];
        self.metrics.page(Format::Text, &views).map(|piece| String::from_utf8_lossy(&piece).into_owned()).collect()
    }

    /// The view, published now.
    pub fn view(&mut self) -> Arc<UpstreamView> {
        self.actor.tracker_mut().publish_if_due(true);
        self.view.borrow().clone()
    }

    /// Ids in the view, published now.
    pub fn tracked(&mut self) -> BTreeSet<String> {
        self.view().tasks().map(|task| task.id.to_string()).collect()
    }

    /// Stops the actor, cleanly or killed, and closes the state.
    pub async fn end(self, is_killed: bool) {
        let Self { actor, store, store_ended, .. } = self;
        if is_killed {
            drop(actor);
        } else {
            actor.stop(false).await.unwrap();
        }
        drop(store);
        store_ended.await.unwrap();
    }
}

fn sender(
    clock: Arc<Mutex<ManualClock>>,
    upstream: Upstream,
    polled: Arc<Mutex<Vec<String>>>,
    date: Date,
) -> SendRequest {
    Arc::new(move |work| {
        let Work::One(task) = &work else { panic!("this provider has no batches") };
        polled.lock().unwrap().push(task.id.to_string());
        let answer = upstream.lock().unwrap().get(task.id.as_str()).cloned();
        let result = answer.map(|answer| Answers::One(Box::new(answer)));
        let now = clock.lock().unwrap().monotonic;
        let outcome = Outcome {
            work,
            sent: now,
            received: now,
            code: Some(200),
            retry_after: None,
            date: *date.lock().unwrap(),
            result: result.ok_or(ApiError::new(Reason::NotFound)),
        };
        Box::pin(std::future::ready(outcome))
    })
}
