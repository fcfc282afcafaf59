//! The words of labels about costs.

use crate::domain::enum_words::enum_words;

enum_words! {
    /// Where a cost comes from.
    CostSource {
        /// The answer itself tells it.
        Reported = "reported",
        /// An amount in the answer times a price.
        Metered = "metered",
        /// An amount that a published law computes times a price.
        Derived = "derived",
    }
}

enum_words! {
    /// Why a task has no cost.
    Unpriced {
        /// No rule matches, or the rule has no price for it.
        NoRule = "no_rule",
        /// The answer does not tell what the price is for.
        NoUsage = "no_usage",
        /// It does not tell the length of the video, or the rule has no price for that length.
        NoDuration = "no_duration",
        /// It does not tell the resolution.
        NoResolution = "no_resolution",
        /// There is no rate to the configured currency.
        NoRate = "no_rate",
    }
}
