//! The rules that a transition depends on.

use std::time::Duration;

use rust_decimal::Decimal;

use crate::domain::Timestamp;
use crate::domain::pricing::{Currency, Pricing};

/// Which tasks that were discovered after their end are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountSince {
    /// All of them.
    Always,
    /// Those that finished at or after this time of the steady clock.
    Moment(Timestamp),
    /// Those that finished at or after this time by the upstream's own clock.
    Configured(Timestamp),
}

/// The rules that a transition depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy<'a> {
    /// Which tasks that were discovered after their end are counted.
    pub count_since: CountSince,
    /// An end that is older than this when it is first read is not counted.
    pub forget_after: Duration,
    /// The upstream's clock minus the steady clock, in milliseconds.
    pub upstream_skew: i64,
    /// The quota of a task is only final some seconds after its end (see [`settling`](crate::domain::settling)).
    pub settles_quota: bool,
    /// The upstream does not know most of its tasks, so that it is the upstream that is wrong: no task is lost for that.
    pub has_amnesia: bool,
    /// The wall clock minus the steady clock, in milliseconds.
    pub wall_skew: i64,
    /// The longest planned wait between two polls of a task.
    pub max_interval: Duration,
    /// What tasks cost and are charged.
    pub billing: BillingRules<'a>,
}

impl Policy<'_> {
    /// Counts every end, however old.
    pub const COUNT_ALL: Self = Self {
        count_since: CountSince::Always,
        forget_after: Duration::MAX,
        upstream_skew: 0,
        settles_quota: false,
        has_amnesia: false,
        wall_skew: 0,
        max_interval: Duration::MAX,
        billing: BillingRules::NONE,
    };
}

/// What tasks of an upstream cost and are charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BillingRules<'a> {
    /// The prices; without them only what answers report counts.
    pub pricing: Option<&'a Pricing>,
    /// The gateway's units to money.
    pub charge_rate: ChargeRate,
    /// The units that answers tell are a gateway's, not the provider's.
    pub is_gateway: bool,
}

impl BillingRules<'_> {
    /// Only what answers report counts.
    pub const NONE: Self = Self { pricing: None, charge_rate: ChargeRate::None, is_gateway: false };
}

/// What charges are computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChargeRate {
    /// Charges are not counted.
    None,
    /// The gateway tells its rate, and has not yet.
    Unknown,
    /// This rate.
    Known(QuotaRate),
}

/// How many of a gateway's units are one unit of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaRate {
    /// So many; greater than 0.
    pub units: Decimal,
    /// Of this currency.
    pub currency: Currency,
}
