//! Budgets and baselines on a page.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::encoder::{Encoder, Extra};
use super::families;
use super::head::Head;
use crate::domain::Timestamp;
use crate::domain::budget::Budget;
use crate::domain::outlook::PERCENTILES;
use crate::domain::pricing::from_micros;
use crate::view::{Spent, UpstreamView};

/// Adds the families: budgets, of which tasks of upstreams without a view have spent something, too. `now` is the wall clock.
pub fn add_to(
    head: &mut Head,
    views: &[Arc<UpstreamView>],
    (budgets, other_spent): (&[Budget], &Spent),
    now: Timestamp,
) {
    let spent = |budget: &Budget| -> u64 {
        let (key, period) = ((budget.name.clone(), budget.currency), budget.per.text(now));
        let all = views.iter().map(|view| &*view.spent).chain([other_spent]);
        let of_period = all.filter_map(|spent| spent.get(&key)?.get(&period));
        of_period.copied().fold(0, u64::saturating_add)
    };
    let amounts = |amount: &dyn Fn(&Budget) -> u64| -> Vec<_> {
        let row = |budget: &Budget| (budget.name.clone(), budget.currency.code(), amount(budget));
        budgets.iter().map(row).collect()
    };
    let write = |out: &mut Encoder, (budget, currency, micros): &(Arc<str>, &str, u64)| {
        let labels = [("budget", &**budget), ("currency", currency)];
        out.row(&labels, from_micros(*micros), Extra::default());
    };
    head.family(&families::BUDGET, amounts(&|budget| budget.micros), write);
    head.family(&families::BUDGET_SPENT, amounts(&spent), write);
    let ends: Vec<_> = budgets.iter().map(|budget| (budget.name.clone(), budget.per.end(now))).collect();
    head.family(&families::BUDGET_END, ends, |out, (budget, end)| {
        out.row(&[("budget", budget)], end.as_secs_f64(), Extra::default());
    });
    let baselines: BTreeMap<_, _> = views
        .iter()
        .flat_map(|view| {
            let baselines = view.outlook.baselines.iter();
            baselines.map(|(model, baseline)| ((view.upstream.clone(), view.provider, model.clone()), *baseline))
        })
        .collect();
    let baselines: Vec<_> = baselines.into_iter().collect();
    head.family(&families::BASELINE, baselines, |out, ((upstream, provider, model), baseline)| {
        for (percentile, latency) in PERCENTILES.iter().zip(baseline.0) {
            let percentile = percentile.to_string();
            let labels =
                [("upstream", &**upstream), ("provider", provider), ("model", &**model), ("percentile", &*percentile)];
            out.row(&labels, latency.as_secs_f64(), Extra::default());
        }
    });
}
