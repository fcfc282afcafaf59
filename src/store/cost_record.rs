//! What a task cost, and what its cost waits for, as they are kept in its record.

use serde::{Deserialize, Serialize};

use crate::domain::pricing::{Billing, CostSource, Currency, Money, Unpriced};
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

/// The `waiting_bill` of a record.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BillRecord {
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    units: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_images: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_video: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    predicted_tokens: Option<f64>,
    /// Why no tokens could be predicted.
    #[serde(skip_serializing_if = "Option::is_none")]
    unpredicted: Option<String>,
}

impl BillRecord {
    /// Of a bill. A gateway, whose quota is waited for, is never `LiteLLM`'s proxy: no provider behind that is kept.
    pub fn new(bill: &Billing) -> Self {
        let &Billing { seconds, units, input_images, has_input_video, has_audio, predicted_tokens, .. } = bill;
        Self {
            seconds,
            units,
            input_images,
            input_video: has_input_video,
            audio: has_audio,
            predicted_tokens: predicted_tokens.and_then(Result::ok),
            unpredicted: predicted_tokens.and_then(Result::err).map(|reason| reason.as_str().to_owned()),
        }
    }

    /// The bill.
    ///
    /// # Errors
    /// With what is wrong.
    pub fn read(self) -> Result<Billing, String> {
        let unknown = |word: &str| format!("unknown reason `{word}`");
        let reason = |word: String| Unpriced::from_word(&word).ok_or_else(|| unknown(&word));
        let unpredicted = self.unpredicted.map(reason).transpose()?;
        Ok(Billing {
            seconds: self.seconds,
            units: self.units,
            input_images: self.input_images,
            has_input_video: self.input_video,
            has_audio: self.audio,
            litellm_provider: None,
            predicted_tokens: self.predicted_tokens.map(Ok).or(unpredicted.map(Err)),
        })
    }
}
