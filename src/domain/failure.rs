//! Why a task ended without success, as one of a closed set of classes.

use crate::domain::Status;
use crate::domain::reason::words;

words! {
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

/// Provider error codes, by a part of the code in lower case; the first line that fits decides.
///
/// Sources: the error tables of Ark, `DashScope`, `MiniMax`, Kling, `OpenAI` and Google (docs/upstreams.md).
const CODES: &[(&str, FailureClass)] = &[
    ("sensitivecontent", FailureClass::ContentPolicy),
    ("datainspection", FailureClass::ContentPolicy),
    ("moderation", FailureClass::ContentPolicy),
    ("content_policy", FailureClass::ContentPolicy),
    ("rai_filtered", FailureClass::ContentPolicy),
    ("safety", FailureClass::ContentPolicy),
    ("risk", FailureClass::ContentPolicy),
    ("empty_response", FailureClass::NoOutput),
    ("overdue", FailureClass::Quota),
    ("insufficient", FailureClass::Quota),
    ("arrearage", FailureClass::Quota),
    ("quota", FailureClass::Quota),
    ("ratelimit", FailureClass::RateLimit),
    ("rate_limit", FailureClass::RateLimit),
    ("throttling", FailureClass::RateLimit),
    ("overloaded", FailureClass::RateLimit),
    ("resource_exhausted", FailureClass::RateLimit),
    ("authentication", FailureClass::Auth),
    ("invalidapikey", FailureClass::Auth),
    ("invalid_api_key", FailureClass::Auth),
    ("accessdenied", FailureClass::Auth),
    ("unauthorized", FailureClass::Auth),
    ("timeout", FailureClass::Timeout),
    ("deadline", FailureClass::Timeout),
    ("internal", FailureClass::ProviderError),
    ("server_error", FailureClass::ProviderError),
    ("serviceunavailable", FailureClass::ProviderError),
    ("invalid", FailureClass::InvalidInput),
    ("missingparameter", FailureClass::InvalidInput),
    ("badrequest", FailureClass::InvalidInput),
    ("bad_request", FailureClass::InvalidInput),
    ("unprocessable", FailureClass::InvalidInput),
];

/// Numeric codes: `MiniMax`'s `base_resp`, Kling's `code`, gRPC's.
const NUMBERS: &[(&str, FailureClass)] = &[
    ("1026", FailureClass::ContentPolicy),
    ("1027", FailureClass::ContentPolicy),
    ("1301", FailureClass::ContentPolicy),
    ("1008", FailureClass::Quota),
    ("1101", FailureClass::Quota),
    ("1102", FailureClass::Quota),
    ("1002", FailureClass::RateLimit),
    ("1039", FailureClass::RateLimit),
    ("1302", FailureClass::RateLimit),
    ("1303", FailureClass::RateLimit),
    ("8", FailureClass::RateLimit),
    ("1004", FailureClass::Auth),
    ("2049", FailureClass::Auth),
    ("7", FailureClass::Auth),
    ("16", FailureClass::Auth),
    ("1001", FailureClass::Timeout),
    ("5002", FailureClass::Timeout),
    ("1000", FailureClass::ProviderError),
    ("1013", FailureClass::ProviderError),
    ("5000", FailureClass::ProviderError),
    ("5001", FailureClass::ProviderError),
    ("13", FailureClass::ProviderError),
    ("14", FailureClass::ProviderError),
    ("2013", FailureClass::InvalidInput),
    ("1200", FailureClass::InvalidInput),
    ("1201", FailureClass::InvalidInput),
    ("1300", FailureClass::InvalidInput),
    ("3", FailureClass::InvalidInput),
];

/// Failures that the gateway itself writes, without a code, by how the text begins (new-api's source).
const GATEWAY_TEXTS: &[(&str, FailureClass)] = &[
    ("failed to get channel info", FailureClass::GatewayError),
    ("upstream returned", FailureClass::GatewayError),
    ("failure to pass the risk control", FailureClass::ContentPolicy),
    ("output new_sensitive", FailureClass::ContentPolicy),
    ("input new_sensitive", FailureClass::ContentPolicy),
];

impl FailureClass {
    /// The class of an ended task, from its status, the provider's code and, only against known texts, its message.
    ///
    /// `None` for a task that succeeded or has not ended. A `lost` task whose code is `timeout` was given up by us.
    pub fn of(status: Status, code: Option<&str>, message: Option<&str>) -> Option<Self> {
        match status {
            Status::Failed => Some(Self::of_code(code).or_else(|| Self::of_text(message)).unwrap_or(Self::Other)),
            Status::Cancelled => Some(Self::Cancelled),
            Status::Expired => Some(Self::Expired),
            Status::Lost => Some(if code == Some(Self::Timeout.as_str()) { Self::Timeout } else { Self::Lost }),
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

    fn of_code(code: Option<&str>) -> Option<Self> {
        let code = code?.to_ascii_lowercase();
        NUMBERS
            .iter()
            .find(|(number, _)| *number == code)
            .or_else(|| CODES.iter().find(|(part, _)| code.contains(part)))
            .map(|(_, class)| *class)
    }

    fn of_text(text: Option<&str>) -> Option<Self> {
        let text = text?.to_lowercase();
        GATEWAY_TEXTS.iter().find(|(start, _)| text.starts_with(start)).map(|(_, class)| *class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_has_a_class_from_the_table() {
        for (status, code, message, class) in [
            (Status::Failed, Some("OutputVideoSensitiveContentDetected"), None, Some(FailureClass::ContentPolicy)),
            (Status::Failed, Some("InternalServiceError"), None, Some(FailureClass::ProviderError)),
            (Status::Failed, Some("1027"), None, Some(FailureClass::ContentPolicy)),
            (Status::Failed, Some("InvalidParameter"), None, Some(FailureClass::InvalidInput)),
            (Status::Failed, Some("RateLimitExceeded"), None, Some(FailureClass::RateLimit)),
            (Status::Failed, Some("empty_response"), None, Some(FailureClass::NoOutput)),
            (Status::Failed, None, Some("Failed to get channel info, channel ID: 7"), Some(FailureClass::GatewayError)),
            (Status::Failed, Some("never_seen"), Some("free text"), Some(FailureClass::Other)),
            (Status::Expired, Some("InternalServiceError"), None, Some(FailureClass::Expired)),
            (Status::Cancelled, None, None, Some(FailureClass::Cancelled)),
            (Status::Lost, None, None, Some(FailureClass::Lost)),
            (Status::Lost, Some("timeout"), None, Some(FailureClass::Timeout)),
            (Status::Succeeded, Some("1027"), None, None),
        ] {
            assert_eq!(FailureClass::of(status, code, message), class, "{status:?} {code:?}");
            if let Some(class) = class {
                assert!(FailureClass::possible(status).contains(&class), "{class:?} is not shown at 0");
            }
        }
    }
}
