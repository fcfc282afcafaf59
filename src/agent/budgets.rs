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
        self.add(spending);
    }

    /// Notes what a transition spends, at this time of the wall clock; it is added once that is committed.
    pub fn note(transition: &mut Transition, budgets: &[Budget], wall: Timestamp) {
        let spending =
            budgets.iter().filter_map(|budget| budget.spending(&transition.task, &transition.increments, wall));
        transition.spent = spending.collect();
    }

    /// Adds what is committed.
    pub fn add(&mut self, spending: &[Spending]) {
        for Spending { budget, currency, period, micros } in spending {
            let periods: &mut BTreeMap<String, u64> =
                Arc::make_mut(&mut self.spent).entry((budget.clone(), *currency)).or_default();
            let sum = periods.entry(period.clone()).or_default();
            *sum = sum.saturating_add(*micros);
            // Nobody asks for an earlier period, unless a clock is set back for a moment.
            while periods.len() > 2 {
                periods.pop_first();
            }
        }
    }

    /// The spending as it is now, for a view.
    pub fn publish(&self) -> Arc<Spent> {
        self.spent.clone()
    }
}
