//! What an upstream's tasks have spent of budgets.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::budget::{Budget, Spending};
use crate::domain::{Timestamp, Transition};
use crate::view::Spent;

/// The spending of one upstream, by budget, currency and period.
#[derive(Default)]
pub struct BudgetLedger {
    /// Shared with views until it is changed.
    spent: Arc<Spent>,
}

impl BudgetLedger {
    /// Continues with what the state has.
    pub fn restore(&mut self, spending: &[Spending]) {
        self.spent = Arc::default();
        for spending in spending {
            self.add_one(spending);
        }
    }

    /// Notes what a transition spends, at this time of the wall clock; it is added once that is committed.
    pub fn note(transition: &mut Transition, budgets: &[Budget], wall: Timestamp) {
        let spending =
            budgets.iter().filter_map(|budget| budget.spending(&transition.task, &transition.increments, wall));
        transition.spent = spending.collect();
    }

    /// Adds what is committed.
    pub fn add(&mut self, spending: &[Spending]) {
        for spending in spending {
            let periods = self.add_one(spending);
            // Nobody asks for another period than this one, unless a clock is set back for a moment.
            while periods.len() > 2
                && let Some(other) = periods.keys().find(|period| **period != spending.period).cloned()
            {
                periods.remove(&other);
            }
        }
    }

    fn add_one(&mut self, spending: &Spending) -> &mut BTreeMap<String, u64> {
        let Spending { budget, currency, period, micros } = spending;
        let periods = Arc::make_mut(&mut self.spent).entry((budget.clone(), *currency)).or_default();
        let sum = periods.entry(period.clone()).or_default();
        *sum = sum.saturating_add(*micros);
        periods
    }

    /// The spending as it is now, for a view.
    pub fn publish(&self) -> Arc<Spent> {
        self.spent.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::pricing::Currency;

    #[test]
    fn the_period_that_is_spent_in_stays_whatever_the_others_are_named() {
        let spending = |period: &str| Spending {
            budget: "b".into(),
            currency: Currency::USD,
            period: period.to_owned(),
            micros: 1,
        };
        let periods = |ledger: &BudgetLedger| ledger.publish()[&("b".into(), Currency::USD)].clone();
        for stored in [
            // It was a budget per month.
            &["month 2026-10-01", "month 2026-11-01", "day 2026-11-27"][..],
            // The clock was wrong for two days.
            &["day 2026-11-27", "day 2030-01-01", "day 2030-01-02"],
        ] {
            let mut ledger = BudgetLedger::default();
            ledger.restore(&stored.iter().map(|period| spending(period)).collect::<Vec<_>>());
            for spent in 2..=3 {
                ledger.add(&[spending("day 2026-11-27")]);
                assert_eq!((periods(&ledger).len(), periods(&ledger)["day 2026-11-27"]), (2, spent), "{stored:?}");
            }
        }
    }
}
