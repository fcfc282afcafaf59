//! The agent: finds tasks, polls them, moves them, counts them, forgets them.

mod ask;
mod backoff;
mod discover;
mod oddities;
mod poll;
mod sweep;
mod timetable;
mod together;
mod tracker;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock;
use backoff::Backoff;

use crate::config::{Config, CountSinceConfig, PerTask};
use crate::domain::advance::CountSince;
use crate::domain::{Policy, Timestamp};
use crate::metrics::{Metrics, Operation, Snapshot};
use crate::source::Source;
use crate::store::Store;
use crate::supervise::Tasks;

pub use tracker::{SeriesLimits, Tracker};

/// What outlives a configuration: the table, the state and the counters.
pub struct Shared {
    /// The working set.
    pub tracker: Tracker,
    /// What survives.
    pub store: Store,
    /// What is shown.
    pub metrics: Metrics,
    carried: Mutex<Carried>,
}

/// What one configuration hands to the next.
#[derive(Default)]
struct Carried {
    /// How long each upstream is to be left alone.
    backoffs: HashMap<Arc<str>, Backoff>,
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
    aggregate_labels: Vec<String>,
}

/// The agent under one configuration.
pub struct Agent {
    first_reads: Arc<AtomicUsize>,
}

impl Agent {
    /// Starts everything that polls and discovers under `config` in `tasks`; all of it stops when `stop` is cancelled, which
    /// is for good when `ends` is, too.
    ///
    /// # Errors
    /// When a client cannot be built, which `config` has tried, or the state cannot be asked.
    pub async fn start(
        config: &Config,
        shared: &Arc<Shared>,
        tasks: &mut Tasks,
        stop: &CancellationToken,
        ends: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let now = clock::now().into();
        let rules = Arc::new(Rules::of(config, shared.store.first_start()));
        shared.take_up(config, &rules, now);
        let first_reads = Arc::new(AtomicUsize::new(0));
        for upstream in &config.upstreams {
            let operations: &[Operation] = match upstream.dialect.batch() {
                Some(_) => &[Operation::Get, Operation::Batch],
                None => &[Operation::Get],
            };
            shared.metrics.announce(&upstream.name, upstream.dialect.name(), operations);
            let poller = poll::Poller::new(upstream.clone(), shared.clone(), rules.clone())?;
            tasks.start(format!("polling {}", upstream.name), poller.run(stop.clone(), ends.clone()));
            let mut first_loads = HashMap::new();
            let mut before = None;
            for (label, mut source) in Source::of(upstream) {
                // A source is known by what it reads and not by its place: all static ids of an upstream are one.
                let first_load = match first_loads.entry(source.identity()) {
                    Entry::Occupied(known) => *known.get(),
                    Entry::Vacant(new) => {
                        let first = shared.store.is_first_load(&upstream.name, new.key()).await?;
                        *new.insert(first)
                    }
                };
                if let Some(earlier) = shared.carried().sources.remove(&(upstream.name.clone(), source.identity())) {
                    source.inherit(earlier);
                }
                let (turn, after) = discover::Turn::after(before);
                before = Some(after);
                shared.metrics.announce_source(&upstream.name, &label, now);
                first_reads.fetch_add(1, Ordering::Relaxed);
                let discoverer = discover::Discoverer {
                    upstream: upstream.clone(),
                    label,
                    shared: shared.clone(),
                    rules: rules.clone(),
                    first_load,
                    first_reads: first_reads.clone(),
                };
                tasks.start(format!("discovery of {}", upstream.name), discoverer.run(source, turn, stop.clone()));
            }
        }
        tasks.start("sweeping".to_owned(), sweep::run(shared.clone(), rules, stop.clone()));
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
            aggregate_labels: config.file.metrics.aggregate_labels.iter().map(|label| label.0.clone()).collect(),
        }
    }
}

impl Shared {
    /// Of a program that begins.
    pub fn new(store: Store, metrics: Metrics) -> Self {
        Self { tracker: Tracker::new(), store, metrics, carried: Mutex::default() }
    }

    fn carried(&self) -> MutexGuard<'_, Carried> {
        self.carried.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings table, state and counters under a configuration: what belongs to upstreams that it does not have goes.
    fn take_up(&self, config: &Config, rules: &Rules, now: Timestamp) {
        let names = config.upstreams.iter().map(|upstream| upstream.name.clone()).collect();
        self.store.keep_upstreams(&names);
        self.store.unname_all(now);
        self.tracker.keep_upstreams(&names);
        self.carried().backoffs.retain(|name, _| names.contains(name));
        let sources = config.upstreams.iter().map(|upstream| {
            let labels = Source::of(upstream).into_iter().map(|(label, _)| label).collect();
            (upstream.name.clone(), labels)
        });
        let shown = &config.file.metrics;
        self.metrics.configured(shown, &sources.collect(), now);
        self.tracker.relabel(|task| self.metrics.aggregate_labels(task, &rules.aggregate_labels, now));
        let off = shown.per_task == PerTask::Off;
        self.tracker.limit(SeriesLimits {
            max: if off { 0 } else { shown.max_task_series },
            only_active: shown.per_task == PerTask::Active,
            off,
        });
    }

    /// The tasks as they are now.
    pub fn snapshot(&self) -> Snapshot {
        self.tracker.snapshot()
    }
}
