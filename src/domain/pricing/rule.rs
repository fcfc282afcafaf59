//! A rule: which tasks it is for, when, and what they cost.

use super::condition::Condition;
use super::currency::Currency;
use super::price::{Minimum, Price};
use super::usage::Usage;
use crate::domain::{Status, Timestamp};

/// The ends that are charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChargeOn(u8);

impl ChargeOn {
    /// Only success is charged.
    pub const SUCCESS: Self = Self(1 << Status::Succeeded.index());

    /// Whether this end is charged.
    pub const fn has(self, status: Status) -> bool {
        self.0 & 1 << status.index() != 0
    }

    /// With this end charged, or not.
    #[must_use]
    pub const fn with(self, status: Status, is_charged: bool) -> Self {
        let bit = 1 << status.index();
        Self(if is_charged { self.0 | bit } else { self.0 & !bit })
    }
}

/// When a rule is valid, by a task's submit time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Validity {
    /// From then on.
    pub from: Option<Timestamp>,
    /// Until just before then.
    pub until: Option<Timestamp>,
}

impl Validity {
    /// Whether a time is within.
    pub fn contains(&self, time: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= time) && self.until.is_none_or(|until| time < until)
    }

    fn covers(&self, other: &Self) -> bool {
        self.from.is_none_or(|from| other.from.is_some_and(|of_other| from <= of_other))
            && self.until.is_none_or(|until| other.until.is_some_and(|of_other| of_other <= until))
    }
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceRule {
    /// Where it stands: `rules/N`, or `files/FILE/KEY`.
    pub id: String,
    /// It is an entry of a table that others keep: one for the model that ran is used before one for the model that was asked for.
    pub is_table_entry: bool,
    /// Which tasks it is for.
    pub condition: Condition,
    /// When.
    pub valid: Validity,
    /// The currency of its amounts.
    pub currency: Currency,
    /// The price.
    pub price: Price,
    /// What is added to it.
    pub plus: Vec<Price>,
    /// What is charged at least.
    pub minimum: Minimum,
    /// The ends that are charged.
    pub charge_on: ChargeOn,
}

impl PriceRule {
    /// Whether it is for a task.
    pub fn matches(&self, usage: &Usage<'_>) -> bool {
        self.valid.contains(usage.submitted) && self.condition.matches(usage)
    }

    /// Whether it is known to match every task that another one matches.
    pub fn covers(&self, other: &Self) -> bool {
        self.valid.covers(&other.valid) && self.condition.covers(&other.condition)
    }

    /// Whether its cost is only known once the gateway's units are final.
    pub fn needs_quota(&self) -> bool {
        std::iter::once(&self.price).chain(&self.plus).any(Price::is_by_quota)
    }
}
