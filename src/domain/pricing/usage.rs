//! What a task used, as its upstream tells it.

use rust_decimal::Decimal;

use super::billing::Billing;
use crate::domain::Status;
use crate::domain::Timestamp;
use crate::domain::reading::{Cost, Tokens};

/// Everything that a price depends on.
#[derive(Debug, Clone, Copy)]
pub struct Usage<'a> {
    /// How the task ended.
    pub status: Status,
    /// When it was submitted, or first seen.
    pub submitted: Timestamp,
    /// The model that ran, then the one that was asked for.
    pub models: [Option<&'a str>; 2],
    /// As the upstream spells it.
    pub resolution: Option<&'a str>,
    /// Service tier.
    pub service_tier: Option<&'a str>,
    /// Tokens.
    pub tokens: Tokens,
    /// Length of the video, in seconds.
    pub video_seconds: Option<f64>,
    /// The provider's own units.
    pub units: Option<f64>,
    /// The gateway's units.
    pub quota: Option<f64>,
    /// The amount that the answer itself tells.
    pub reported: Option<Cost>,
    /// What the answer tells beside.
    pub billing: Billing,
}

impl Usage<'_> {
    /// The number of tokens; their parts are added where no total is told.
    pub fn total_of(tokens: Tokens) -> Option<f64> {
        let Tokens { prompt, completion, total } = tokens;
        total.or_else(|| (!tokens.is_empty()).then(|| prompt.unwrap_or(0.0) + completion.unwrap_or(0.0)))
    }
}

/// A number as the decimal that it was written as; `None` when it is negative, too large or no number.
pub fn decimal(number: f64) -> Option<Decimal> {
    // The shortest text that gives the same number back is what the upstream has sent.
    let text = number.to_string();
    Decimal::from_str_exact(&text).ok().or_else(|| text.parse().ok()).filter(|decimal| !decimal.is_sign_negative())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_decimals_that_were_sent() {
        for (number, text) in [(0.1, "0.1"), (5.042, "5.042"), (1e-7, "0.0000001"), (246_840.0, "246840"), (0.0, "0")] {
            assert_eq!(decimal(number).map(|decimal| decimal.to_string()).as_deref(), Some(text));
        }
        for number in [-1.0, f64::NAN, f64::INFINITY, 1e40] {
            assert_eq!(decimal(number), None, "{number}");
        }
        assert!(decimal(1.0 / 3.0).is_some_and(|third| third.to_string().starts_with("0.333333333333333")));
    }
}
