//! Why a request to an upstream gave no task.

use crate::domain::Drift;
use crate::domain::enum_words::enum_words;

enum_words! {
    /// The closed set of request errors; also the error `kind` that `decode` prints.
    Reason {
        /// The host name did not resolve.
        Dns = "dns",
        /// No connection.
        Connect = "connect",
        /// The TLS handshake failed.
        Tls = "tls",
        /// No answer in time.
        Timeout = "timeout",
        /// The connection broke in the middle.
        Reset = "reset",
        /// A 3xx, never followed.
        Redirect = "redirect",
        /// Too fast.
        RateLimited = "rate_limited",
        /// Out of money, not out of speed.
        QuotaExhausted = "quota_exhausted",
        /// The key is wrong.
        Unauthorized = "unauthorized",
        /// The key is right but not allowed.
        Forbidden = "forbidden",
        /// The upstream does not know the task.
        NotFound = "not_found",
        /// The upstream does not know the path.
        WrongPath = "wrong_path",
        /// The upstream dislikes the request.
        BadRequest = "bad_request",
        /// The upstream is in trouble.
        ServerError = "server_error",
        /// The answer is larger than we read.
        BodyTooLarge = "body_too_large",
        /// The answer is not what it should be.
        InvalidBody = "invalid_body",
        /// HTTP 200 with an error code that no table knows.
        ApiError = "api_error",
        /// Any other HTTP status.
        HttpOther = "http_other",
    }
}

impl Reason {
    /// True where the fault is one task's, not the upstream's: `videogen_upstream_up` stays 1.
    pub const fn is_about_one_task(self) -> bool {
        matches!(self, Self::NotFound | Self::BadRequest)
    }
}

/// An answer that is an error, whatever its HTTP status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The kind, closed.
    pub kind: Reason,
    /// The upstream's own code, where it gives one; never a label.
    pub code: Option<String>,
    /// Where the answer is not as its provider documents it.
    pub drift: Drift,
}

impl ApiError {
    /// An error without a code.
    pub const fn new(kind: Reason) -> Self {
        Self { kind, code: None, drift: Drift::NONE }
    }

    /// An error with the upstream's code.
    pub fn coded(kind: Reason, code: impl Into<String>) -> Self {
        Self { kind, code: Some(code.into()), drift: Drift::NONE }
    }
}
