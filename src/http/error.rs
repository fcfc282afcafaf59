//! Why there is no response, or no body: a reason of the closed set, and a cause for people.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use rustls::CertificateError;

use crate::domain::{ApiError, Reason};

/// Why there is no response, or no body. Its cause never contains text of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendError {
    /// The reason.
    pub reason: Reason,
    /// What exactly was wrong, such as `certificate of unknown issuer`.
    pub cause: String,
}

impl SendError {
    /// With this cause.
    pub fn new(reason: Reason, cause: impl Into<String>) -> Self {
        Self { reason, cause: cause.into() }
    }

    /// From the error of a request to `address`.
    pub fn from_request(error: &reqwest::Error, address: &str) -> Self {
        let causes = causes(error);
        if let Some(tls) = causes.iter().find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
            return Self::new(Reason::Tls, describe_tls(tls));
        }
        if error.is_timeout() {
            let cause = if error.is_connect() { "no connection in time" } else { "no complete response in time" };
            return Self::new(Reason::Timeout, cause);
        }
        let texts = causes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        if texts.contains("dns error") || texts.contains("failed to lookup") {
            let is_temporary = texts.contains("emporary failure");
            return Self::new(Reason::Dns, if is_temporary { "name server does not answer" } else { "no such host" });
        }
        let kind = causes.iter().find_map(|cause| Some(cause.downcast_ref::<io::Error>()?.kind()));
        if error.is_connect() {
            return Self::new(Reason::Connect, describe_connect(kind, &texts, address));
        }
        let cause = match kind {
            Some(io::ErrorKind::ConnectionReset) => "reset by the server",
            Some(io::ErrorKind::BrokenPipe) => "closed while the request was sent",
            _ if texts.contains("invalid HTTP") || texts.contains("parse") => "the server does not speak HTTP",
            _ => "closed before the end of the response",
        };
        Self::new(Reason::Reset, cause)
    }
}

impl From<SendError> for ApiError {
    fn from(error: SendError) -> Self {
        Self::with_cause(error.reason, error.cause)
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.as_str(), self.cause)
    }
}

fn describe_connect(kind: Option<io::ErrorKind>, texts: &str, address: &str) -> String {
    match kind {
        Some(io::ErrorKind::ConnectionRefused) => format!("refused {address}"),
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => format!("unreachable {address}"),
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof) => format!("closed by {address}"),
        _ if texts.contains("tunnel") || texts.contains("proxy") => "the proxy does not connect".to_owned(),
        _ => format!("failed {address}"),
    }
}

/// What was wrong with a TLS handshake.
fn describe_tls(error: &rustls::Error) -> String {
    let known = match error {
        rustls::Error::InvalidCertificate(error) => match error {
            CertificateError::UnknownIssuer => "certificate of unknown issuer",
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate has expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "certificate is not valid yet"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "certificate of another host"
            }
            CertificateError::Revoked => "certificate was revoked",
            other => return format!("certificate is not valid: {other:?}").chars().take(120).collect(),
        },
        rustls::Error::InvalidMessage(_) => "the server does not speak TLS",
        rustls::Error::AlertReceived(alert) => return format!("refused by the server: {alert:?}"),
        rustls::Error::PeerIncompatible(_) => "no TLS version or cipher in common",
        other => return other.to_string().chars().take(120).collect(),
    };
    known.to_owned()
}

/// The error and all errors that caused it. `source()` of an `io::Error` skips its inner error, so that is added, too.
fn causes(error: &reqwest::Error) -> Vec<&(dyn StdError + 'static)> {
    let mut found: Vec<&(dyn StdError + 'static)> = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        found.push(cause);
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    found
}
