//! `quota_per_unit:` and `balance:` of an upstream, and what its tasks cost.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::price_rule::check_currency;
use super::price_scalars::ConfigDecimal;
use super::problem::Problems;
use super::scalars::{ConfigDuration, ConfigNumber, Text};
use super::tasks::StuckConfig;
use crate::domain::budget::Budget;
use crate::domain::policy::QuotaRate;
use crate::domain::pricing::{Currency, Pricing};
use crate::provider::Dialect;

/// `quota_per_unit:`.
#[derive(Debug, Clone)]
pub enum QuotaPerUnitConfig {
    /// The gateway tells it.
    Auto,
    /// So much.
    Fixed(FixedQuotaConfig),
}

/// The form with a value.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedQuotaConfig {
    value: ConfigDecimal,
    currency: Text,
}

impl<'de> Deserialize<'de> for QuotaPerUnitConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FormVisitor;
        impl<'de> de::Visitor<'de> for FormVisitor {
            type Value = QuotaPerUnitConfig;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("auto, or a mapping with `value` and `currency`")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<QuotaPerUnitConfig, E> {
                if text == "auto" { Ok(QuotaPerUnitConfig::Auto) } else { Err(E::custom("expected auto")) }
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<QuotaPerUnitConfig, A::Error> {
                FixedQuotaConfig::deserialize(de::value::MapAccessDeserializer::new(map)).map(QuotaPerUnitConfig::Fixed)
            }
        }
        deserializer.deserialize_any(FormVisitor)
    }
}

/// `balance:`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BalanceConfig {
    /// How often it is read.
    pub refresh_interval: ConfigDuration,
    /// Where another API has it.
    pub custom: Option<CustomBalanceConfig>,
}

impl Default for BalanceConfig {
    fn default() -> Self {
        Self { refresh_interval: ConfigDuration::from_secs(300), custom: None }
    }
}

/// `balance.custom:`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomBalanceConfig {
    path: Text,
    fields: BalanceFieldsConfig,
    currency: Text,
    #[serde(default)]
    each: Option<ConfigDecimal>,
}

/// `balance.custom.fields:`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BalanceFieldsConfig {
    balance: Option<Text>,
    used: Option<Text>,
}

/// How the units of a gateway become money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaPerUnit {
    /// As its `/api/status` tells.
    Auto,
    /// Always so.
    Fixed(QuotaRate),
}

/// How the balance of an account is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    /// How often.
    pub refresh_interval: Duration,
    /// Where another API has it; otherwise it is a gateway's.
    pub custom: Option<CustomBalance>,
}

/// Where an API has a balance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomBalance {
    /// Path below the base URL.
    pub path: String,
    /// JSON pointer of what is left.
    pub balance: Option<String>,
    /// JSON pointer of what was used.
    pub used: Option<String>,
    /// So many are one unit of the currency.
    pub rate: QuotaRate,
}

/// What the tasks of an upstream cost and are charged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamBilling {
    /// Prices; without them only what answers report counts.
    pub pricing: Option<Pricing>,
    /// Budgets that its tasks may be paid from.
    pub budgets: Vec<Budget>,
    /// A gateway's units.
    pub quota_per_unit: Option<QuotaPerUnit>,
    /// The account.
    pub balance: Option<Balance>,
}

impl UpstreamBilling {
    /// The currencies of its costs and charges, as far as they are known.
    pub fn charge_currency(&self) -> Option<Currency> {
        self.quota_per_unit.map(|quota| match quota {
            QuotaPerUnit::Auto => Currency::USD,
            QuotaPerUnit::Fixed(rate) => rate.currency,
        })
    }
}

impl QuotaPerUnitConfig {
    pub(super) fn check(&self, dialect: &Dialect, at: &str, problems: &mut Problems) -> Option<QuotaPerUnit> {
        if !dialect.is_new_api() {
            problems.add(at, format!("provider {} is no gateway with units of its own; remove it", dialect.name()));
        }
        let Self::Fixed(FixedQuotaConfig { value: ConfigDecimal(units), currency: Text(code) }) = self else {
            return Some(QuotaPerUnit::Auto);
        };
        if units.is_zero() {
            problems.add(format!("{at}.value"), "must be more than 0");
        }
        let currency = check_currency(code, &format!("{at}.currency"), problems)?;
        Some(QuotaPerUnit::Fixed(QuotaRate { units: *units, currency }))
    }
}

impl BalanceConfig {
    pub(super) fn check(&self, dialect: &Dialect, at: &str, problems: &mut Problems) -> Option<Balance> {
        if self.refresh_interval < ConfigDuration::from_secs(1) {
            problems.add(format!("{at}.refresh_interval"), "must be at least 1s");
        }
        if self.custom.is_none() && !dialect.is_new_api() {
            let message = format!("provider {} tells no balance that is known; give `custom`", dialect.name());
            problems.add(at, message);
        }
        let custom = match &self.custom {
            Some(custom) => Some(custom.check(&format!("{at}.custom"), problems)?),
            None => None,
        };
        Some(Balance { refresh_interval: self.refresh_interval.0, custom })
    }
}

impl CustomBalanceConfig {
    fn check(&self, at: &str, problems: &mut Problems) -> Option<CustomBalance> {
        if !self.path.0.starts_with('/') || self.path.0.contains(char::is_whitespace) {
            problems.add(format!("{at}.path"), "must be a path that begins with /");
        }
        let BalanceFieldsConfig { balance, used } = &self.fields;
        if balance.is_none() && used.is_none() {
            problems.add(format!("{at}.fields"), "needs `balance`, `used` or both");
        }
        for (key, pointer) in [("balance", balance), ("used", used)] {
            if pointer.as_ref().is_some_and(|Text(pointer)| !pointer.starts_with('/')) {
                problems.add(format!("{at}.fields.{key}"), "must be a JSON pointer such as /data/left");
            }
        }
        let units = self.each.map_or(rust_decimal::Decimal::ONE, |ConfigDecimal(each)| each);
        if units.is_zero() {
            problems.add(format!("{at}.each"), "must be more than 0");
        }
        let text = |text: &Option<Text>| text.as_ref().map(|Text(text)| text.clone());
        Some(CustomBalance {
            path: self.path.0.clone(),
            balance: text(balance),
            used: text(used),
            rate: QuotaRate { units, currency: check_currency(&self.currency.0, &format!("{at}.currency"), problems)? },
        })
    }
}

/// `tasks:` of an upstream.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamTasksConfig {
    /// When its tasks are stuck.
    pub stuck: StuckOverride,
}

/// `tasks.stuck:` of an upstream; what is not given is as in `tasks:`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StuckOverride {
    factor: Option<ConfigNumber>,
    floor: Option<ConfigDuration>,
}

impl StuckOverride {
    /// With the defaults of `tasks.stuck`.
    pub(super) fn resolve(self, default: StuckConfig, at: &str, problems: &mut Problems) -> StuckConfig {
        let StuckConfig { factor, floor } = default;
        let own = StuckConfig { factor: self.factor.unwrap_or(factor), floor: self.floor.unwrap_or(floor) };
        // What is inherited is checked where it stands.
        if own != default {
            own.check(at, problems);
        }
        own
    }
}
