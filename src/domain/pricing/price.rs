//! A price: so much for each token, second, clip and the like.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::condition::resolution_lines;
use super::cost_words::{CostSource, Unpriced};
use super::usage::{Usage, decimal};
use crate::domain::Status;
use crate::domain::enum_words::enum_words;

enum_words! {
    /// What a price is for.
    Measure {
        /// Tokens.
        Token = "token",
        /// Seconds that are billed, or the length of the video.
        Second = "second",
        /// One video.
        Clip = "clip",
        /// Images that were given.
        Image = "image",
        /// The provider's own units.
        Unit = "unit",
        /// The gateway's units.
        Quota = "quota",
        /// One task.
        Task = "task",
    }
}

/// The amount of a price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Amount {
    /// Always the same.
    Fixed(Decimal),
    /// By the length of the video, in whole seconds.
    BySeconds(BTreeMap<u32, Decimal>),
    /// By resolution, as [`resolution_lines`] writes it; the other amount where it is another one, or not known.
    ByResolution(BTreeMap<String, Decimal>, Option<Decimal>),
}

/// A price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// What it is for.
    pub per: Measure,
    /// How much.
    pub amount: Amount,
    /// For so many of them.
    pub each: Decimal,
    /// So many of them are free.
    pub after: Decimal,
}

/// What is charged at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Minimum {
    /// So many tokens.
    pub tokens: Option<Decimal>,
    /// So much money.
    pub amount: Option<Decimal>,
}

impl Price {
    /// Whether the gateway's units decide it.
    pub fn is_by_quota(&self) -> bool {
        self.per == Measure::Quota
    }

    /// What a task costs by it, not rounded.
    pub fn cost(&self, usage: &Usage<'_>, minimum: Minimum) -> Result<(Decimal, CostSource), Unpriced> {
        let (used, source) = self.used(usage)?;
        let used = match minimum.tokens.filter(|_| self.per == Measure::Token) {
            Some(least) => used.max(least),
            None => used,
        };
        let charged = (used - self.after).max(Decimal::ZERO);
        let amount = self.amount(usage)?;
        let cost = charged.checked_mul(amount).and_then(|cost| cost.checked_div(self.each));
        cost.map(|cost| (cost, source)).ok_or(Unpriced::NoUsage)
    }

    /// How many of what it is for.
    fn used(&self, usage: &Usage<'_>) -> Result<(Decimal, CostSource), Unpriced> {
        // No video is made of 0 tokens, or is 0 s long: such a number is not known.
        let is_known = |told: &f64| *told > 0.0 || usage.status != Status::Succeeded;
        let (told, otherwise) = match self.per {
            Measure::Token => match (Usage::total_of(usage.tokens).filter(is_known), usage.billing.predicted_tokens) {
                (None, Some(predicted)) => {
                    let predicted = decimal(predicted?).ok_or(Unpriced::NoUsage)?;
                    return Ok((predicted, CostSource::Derived));
                }
                (tokens, _) => (tokens, Unpriced::NoUsage),
            },
            Measure::Second => {
                let billed = usage.billing.seconds.filter(is_known);
                (billed.or_else(|| usage.video_seconds.filter(is_known)), Unpriced::NoDuration)
            }
            Measure::Clip | Measure::Task => (Some(1.0), Unpriced::NoUsage),
            Measure::Image => (usage.billing.input_images, Unpriced::NoUsage),
            Measure::Unit => (usage.units, Unpriced::NoUsage),
            Measure::Quota => (usage.quota, Unpriced::NoUsage),
        };
        let used = told.and_then(decimal).ok_or(otherwise)?;
        Ok((used, CostSource::Metered))
    }

    fn amount(&self, usage: &Usage<'_>) -> Result<Decimal, Unpriced> {
        match &self.amount {
            Amount::Fixed(amount) => Ok(*amount),
            Amount::BySeconds(amounts) => {
                let seconds = usage.video_seconds.or(usage.billing.seconds).ok_or(Unpriced::NoDuration)?;
                // A clip of 6 s may be 5.875 s long.
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
                let seconds = seconds.round() as u32;
                amounts.get(&seconds).copied().ok_or(Unpriced::NoDuration)
            }
            Amount::ByResolution(amounts, otherwise) => match usage.resolution.map(resolution_lines) {
                Some(lines) => amounts.get(&lines).or(otherwise.as_ref()).copied().ok_or(Unpriced::NoRule),
                None => otherwise.ok_or(Unpriced::NoResolution),
            },
        }
    }
}
