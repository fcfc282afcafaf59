//! Classes of failures: a closed set.

use crate::domain::Status;
use crate::domain::enum_words::enum_words;

enum_words! {
    /// Why a task ended without success.
    FailureClass {
        /// A safety system rejected the input or the output.
        ContentPolicy = "content_policy",
        /// The input was invalid.
        InvalidInput = "invalid_input",
        /// Credit or quota was used up.
        Quota = "quota",
        /// A rate limit was exceeded.
        RateLimit = "rate_limit",
        /// The provider rejected the key of the gateway.
        Auth = "auth",
        /// An internal error of the provider.
        ProviderError = "provider_error",
        /// An internal error of the gateway.
        GatewayError = "gateway_error",
        /// A time-out of the provider, or the exporter gave the task up.
        Timeout = "timeout",
        /// The task expired.
        Expired = "expired",
        /// The task was cancelled.
        Cancelled = "cancelled",
        /// The upstream no longer knows the task.
        Lost = "lost",
        /// The task ended without a result and without an error.
        NoOutput = "no_output",
        /// An unknown code, or no code.
        Other = "other",
    }
}

impl FailureClass {
    /// The class of an end; `reported` is the class by the provider's code. `None` for a task that succeeded or has not ended.
    pub fn of_end(status: Status, reported: Option<Self>) -> Option<Self> {
        match status {
            Status::Failed => Some(reported.unwrap_or(Self::Other)),
            Status::Cancelled => Some(Self::Cancelled),
            Status::Expired => Some(Self::Expired),
            Status::Lost => Some(Self::Lost),
            Status::Succeeded | Status::Queued | Status::Running | Status::Unknown => None,
        }
    }

    /// The classes that this status can have: their series are exported from the start.
    pub fn possible(status: Status) -> &'static [Self] {
        match status {
            Status::Failed => &[
                Self::ContentPolicy,
                Self::InvalidInput,
                Self::Quota,
                Self::RateLimit,
                Self::Auth,
                Self::ProviderError,
                Self::GatewayError,
                Self::Timeout,
                Self::NoOutput,
                Self::Other,
            ],
            Status::Cancelled => &[Self::Cancelled],
            Status::Expired => &[Self::Expired],
            Status::Lost => &[Self::Lost, Self::Timeout],
            Status::Succeeded | Status::Queued | Status::Running | Status::Unknown => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_except_success_has_a_possible_class() {
        for status in Status::ALL {
            for reported in FailureClass::possible(Status::Failed).iter().copied().map(Some).chain([None]) {
                match FailureClass::of_end(status, reported) {
                    Some(class) => assert!(FailureClass::possible(status).contains(&class), "{status:?} {class:?}"),
                    None => assert!(!status.is_end() || status == Status::Succeeded, "{status:?}"),
                }
            }
        }
    }
}
