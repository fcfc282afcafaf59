//! Applies prices to the end of a task: its cost, its charge, and how many tokens it used compared with the published law.

use crate::domain::counter::{Counter, Increment, Unit, in_unit};
use crate::domain::number::Number;
use crate::domain::policy::{Policy, QuotaRate};
use crate::domain::pricing::{CostSource, Money, Pricing, Quote, Unpriced, Usage, decimal, to_micros};
use crate::domain::task::TaskCost;
use crate::domain::{Answer, Status, Task};

/// What a price depends on, of a task and the answer that told its end.
pub fn usage<'a>(task: &'a Task, answer: Option<&Answer>, policy: &Policy<'_>) -> Usage<'a> {
    let own = task.quota.map(Number::get);
    let (units, quota) = if policy.billing.is_gateway { (None, own) } else { (own, None) };
    Usage {
        status: task.status,
        submitted: task.times.submit.unwrap_or_else(|| task.first_seen.shifted(policy.wall_skew)),
        models: task.video.models(),
        resolution: task.video.resolution.as_deref(),
        service_tier: task.video.service_tier.as_deref(),
        tokens: task.tokens.get(),
        video_seconds: task.video_seconds.map(Number::get),
        units,
        quota,
        reported: answer.and_then(|answer| answer.cost),
        billing: answer.map_or_else(Default::default, |answer| answer.billing),
    }
}

/// Finds what the end of a task costs, and counts what that adds to the cost that is counted already. Nothing is ever subtracted.
pub fn apply_cost(
    task: &mut Task,
    answer: Option<&Answer>,
    is_quota_final: bool,
    is_counted: bool,
    policy: &Policy<'_>,
    increments: &mut Vec<Increment>,
) {
    let usage = usage(task, answer, policy);
    let Some(Quote { cost, rule }) = quote(policy.billing.pricing, &usage) else {
        task.counted.cost_waits = false;
        return;
    };
    let is_by_quota = rule.is_some_and(|rule| rule.needs_quota() && rule.charge_on.has(task.status));
    let waits = is_by_quota && is_counted && !is_quota_final;
    task.counted.cost_waits = waits;
    if waits {
        return;
    }
    match cost {
        Ok(money) => increments.extend(count_cost(task, money, is_counted)),
        Err(reason) if is_counted && !task.counted.unpriced => {
            task.counted.unpriced = true;
            increments.push((Counter::Unpriced.with([reason.index()]), 1));
        }
        Err(_) => {}
    }
}

/// What an ended task costs; `None` where nothing is known of prices.
pub fn quote<'a>(pricing: Option<&'a Pricing>, usage: &Usage<'_>) -> Option<Quote<'a>> {
    if let Some(pricing) = pricing {
        return Some(pricing.quote(usage));
    }
    let reported = usage.reported?;
    let micros = decimal(reported.amount).and_then(to_micros).ok_or(Unpriced::NoUsage).ok()?;
    let money = Money { micros, currency: reported.currency, source: CostSource::Reported };
    Some(Quote { cost: Ok(money), rule: None })
}

fn count_cost(task: &mut Task, money: Money, is_counted: bool) -> Option<Increment> {
    let before = task.cost.as_deref();
    let is_same_currency = before.is_none_or(|cost| cost.money.currency == money.currency || cost.counted == 0);
    let counted = before.map_or(0, |cost| cost.counted);
    // Amounts of two currencies cannot be compared: what is counted stays.
    let more = if is_counted && is_same_currency { money.micros.saturating_sub(counted) } else { 0 };
    task.cost = Some(Box::new(TaskCost { money, counted: counted + more }));
    (more > 0).then(|| (Counter::Cost.with([money.currency.index(), money.source.index()]), more))
}

/// Counts what the gateway charged for a task, once its quota is counted.
pub fn charge(task: &mut Task, rate: Option<QuotaRate>) -> Option<Increment> {
    let quota =
        task.quota.filter(|_| task.status == Status::Succeeded && task.counted.quota && !task.counted.charge)?;
    let QuotaRate { units, currency } = rate?;
    let micros = to_micros(decimal(quota.get())?.checked_div(units)?)?;
    task.counted.charge = true;
    Some((Counter::Charged.with([currency.index()]), micros))
}

/// How many tokens a task used for each one that the published law gives.
pub fn token_deviation(task: &Task, answer: &Answer) -> Option<Increment> {
    let predicted = answer.billing.predicted_tokens?.ok().filter(|tokens| *tokens > 0.0)?;
    let used = Usage::total_of(task.tokens.get())?;
    Some((Counter::TokenDeviation.with([]), in_unit(used / predicted, Unit::Millionth)))
}
