//! Renders `/metrics` from published views and process counters, without waiting for an actor.

mod compress;
mod contents;
mod costs;
mod encoder;
pub mod families;
mod format;
mod head;
mod histogram;
mod label_sets;
mod page;
mod protobuf;
mod request_outcome;
mod scrape_log;
mod series_chunk;
mod series_selection;
mod server_metrics;
mod store_metrics;
mod task_gauges;
mod tasks;
mod text;
mod upstream_health;
mod upstreams;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::core::Collector as _;
use prometheus::process_collector::ProcessCollector;
use prometheus::{Gauge, GaugeVec, Opts, Registry};

use crate::clock::{self, Clock};
use crate::config::{Config, MetricsConfig, PerTask, TaskStatusForm};
use crate::domain::Timestamp;
use crate::domain::budget::Budget;
use crate::telemetry::{LEVELS, LogCounts};
use crate::view::{Spent, UpstreamView};

use contents::Contents;
use task_gauges::TaskGauges;
pub use tasks::TaskContext;

pub use compress::Compressor;
pub use encoder::{Encoder, Extra};
pub use format::{Coding, Format};
pub use head::Head;
pub use histogram::HistogramRow;
pub use page::Page;
pub use request_outcome::{Operation, RequestOutcome};
pub use scrape_log::{Published, ScrapeLog};
pub use series_selection::{SeriesLimits, SeriesSelection, UpstreamSelection};
pub use server_metrics::{AuthFailure, ServerMetrics};
pub use store_metrics::StoreMetrics;
pub use upstream_health::{RequestFailure, UpstreamHealth};
pub use upstreams::{Account, CallbackResult, UpstreamMetrics, Via};

/// The metrics of the process, and the settings of pages.
pub struct Metrics {
    registry: Registry,
    /// Requests, polling and discovery.
    pub upstreams: UpstreamMetrics,
    /// The state store.
    pub store: StoreMetrics,
    /// The HTTP server.
    pub server: ServerMetrics,
    /// Who reads the pages.
    pub scrapes: ScrapeLog,
    reload_successful: Gauge,
    reload_success_time: Gauge,
    render_duration: GaugeVec,
    exposition_bytes: GaugeVec,
    logs: LogCounts,
    clock: Clock,
    /// When the process started, by the wall clock: the creation time of its counters.
    started: Timestamp,
    settings: Mutex<Settings>,
}

/// The configuration of pages, and the counters of its limits.
#[derive(Clone)]
struct Settings {
    status_form: TaskStatusForm,
    series: SeriesLimits,
    created_lines: bool,
    max_label_sets: usize,
    /// Label values replaced by `other`, by label.
    folded: BTreeMap<String, u64>,
    /// Tasks refused per-task series.
    refused: u64,
    budgets: Vec<Budget>,
    /// What tasks of upstreams that are not configured any more have spent.
    other_spent: Arc<Spent>,
}

impl Metrics {
    /// Registers every family.
    ///
    /// # Errors
    /// When two families have the same name, which a test rules out.
    pub fn new(config: &MetricsConfig, logs: LogCounts, clock: Clock) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let process = ProcessCollector::for_self();
        if !process.collect().is_empty() {
            registry.register(Box::new(process))?;
        }
        let gauges = |family: &families::Family| {
            let gauges = GaugeVec::new(Opts::new(family.name, family.help), &family.label_names())?;
            registry.register(Box::new(gauges.clone()))?;
            prometheus::Result::Ok(gauges)
        };
        let (version, revision, rust) = (env!("CARGO_PKG_VERSION"), env!("VGX_REVISION"), env!("VGX_RUST_VERSION"));
        gauges(&families::BUILD_INFO)?.with_label_values(&[version, revision, rust]).set(1.0);
        // Absent until the first scrape ends.
        let (render_duration, exposition_bytes) =
            (gauges(&families::RENDER_DURATION)?, gauges(&families::EXPOSITION_BYTES)?);
        let gauge = |family: &families::Family| {
            let gauge = Gauge::new(family.name, family.help)?;
            registry.register(Box::new(gauge.clone()))?;
            prometheus::Result::Ok(gauge)
        };
        let metrics = Self {
            upstreams: UpstreamMetrics::register(&registry)?,
            store: StoreMetrics::register(&registry)?,
            server: ServerMetrics::register(&registry)?,
            scrapes: ScrapeLog::default(),
            reload_successful: gauge(&families::RELOAD_SUCCESSFUL)?,
            reload_success_time: gauge(&families::RELOAD_SUCCESS_TIME)?,
            render_duration,
            exposition_bytes,
            registry,
            logs,
            started: clock::now().into(),
            clock,
            settings: Mutex::new(Settings {
                status_form: config.task_status,
                series: SeriesLimits::NONE,
                created_lines: false,
                max_label_sets: 0,
                folded: BTreeMap::new(),
                refused: 0,
                budgets: Vec::new(),
                other_spent: Arc::default(),
            }),
        };
        metrics.configure(config);
        Ok(metrics)
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn configure(&self, config: &MetricsConfig) {
        let mut settings = self.settings();
        settings.status_form = config.task_status;
        settings.series = SeriesLimits {
            max: config.max_task_series,
            only_active: config.per_task == PerTask::Active,
            off: config.per_task == PerTask::Off,
        };
        settings.created_lines = config.created_lines;
        settings.max_label_sets = config.max_label_sets;
        let labels = config.aggregate_labels.iter().map(|label| label.0.clone());
        for label in std::iter::once("model".to_owned()).chain(labels) {
            settings.folded.entry(label).or_default();
        }
    }

    /// A configuration was loaded and is active.
    pub fn reloaded(&self, config: &Config, now: Timestamp) {
        self.configure(&config.file.metrics);
        self.settings().budgets = config.pricing.as_ref().map_or_else(Vec::new, |pricing| pricing.budgets.clone());
        self.reload_successful.set(1.0);
        self.reload_success_time.set(now.as_secs_f64());
    }

    /// What tasks of upstreams that are not configured have spent of budgets.
    pub fn set_other_spent(&self, spent: Arc<Spent>) {
        self.settings().other_spent = spent;
    }

    /// A configuration was rejected; the previous one stays active.
    pub fn reload_failed(&self) {
        self.reload_successful.set(0.0);
    }

    /// Whether the last reload of the configuration failed.
    pub fn has_failed_reload(&self) -> bool {
        self.reload_successful.get() == 0.0
    }

    /// Label values were replaced by `other`, counted by label.
    pub fn labels_folded(&self, folded: BTreeMap<String, u64>) {
        let mut settings = self.settings();
        for (label, count) in folded {
            *settings.folded.entry(label).or_default() += count;
        }
    }

    /// Counts tasks that were refused per-task series.
    pub fn series_refused(&self, tasks: u64) {
        self.settings().refused += tasks;
    }

    /// Selects the tasks that have per-task series.
    pub fn select_series(&self, views: &[Arc<UpstreamView>]) -> SeriesSelection {
        let limits = self.settings().series;
        let count = views.iter().map(|view| view.task_count).sum();
        limits.select(count, views.iter().flat_map(|view| view.tasks()))
    }

    /// The clock.
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// A scrape ended, with this size before compression and this render time.
    pub fn scraped(&self, format: Format, bytes: usize, took: Duration) {
        self.exposition_bytes.with_label_values(&[format.as_str()]).set(text::to_f64(bytes as u64));
        self.render_duration.with_label_values::<&str>(&[]).set(took.as_secs_f64());
    }

    /// Renders a page of these views.
    pub fn page(&self, format: Format, views: &[Arc<UpstreamView>]) -> Page {
        self.render(format, views, Contents::Everything)
    }

    /// Renders a page of only tasks and the counters of their label sets, with nothing about upstreams and the exporter.
    pub fn page_of_tasks(&self, format: Format, views: &[Arc<UpstreamView>]) -> Page {
        self.render(format, views, Contents::Tasks)
    }

    fn render(&self, format: Format, views: &[Arc<UpstreamView>], contents: Contents) -> Page {
        let selection = self.select_series(views);
        let wall_offset = self.clock.wall_offset();
        let now = wall_offset.apply(self.clock.now().steady);
        let context = |view: &Arc<UpstreamView>| TaskContext { outlook: view.outlook.clone(), now };
        let contexts: Vec<TaskContext> = views.iter().map(context).collect();
        let tasks =
            views.iter().zip(&contexts).flat_map(|(view, context)| view.tasks().map(move |task| (task, context)));
        // Nothing is rendered under the lock, which actors take as well.
        let settings = self.settings().clone();
        let started = self.started.shifted(wall_offset.millis.saturating_neg());
        let mut head = Head::from(Encoder::new(format, settings.created_lines).with_wall_offset(wall_offset));
        if contents == Contents::Everything {
            page::add_gathered(&mut head, self.registry.gather(), started);
            self.add_own_families(&mut head, (views, &selection), &settings, started);
            costs::add_to(&mut head, views, (&settings.budgets, &settings.other_spent), now);
        }
        TaskGauges::from_tasks(tasks, wall_offset).add_to(&mut head, views, contents);
        if contents == Contents::Everything {
            label_sets::add_upstream_counts(&mut head, views, started);
        }
        label_sets::add_to(&mut head, views);
        let chunks = views.iter().zip(&contexts);
        let chunks = chunks.flat_map(|(view, context)| view.chunks.iter().map(|chunk| (chunk, context.clone())));
        Page::new(head, settings.status_form, chunks, &selection)
    }

    /// Adds the families of the exporter itself that the registry does not have.
    fn add_own_families(
        &self,
        head: &mut Head,
        (views, selection): (&[Arc<UpstreamView>], &SeriesSelection),
        settings: &Settings,
        started: Timestamp,
    ) {
        let with_series = |view: &Arc<UpstreamView>| {
            let selected = selection.of(&view.upstream);
            view.tasks().filter(|task| selected.has(task)).count()
        };
        let with_series: usize = views.iter().map(with_series).sum();
        let since = Extra { created: Some(started), exemplar: None };
        for (family, value) in [
            (&families::SERIES_TASKS, with_series as u64),
            (&families::SERIES_LIMIT, settings.series.max as u64),
            (&families::SERIES_REFUSED, settings.refused),
            (&families::LOG_LINES_DROPPED, self.logs.dropped()),
            (&families::LABEL_SETS_LIMIT, settings.max_label_sets as u64),
            (&families::STATE_ROWS_SKIPPED, views.iter().map(|view| view.skipped_rows as u64).sum()),
        ] {
            head.family(family, [value], move |out, value| out.row(&[], text::to_f64(*value), since));
        }
        let sets = views.iter().map(|view| (view.upstream.clone(), view.counters.sets().count() as u64));
        head.family(&families::LABEL_SETS, sets.collect::<Vec<_>>(), |out, (upstream, sets)| {
            out.row(&[("upstream", upstream)], text::to_f64(*sets), Extra::default());
        });
        let folded: Vec<(String, u64)> = settings.folded.clone().into_iter().collect();
        head.family(&families::LABELS_FOLDED, folded, move |out, (label, count)| {
            out.row(&[("label", label)], text::to_f64(*count), since);
        });
        let logged: Vec<(&str, u64)> = LEVELS.into_iter().zip(self.logs.read()).collect();
        head.family(&families::LOG_MESSAGES, logged, move |out, (level, count)| {
            out.row(&[("level", level)], text::to_f64(*count), since);
        });
    }
}
