//! The metrics of the state store.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry};

use super::families::{self, COMMIT_BUCKETS, Family};

/// The families of the state store.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    up: IntGauge,
    errors: IntCounter,
    commits: Histogram,
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
        };
        registry.register(Box::new(metrics.up.clone()))?;
        registry.register(Box::new(metrics.errors.clone()))?;
        registry.register(Box::new(metrics.commits.clone()))?;
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

    /// A transaction failed.
    pub fn failed(&self) {
        self.up.set(0);
        self.errors.inc();
    }
}
