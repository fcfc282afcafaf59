//! What is shown on `/metrics`. Nothing here asks anybody anything: a page is made from what is in memory.

mod aggregates;
mod compress;
mod counts;
mod encoder;
mod exemplar;
pub mod families;
mod fleet;
mod format;
mod gzip;
mod histogram;
mod hold;
mod huffman;
mod kept;
mod page;
mod proto;
mod sets;
mod shown;
mod state;
mod tasks;
mod text;
mod upstreams;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::core::Collector as _;
use prometheus::process_collector::ProcessCollector;
use prometheus::{Gauge, GaugeVec, Opts, Registry};

use crate::config::{MetricsConfig, TaskStatusForm};
use crate::domain::tally::SourceTally;
use crate::domain::task::{Agg, AggregateLabels};
use crate::domain::{Birth, Drift, Tally, Task, Timestamp, Transition};
use crate::telemetry::{LEVELS, LogCounts};

use fleet::Fleet;

pub use aggregates::{Aggregates, Due, SourceKey};
pub use compress::Compressor;
pub use encoder::{Encoder, Extra};
pub use exemplar::Exemplar;
pub use format::{Coding, Format};
pub use histogram::HistogramRow;
pub use hold::Now;
pub use kept::UNUSED_FOR;
pub use page::{Page, Snapshot};
pub use state::StateMetrics;
pub use upstreams::{CallbackResult, Ended, Operation, UpstreamMetrics};

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    /// Requests, polling and discovery.
    pub upstreams: UpstreamMetrics,
    /// The state behind the counters.
    pub state: StateMetrics,
    reload_successful: Gauge,
    reload_success_time: Gauge,
    render_duration: GaugeVec,
    exposition_bytes: GaugeVec,
    logs: LogCounts,
    /// When the process began to count.
    started: Timestamp,
    held: Mutex<Held>,
}

/// What was counted under labels that come from outside, at one moment.
pub struct Counted {
    aggregates: Aggregates,
    folded: BTreeMap<String, u64>,
    status_form: TaskStatusForm,
    series_limit: usize,
    created_lines: bool,
}

/// What is counted under labels that come from outside.
struct Held {
    aggregates: Aggregates,
    kept: kept::Kept,
    status_form: TaskStatusForm,
    series_limit: usize,
    created_lines: bool,
}

impl Metrics {
    /// Nothing counted yet.
    ///
    /// # Errors
    /// When two families have one name, which a test rules out.
    pub fn new(config: &MetricsConfig, logs: LogCounts, started: Timestamp) -> prometheus::Result<Self> {
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
        let gauges = |family: &families::Family| {
            let gauges = GaugeVec::new(Opts::new(family.name, family.help), family.labels)?;
            registry.register(Box::new(gauges.clone()))?;
            prometheus::Result::Ok(gauges)
        };
        // Absent until a page was read.
        let (render_duration, exposition_bytes) =
            (gauges(&families::RENDER_DURATION)?, gauges(&families::EXPOSITION_BYTES)?);
        let gauge = |family: &families::Family| {
            let gauge = Gauge::new(family.name, family.help)?;
            registry.register(Box::new(gauge.clone()))?;
            prometheus::Result::Ok(gauge)
        };
        let held = Held {
            aggregates: Aggregates::new(config.zero_hold.0, Self::label_names(config)),
            kept: kept::Kept::new(config),
            status_form: config.task_status,
            series_limit: config.max_task_series,
            created_lines: config.created_lines,
        };
        Ok(Self {
            upstreams: UpstreamMetrics::register(&registry)?,
            state: StateMetrics::register(&registry)?,
            reload_successful: gauge(&families::RELOAD_SUCCESSFUL)?,
            reload_success_time: gauge(&families::RELOAD_SUCCESS_TIME)?,
            render_duration,
            exposition_bytes,
            registry,
            logs,
            started,
            held: Mutex::new(held),
        })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A configuration was loaded and is in force.
    ///
    /// What is shown of upstreams and sources that are not among `sources`, by upstream, goes. With other aggregate labels all
    /// label sets go, and those that carry the new ones have to be [restored](Self::restore).
    pub fn configured(&self, config: &MetricsConfig, sources: &BTreeMap<Arc<str>, BTreeSet<String>>, now: Timestamp) {
        self.upstreams.keep(sources);
        let held = &mut *self.held();
        held.kept.configure(config);
        held.aggregates.configure(config.zero_hold.0, Self::label_names(config));
        held.aggregates.keep_upstreams(|name| sources.contains_key(name));
        held.status_form = config.task_status;
        held.series_limit = config.max_task_series;
        held.created_lines = config.created_lines;
        self.reload_successful.set(1.0);
        self.reload_success_time.set(now.as_secs_f64());
    }

    /// The aggregate labels of a configuration as they are shown, sorted.
    pub fn label_names(config: &MetricsConfig) -> Vec<Arc<str>> {
        kept::labels(config).into_iter().map(|(_, shown)| shown).collect()
    }

    /// True while label sets carry other labels than these.
    pub fn shows_other_labels(&self, names: &[Arc<str>]) -> bool {
        self.held().aggregates.label_names() != names
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
    pub fn announce_source(&self, upstream: &Arc<str>, source: &str, now: Now) {
        self.upstreams.announce_source(upstream, source);
        self.announce_bringer(upstream, source, now);
    }

    /// Somebody may bring tasks from now on.
    pub fn announce_bringer(&self, upstream: &Arc<str>, source: &str, now: Now) {
        let aggregates = &mut self.held().aggregates;
        let birth = aggregates.birth(now.wall);
        aggregates.discovered((upstream.clone(), source.to_owned()), 0, birth, now);
    }

    /// Goes on with what was counted before a restart, or under another configuration.
    pub fn restore(&self, tallies: Vec<Tally>, sources: Vec<SourceTally>, now: Now) {
        let held = &mut *self.held();
        for tally in tallies {
            held.kept.restore(&tally.agg, tally.used);
            held.aggregates.restore(tally, now);
        }
        for source in sources {
            held.aggregates.restore_source(source, now);
        }
    }

    /// How label sets are born at `now`.
    pub fn birth(&self, now: Timestamp) -> Birth {
        self.held().aggregates.birth(now)
    }

    /// True while nothing was ever shown under an aggregate.
    pub fn is_new(&self, agg: &Agg) -> bool {
        !self.held().aggregates.has(agg)
    }

    /// Tasks that a source brought first are tracked from now on: their aggregates are shown at 0 before anything is counted.
    pub fn tracked(&self, source: SourceKey, tasks: &[Arc<Task>], birth: Birth, now: Now) {
        let aggregates = &mut self.held().aggregates;
        aggregates.discovered(source, tasks.len() as u64, birth, now);
        for task in tasks {
            aggregates.add(task.agg(), birth, now);
        }
    }

    /// Label sets are shown at 0 from now on.
    pub fn born(&self, aggs: Vec<Agg>, birth: Birth, now: Now) {
        let aggregates = &mut self.held().aggregates;
        for agg in aggs {
            aggregates.add(agg, birth, now);
        }
    }

    /// Counts a committed transition, and creates its aggregate if the task has just come under it.
    pub fn observe(&self, transition: &Transition, birth: Birth, now: Now) {
        let Transition { task, increments, at, .. } = transition;
        self.held().aggregates.count(task.agg(), increments, Some((&task.id, *at)), birth, now);
    }

    /// What has been at 0 for long enough; it is [released](Self::release) once that is committed.
    pub fn due(&self, now: Now) -> Due {
        self.held().aggregates.due(now.steady)
    }

    /// Shows what was due.
    pub fn release(&self, due: &Due) {
        self.held().aggregates.release(due);
    }

    /// The label for a model name; `None` for a blank name.
    pub fn model_label(&self, upstream: &Arc<str>, name: &str, now: Timestamp) -> Option<Arc<str>> {
        self.held().kept.model(upstream, name, now)
    }

    /// The labels that the aggregates of a task carry.
    pub fn aggregate_labels(&self, task: &Task, now: Timestamp) -> AggregateLabels {
        self.held().kept.aggregate_labels(task, now)
    }

    /// An answer had a status word that no table knows.
    pub fn unknown_word(&self, upstream: &Arc<str>, provider: &'static str) {
        self.held().aggregates.unknown_word(upstream.clone(), provider);
    }

    /// An answer was, or was not, as its provider documents it.
    pub fn drifted(&self, upstream: &Arc<str>, provider: &'static str, drift: Drift, now: Now) {
        if !drift.is_none() {
            self.held().aggregates.drifted(upstream, provider, drift, now);
        }
    }

    /// Lets go of label sets that no tracked task has had for long, which frees the places of their names.
    pub fn free(&self, in_use: &BTreeSet<Agg>, now: Timestamp) {
        let held = &mut *self.held();
        held.aggregates.free(in_use, now);
        held.kept.free(held.aggregates.aggs(), now);
    }

    /// A page was read to its end: how large it was before compression, and how long it took to make.
    pub fn written(&self, format: Format, bytes: usize, took: Duration) {
        self.exposition_bytes.with_label_values(&[format.as_str()]).set(text::to_f64(bytes as u64));
        self.render_duration.with_label_values::<&str>(&[]).set(took.as_secs_f64());
    }

    /// What is counted as it is now.
    pub fn counted(&self) -> Counted {
        let held = self.held();
        Counted {
            aggregates: held.aggregates.clone(),
            folded: held.kept.folded().clone(),
            status_form: held.status_form,
            series_limit: held.series_limit,
            created_lines: held.created_lines,
        }
    }

    /// A page of what was counted and of the tasks as they were, both at one moment.
    pub fn page(&self, format: Format, counted: &Counted, snapshot: &Snapshot) -> Page {
        let gathered = self.registry.gather();
        let fleet = Fleet::of(snapshot.tasks());
        let with_series = snapshot.with_series().count();
        let mut out = Encoder::new(format, counted.created_lines);
        page::write_gathered(&mut out, &gathered, self.started);
        let since = Extra { created: Some(self.started), exemplar: None };
        for (family, value) in [
            (&families::SERIES_TASKS, with_series as u64),
            (&families::SERIES_LIMIT, counted.series_limit as u64),
            (&families::SERIES_REFUSED, snapshot.refused),
        ] {
            out.header(family);
            out.row(&[], text::to_f64(value), since);
        }
        out.header(&families::LABELS_FOLDED);
        for (label, count) in &counted.folded {
            out.row(&[("label", label.as_str())], text::to_f64(*count), since);
        }
        out.header(&families::LOG_MESSAGES);
        for (level, count) in LEVELS.iter().zip(self.logs.read()) {
            out.row(&[("level", *level)], text::to_f64(count), since);
        }
        fleet.write(&mut out, &counted.aggregates);
        counted.aggregates.write(&mut out, self.started);
        Page::new(out, counted.status_form, snapshot)
    }
}
