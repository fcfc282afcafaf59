//! `quota_per_unit:` and `balance:` of an upstream, and what its tasks cost.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::price_rule::check_currency;
use super::price_scalars::{ConfigDecimal, CurrencyCode};
use super::problem::Problems;
use super::scalars::{ConfigDuration, ConfigNumber, Text};
use super::tasks::StuckConfig;
use crate::domain::budget::Budget;
use crate::domain::policy::QuotaRate;
use crate::domain::pricing::{Currency, Pricing};
use crate::provider::Dialect;

/// How many units of a gateway are one unit of money.
#[derive(Debug, Clone)]
pub enum QuotaPerUnitConfig {
    /// The gateway tells it.
    Auto,
    /// So much.
    Fixed(FixedQuotaConfig),
}

/// How many units of a gateway are one unit of a currency.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FixedQuotaConfig {
    /// So many units.
    value: ConfigDecimal,
    /// The currency of the unit of money.
    #[schemars(with = "CurrencyCode")]
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

impl JsonSchema for QuotaPerUnitConfig {
    fn schema_name() -> Cow<'static, str> {
        "QuotaPerUnit".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let auto =
            json_schema!({ "type": "string", "const": "auto", "description": "As the gateway's /api/status tells." });
        json_schema!({ "anyOf": [auto, generator.subschema_for::<FixedQuotaConfig>()] })
    }
}

/// How the balance of an account is read.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BalanceConfig {
    /// Interval between reads.
    pub refresh_interval: ConfigDuration,
    /// Where an API that is not new-api's has the balance.
    pub custom: Option<CustomBalanceConfig>,
}

impl Default for BalanceConfig {
    fn default() -> Self {
        Self { refresh_interval: ConfigDuration::from_secs(300), custom: None }
    }
}

/// Where an API that is not new-api's has the balance.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomBalanceConfig {
    /// Path below `base_url`.
    path: Text,
    /// The fields of the response; at least one of them.
    fields: BalanceFieldsConfig,
    /// The currency of the balance.
    #[schemars(with = "CurrencyCode")]
    currency: Text,
    /// So many are one unit of the currency.
    #[serde(default)]
    #[schemars(extend("default" = 1))]
    each: Option<ConfigDecimal>,
}

/// JSON Pointers of the balance.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BalanceFieldsConfig {
    /// JSON Pointer of what is left, such as /data/left.
    balance: Option<Text>,
    /// JSON Pointer of what was used.
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

/// Overrides of `tasks:` for an upstream.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamTasksConfig {
    /// When a task is stuck; a missing key is as in `tasks.stuck`.
    pub stuck: StuckOverride,
}

/// When a task of an upstream is stuck. A missing key is as in `tasks.stuck`.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StuckOverride {
    /// An active task is stuck when it is this many times older than the 95th percentile of its model.
    factor: Option<ConfigNumber>,
    /// A task is not stuck before this age.
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
