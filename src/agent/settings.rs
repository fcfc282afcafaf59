//! The configuration of one upstream's actor.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::{Config, CountSinceConfig, QuotaPerUnit, Upstream, UpstreamBilling};
use crate::counters::LabelLimits;
use crate::domain::label_set::exported_label;
use crate::domain::outlook::StuckRules;
use crate::domain::policy::{BillingRules, ChargeRate, CountSince, QuotaRate};
use crate::domain::pricing::{CostSource, Unpriced};
use crate::domain::schedule::RecheckRules;
use crate::domain::{Counter, CounterKey, Policy, Timestamp};

/// What one upstream's actor needs of a configuration.
#[derive(Debug, Clone)]
pub struct UpstreamSettings {
    /// The upstream.
    pub upstream: Upstream,
    /// Rules for tasks.
    pub rules: Rules,
    /// Limits on label values.
    pub labels: LabelLimits,
    /// How long new series are exported as 0.
    pub zero_hold: Duration,
    /// The API may register tasks.
    pub has_api: bool,
}

/// Rules for tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Which tasks count.
    policy: Policy<'static>,
    /// An active task is given up this long after it was first seen.
    pub give_up_after: Duration,
    /// An ended task is shown for so long.
    pub retention: Duration,
    /// An ended task is read again for so long.
    pub recheck_ended: Duration,
    /// An id that no source names is forgotten after this long.
    pub forget_after: Duration,
    /// Messages of upstreams are kept.
    pub keeps_messages: bool,
}

impl Rules {
    /// Of a configuration, for a state that was created then.
    pub fn new(config: &Config, first_start: Timestamp) -> Self {
        let tasks = &config.file.tasks;
        let count_since = match tasks.count_since {
            CountSinceConfig::FirstStart => CountSince::Moment(first_start),
            CountSinceConfig::Always => CountSince::Always,
            CountSinceConfig::Time(moment) => CountSince::Configured(moment),
        };
        Self {
            policy: Policy { count_since, forget_after: tasks.forget_after.0, ..Policy::COUNT_ALL },
            give_up_after: tasks.give_up_after.0,
            retention: tasks.retention.0,
            recheck_ended: tasks.recheck_ended.0,
            forget_after: tasks.forget_after.0,
            keeps_messages: tasks.error_messages,
        }
    }

    /// How long ended tasks are polled again.
    pub const fn rechecks(&self) -> RecheckRules {
        RecheckRules { ended: self.recheck_ended, lost: self.give_up_after }
    }
}

/// The limits on label values of a configuration.
pub fn label_limits(config: &Config) -> LabelLimits {
    let metrics = &config.file.metrics;
    let configured: Vec<&str> = metrics.aggregate_labels.iter().map(|label| label.0.as_str()).collect();
    let labels: BTreeSet<&str> = configured.iter().copied().collect();
    // The last one in the configuration becomes `other` first.
    let fold_order = configured.iter().rev().filter_map(|name| labels.iter().position(|label| label == name));
    LabelLimits {
        fold_order: fold_order.collect(),
        max_sets: metrics.max_label_sets,
        models: metrics.models.iter().map(|name| name.0.as_str().into()).collect(),
        max_models: metrics.max_models,
        labels: labels.into_iter().map(|label| (label.to_owned(), exported_label(label).into())).collect(),
    }
}

impl UpstreamSettings {
    /// The rules for transitions of its tasks now.
    pub fn policy(&self, clock: &Clock, has_amnesia: bool) -> Policy<'static> {
        Policy {
            upstream_skew: clock.skew(&self.upstream.name),
            wall_skew: clock.wall_offset().millis,
            settles_quota: self.upstream.dialect.is_new_api(),
            has_amnesia,
            max_interval: self.upstream.polling.pace.max,
            ..self.rules.policy
        }
    }

    /// What its tasks cost and are charged, with the rate that the gateway tells.
    pub fn billing<'a>(&self, prices: &'a UpstreamBilling, told: Option<QuotaRate>) -> BillingRules<'a> {
        let charge_rate = match prices.quota_per_unit {
            Some(QuotaPerUnit::Fixed(rate)) => ChargeRate::Known(rate),
            Some(QuotaPerUnit::Auto) => told.map_or(ChargeRate::Unknown, ChargeRate::Known),
            None => ChargeRate::None,
        };
        BillingRules { pricing: prices.pricing.as_ref(), charge_rate, is_gateway: self.upstream.dialect.is_new_api() }
    }

    /// When its tasks are stuck.
    pub fn stuck(&self) -> StuckRules {
        let stuck = self.upstream.stuck;
        StuckRules { factor: stuck.factor.0, floor: stuck.floor.0 }
    }

    /// The series of costs and charges that a label set has from the start.
    pub fn born_series(&self) -> Vec<CounterKey> {
        let billing = &self.upstream.billing;
        let mut born = Vec::new();
        if let Some(pricing) = &billing.pricing {
            let sources = CostSource::ALL.iter();
            born.extend(sources.map(|source| Counter::Cost.with([pricing.currency.index(), source.index()])));
            born.extend(Unpriced::ALL.iter().map(|reason| Counter::Unpriced.with([reason.index()])));
        }
        born.extend(billing.charge_currency().map(|currency| Counter::Charged.with([currency.index()])));
        born
    }

    /// Of every upstream of a configuration.
    pub fn all(config: &Config, first_start: Timestamp) -> Vec<Self> {
        let rules = Rules::new(config, first_start);
        let labels = label_limits(config);
        let settings = |upstream: &Upstream| Self {
            upstream: upstream.clone(),
            rules,
            labels: labels.clone(),
            zero_hold: config.file.metrics.zero_hold.0,
            has_api: !config.api.is_empty(),
        };
        config.upstreams.iter().map(settings).collect()
    }
}
