//! The metrics of the state store.

use std::time::Duration;

use prometheus::{GaugeVec, Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry};

use super::families::{self, COMMIT_BUCKETS, Family};

const NO_LABELS: [&str; 0] = [];

/// The families of the state store.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    up: IntGauge,
    errors: IntCounter,
    commits: Histogram,
    pending: IntGauge,
    /// Without a label: absent until it is set.
    bytes: GaugeVec,
}

impl StoreMetrics {
    /// Registers all of them.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let opts = |family: &Family| Opts::new(family.name, family.help);
        let commits = HistogramOpts::new(families::STORE_COMMIT.name, families::STORE_COMMIT.help);
        let metrics = Self {
            up: IntGauge::with_opts(opts(&families::STORE_UP))?,
            errors: IntCounter::with_opts(opts(&families::STORE_ERRORS))?,
            commits: Histogram::with_opts(commits.buckets(COMMIT_BUCKETS.to_vec()))?,
            pending: IntGauge::with_opts(opts(&families::STORE_PENDING))?,
            bytes: GaugeVec::new(opts(&families::STATE_BYTES), &[])?,
        };
        registry.register(Box::new(metrics.up.clone()))?;
        registry.register(Box::new(metrics.errors.clone()))?;
        registry.register(Box::new(metrics.commits.clone()))?;
        registry.register(Box::new(metrics.pending.clone()))?;
        registry.register(Box::new(metrics.bytes.clone()))?;
        Ok(metrics)
    }

    /// Whether the last transaction failed.
    pub fn is_failing(&self) -> bool {
        self.up.get() == 0 && self.errors.get() > 0
    }

    /// A transaction was committed.
    pub fn committed(&self, took: Duration) {
        self.up.set(1);
        self.commits.observe(took.as_secs_f64());
    }

    /// So many ends wait to be committed, and the state has this size, if it is in files.
    pub fn waiting(&self, pending: usize, bytes: Option<u64>) {
        self.pending.set(i64::try_from(pending).unwrap_or(i64::MAX));
        if let Some(bytes) = bytes {
            #[expect(clippy::cast_precision_loss, reason = "the size of a file")]
            self.bytes.with_label_values(&NO_LABELS).set(bytes as f64);
        }
    }

    /// A transaction failed.
    pub fn failed(&self) {
        self.up.set(0);
        self.errors.inc();
    }
}
