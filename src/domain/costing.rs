//! Applies prices to the end of a task: its cost, its charge, and how many tokens it used compared with the published law.

use crate::domain::counter::{Counter, Increment, Unit, in_unit};
use crate::domain::number::Number;
use crate::domain::policy::{ChargeRate, Policy, QuotaRate};
use crate::domain::pricing::{CostSource, Money, PriceRule, Pricing, Quote, Unpriced, Usage, decimal, to_micros};
use crate::domain::task::TaskCost;
use crate::domain::{Answer, Task};

/// What a price depends on, of a task and the answer that told its end.
pub fn usage<'a>(task: &'a Task, answer: Option<&'a Answer>, policy: &Policy<'_>) -> Usage<'a> {
    let own = task.quota.map(Number::get);
    let told = match task.waiting_bill.as_deref() {
        Some(waiting) => *waiting,
        None => answer.map_or_else(Default::default, |answer| answer.billing),
    };
    let (units, quota) = if policy.billing.is_gateway { (told.units, own) } else { (own, None) };
    // A task keeps only known words.
    let word = |told: fn(&'a Answer) -> Option<&'a str>, kept: Option<&'a str>| answer.and_then(told).or(kept);
    Usage {
        status: task.status,
        submitted: task.times.submit.unwrap_or_else(|| task.first_seen.shifted(policy.wall_skew)),
        models: task.video.models(),
        resolution: word(|answer| answer.resolution.as_deref(), task.video.resolution.as_deref()),
        service_tier: word(|answer| answer.service_tier.as_deref(), task.video.service_tier.as_deref()),
        tokens: task.tokens.get(),
        video_seconds: task.video_seconds.map(Number::get),
        units,
        quota,
        reported: answer.and_then(|answer| answer.cost),
        billing: told,
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
    let bill = usage.billing;
    let quote = quote(policy.billing.pricing, &usage);
    let is_by_quota =
        |rule: &PriceRule| rule.needs_quota() && rule.charge_on.has(task.status) && is_counted && !is_quota_final;
    if quote.and_then(|quote| quote.rule).is_some_and(is_by_quota) {
        task.waiting_bill = Some(Box::new(bill));
        return;
    }
    task.waiting_bill = None;
    let Some(Quote { cost, .. }) = quote else { return };
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
    let counted = match task.cost.as_deref() {
        // Amounts of two currencies cannot be compared: the one that is counted stays.
        Some(cost) if cost.counted > 0 && cost.money.currency != money.currency => return None,
        before => before.map_or(0, |cost| cost.counted),
    };
    let more = if is_counted { money.micros.saturating_sub(counted) } else { 0 };
    task.cost = Some(Box::new(TaskCost { money, counted: counted + more }));
    (more > 0).then(|| (Counter::Cost.with([money.currency.index(), money.source.index()]), more))
}

/// Counts what the gateway charged for a task, whose quota is being counted or was while the rate was unknown.
pub fn charge(task: &mut Task, rate: ChargeRate) -> Option<Increment> {
    task.counted.charge_waits = rate == ChargeRate::Unknown;
    let (ChargeRate::Known(QuotaRate { units, currency }), Some(quota)) = (rate, task.quota) else { return None };
    let micros = to_micros(decimal(quota.get())?.checked_div(units)?)?;
    Some((Counter::Charged.with([currency.index()]), micros))
}

/// How many tokens a task used for each one that the published law gives.
pub fn token_deviation(task: &Task, answer: &Answer) -> Option<Increment> {
    let predicted = answer.billing.predicted_tokens?.ok().filter(|tokens| *tokens > 0.0)?;
    let used = Usage::total_of(task.tokens.get())?;
    Some((Counter::TokenDeviation.with([]), in_unit(used / predicted, Unit::Millionth)))
}
