//! Errors of requests to an upstream.

use crate::domain::Drift;
use crate::domain::enum_words::enum_words;

enum_words! {
    /// The closed set of request errors; also the error `kind` that `decode` prints.
    Reason {
        /// The host name did not resolve.
        Dns = "dns",
        /// The connection failed.
        Connect = "connect",
        /// The TLS handshake failed.
        Tls = "tls",
        /// No response in time.
        Timeout = "timeout",
        /// The connection was closed before the end of the response.
        Reset = "reset",
        /// A redirect; redirects are not followed.
        Redirect = "redirect",
        /// A rate limit was exceeded.
        RateLimited = "rate_limited",
        /// Credit or quota is used up.
        QuotaExhausted = "quota_exhausted",
        /// The key is wrong.
        Unauthorized = "unauthorized",
        /// The key is valid but has no permission.
        Forbidden = "forbidden",
        /// The upstream does not know the task.
        NotFound = "not_found",
        /// The upstream does not know the path.
        WrongPath = "wrong_path",
        /// The upstream rejects the request as invalid.
        BadRequest = "bad_request",
        /// An internal error of the upstream.
        ServerError = "server_error",
        /// The response exceeds the size limit.
        BodyTooLarge = "body_too_large",
        /// The response cannot be decoded.
        InvalidBody = "invalid_body",
        /// HTTP 200 with an unknown error code.
        ApiError = "api_error",
        /// Any other HTTP status.
        HttpOther = "http_other",
    }
}

impl Reason {
    /// Whether the error concerns one task and not the upstream: `videogen_upstream_up` stays 1.
    pub const fn is_about_one_task(self) -> bool {
        matches!(self, Self::NotFound | Self::BadRequest)
    }
}

/// An error that an upstream returned, with any HTTP status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The reason.
    pub kind: Reason,
    /// The upstream's code, if it has one; never a label.
    pub code: Option<String>,
    /// The upstream's message without URLs; never a label or in a log.
    pub message: Option<String>,
    /// What was wrong with the connection or the body, in our own words.
    pub cause: Option<String>,
    /// The schema drift of the response.
    pub drift: Drift,
}

impl ApiError {
    /// An error without a code.
    pub const fn new(kind: Reason) -> Self {
        Self { kind, code: None, message: None, cause: None, drift: Drift::NONE }
    }

    /// An error with the upstream's code.
    pub fn with_code(kind: Reason, code: impl Into<String>) -> Self {
        Self { code: Some(code.into()), ..Self::new(kind) }
    }

    /// An error without a code, and what was wrong.
    pub fn with_cause(kind: Reason, cause: impl Into<String>) -> Self {
        Self { cause: Some(cause.into()), ..Self::new(kind) }
    }
}
