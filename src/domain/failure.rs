//! Why a task ended without success, as one of a closed set of classes.

use crate::domain::Status;
use crate::domain::enum_words::enum_words;

enum_words! {
    /// The class of an end other than success; never free text.
    FailureClass {
        /// A safety system refused the input or the output.
        ContentPolicy = "content_policy",
        /// The request could not be worked on.
        InvalidInput = "invalid_input",
        /// Money or units were used up.
        Quota = "quota",
        /// Too many tasks at once.
        RateLimit = "rate_limit",
        /// The gateway's own key was refused by the provider.
        Auth = "auth",
        /// The provider broke.
        ProviderError = "provider_error",
        /// The gateway broke.
        GatewayError = "gateway_error",
        /// Somebody stopped waiting.
        Timeout = "timeout",
        /// Not finished in time.
        Expired = "expired",
        /// Called off.
        Cancelled = "cancelled",
        /// No longer known to the upstream.
        Lost = "lost",
        /// Ended without a result and without an error.
        NoOutput = "no_output",
        /// A code that the table does not know, or no code at all.
        Other = "other",
    }
}

impl FailureClass {
    /// The class of an end that a provider reported, `said` being what its table says of a failure.
    ///
    /// `None` for a task that succeeded or has not ended.
    pub fn of_end(status: Status, said: Option<Self>) -> Option<Self> {
        match status {
            Status::Failed => Some(said.unwrap_or(Self::Other)),
            Status::Cancelled => Some(Self::Cancelled),
            Status::Expired => Some(Self::Expired),
            Status::Lost => Some(Self::Lost),
            Status::Succeeded | Status::Queued | Status::Running | Status::Unknown => None,
        }
    }

    /// The classes that an end of this kind can have: what is shown at 0 from the start.
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
    fn every_end_but_success_has_a_class_that_is_shown_at_0() {
        for status in Status::ALL {
            for said in FailureClass::possible(Status::Failed).iter().copied().map(Some).chain([None]) {
                match FailureClass::of_end(status, said) {
                    Some(class) => assert!(FailureClass::possible(status).contains(&class), "{status:?} {class:?}"),
                    None => assert!(!status.is_end() || status == Status::Succeeded, "{status:?}"),
                }
            }
        }
    }
}
