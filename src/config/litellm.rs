//! Reads `LiteLLM`'s table of model prices as it is: its entries of `mode: video_generation` become rules.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::{Map, Value};

use super::price_rule::{RuleScope, ScopedRule};
use super::price_scalars::ConfigDecimal;
use crate::domain::pricing::{
    Amount, ChargeOn, Condition, Currency, Glob, Measure, Minimum, Price, PriceRule, Validity, resolution_lines,
};

/// Providers by `LiteLLM`'s names, and ours.
const PROVIDERS: [(&str, &str); 13] = [
    ("dashscope", "dashscope"),
    ("qwen_ai_platform", "dashscope"),
    ("qwencloud", "dashscope"),
    ("fal_ai", "fal"),
    ("gemini", "veo"),
    ("vertex_ai", "veo"),
    ("minimax", "minimax_hailuo"),
    ("runwayml", "runway"),
    ("volcengine", "ark"),
    ("xai", "xai"),
    ("openai", "openai_videos"),
    ("azure", "openai_videos"),
    ("replicate", "replicate"),
];

/// The provider that is `DashScope` at its international hosts only.
const INTERNATIONAL: &str = "qwencloud";

/// The key of a price per second; a resolution may follow.
const PER_SECOND: &str = "output_cost_per_second";

/// An older key of the same.
const PER_VIDEO_SECOND: &str = "output_cost_per_video_per_second";

/// The rules of a table, those with the longest keys first, and how many of its video entries have no price per second.
///
/// # Errors
/// With the key of an entry, and what is wrong with it.
pub fn read(table: &Map<String, Value>, file: &str, charge_on: ChargeOn) -> Result<(Vec<ScopedRule>, usize), String> {
    let is_video = |entry: &Value| entry.get("mode").and_then(Value::as_str) == Some("video_generation");
    let mut entries: Vec<(&String, &Value)> = table.iter().filter(|(_, entry)| is_video(entry)).collect();
    // Where both are for a host, the international price is the one of that host, whatever the length of the keys.
    let order = |key: &str| (!key.starts_with(INTERNATIONAL), Reverse(key.len()));
    entries.sort_by(|(left, _), (right, _)| order(left).cmp(&order(right)).then_with(|| left.cmp(right)));
    let (mut rules, mut without_price) = (Vec::new(), 0);
    for (key, entry) in entries {
        match price(entry).map_err(|error| format!("{key}: {error}"))? {
            Some(price) => rules.push(rule(key, price, file, charge_on)),
            None => without_price += 1,
        }
    }
    Ok((rules, without_price))
}

fn rule(key: &str, price: Price, file: &str, charge_on: ChargeOn) -> ScopedRule {
    // A key is `provider/model` or a model. Behind another gateway a model may be asked for by the whole key.
    let named = key.split_once('/').filter(|(provider, _)| PROVIDERS.iter().any(|(known, _)| known == provider));
    let mut models = vec![Glob::new(key)];
    models.extend(named.map(|(_, model)| Glob::new(model)));
    let rule = PriceRule {
        id: format!("files/{file}/{key}"),
        is_table_entry: true,
        condition: Condition {
            models,
            litellm_provider: named.map(|(provider, _)| provider.to_owned()),
            ..Condition::default()
        },
        valid: Validity::default(),
        currency: Currency::USD,
        price,
        plus: Vec::new(),
        minimum: Minimum::default(),
        charge_on,
    };
    ScopedRule { scope: RuleScope::LiteLlm(named.map(|(provider, _)| provider.to_owned())), rule }
}

/// The price of an entry; `None` when it has none per second. An input's price is left out: no count of inputs is known.
fn price(entry: &Value) -> Result<Option<Price>, String> {
    let amount = |key: &str| match entry.get(key) {
        None | Some(Value::Null) => Ok(None),
        // Its text is what the table has.
        Some(Value::Number(number)) => match ConfigDecimal::parse(&number.to_string()) {
            Some(ConfigDecimal(amount)) => Ok(Some(amount)),
            None => Err(format!("{key} is no amount")),
        },
        Some(_) => Err(format!("{key} is no number")),
    };
    let otherwise = amount(PER_SECOND)?.map_or_else(|| amount(PER_VIDEO_SECOND), |amount| Ok(Some(amount)))?;
    let keys = entry.as_object().into_iter().flat_map(Map::keys);
    let mut by_resolution = BTreeMap::new();
    for key in keys {
        let Some(tier) = key.strip_prefix(PER_SECOND).and_then(|rest| rest.strip_prefix('_')) else { continue };
        if let Some(amount) = amount(key)? {
            by_resolution.insert(resolution_lines(tier), amount);
        }
    }
    let amount = match otherwise {
        None if by_resolution.is_empty() => return Ok(None),
        Some(amount) if by_resolution.is_empty() => Amount::Fixed(amount),
        otherwise => Amount::ByResolution(by_resolution, otherwise),
    };
    Ok(Some(Price { per: Measure::Second, amount, each: Decimal::ONE, after: Decimal::ZERO }))
}

/// Whether a host of `DashScope` is outside China: a named one, or that of a workspace in another region.
fn is_international(host: &str) -> bool {
    let region = host.strip_suffix(".maas.aliyuncs.com").map(|start| start.rsplit('.').next().unwrap_or(start));
    ["dashscope-intl.aliyuncs.com", "dashscope-us.aliyuncs.com"].contains(&host)
        || region.is_some_and(|region| !region.starts_with("cn-"))
}

/// Whether an entry with this provider is for an upstream. A gateway runs models of every provider.
pub fn is_for(litellm_provider: Option<&str>, provider: &str, is_gateway: bool, host: &str) -> bool {
    let Some(litellm_provider) = litellm_provider else { return true };
    // Its proxy tells which of the providers it asked.
    if litellm_provider == INTERNATIONAL && provider != "litellm" {
        return provider == "dashscope" && is_international(host);
    }
    is_gateway || PROVIDERS.contains(&(litellm_provider, provider))
}
