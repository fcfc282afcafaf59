//! What a task cost, as it is kept in its record.

use serde::{Deserialize, Serialize};

use crate::domain::pricing::{CostSource, Currency, Money};
use crate::domain::task::TaskCost;

/// The `cost` of a record.
#[derive(Debug, Serialize, Deserialize)]
pub struct CostRecord {
    micros: u64,
    currency: String,
    source: String,
    /// How much of it is in the counters.
    counted: u64,
}

impl CostRecord {
    /// Of a cost.
    pub fn new(cost: &TaskCost) -> Self {
        let Money { micros, currency, source } = cost.money;
        Self { micros, currency: currency.code().to_owned(), source: source.as_str().to_owned(), counted: cost.counted }
    }

    /// The cost.
    ///
    /// # Errors
    /// With what is wrong.
    pub fn read(self) -> Result<TaskCost, String> {
        let unknown = |what: &str, word: &str| format!("unknown {what} `{word}`");
        let currency = Currency::from_code(&self.currency).ok_or_else(|| unknown("currency", &self.currency))?;
        let source = CostSource::from_word(&self.source).ok_or_else(|| unknown("source of a cost", &self.source))?;
        Ok(TaskCost { money: Money { micros: self.micros, currency, source }, counted: self.counted })
    }
}
