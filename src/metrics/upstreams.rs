//! Requests, back-off, polling and discovery: counters of the process, in the `prometheus` crate's registry.
//!
//! That crate identifies the children of a `*Vec` by a hash of the label values without separators, and merges children
//! whose concatenated values are equal. Here the last values are an operation, code, reason or source from a closed set, so
//! that no two concatenations are equal. Other labels must not go through these `*Vec`s.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::core::{Collector as _, MetricVec, MetricVecBuilder};
use prometheus::{CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::families::{self, Family, LAG_BUCKETS, REQUEST_BUCKETS};
use super::request_outcome::{Operation, RequestOutcome};
use super::upstream_health::{REFUSALS, UpstreamHealth};
use crate::domain::enum_words::enum_words;
use crate::domain::pricing::{CURRENCIES, Currency};
use crate::domain::{Reason, Timestamp};

enum_words! {
    /// The outcome of a callback.
    CallbackResult {
        /// Its task is tracked.
        Accepted = "accepted",
        /// Its secret is wrong.
        Unauthorized = "unauthorized",
        /// It has no task id, or no known status.
        Invalid = "invalid",
        /// Its task is not tracked.
        UnknownTask = "unknown_task",
    }
}

enum_words! {
    /// How a reading of a task came.
    Via {
        /// The task was read alone.
        Get = "get",
        /// Many tasks were read at once.
        Batch = "batch",
        /// A row of a list showed the task.
        List = "list",
        /// The upstream called back.
        Webhook = "webhook",
    }
}

/// The families of upstreams and discovery.
#[derive(Debug, Clone)]
pub struct UpstreamMetrics {
    health: Arc<Mutex<BTreeMap<Arc<str>, UpstreamHealth>>>,
    up: GaugeVec,
    last_success: GaugeVec,
    refusals: GaugeVec,
    requests: IntCounterVec,
    errors: IntCounterVec,
    duration: HistogramVec,
    throttle_wait: CounterVec,
    backoff_until: GaugeVec,
    clock_skew: GaugeVec,
    poll_lag: HistogramVec,
    in_flight: IntGaugeVec,
    amnesia: IntGaugeVec,
    webhooks: IntCounterVec,
    webhook_last: GaugeVec,
    readings: IntCounterVec,
    reads_with_effect: IntCounterVec,
    discovery_tasks: IntGaugeVec,
    discovery_last_success: GaugeVec,
    discovery_errors: IntCounterVec,
    discovery_truncated: IntCounterVec,
    label_sets_folded: IntCounterVec,
    account_balance: GaugeVec,
    account_used: GaugeVec,
    account_last_success: GaugeVec,
}

/// What an account has, as money; absent without a limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Account {
    /// What is left.
    pub balance: Option<f64>,
    /// What was used.
    pub used: Option<f64>,
    /// Of this currency.
    pub currency: Currency,
}

fn opts(family: &Family) -> Opts {
    Opts::new(family.name, family.help)
}

fn buckets(family: &Family, buckets: &[f64]) -> HistogramOpts {
    HistogramOpts::new(family.name, family.help).buckets(buckets.to_vec())
}

impl UpstreamMetrics {
    /// Registers all of them.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        macro_rules! metric {
            ($kind:ident, $family:ident) => {
                metric!($kind, $family, opts(&families::$family))
            };
            ($kind:ident, $family:ident, $opts:expr) => {{
                let metric = $kind::new($opts, &families::$family.label_names())?;
                registry.register(Box::new(metric.clone()))?;
                metric
            }};
        }
        Ok(Self {
            health: Arc::default(),
            up: metric!(GaugeVec, UPSTREAM_UP),
            last_success: metric!(GaugeVec, UPSTREAM_LAST_SUCCESS),
            refusals: metric!(GaugeVec, UPSTREAM_REFUSALS),
            requests: metric!(IntCounterVec, UPSTREAM_REQUESTS),
            errors: metric!(IntCounterVec, UPSTREAM_REQUEST_ERRORS),
            duration: metric!(
                HistogramVec,
                UPSTREAM_REQUEST_DURATION,
                buckets(&families::UPSTREAM_REQUEST_DURATION, &REQUEST_BUCKETS)
            ),
            throttle_wait: metric!(CounterVec, UPSTREAM_THROTTLE_WAIT),
            backoff_until: metric!(GaugeVec, UPSTREAM_BACKOFF_UNTIL),
            clock_skew: metric!(GaugeVec, CLOCK_SKEW),
            poll_lag: metric!(HistogramVec, POLL_LAG, buckets(&families::POLL_LAG, &LAG_BUCKETS)),
            in_flight: metric!(IntGaugeVec, POLLS_IN_FLIGHT),
            amnesia: metric!(IntGaugeVec, UPSTREAM_AMNESIA),
            webhooks: metric!(IntCounterVec, WEBHOOKS),
            webhook_last: metric!(GaugeVec, WEBHOOK_LAST),
            readings: metric!(IntCounterVec, READINGS),
            reads_with_effect: metric!(IntCounterVec, READS_WITH_EFFECT),
            discovery_tasks: metric!(IntGaugeVec, DISCOVERY_TASKS),
            discovery_last_success: metric!(GaugeVec, DISCOVERY_LAST_SUCCESS),
            discovery_errors: metric!(IntCounterVec, DISCOVERY_ERRORS),
            discovery_truncated: metric!(IntCounterVec, DISCOVERY_TRUNCATED),
            label_sets_folded: metric!(IntCounterVec, LABEL_SETS_FOLDED),
            account_balance: metric!(GaugeVec, ACCOUNT_BALANCE),
            account_used: metric!(GaugeVec, ACCOUNT_USED),
            account_last_success: metric!(GaugeVec, ACCOUNT_LAST_SUCCESS),
        })
    }

    /// Creates the series of an upstream at 0, but for refusals before a restart.
    pub fn create(&self, upstream: &str, operations: &[Operation]) {
        let health = self.health(upstream);
        for operation in operations {
            self.set_refusals(upstream, *operation, &health);
            for reason in Reason::ALL {
                self.errors.with_label_values(&[upstream, operation.as_str(), reason.as_str()]);
            }
            self.duration.with_label_values(&[upstream, operation.as_str()]);
        }
        for via in Via::ALL {
            self.readings.with_label_values(&[upstream, via.as_str()]);
        }
        self.reads_with_effect.with_label_values(&[upstream]);
        self.throttle_wait.with_label_values(&[upstream]);
        self.poll_lag.with_label_values(&[upstream]);
        self.in_flight.with_label_values(&[upstream]);
        self.amnesia.with_label_values(&[upstream]);
        self.label_sets_folded.with_label_values(&[upstream]);
    }

    fn set_refusals(&self, upstream: &str, operation: Operation, health: &UpstreamHealth) {
        for reason in REFUSALS {
            let refusals = self.refusals.with_label_values(&[upstream, operation.as_str(), reason.as_str()]);
            refusals.set(health.refusals(operation, reason).into());
        }
    }

    fn health_by_upstream(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, UpstreamHealth>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the requests to an upstream have shown.
    pub fn health(&self, upstream: &str) -> UpstreamHealth {
        self.health_by_upstream().get(upstream).cloned().unwrap_or_default()
    }

    /// Continues with what the state has.
    pub fn restore(&self, upstream: &Arc<str>, saved: Vec<(String, i64)>) {
        let mut all = self.health_by_upstream();
        let health = all.entry(upstream.clone()).or_default();
        health.restore(saved);
        for (operation, at) in health.last_successes() {
            self.last_success.with_label_values(&[&**upstream, operation.as_str()]).set(at.as_secs_f64());
        }
    }

    /// What the state keeps, by upstream and key; of upstreams where that has changed since the last call.
    pub fn take_unsaved(&self) -> Vec<(Arc<str>, String, i64)> {
        let mut unsaved = Vec::new();
        for (upstream, health) in self.health_by_upstream().iter_mut() {
            unsaved.extend(health.take_unsaved().into_iter().map(|(key, value)| (upstream.clone(), key, value)));
        }
        unsaved
    }

    /// Keys and lists of an upstream may be others now.
    pub fn forget_refusals(&self, upstream: &str) {
        if let Some(health) = self.health_by_upstream().get_mut(upstream) {
            health.forget_refusals();
        }
        for operation in Operation::ALL {
            for reason in REFUSALS {
                let _ = self.refusals.remove_label_values(&[upstream, operation.as_str(), reason.as_str()]);
            }
        }
    }

    /// Creates the series of callbacks at 0.
    pub fn create_webhook(&self, upstream: &str) {
        for result in CallbackResult::ALL {
            self.webhooks.with_label_values(&[upstream, result.as_str()]);
        }
    }

    /// A callback was received.
    pub fn callback_received(&self, upstream: &str, result: CallbackResult, at: Timestamp) {
        self.webhooks.with_label_values(&[upstream, result.as_str()]).inc();
        if result == CallbackResult::Accepted {
            self.webhook_last.with_label_values(&[upstream]).set(at.as_secs_f64());
        }
    }

    /// A task was read.
    pub fn task_read(&self, upstream: &str, via: Via) {
        self.readings.with_label_values(&[upstream, via.as_str()]).inc();
    }

    /// A task was read alone, which changed it at its gateway.
    pub fn read_with_effect(&self, upstream: &str) {
        self.reads_with_effect.with_label_values(&[upstream]).inc();
    }

    /// Creates the series of a source at 0.
    pub fn create_source(&self, upstream: &str, source: &str) {
        self.discovery_tasks.with_label_values(&[upstream, source]);
        self.discovery_errors.with_label_values(&[upstream, source]);
        self.discovery_truncated.with_label_values(&[upstream, source]);
    }

    /// Drops the series of upstreams and sources that are not among these.
    pub fn retain(&self, sources: &BTreeMap<Arc<str>, BTreeSet<String>>) {
        self.health_by_upstream().retain(|upstream, _| sources.contains_key(upstream));
        retain(&self.up, sources);
        retain(&self.refusals, sources);
        retain(&self.last_success, sources);
        retain(&self.requests, sources);
        retain(&self.errors, sources);
        retain(&self.duration, sources);
        retain(&self.throttle_wait, sources);
        retain(&self.backoff_until, sources);
        retain(&self.clock_skew, sources);
        retain(&self.poll_lag, sources);
        retain(&self.in_flight, sources);
        retain(&self.amnesia, sources);
        retain(&self.webhooks, sources);
        retain(&self.webhook_last, sources);
        retain(&self.readings, sources);
        retain(&self.reads_with_effect, sources);
        retain(&self.discovery_tasks, sources);
        retain(&self.discovery_last_success, sources);
        retain(&self.discovery_errors, sources);
        retain(&self.discovery_truncated, sources);
        retain(&self.label_sets_folded, sources);
        retain(&self.account_balance, sources);
        retain(&self.account_used, sources);
        retain(&self.account_last_success, sources);
    }

    /// A poll was sent this much later than due.
    pub fn poll_sent(&self, upstream: &str, lag: Duration) {
        self.poll_lag.with_label_values(&[upstream]).observe(lag.as_secs_f64());
        self.in_flight.with_label_values(&[upstream]).inc();
    }

    /// A poll ended.
    pub fn poll_ended(&self, upstream: &Arc<str>, ended: &RequestOutcome) {
        self.in_flight.with_label_values(&[&**upstream]).dec();
        self.request_ended(upstream, ended);
    }

    /// A request that is no poll ended.
    pub fn request_ended(&self, upstream: &Arc<str>, ended: &RequestOutcome) {
        let code = ended.code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        let (name, operation) = (&**upstream, ended.operation.as_str());
        self.requests.with_label_values(&[name, operation, &code]).inc();
        self.duration.with_label_values(&[name, operation]).observe(ended.took.as_secs_f64());
        match ended.reason {
            Some(reason) => self.errors.with_label_values(&[name, operation, reason.as_str()]).inc(),
            None => self.last_success.with_label_values(&[name, operation]).set(ended.at.as_secs_f64()),
        }
        if let Some(date) = ended.date {
            let middle = ended.at - ended.took / 2;
            self.clock_skew.with_label_values(&[name]).set(date.seconds_since(middle));
        }
        let mut all = self.health_by_upstream();
        let health = all.entry(upstream.clone()).or_default();
        let has_changed = health.on_request_ended(ended);
        if let Some((is_up, _)) = health.state {
            self.up.with_label_values(&[name]).set(f64::from(u8::from(is_up)));
        }
        if has_changed {
            self.set_refusals(name, ended.operation, health);
        }
    }

    /// An account was read.
    pub fn account(&self, upstream: &str, account: &Account, at: Timestamp) {
        let labels = [upstream, account.currency.code()];
        for (metric, amount) in [(&self.account_balance, account.balance), (&self.account_used, account.used)] {
            match amount {
                Some(amount) => metric.with_label_values(&labels).set(amount),
                None => drop(metric.remove_label_values(&labels)),
            }
            for other in CURRENCIES.iter().filter(|code| **code != account.currency.code()) {
                let _ = metric.remove_label_values(&[upstream, other]);
            }
        }
        self.account_last_success.with_label_values(&[upstream]).set(at.as_secs_f64());
    }

    /// What an account has is not known any more.
    pub fn forget_balance(&self, upstream: &str) {
        for metric in [&self.account_balance, &self.account_used] {
            for currency in CURRENCIES {
                let _ = metric.remove_label_values(&[upstream, currency]);
            }
        }
    }

    /// No account is read any more.
    pub fn forget_account(&self, upstream: &str) {
        self.forget_balance(upstream);
        let _ = self.account_last_success.remove_label_values(&[upstream]);
    }

    /// So many label sets became one with `other`.
    pub fn label_sets_folded(&self, upstream: &str, folded: u64) {
        if folded > 0 {
            self.label_sets_folded.with_label_values(&[upstream]).inc_by(folded);
        }
    }

    /// Due polls waited this long for the rate limit.
    pub fn throttled(&self, upstream: &str, wait: Duration) {
        self.throttle_wait.with_label_values(&[upstream]).inc_by(wait.as_secs_f64());
    }

    /// Whether the upstream does not know most of its tasks.
    pub fn amnesia(&self, upstream: &str, has_amnesia: bool) {
        self.amnesia.with_label_values(&[upstream]).set(has_amnesia.into());
    }

    /// The back-off ends then; `None` when there is none.
    pub fn backoff(&self, upstream: &str, until: Option<Timestamp>) {
        match until {
            Some(until) => self.backoff_until.with_label_values(&[upstream]).set(until.as_secs_f64()),
            None => drop(self.backoff_until.remove_label_values(&[upstream])),
        }
    }

    /// A source, or a part of it, was read, with this number of ids (if known) and errors, and the time of its success.
    pub fn source_read(
        &self,
        upstream: &str,
        source: &str,
        tasks: Option<usize>,
        errors: u64,
        truncated: bool,
        good_at: Option<Timestamp>,
    ) {
        let labels = [upstream, source];
        if let Some(tasks) = tasks {
            self.discovery_tasks.with_label_values(&labels).set(i64::try_from(tasks).unwrap_or(i64::MAX));
        }
        self.discovery_errors.with_label_values(&labels).inc_by(errors);
        self.discovery_truncated.with_label_values(&labels).inc_by(truncated.into());
        if let Some(at) = good_at {
            self.discovery_last_success.with_label_values(&labels).set(at.as_secs_f64());
        }
    }
}

/// Removes the children of `metric` whose upstream, or source of that upstream, is not among `sources`.
fn retain<B: MetricVecBuilder>(metric: &MetricVec<B>, sources: &BTreeMap<Arc<str>, BTreeSet<String>>) {
    for family in metric.collect() {
        for child in family.get_metric() {
            let labels: HashMap<&str, &str> =
                child.get_label().iter().map(|pair| (pair.name(), pair.value())).collect();
            let known = labels.get("upstream").and_then(|upstream| sources.get(*upstream));
            let is_known = known.is_some_and(|known| labels.get("source").is_none_or(|source| known.contains(*source)));
            if !is_known {
                let _ = metric.remove(&labels);
            }
        }
    }
}
