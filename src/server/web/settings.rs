//! The web configuration: its file, checked.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use rustls::ServerConfig;
use serde::Deserialize;

use super::files::Files;
use super::tls::{ClientCerts, TlsServerConfig};
use super::users::Users;
use crate::config::{ConfigDuration, ConfigError, Problems, Text, YamlFile};

/// The headers that may be set, with their allowed values; any if there is none (`web/handler.go` of exporter-toolkit).
const HEADERS: [(&str, &[&str]); 5] = [
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
    ("Content-Security-Policy", &[]),
];

/// The file as written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WebFile {
    tls_server_config: Option<TlsServerConfig>,
    http_server_config: Option<HttpServerConfig>,
    basic_auth_users: Option<BTreeMap<String, Text>>,
    rate_limit: Option<RateLimitConfig>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct HttpServerConfig {
    http2: bool,
    headers: Option<BTreeMap<String, Text>>,
}

impl Default for HttpServerConfig {
    fn default() -> Self {
        Self { http2: true, headers: None }
    }
}

/// `rate_limit:`; an interval of 0 is no limit.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RateLimitConfig {
    interval: Text,
    burst: u32,
}

/// A checked file.
pub struct WebConfig {
    /// TLS; without it, the port speaks plain HTTP.
    pub tls: Option<Arc<ServerConfig>>,
    /// What clients have to prove with certificates.
    pub client_certs: ClientCerts,
    /// Who may log in; if there is somebody, everybody has to.
    pub users: Users,
    /// Headers of every answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How often a request is answered.
    pub limiter: Option<DefaultDirectRateLimiter>,
    /// What is unsafe or does nothing, and prevents no start.
    pub warnings: Vec<String>,
}

impl WebConfig {
    /// Without a file: plain HTTP for everybody.
    pub fn none() -> Self {
        Self {
            tls: None,
            client_certs: ClientCerts::default(),
            users: Users::none(),
            headers: Vec::new(),
            limiter: None,
            warnings: Vec::new(),
        }
    }

    /// Whether somebody who is not known can ask for something.
    pub fn is_open(&self) -> bool {
        self.users.is_empty() && !(self.client_certs.are_required && self.client_certs.are_verified)
    }

    /// What protects the port, and whether it does.
    pub fn protections(&self) -> [(&'static str, bool); 7] {
        [
            ("basic_auth_users", !self.users.is_empty()),
            ("TLS", self.tls.is_some()),
            ("client_auth_type that requires a certificate", self.client_certs.are_required),
            ("client_auth_type that verifies certificates", self.client_certs.are_verified),
            ("client_ca", self.client_certs.have_own_ca),
            ("client_allowed_sans", self.client_certs.have_allowed_names),
            ("rate_limit", self.limiter.is_some()),
        ]
    }
}

/// Reads a file, and the files it names. Returns what was read, and the checked configuration or every problem with its line.
pub fn load(path: &Path) -> (Files, Result<WebConfig, ConfigError>) {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut files = Files::new(folder);
    let name = path.file_name().unwrap_or_default();
    let (_, read) = files.read(&name.to_string_lossy());
    let text = read.and_then(|bytes| {
        String::from_utf8(bytes).map_err(|_| std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not UTF-8"))
    });
    let checked = match text {
        Ok(text) => YamlFile::parse(&text, path).and_then(|(file, misfits)| check(&file, misfits, &mut files)),
        Err(error) => Err(ConfigError::of_file(path, format!("cannot read the file: {error}"))),
    };
    (files, checked)
}

fn check(file: &YamlFile<WebFile>, misfits: Problems, files: &mut Files) -> Result<WebConfig, ConfigError> {
    let mut problems = Problems::default();
    let WebFile { tls_server_config, http_server_config, basic_auth_users, rate_limit } = &file.value;
    let default = HttpServerConfig::default();
    let http = http_server_config.as_ref().unwrap_or(&default);
    let tls = tls_server_config.as_ref();
    let client_certs = tls.map(TlsServerConfig::client_certs).unwrap_or_default();
    let tls = tls.and_then(|tls| tls.check(http.http2, files, &mut problems));
    let users = basic_auth_users
        .as_ref()
        .map_or_else(Users::none, |users| Users::check(users, "basic_auth_users", &mut problems));
    let headers = check_headers(http, &mut problems);
    let limiter = rate_limit.as_ref().and_then(|limit| limit.check(&mut problems));
    if tls_server_config.is_none() && http_server_config.is_none() && basic_auth_users.is_none() && rate_limit.is_none()
    {
        problems.warn("", "the file sets nothing");
    }
    if problems.is_empty() && misfits.is_empty() {
        let warnings = problems.warnings();
        return Ok(WebConfig { tls, client_certs, users, headers, limiter, warnings });
    }
    Err(file.error(misfits, problems))
}

fn check_headers(http: &HttpServerConfig, problems: &mut Problems) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    for (name, Text(value)) in http.headers.iter().flatten() {
        let key = format!("http_server_config.headers.{name}");
        let Some((known, allowed)) = HEADERS.iter().find(|(known, _)| known == name) else {
            let names = HEADERS.map(|(name, _)| name).join(", ");
            problems.add(key, format!("this header cannot be configured; only {names} can"));
            continue;
        };
        if !allowed.is_empty() && !allowed.contains(&&**value) {
            problems.add(key, format!("invalid value of this header; allowed: {}", allowed.join(", ")));
            continue;
        }
        match (known.parse(), value.parse()) {
            (Ok(name), Ok(value)) => headers.push((name, value)),
            _ => problems.add(key, "has a character that a header cannot have"),
        }
    }
    headers
}

impl RateLimitConfig {
    fn check(&self, problems: &mut Problems) -> Option<DefaultDirectRateLimiter> {
        let interval = match self.interval.0.as_str() {
            "" | "0" => Duration::ZERO,
            text => match text.parse::<ConfigDuration>() {
                Ok(ConfigDuration(interval)) => interval,
                Err(message) => {
                    problems.add("rate_limit.interval", message);
                    return None;
                }
            },
        };
        // At least one request has to pass, or the port would be of no use.
        let burst = std::num::NonZero::new(self.burst.max(1))?;
        Some(RateLimiter::direct(Quota::with_period(interval)?.allow_burst(burst)))
    }
}
