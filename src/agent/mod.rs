//! The agent: finds tasks, polls them, moves them, counts them, forgets them.

mod ask;
mod backoff;
mod discover;
mod limit;
mod moves;
mod named;
mod oddities;
mod poll;
mod registry;
mod sweep;
mod table;
mod timetable;
mod together;
mod tracker;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::RwLock;
use tokio_util::sync::CancellationToken;

use backoff::Backoff;
use moves::Commits;
use named::Named;

use crate::clock;
use crate::config::{Config, CountSinceConfig, PerTask};
use crate::domain::advance::CountSince;
use crate::domain::task::Agg;
use crate::domain::{Policy, Task, Timestamp};
use crate::metrics::{Format, Metrics, Now, Operation, Page, Snapshot};
use crate::source::Source;
use crate::store::{Loaded, Store, StoreError};
use crate::supervise::Tasks;

pub use registry::{API, Registered};
pub use table::Told;
pub use tracker::{SeriesLimits, Tracker};

/// What outlives a configuration: the table, the state and the counters.
pub struct Shared {
    /// The working set.
    pub tracker: Tracker,
    /// What survives.
    pub store: Store,
    /// What is shown.
    pub metrics: Metrics,
    /// Held for reading while a registration is taken in; for writing while a task is forgotten, or another configuration comes
    /// into force: none of them may happen in the middle of another.
    pub membership: RwLock<()>,
    /// Held while what is counted and what is shown of tasks change together, and while a page takes both. Never over I/O.
    moment: Mutex<()>,
    named: Named,
    carried: Mutex<Carried>,
}

/// What one configuration hands to the next.
#[derive(Default)]
struct Carried {
    /// How long each upstream is to be left alone.
    backoffs: HashMap<Arc<str>, Backoff>,
    /// What is on its way to the state.
    commits: HashMap<Arc<str>, Commits>,
    /// What was read of files, by upstream and source.
    sources: HashMap<(Arc<str>, String), Source>,
}

/// The rules of one configuration.
#[derive(Debug, Clone)]
struct Rules {
    policy: Policy,
    give_up_after: Duration,
    retention: Duration,
    recheck_ended: Duration,
    forget_after: Duration,
}

/// What the state knows that a configuration needs, read before that is taken up.
pub struct Prepared {
    loaded: Loaded,
    /// By upstream and source: it was never read well before.
    first_loads: HashMap<(Arc<str>, String), bool>,
}

/// The agent under one configuration.
pub struct Agent {
    first_reads: Arc<AtomicUsize>,
}

impl Agent {
    /// Starts everything that polls and discovers under `config`, which was [taken up](Shared::take_up), in `tasks`; all of it
    /// stops when `stop` is cancelled, which is for good when `ends` is, too.
    ///
    /// # Errors
    /// When a client cannot be built, which `config` has tried.
    pub fn start(
        config: &Config,
        taken_up: TakenUp,
        tasks: &mut Tasks,
        stop: &CancellationToken,
        ends: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let TakenUp { shared, rules, first_loads } = taken_up;
        let first_reads = Arc::new(AtomicUsize::new(0));
        for upstream in &config.upstreams {
            let also =
                [(upstream.dialect.batch().is_some(), Operation::Batch), (!upstream.lists.is_empty(), Operation::List)];
            let also = also.into_iter().filter(|(has, _)| *has).map(|(_, operation)| operation);
            let operations: Vec<Operation> = std::iter::once(Operation::Get).chain(also).collect();
            shared.metrics.announce(&upstream.name, upstream.dialect.name(), &operations);
            if !config.api.is_empty() {
                shared.metrics.announce_bringer(&upstream.name, API, both_clocks());
            }
            if upstream.webhook.is_some() {
                shared.metrics.upstreams.announce_webhook(&upstream.name);
            }
            let polling = &upstream.polling;
            let limit = Arc::new(limit::Limit::new(polling.requests_per_second, polling.burst));
            let poller = poll::Poller::new(upstream.clone(), limit.clone(), shared.clone(), rules.clone())?;
            tasks.start(format!("polling {}", upstream.name), poller.run(stop.clone(), ends.clone()));
            let mut before = None;
            for (label, mut source) in Source::of(upstream) {
                let known_by = (upstream.name.clone(), source.identity());
                if let Some(earlier) = shared.carried().sources.remove(&known_by) {
                    source.inherit(earlier);
                }
                let (turn, after) = discover::Turn::after(before);
                before = Some(after);
                shared.metrics.announce_source(&upstream.name, &label, both_clocks());
                first_reads.fetch_add(1, Ordering::Relaxed);
                let discoverer = discover::Discoverer {
                    upstream: upstream.clone(),
                    label,
                    limit: limit.clone(),
                    shared: shared.clone(),
                    names: shared.named.source(&upstream.name),
                    first_load: first_loads.get(&known_by).copied().unwrap_or(true),
                    first_reads: first_reads.clone(),
                };
                tasks.start(format!("discovery of {}", upstream.name), discoverer.run(source, turn, stop.clone()));
            }
        }
        let sweeper = sweep::Sweeper {
            shared: shared.clone(),
            rules: rules.clone(),
            upstreams: config.upstreams.iter().map(|upstream| upstream.name.clone()).collect(),
            first_reads: first_reads.clone(),
        };
        tasks.start("sweeping the table".to_owned(), sweep::table(shared, rules, stop.clone()));
        tasks.start("sweeping the state".to_owned(), sweeper.run(stop.clone()));
        Ok(Self { first_reads })
    }

    /// True once every source was read for the first time.
    pub fn is_ready(&self) -> bool {
        self.first_reads.load(Ordering::Acquire) == 0
    }
}

impl Rules {
    fn of(config: &Config, first_start: Timestamp) -> Self {
        let tasks = &config.file.tasks;
        let count_since = match tasks.count_since {
            CountSinceConfig::FirstStart => CountSince::Moment(first_start),
            CountSinceConfig::Always => CountSince::Always,
            CountSinceConfig::Moment(moment) => CountSince::Moment(moment),
        };
        Self {
            policy: Policy { count_since, forget_after: tasks.forget_after.0 },
            give_up_after: tasks.give_up_after.0,
            retention: tasks.retention.0,
            recheck_ended: tasks.recheck_ended.0,
            forget_after: tasks.forget_after.0,
        }
    }
}

/// This moment.
pub fn both_clocks() -> Now {
    Now { wall: clock::now().into(), steady: clock::instant() }
}

/// A configuration in force, ready to be [started](Agent::start).
pub struct TakenUp {
    shared: Arc<Shared>,
    rules: Arc<Rules>,
    first_loads: HashMap<(Arc<str>, String), bool>,
}

impl Shared {
    /// Of a program that begins.
    pub fn new(store: Store, metrics: Metrics) -> Self {
        Self {
            tracker: Tracker::new(),
            store,
            metrics,
            membership: RwLock::default(),
            moment: Mutex::default(),
            named: Named::default(),
            carried: Mutex::default(),
        }
    }

    fn moment(&self) -> MutexGuard<'_, ()> {
        self.moment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn carried(&self) -> MutexGuard<'_, Carried> {
        self.carried.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what the state knows that `config` needs and that is not in memory: tasks and counters of upstreams that come, and
    /// counters that carry other labels than those that are shown now.
    ///
    /// # Errors
    /// When the state cannot be read; nothing has changed then.
    pub async fn prepare(&self, config: &Config) -> Result<Prepared, StoreError> {
        let labels = Metrics::label_names(&config.file.metrics);
        let (known, new): (Vec<_>, Vec<_>) =
            config.upstreams.iter().partition(|upstream| self.tracker.knows(&upstream.name));
        let new = new.into_iter().map(|upstream| (upstream.name.clone(), upstream.dialect.name()));
        let new: Vec<_> = new.collect();
        let mut loaded = Loaded::default();
        if !new.is_empty() {
            loaded = self.store.load(new, labels.clone()).await?;
        }
        if self.metrics.shows_other_labels(&labels) {
            let known = known.into_iter().map(|upstream| upstream.name.clone());
            loaded.tallies.extend(self.store.tallies(known.collect(), labels).await?);
        }
        let mut first_loads = HashMap::new();
        for upstream in &config.upstreams {
            for (_, source) in Source::of(upstream) {
                // A source is known by what it reads and not by its place: all static ids of an upstream are one.
                let identity = source.identity();
                let first = self.store.is_first_load(upstream.name.clone(), identity.clone()).await?;
                first_loads.insert((upstream.name.clone(), identity), first);
            }
        }
        Ok(Prepared { loaded, first_loads })
    }

    /// Brings table and counters under a configuration: what belongs to upstreams that it does not have is shown no more.
    pub fn take_up(self: &Arc<Self>, config: &Config, prepared: Prepared, now: Now) -> TakenUp {
        let Prepared { loaded, first_loads } = prepared;
        let rules = Arc::new(Rules::of(config, self.store.first_start()));
        let names = config.upstreams.iter().map(|upstream| upstream.name.clone()).collect();
        let moment = self.moment();
        self.tracker.keep_upstreams(&names);
        self.named.begin();
        {
            let mut carried = self.carried();
            carried.backoffs.retain(|name, _| names.contains(name));
            // What is still on its way is in the state when its upstream comes back.
            carried.commits.retain(|name, _| names.contains(name));
        }
        let sources = config.upstreams.iter().map(|upstream| {
            let registered = (!config.api.is_empty()).then(|| API.to_owned());
            let labels = Source::of(upstream).into_iter().map(|(label, _)| label).chain(registered).collect();
            (upstream.name.clone(), labels)
        });
        let shown = &config.file.metrics;
        self.metrics.configured(shown, &sources.collect(), now.wall);
        self.metrics.restore(loaded.tallies, loaded.sources, now);
        for name in &names {
            self.tracker.add(name, Vec::new());
        }
        self.tracker.add_all(loaded.tasks);
        self.tracker.sweep(rules.retention, now.wall);
        self.tracker.relabel(|task| self.metrics.aggregate_labels(task, now.wall));
        let off = shown.per_task == PerTask::Off;
        self.tracker.limit(SeriesLimits {
            max: if off { 0 } else { shown.max_task_series },
            only_active: shown.per_task == PerTask::Active,
            off,
        });
        self.bear(self.snapshot().tasks().map(Task::agg).collect(), now);
        drop(moment);
        TakenUp { shared: self.clone(), rules, first_loads }
    }

    /// Label sets that tasks came under with another configuration are born at 0.
    fn bear(&self, aggs: BTreeSet<Agg>, now: Now) {
        let new: Vec<Agg> = aggs.into_iter().filter(|agg| self.metrics.is_new(agg)).collect();
        if !new.is_empty() {
            let birth = self.metrics.birth(now.wall);
            self.store.born(new.clone(), birth);
            self.metrics.born(new, birth, now);
        }
    }

    /// Tracks tasks that the state has and that are not in the table.
    fn track(&self, upstream: &Arc<str>, mut tasks: Vec<Arc<Task>>) {
        let now = both_clocks();
        for task in tasks.iter_mut().map(Arc::make_mut) {
            task.relabel(self.metrics.aggregate_labels(task, now.wall));
            self.tracker.share(task);
        }
        if !tasks.is_empty() {
            let aggs = tasks.iter().map(|task| task.agg()).collect();
            let _moment = self.moment();
            self.tracker.add(upstream, tasks);
            self.bear(aggs, now);
        }
    }

    /// Keeps the last readings of the active tasks, for the next start to go on from.
    ///
    /// # Errors
    /// When they cannot be written; what is counted is safe all the same.
    pub async fn save(&self) -> Result<(), StoreError> {
        let active = self.snapshot().tasks().filter(|task| task.is_active()).cloned().map(Arc::new).collect();
        self.store.save(active).await
    }

    /// The page as it is now: whoever reads that a task has ended finds it counted, unless its counter is still held at 0; and
    /// the other way round.
    pub fn page(&self, format: Format) -> Page {
        let moment = self.moment();
        let (counted, tasks) = (self.metrics.counted(), self.snapshot());
        drop(moment);
        self.metrics.page(format, &counted, &tasks)
    }

    /// The tasks as they are now.
    pub fn snapshot(&self) -> Snapshot {
        self.tracker.snapshot()
    }
}
