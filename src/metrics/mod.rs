//! What is shown on `/metrics`. Nothing here asks anybody anything: a page is made from what is in memory.

mod aggregates;
mod counts;
pub mod families;
mod kept;
mod page;
mod tasks;
mod text;
mod upstreams;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::core::Collector as _;
use prometheus::process_collector::ProcessCollector;
use prometheus::{Gauge, GaugeVec, Opts, Registry};

use crate::config::{MetricsConfig, TaskStatusForm};
use crate::domain::{Drift, Task, Timestamp, Transition};
use crate::telemetry::{LEVELS, LogCounts};

pub use aggregates::Aggregates;
pub use page::{Page, Snapshot};
pub use text::{CONTENT_TYPE, Text};
pub use upstreams::{Ended, Operation, UpstreamMetrics};

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    /// Requests, polling and discovery.
    pub upstreams: UpstreamMetrics,
    reload_successful: Gauge,
    reload_success_time: Gauge,
    logs: LogCounts,
    held: Mutex<Held>,
}

/// What is counted under labels that come from outside.
struct Held {
    aggregates: Aggregates,
    kept: kept::Kept,
    status_form: TaskStatusForm,
    series_limit: usize,
}

impl Metrics {
    /// Nothing counted yet.
    ///
    /// # Errors
    /// When two families have one name, which a test rules out.
    pub fn new(config: &MetricsConfig, logs: LogCounts) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let process = ProcessCollector::for_self();
        if !process.collect().is_empty() {
            registry.register(Box::new(process))?;
        }
        let build = GaugeVec::new(
            Opts::new(families::BUILD_INFO.name, families::BUILD_INFO.help),
            families::BUILD_INFO.labels,
        )?;
        let (version, revision, rust) = (env!("CARGO_PKG_VERSION"), env!("VGX_REVISION"), env!("VGX_RUST_VERSION"));
        build.with_label_values(&[version, revision, rust]).set(1.0);
        registry.register(Box::new(build))?;
        let gauge = |family: &families::Family| {
            let gauge = Gauge::new(family.name, family.help)?;
            registry.register(Box::new(gauge.clone()))?;
            prometheus::Result::Ok(gauge)
        };
        let held = Held {
            aggregates: Aggregates::new(config.zero_hold.0, shown_labels(config)),
            kept: kept::Kept::new(config),
            status_form: config.task_status,
            series_limit: config.max_task_series,
        };
        Ok(Self {
            upstreams: UpstreamMetrics::register(&registry)?,
            reload_successful: gauge(&families::RELOAD_SUCCESSFUL)?,
            reload_success_time: gauge(&families::RELOAD_SUCCESS_TIME)?,
            registry,
            logs,
            held: Mutex::new(held),
        })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A configuration was loaded and is in force.
    ///
    /// What is shown of upstreams and sources that are not among `sources`, by upstream, goes.
    pub fn configured(&self, config: &MetricsConfig, sources: &BTreeMap<Arc<str>, BTreeSet<String>>, now: Timestamp) {
        self.upstreams.keep(sources);
        let mut held = self.held();
        held.aggregates.configure(config.zero_hold.0, shown_labels(config));
        held.aggregates.keep_upstreams(|name| sources.contains_key(name));
        held.kept.configure(config);
        held.status_form = config.task_status;
        held.series_limit = config.max_task_series;
        self.reload_successful.set(1.0);
        self.reload_success_time.set(now.as_secs_f64());
    }

    /// A configuration was refused; the one before it stays in force.
    pub fn reload_failed(&self) {
        self.reload_successful.set(0.0);
    }

    /// An upstream is polled from now on.
    pub fn announce(&self, upstream: &Arc<str>, provider: &'static str, operations: &[Operation]) {
        self.upstreams.announce(upstream, operations);
        self.held().aggregates.upstream(upstream.clone(), provider);
    }

    /// A source is read from now on.
    pub fn announce_source(&self, upstream: &Arc<str>, source: &str, now: Timestamp) {
        self.upstreams.announce_source(upstream, source);
        self.held().aggregates.source(upstream.clone(), source, now);
    }

    /// A source brought this many tasks first.
    pub fn discovered(&self, upstream: &Arc<str>, source: &str, tasks: usize, now: Timestamp) {
        self.held().aggregates.discovered(upstream.clone(), source, tasks as u64, now);
    }

    /// The label for a model name; `None` for a blank name.
    pub fn model_label(&self, upstream: &Arc<str>, name: &str, now: Timestamp) -> Option<Arc<str>> {
        self.held().kept.model(upstream, name, now)
    }

    /// The values of the aggregate labels for a task, in their order.
    pub fn aggregate_labels(&self, task: &Task, names: &[String], now: Timestamp) -> Arc<[Arc<str>]> {
        let kept = &mut self.held().kept;
        names
            .iter()
            .map(|name| kept.label(&task.upstream, name, task.labels.get(name).map(String::as_str), now))
            .collect()
    }

    /// A task is tracked under its aggregate from now on: that is shown at 0 before anything is counted.
    pub fn tracked(&self, task: &Task, now: Timestamp) {
        self.held().aggregates.born(task.agg(), now);
    }

    /// Counts a committed transition, and creates its aggregate if the task has just come under it; `now` is when.
    pub fn observe(&self, transition: &Transition, now: Timestamp) {
        self.held().aggregates.add(transition.task.agg(), &transition.increments, now);
    }

    /// An answer had a status word that no table knows.
    pub fn unknown_word(&self, upstream: &Arc<str>, provider: &'static str) {
        self.held().aggregates.unknown_word(upstream.clone(), provider);
    }

    /// An answer was, or was not, as its provider documents it.
    pub fn drifted(&self, upstream: &Arc<str>, provider: &'static str, drift: Drift, now: Timestamp) {
        if !drift.is_none() {
            self.held().aggregates.drifted(upstream, provider, drift, now);
        }
    }

    /// Frees the places of model names that no tracked task has had for long.
    pub fn free_names(&self, tasks: &[Arc<Task>], now: Timestamp) {
        let models = tasks.iter().filter_map(|task| Some((&task.upstream, task.model.as_ref()?)));
        self.held().kept.free(models, now);
    }

    /// The page as it is at `now`.
    pub fn page(&self, snapshot: Snapshot, now: Timestamp) -> Page {
        let mut text = text::Text::default();
        page::write_gathered(&mut text, &self.registry.gather());
        let mut held = self.held();
        for (family, value) in [
            (&families::SERIES_TASKS, snapshot.with_series.len() as u64),
            (&families::SERIES_LIMIT, held.series_limit as u64),
            (&families::SERIES_REFUSED, snapshot.refused),
        ] {
            text.header(family);
            text.sample(family.name, [], text::to_f64(value));
        }
        text.header(&families::LABELS_FOLDED);
        for (label, count) in held.kept.folded() {
            text.sample(families::LABELS_FOLDED.name, [("label", label.as_str())], text::to_f64(*count));
        }
        text.header(&families::LOG_MESSAGES);
        for (level, count) in LEVELS.iter().zip(self.logs.read()) {
            text.sample(families::LOG_MESSAGES.name, [("level", *level)], text::to_f64(count));
        }
        page::write_fleet(&mut text, &held.aggregates, &snapshot);
        held.aggregates.write(&mut text, now);
        Page::new(text, held.status_form, snapshot.with_series)
    }
}

fn shown_labels(config: &MetricsConfig) -> Vec<String> {
    config.aggregate_labels.iter().map(|label| format!("label_{}", label.0)).collect()
}
