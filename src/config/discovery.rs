//! `http_sd_configs:` and `sql_sd_configs:` — task ids from servers and databases.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::authorization::AuthorizationConfig;
use super::basic_auth::BasicAuthConfig;
use super::client_auth::ClientAuth;
use super::http::{ClientConfig, ProxyConfig, ProxyUrl, TlsConfig};
use super::oauth2::OAuth2Config;
use super::problem::Problems;
use super::scalars::{ConfigDuration, Text};
use super::secret_reference::SecretReference;
use super::sources::{check_max_targets, default_max_targets};
use crate::http::{Client, Credentials};
use crate::secret::SecretSource;

/// Time-out of `http_sd` requests.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Largest accepted `http_sd` response, in bytes.
const MAX_BODY_SIZE: u64 = 64 << 20;

pub(super) fn one_minute() -> ConfigDuration {
    ConfigDuration::from_secs(60)
}

fn ten_seconds() -> ConfigDuration {
    ConfigDuration::from_secs(10)
}

pub(super) fn check_interval(interval: ConfigDuration, at: &str, problems: &mut Problems) {
    if interval < ConfigDuration::from_secs(1) {
        problems.add(format!("{at}.refresh_interval"), "must be at least 1s");
    }
}

/// A server that returns task ids as JSON, in Prometheus's `http_sd` format.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpSdConfig {
    /// URL of a JSON list of target groups.
    pub url: Text,
    /// Interval between reads.
    #[serde(default = "one_minute")]
    pub refresh_interval: ConfigDuration,
    /// Most task ids; more are an error, and the last list is kept.
    #[serde(default = "default_max_targets")]
    pub max_targets: usize,
    /// The key for this server.
    #[serde(default)]
    pub authorization: Option<AuthorizationConfig>,
    /// A user name and a password, instead of `authorization`.
    #[serde(default)]
    pub basic_auth: Option<BasicAuthConfig>,
    /// Tokens of a token endpoint, instead of `authorization`.
    #[serde(default)]
    pub oauth2: Option<OAuth2Config>,
    /// TLS settings.
    #[serde(default)]
    pub tls_config: Option<TlsConfig>,
    /// Proxy URL; it may contain a password.
    #[serde(default)]
    pub proxy_url: Option<ProxyUrl>,
    /// Hosts that are reached without the proxy.
    #[serde(default)]
    pub no_proxy: Option<Text>,
    /// User and password of the proxy.
    #[serde(default)]
    pub proxy_authorization: Option<BasicAuthConfig>,
}

/// A checked entry of `http_sd_configs:`.
#[derive(Clone)]
pub struct HttpSourceSettings {
    /// Its HTTP client.
    pub client: Arc<Client>,
    /// Its key.
    pub key: Option<Credentials>,
    /// Interval between reads.
    pub refresh_interval: Duration,
    /// Most task ids.
    pub max_targets: usize,
}

impl HttpSdConfig {
    pub(super) fn check(&self, folder: &Path, at: &str, problems: &mut Problems) -> Option<HttpSourceSettings> {
        check_interval(self.refresh_interval, at, problems);
        check_max_targets(self.max_targets, at, problems);
        let auth = ClientAuth {
            authorization: self.authorization.as_ref(),
            basic_auth: self.basic_auth.as_ref(),
            oauth2: self.oauth2.as_ref(),
        };
        let key = auth.check(at, None, folder, problems);
        let proxy = ProxyConfig {
            url: self.proxy_url.as_ref(),
            no_proxy: self.no_proxy.as_ref(),
            authorization: self.proxy_authorization.as_ref(),
        };
        let client = ClientConfig {
            url: ("url", &self.url.0),
            build: Client::for_document,
            tls: self.tls_config.as_ref(),
            proxy: proxy.check(at, folder, problems),
            timeout: TIMEOUT,
            max_body_size: MAX_BODY_SIZE,
            has_large_bodies: false,
            max_idle: 1,
        };
        let client = client.check(at, folder, problems)?;
        Some(HttpSourceSettings {
            client,
            key,
            refresh_interval: self.refresh_interval.0,
            max_targets: self.max_targets,
        })
    }
}

/// A SELECT statement in PostgreSQL or SQLite that returns task ids.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqlSdConfig {
    /// A file that contains the database URL: `postgres://…` or `sqlite:FILE`.
    #[serde(default)]
    pub url_file: Option<Text>,
    /// An environment variable that contains the database URL.
    #[serde(default)]
    pub url_env: Option<Text>,
    /// A credential of systemd that contains the database URL.
    #[serde(default)]
    pub url_credential: Option<Text>,
    /// A SELECT statement. Its column `task_id` is the id, `submit_time` is the submit time; other columns are labels.
    pub query: Text,
    /// Interval between reads.
    #[serde(default = "one_minute")]
    pub refresh_interval: ConfigDuration,
    /// Most task ids; more are an error, and the last list is kept.
    #[serde(default = "default_max_targets")]
    pub max_targets: usize,
    /// Time-out of the query.
    #[serde(default = "ten_seconds")]
    pub timeout: ConfigDuration,
}

/// A checked entry of `sql_sd_configs:`.
#[derive(Clone)]
pub struct SqlSourceSettings {
    /// `postgres://…` or `sqlite:FILE`.
    pub url: Arc<SecretSource>,
    /// Base folder of a relative path in this URL.
    pub folder: PathBuf,
    /// The SELECT statement.
    pub query: Arc<str>,
    /// Interval between reads.
    pub refresh_interval: Duration,
    /// Most task ids.
    pub max_targets: usize,
    /// Time-out of the query.
    pub timeout: Duration,
}

impl SqlSdConfig {
    pub(super) fn check(&self, folder: &Path, at: &str, problems: &mut Problems) -> Option<SqlSourceSettings> {
        check_interval(self.refresh_interval, at, problems);
        check_max_targets(self.max_targets, at, problems);
        if self.timeout < ConfigDuration::from_secs(1) {
            problems.add(format!("{at}.timeout"), "must be at least 1s");
        }
        let query = self.query.0.trim().trim_end_matches(';').trim_end();
        if query.is_empty() {
            problems.add(format!("{at}.query"), "must be a SELECT statement");
        }
        let reference = SecretReference::new("url", [&self.url_file, &self.url_env, &self.url_credential]);
        let url = reference.load(at, folder, problems)?;
        let has_tls_mode = url.current().expose().contains("sslmode=");
        if url.current().expose().starts_with("postgres") && !has_tls_mode {
            problems.warn(
                format!("{at}.{}", reference.key()),
                "the URL has no sslmode: TLS is required (sslmode=require), unless the host is this machine",
            );
        }
        Some(SqlSourceSettings {
            url: Arc::new(url),
            folder: folder.to_owned(),
            query: query.into(),
            refresh_interval: self.refresh_interval.0,
            max_targets: self.max_targets,
            timeout: self.timeout.0,
        })
    }
}
