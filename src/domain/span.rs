//! Spans between the times of a task.

use super::enum_words::enum_words;

enum_words! {
    /// A span between two times of a task.
    Span {
        /// Submit to finish.
        Latency = "latency",
        /// Submit to start.
        Queue = "queue",
        /// Start to finish.
        Run = "run",
        /// The provider's finish to the gateway's.
        GatewayLag = "gateway_lag",
    }
}

enum_words! {
    /// What is wrong with a span.
    SpanProblem {
        /// It ends before it begins.
        Negative = "negative",
        /// Over 30 days.
        TooLong = "too_long",
    }
}
