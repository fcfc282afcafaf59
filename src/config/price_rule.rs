//! `pricing.rules:` — which tasks a price is for, and the price.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::price_scalars::{ConfigDecimal, ConfigTime, CurrencyCode, Texts};
use super::problem::Problems;
use super::scalars::Text;
use crate::domain::Status;
use crate::domain::pricing::{
    Amount, ChargeOn, Condition, Currency, Glob, Measure, Minimum, Price, PriceRule, Validity, resolution_lines,
};
use crate::provider;

/// Which tasks a rule is for. A missing key matches every task.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MatchConfig {
    /// Patterns of providers, with * and ?.
    pub provider: Texts,
    /// Patterns of upstreams, with * and ?.
    pub upstream: Texts,
    /// Patterns of models, with * and ?.
    pub model: Texts,
    /// Resolutions, such as 720p.
    pub resolution: Texts,
    /// Service tiers.
    pub service_tier: Texts,
    /// Whether the video has a sound track.
    pub audio: Option<bool>,
    /// Whether a video is an input.
    pub input_video: Option<bool>,
    /// Whether an image is an input.
    pub input_image: Option<bool>,
}

/// When a price is valid, by the submit time of a task.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ValidConfig {
    /// The first time when it is valid.
    pub from: Option<ConfigTime>,
    /// The time from which it is no longer valid.
    pub until: Option<ConfigTime>,
}

/// What a price is for.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PerConfig {
    /// Tokens.
    Token,
    /// Seconds.
    Second,
    /// One video.
    Clip,
    /// Images.
    Image,
    /// The provider's own units.
    Unit,
    /// The gateway's units.
    Quota,
    /// One task.
    Task,
}

/// Which images a price is for.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OfConfig {
    /// Images that are inputs.
    Input,
}

/// The price of something.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceConfig {
    /// What the amount is for.
    pub per: PerConfig,
    /// How much; or `by_seconds`.
    #[serde(default)]
    pub amount: Option<ConfigDecimal>,
    /// How much for a video of so many seconds; only per clip or task.
    #[serde(default)]
    #[schemars(schema_with = "by_seconds")]
    pub by_seconds: BTreeMap<String, ConfigDecimal>,
    /// The amount is for so many.
    #[serde(default)]
    #[schemars(extend("default" = 1))]
    pub each: Option<ConfigDecimal>,
    /// Which images; only per image.
    #[serde(default)]
    pub of: Option<OfConfig>,
    /// So many are free.
    #[serde(default)]
    #[schemars(extend("default" = 0))]
    pub after: Option<ConfigDecimal>,
}

fn by_seconds(generator: &mut SchemaGenerator) -> Schema {
    let amount = generator.subschema_for::<ConfigDecimal>();
    json_schema!({ "type": "object", "patternProperties": { r"^\+?[0-9]+$": amount }, "additionalProperties": false })
}

/// What is charged at least.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MinimumConfig {
    /// Least number of tokens.
    pub tokens: Option<ConfigDecimal>,
    /// Least amount of money.
    pub amount: Option<ConfigDecimal>,
}

/// Which ends are charged. In a rule, a missing key is as in `pricing.charge_on`; there, only succeeded tasks are charged.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChargeOnConfig {
    /// Whether succeeded tasks are charged.
    succeeded: Option<bool>,
    /// Whether failed tasks are charged.
    failed: Option<bool>,
    /// Whether cancelled tasks are charged.
    cancelled: Option<bool>,
    /// Whether expired tasks are charged.
    expired: Option<bool>,
    /// Whether lost tasks are charged.
    lost: Option<bool>,
}

impl ChargeOnConfig {
    /// Which ends are charged, where the others are as in `otherwise`.
    pub fn resolve(self, otherwise: ChargeOn) -> ChargeOn {
        let ends = [
            (Status::Succeeded, self.succeeded),
            (Status::Failed, self.failed),
            (Status::Cancelled, self.cancelled),
            (Status::Expired, self.expired),
            (Status::Lost, self.lost),
        ];
        let given = ends.into_iter().filter_map(|(end, is_charged)| Some((end, is_charged?)));
        given.fold(otherwise, |charge_on, (end, is_charged)| charge_on.with(end, is_charged))
    }
}

/// A price, and which tasks it is for.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// Which tasks it is for.
    #[serde(rename = "match")]
    pub condition: MatchConfig,
    /// When it is valid.
    #[serde(default)]
    pub valid: ValidConfig,
    /// The currency of its amounts; defaults to `pricing.currency`.
    #[serde(default)]
    #[schemars(with = "Option<CurrencyCode>")]
    pub currency: Option<Text>,
    /// The price of a task that matches.
    pub price: PriceConfig,
    /// More prices that are added.
    #[serde(default)]
    pub plus: Vec<PriceConfig>,
    /// What is charged at least.
    #[serde(default)]
    pub minimum: MinimumConfig,
    /// Which ends are charged.
    #[serde(default)]
    pub charge_on: ChargeOnConfig,
}

/// A checked rule, for all upstreams.
#[derive(Debug, Clone)]
pub struct ScopedRule {
    /// Which upstreams it is for.
    pub scope: RuleScope,
    /// The rule.
    pub rule: PriceRule,
}

/// The upstreams that a rule is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleScope {
    /// By patterns of provider and name; none asks nothing.
    Patterns {
        /// Of providers.
        providers: Vec<Glob>,
        /// Of names.
        upstreams: Vec<Glob>,
    },
    /// By a provider of `LiteLLM`'s table; `None` is every one.
    LiteLlm(Option<String>),
}

impl ScopedRule {
    /// Whether it is known to match every task that another one matches.
    pub fn covers(&self, other: &Self) -> bool {
        // Every task has an upstream and a provider.
        let has_all = |own: &[Glob]| own.is_empty() || own.iter().any(|glob| glob.covers(&Glob::new("*")));
        let all = |own: &[Glob], of_other: &[Glob]| {
            let has = |glob: &Glob| own.iter().any(|own| own.covers(glob));
            has_all(own) || !of_other.is_empty() && of_other.iter().all(has)
        };
        let has_scope = match (&self.scope, &other.scope) {
            (
                RuleScope::Patterns { providers, upstreams },
                RuleScope::Patterns { providers: of_other, upstreams: other_upstreams },
            ) => all(providers, of_other) && all(upstreams, other_upstreams),
            (RuleScope::Patterns { providers, upstreams }, RuleScope::LiteLlm(_)) => {
                has_all(providers) && has_all(upstreams)
            }
            (RuleScope::LiteLlm(_), _) => false,
        };
        has_scope && self.rule.covers(&other.rule)
    }
}

impl MatchConfig {
    /// The names of provider and upstream.
    fn scope(&self, at: &str, problems: &mut Problems) -> RuleScope {
        check_providers(&self.provider, at, problems);
        RuleScope::Patterns { providers: self.provider.globs(), upstreams: self.upstream.globs() }
    }

    fn condition(&self) -> Condition {
        Condition {
            models: self.model.globs(),
            resolutions: self.resolution.0.iter().map(|text| resolution_lines(text)).collect(),
            service_tiers: self.service_tier.0.clone(),
            audio: self.audio,
            input_video: self.input_video,
            input_image: self.input_image,
            litellm_provider: None,
        }
    }
}

/// A provider's name that is no pattern must be known.
pub fn check_providers(providers: &Texts, at: &str, problems: &mut Problems) {
    for name in providers.0.iter().filter(|name| !name.contains(['*', '?'])) {
        if provider::by_name(&name.to_ascii_lowercase()).is_none() {
            let known = provider::names_of(|_| true);
            problems.add(format!("{at}.match.provider"), format!("unknown provider; known providers: {known}"));
        }
    }
}

impl RuleConfig {
    /// The checked rule; its `id` is where it stands.
    pub fn check(
        &self,
        (id, at): (String, &str),
        (default, otherwise): (Currency, ChargeOn),
        problems: &mut Problems,
    ) -> Option<ScopedRule> {
        let scope = self.condition.scope(at, problems);
        let currency = match &self.currency {
            Some(Text(code)) => check_currency(code, &format!("{at}.currency"), problems)?,
            None => default,
        };
        let valid = Validity { from: self.valid.from.map(|time| time.0), until: self.valid.until.map(|time| time.0) };
        if valid.from.zip(valid.until).is_some_and(|(from, until)| until <= from) {
            problems.add(format!("{at}.valid.until"), "must be later than `from`");
        }
        let price = self.price.check(&format!("{at}.price"), problems);
        let plus = self.plus.iter().enumerate();
        let plus: Option<Vec<Price>> =
            plus.map(|(n, price)| price.check(&format!("{at}.plus.{n}"), problems)).collect();
        let of = |amount: Option<ConfigDecimal>| amount.map(|ConfigDecimal(amount)| amount);
        let rule = PriceRule {
            id,
            is_table_entry: false,
            condition: self.condition.condition(),
            valid,
            currency,
            price: price?,
            plus: plus?,
            minimum: Minimum { tokens: of(self.minimum.tokens), amount: of(self.minimum.amount) },
            charge_on: self.charge_on.resolve(otherwise),
        };
        Some(ScopedRule { scope, rule })
    }
}

impl PriceConfig {
    fn check(&self, at: &str, problems: &mut Problems) -> Option<Price> {
        let before = problems.len();
        let per = match self.per {
            PerConfig::Token => Measure::Token,
            PerConfig::Second => Measure::Second,
            PerConfig::Clip => Measure::Clip,
            PerConfig::Image => Measure::Image,
            PerConfig::Unit => Measure::Unit,
            PerConfig::Quota => Measure::Quota,
            PerConfig::Task => Measure::Task,
        };
        if !self.by_seconds.is_empty() && !matches!(per, Measure::Clip | Measure::Task) {
            problems.add(format!("{at}.by_seconds"), "only a price per clip or task has it");
        }
        if self.of.is_some() && per != Measure::Image {
            problems.add(format!("{at}.of"), "only a price per image has it");
        }
        let each = self.each.map_or(Decimal::ONE, |ConfigDecimal(each)| each);
        if each.is_zero() {
            problems.add(format!("{at}.each"), "must be more than 0");
        }
        let amount = match self.amount {
            Some(_) if !self.by_seconds.is_empty() => {
                problems.add(format!("{at}.by_seconds"), "give either `amount` or `by_seconds`");
                None
            }
            Some(ConfigDecimal(amount)) => Some(Amount::Fixed(amount)),
            None if self.by_seconds.is_empty() => {
                problems.add(at, "the key `amount` is missing");
                None
            }
            None => Some(self.amounts_by_seconds(at, problems)),
        };
        let after = self.after.map_or(Decimal::ZERO, |ConfigDecimal(after)| after);
        amount.filter(|_| problems.len() == before).map(|amount| Price { per, amount, each, after })
    }

    fn amounts_by_seconds(&self, at: &str, problems: &mut Problems) -> Amount {
        let mut amounts = BTreeMap::new();
        for (seconds, ConfigDecimal(amount)) in &self.by_seconds {
            match seconds.parse() {
                Ok(seconds) => _ = amounts.insert(seconds, *amount),
                Err(_) => problems.add(format!("{at}.by_seconds.{seconds}"), "expected a whole number of seconds"),
            }
        }
        Amount::BySeconds(amounts)
    }
}

/// The currency of a code; a problem when there is none.
pub fn check_currency(code: &str, at: &str, problems: &mut Problems) -> Option<Currency> {
    let currency = Currency::from_code(code);
    if currency.is_none() {
        problems.add(at, "unknown currency; expected a code of ISO 4217 such as USD");
    }
    currency
}
