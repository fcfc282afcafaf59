//! Finds the rule of a task, and what the task costs by it.

use std::collections::BTreeMap;

use rust_decimal::prelude::ToPrimitive as _;
use rust_decimal::{Decimal, RoundingStrategy};

use super::cost_words::{CostSource, Unpriced};
use super::currency::Currency;
use super::rule::{ChargeOn, PriceRule};
use super::usage::{Usage, decimal};
use crate::domain::counter::{MAX_COUNT, Unit};

/// What a task costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Money {
    /// In micro-units.
    pub micros: u64,
    /// Its currency.
    pub currency: Currency,
    /// Where it comes from.
    pub source: CostSource,
}

impl Money {
    /// In whole units.
    pub fn to_f64(self) -> f64 {
        from_micros(self.micros)
    }
}

/// The prices of one upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pricing {
    /// The currency of every cost.
    pub currency: Currency,
    /// What one unit of another currency is in it.
    pub rates: BTreeMap<Currency, Decimal>,
    /// The ends that are charged, without a rule.
    pub charge_on: ChargeOn,
    /// The first one that matches is used.
    pub rules: Vec<PriceRule>,
}

/// The cost of a task, with the rule that it is by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote<'a> {
    /// The cost.
    pub cost: Result<Money, Unpriced>,
    /// The rule, if one was used.
    pub rule: Option<&'a PriceRule>,
}

impl Pricing {
    /// The rule of a task.
    pub fn rule(&self, usage: &Usage<'_>) -> Option<&PriceRule> {
        let first = self.rules.iter().find(|rule| rule.matches(usage))?;
        let ran = Usage { models: [usage.models[0], None], ..*usage };
        let by_model = || self.rules.iter().find(|rule| rule.is_table_entry && rule.matches(&ran));
        Some(if first.is_table_entry { by_model().unwrap_or(first) } else { first })
    }

    /// What an ended task costs: as reported, else by its rule.
    pub fn quote(&self, usage: &Usage<'_>) -> Quote<'_> {
        if let Some(reported) = usage.reported {
            let amount = decimal(reported.amount).ok_or(Unpriced::NoUsage);
            let cost = amount.and_then(|amount| self.convert(amount, reported.currency, CostSource::Reported));
            return Quote { cost, rule: None };
        }
        let rule = self.rule(usage);
        if !rule.map_or(self.charge_on, |rule| rule.charge_on).has(usage.status) {
            let free = Money { micros: 0, currency: self.currency, source: CostSource::Metered };
            return Quote { cost: Ok(free), rule };
        }
        Quote { cost: rule.ok_or(Unpriced::NoRule).and_then(|rule| self.cost(rule, usage)), rule }
    }

    fn cost(&self, rule: &PriceRule, usage: &Usage<'_>) -> Result<Money, Unpriced> {
        let (mut sum, mut source) = rule.price.cost(usage, rule.minimum)?;
        for price in &rule.plus {
            let (more, of) = price.cost(usage, rule.minimum)?;
            sum = sum.checked_add(more).ok_or(Unpriced::NoUsage)?;
            source = source.max(of);
        }
        let sum = rule.minimum.amount.map_or(sum, |least| sum.max(least));
        self.convert(sum, rule.currency, source)
    }

    fn convert(&self, amount: Decimal, currency: Currency, source: CostSource) -> Result<Money, Unpriced> {
        let rate = if currency == self.currency { Some(Decimal::ONE) } else { self.rates.get(&currency).copied() };
        let amount = amount.checked_mul(rate.ok_or(Unpriced::NoRate)?).ok_or(Unpriced::NoUsage)?;
        let micros = to_micros(amount).ok_or(Unpriced::NoUsage)?;
        Ok(Money { micros, currency: self.currency, source })
    }
}

/// Micro-units in whole units, to be shown.
#[expect(clippy::cast_precision_loss, reason = "to be shown")]
pub fn from_micros(micros: u64) -> f64 {
    micros as f64 / Unit::Millionth.scale()
}

/// An amount in micro-units, rounded half up; `None` when it is negative or too large to be counted.
pub fn to_micros(amount: Decimal) -> Option<u64> {
    let micros = amount.checked_mul(Decimal::from(1_000_000))?;
    let whole = micros.round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero);
    whole.to_u64().filter(|micros| *micros <= MAX_COUNT)
}
