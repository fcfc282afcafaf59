//! What a task costs: rules with prices, matched by what is known of a task at its end. Amounts are exact decimals until they are
//! rounded, once, to micro-units: millionths of a currency's unit.

mod billing;
mod condition;
mod cost_words;
mod currency;
mod price;
mod quote;
mod rule;
mod usage;

pub use billing::Billing;
pub use condition::{Condition, Glob, resolution_lines};
pub use cost_words::{CostSource, Unpriced};
pub use currency::{CURRENCIES, Currency};
pub use price::{Amount, Measure, Minimum, Price};
pub use quote::{Money, Pricing, Quote, from_micros, to_micros};
pub use rule::{ChargeOn, PriceRule, Validity};
pub use usage::{Usage, decimal};
