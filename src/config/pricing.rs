//! `pricing:` — what tasks cost: a currency, rates, rules, tables of prices and budgets.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::Value;

use super::litellm;
use super::price_rule::{ChargeOnConfig, RuleConfig, RuleScope, ScopedRule, check_currency, check_providers};
use super::price_scalars::{ConfigDecimal, CurrencyCode, Texts};
use super::problem::Problems;
use super::scalars::Text;
use super::yaml::from_text;
use crate::domain::budget::{Budget, Period};
use crate::domain::labels::{LABEL_NAME_RULE, is_label_name};
use crate::domain::pricing::{ChargeOn, Currency, Glob, Pricing, to_micros};
use crate::files;
use crate::provider::Dialect;

/// Largest table of prices, in bytes.
const MAX_TABLE: u64 = 32 << 20;

/// What tasks cost.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PricingConfig {
    /// The currency of every cost.
    #[schemars(with = "CurrencyCode")]
    pub currency: Text,
    /// What one unit of another currency is in it.
    #[schemars(schema_with = "rates")]
    pub rates: BTreeMap<String, ConfigDecimal>,
    /// Files with more rules, after `rules`; `LiteLLM`'s table of prices as it is.
    pub files: Vec<Text>,
    /// Which ends are charged; by default only succeeded tasks.
    pub charge_on: ChargeOnConfig,
    /// Budgets for the costs of tasks.
    pub budgets: Vec<BudgetConfig>,
    /// Prices; the first rule that matches a task is used.
    pub rules: Vec<RuleConfig>,
}

impl Default for PricingConfig {
    fn default() -> Self {
        Self {
            currency: Text("USD".to_owned()),
            rates: BTreeMap::new(),
            files: Vec::new(),
            charge_on: ChargeOnConfig::default(),
            budgets: Vec::new(),
            rules: Vec::new(),
        }
    }
}

/// A budget, and which tasks it is for.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetConfig {
    /// The `budget` label; unique.
    name: Text,
    /// Which tasks it is for.
    #[serde(default, rename = "match")]
    condition: BudgetMatchConfig,
    /// The period, in UTC.
    per: PeriodConfig,
    /// The most that these tasks should cost in a period.
    amount: ConfigDecimal,
}

/// Which tasks a budget is for. A missing key matches every task.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BudgetMatchConfig {
    /// Patterns of providers, with * and ?.
    provider: Texts,
    /// Patterns of upstreams, with * and ?.
    upstream: Texts,
    /// Patterns of models, with * and ?.
    model: Texts,
    /// Patterns of the tasks' labels.
    labels: BTreeMap<String, Text>,
}

/// The period of a budget.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PeriodConfig {
    /// A day.
    Day,
    /// A week, from Monday.
    Week,
    /// A month.
    Month,
}

fn rates(generator: &mut SchemaGenerator) -> Schema {
    let (code, rate) = (generator.subschema_for::<CurrencyCode>(), generator.subschema_for::<ConfigDecimal>());
    json_schema!({ "type": "object", "propertyNames": code, "additionalProperties": rate })
}

/// A file of rules as written: `rules:`, or a list of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    rules: Vec<RuleConfig>,
}

/// The checked section.
#[derive(Debug, Clone)]
pub struct PriceList {
    /// The currency of every cost.
    pub currency: Currency,
    rates: BTreeMap<Currency, Decimal>,
    charge_on: ChargeOn,
    /// Every rule, in the order in which they are tried.
    pub rules: Vec<ScopedRule>,
    /// Budgets.
    pub budgets: Vec<Budget>,
    /// What was read of each file, for people.
    pub tables: Vec<String>,
}

impl PriceList {
    /// The prices of an upstream.
    pub fn pricing(&self, name: &str, dialect: &Dialect, base_url: &str) -> Pricing {
        let provider = dialect.name();
        let host = base_url.split_once("://").map_or(base_url, |(_, rest)| rest);
        let host = host.split(['/', ':']).next().unwrap_or_default();
        let matches = |globs: &[Glob], name: &str| globs.is_empty() || globs.iter().any(|glob| glob.matches(name));
        let is_for = |scope: &RuleScope| match scope {
            RuleScope::Patterns { providers, upstreams } => matches(providers, provider) && matches(upstreams, name),
            RuleScope::LiteLlm(of) => litellm::is_for(of.as_deref(), provider, dialect.runs_any_model(), host),
        };
        let rules = self.rules.iter().filter(|scoped| is_for(&scoped.scope)).map(|scoped| scoped.rule.clone());
        Pricing {
            currency: self.currency,
            rates: self.rates.clone(),
            charge_on: self.charge_on,
            rules: rules.collect(),
        }
    }
}

impl PricingConfig {
    pub(super) fn check(&self, folder: &Path, problems: &mut Problems) -> Option<PriceList> {
        let before = problems.len();
        let currency = check_currency(&self.currency.0, "pricing.currency", problems)?;
        let mut rates = BTreeMap::new();
        for (code, ConfigDecimal(rate)) in &self.rates {
            let at = format!("pricing.rates.{code}");
            let Some(of) = check_currency(code, &at, problems) else { continue };
            if rate.is_zero() {
                problems.add(at, "must be more than 0");
            } else if of == currency && *rate != Decimal::ONE {
                problems.add(at, "the rate of pricing.currency itself is 1");
            }
            rates.insert(of, *rate);
        }
        let charge_on = self.charge_on.resolve(ChargeOn::SUCCESS);
        let mut rules = Vec::new();
        for (n, rule) in self.rules.iter().enumerate() {
            let (id, at) = (format!("rules/{n}"), format!("pricing.rules.{n}"));
            if let Some(rule) = rule.check((id, &at), (currency, charge_on), problems) {
                check_rate(&rule, (currency, &rates), &format!("{at}.currency"), problems);
                rules.push((at, rule));
            }
        }
        let mut tables = Vec::new();
        for (n, Text(file)) in self.files.iter().enumerate() {
            let at = format!("pricing.files.{n}");
            match read_table(folder, file, (currency, charge_on)) {
                Ok((read, table)) => {
                    if let Some(rule) = read.iter().find(|rule| !has_rate(rule, currency, &rates)) {
                        check_rate(rule, (currency, &rates), &at, problems);
                    }
                    rules.extend(read.into_iter().map(|rule| (at.clone(), rule)));
                    tables.push(table);
                }
                Err(errors) => errors.iter().for_each(|error| problems.add(&at, format!("{file}: {error}"))),
            }
        }
        warn_of_covered(&rules, problems);
        let budgets = self.check_budgets(currency, problems);
        let rules = rules.into_iter().map(|(_, rule)| rule).collect();
        let list = PriceList { currency, rates, charge_on, rules, budgets, tables };
        (problems.len() == before).then_some(list)
    }

    fn check_budgets(&self, currency: Currency, problems: &mut Problems) -> Vec<Budget> {
        let mut names = BTreeSet::new();
        let mut budgets = Vec::new();
        for (n, budget) in self.budgets.iter().enumerate() {
            let at = format!("pricing.budgets.{n}");
            let Text(name) = &budget.name;
            if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
                problems.add(format!("{at}.name"), "a name has 1 to 128 printable characters");
            } else if !names.insert(name) {
                problems.add(format!("{at}.name"), "another budget has the same name; names must be unique");
            }
            let micros = to_micros(budget.amount.0).filter(|micros| *micros > 0);
            if micros.is_none() {
                problems.add(format!("{at}.amount"), "must be more than 0, and at most 9 trillion");
            }
            let BudgetMatchConfig { provider, upstream, model, labels } = &budget.condition;
            check_providers(provider, &at, problems);
            for name in labels.keys().filter(|name| !is_label_name(name)) {
                problems.add(format!("{at}.match.labels.{name}"), LABEL_NAME_RULE);
            }
            budgets.extend(micros.map(|micros| Budget {
                name: name.as_str().into(),
                upstreams: upstream.globs(),
                providers: provider.globs(),
                models: model.globs(),
                labels: labels.iter().map(|(name, Text(value))| (name.clone(), Glob::new(value))).collect(),
                per: match budget.per {
                    PeriodConfig::Day => Period::Day,
                    PeriodConfig::Week => Period::Week,
                    PeriodConfig::Month => Period::Month,
                },
                micros,
                currency,
            }));
        }
        budgets
    }
}

fn has_rate(rule: &ScopedRule, currency: Currency, rates: &BTreeMap<Currency, Decimal>) -> bool {
    rule.rule.currency == currency || rates.contains_key(&rule.rule.currency)
}

fn check_rate(
    rule: &ScopedRule,
    (currency, rates): (Currency, &BTreeMap<Currency, Decimal>),
    at: &str,
    problems: &mut Problems,
) {
    if !has_rate(rule, currency, rates) {
        let (code, own) = (rule.rule.currency.code(), currency.code());
        // Of a file the key names only the file.
        let of = rule.rule.id.strip_prefix("files/").map_or_else(String::new, |of| format!("{of}: "));
        problems.add(at, format!("{of}there is no rate from {code} to {own}; give it in pricing.rates.{code}"));
    }
}

/// The rules of a file, and what was read, for people.
fn read_table(
    folder: &Path,
    file: &str,
    defaults: (Currency, ChargeOn),
) -> Result<(Vec<ScopedRule>, String), Vec<String>> {
    let text = files::read_text(&folder.join(file), MAX_TABLE)
        .map_err(|error| vec![format!("cannot read the file: {error}")])?;
    let json = serde_json::from_str::<Value>(&text);
    if let Err(error) = &json
        && Path::new(file).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
    {
        return Err(vec![format!("this is no JSON: {error}")]);
    }
    if let Some(Value::Object(table)) = json.ok().filter(|table| table.get("rules").is_none()) {
        let (rules, without_price) = litellm::read(&table, file, defaults.1).map_err(|error| vec![error])?;
        let shown = format!("{file}: {} prices of LiteLLM's table; {without_price} without a price", rules.len());
        return Ok((rules, shown));
    }
    let rules = match from_text::<RuleFile>(&text) {
        Ok(RuleFile { rules }) => rules,
        // The second form; its error tells more where the file is a list.
        Err(error) => match from_text::<Vec<RuleConfig>>(&text) {
            Ok(rules) => rules,
            Err(of_list) => return Err(vec![if text.trim_start().starts_with('-') { of_list } else { error }]),
        },
    };
    let mut problems = Problems::default();
    let mut checked = Vec::new();
    for (n, rule) in rules.iter().enumerate() {
        checked.extend(rule.check((format!("files/{file}/{n}"), &format!("rules.{n}")), defaults, &mut problems));
    }
    let found = problems.with_origins(|_| super::problem::Origin::File(file.into(), None));
    if !found.is_empty() {
        return Err(found.iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect());
    }
    let shown = format!("{file}: {} rules", checked.len());
    Ok((checked, shown))
}

/// What a rule asks for, of a model's name alone.
pub fn rules_of_model<'a>(pricing: &'a Pricing, model: &'a str) -> impl Iterator<Item = &'a str> {
    pricing.rules.iter().filter(move |rule| rule.condition.has_model(model)).map(|rule| rule.id.as_str())
}

/// Warns of rules that can never match: once for all of a file that the same rule covers.
fn warn_of_covered(rules: &[(String, ScopedRule)], problems: &mut Problems) {
    let mut covered: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for (n, (at, rule)) in rules.iter().enumerate() {
        if let Some((_, earlier)) = rules[..n].iter().find(|(_, earlier)| earlier.covers(rule)) {
            covered.entry((at, &earlier.rule.id)).or_default().push(&rule.rule.id);
        }
    }
    for ((at, earlier), ids) in covered {
        let message = match &ids[..] {
            [only] => format!("{only} can never match: {earlier} matches whatever it does"),
            all => format!("{} and {} more can never match: {earlier} matches whatever they do", all[0], all.len() - 1),
        };
        problems.warn(at.to_owned(), message);
    }
}
