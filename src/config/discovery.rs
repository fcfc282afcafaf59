//! `http_sd_configs:`, `list_configs:` and `sql_sd_configs:` — task ids that are asked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use super::authorization::AuthorizationConfig;
use super::http::{ProxyUrl, Reach, TlsConfig};
use super::problem::Problems;
use super::value::{Span, Text};
use crate::http::{Client, Options};
use crate::provider::Dialect;
use crate::secret::{Credentials, SecretSource};

/// How long a server of ids may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Most bytes of a list of ids.
const MAX_BODY: u64 = 64 << 20;

fn one_minute() -> Span {
    Span::secs(60)
}

fn one_day() -> Span {
    Span::secs(86_400)
}

fn ten_seconds() -> Span {
    Span::secs(10)
}

/// What follows the question mark may be a secret.
fn without_query<S: Serializer>(Text(url): &Text, serializer: S) -> Result<S::Ok, S::Error> {
    match url.split_once('?') {
        Some((url, _)) => serializer.collect_str(&format_args!("{url}?<redacted>")),
        None => serializer.serialize_str(url),
    }
}

fn check_interval(interval: Span, at: &str, problems: &mut Problems) {
    if interval < Span::secs(1) {
        problems.add(format!("{at}.refresh_interval"), "must be at least 1s");
    }
}

/// An entry of `http_sd_configs:`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSdConfig {
    /// Answers with a JSON list of target groups.
    #[serde(serialize_with = "without_query")]
    pub url: Text,
    /// How often it is asked.
    #[serde(default = "one_minute")]
    pub refresh_interval: Span,
    /// Its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<AuthorizationConfig>,
    /// TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_config: Option<TlsConfig>,
    /// A proxy, which may carry a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_url: Option<ProxyUrl>,
}

/// A server of ids, checked.
#[derive(Clone)]
pub struct HttpSource {
    /// How its client is built.
    pub http: Options,
    /// Its key.
    pub key: Option<Credentials>,
    /// How often it is asked.
    pub refresh_interval: Duration,
}

impl HttpSdConfig {
    pub(super) fn check(&self, folder: &Path, at: &str, problems: &mut Problems) -> Option<HttpSource> {
        check_interval(self.refresh_interval, at, problems);
        let auth = self.authorization.as_ref();
        let key = auth.and_then(|auth| auth.check(&format!("{at}.authorization"), "", folder, problems));
        let reach = Reach {
            url: ("url", &self.url.0),
            build: Client::of_document,
            tls: self.tls_config.as_ref(),
            proxy_url: self.proxy_url.as_ref(),
            timeout: TIMEOUT,
            max_body_size: MAX_BODY,
        };
        let http = reach.check(at, folder, problems)?;
        Some(HttpSource { http, key, refresh_interval: self.refresh_interval.0 })
    }
}

/// An entry of `list_configs:`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ListConfig {
    /// How often it is read.
    #[serde(default = "one_minute")]
    pub refresh_interval: Span,
    /// How far back.
    #[serde(default = "one_day")]
    pub lookback: Span,
    /// Its key, where that is not the upstream's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<AuthorizationConfig>,
    /// Whose tasks, for gateways that want to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<Text>,
}

/// A list of an upstream, checked.
#[derive(Clone)]
pub struct ListSource {
    /// Its key.
    pub key: Option<Credentials>,
    /// Where that is from, if it is not the upstream's.
    pub key_name: String,
    /// How often it is read.
    pub refresh_interval: Duration,
    /// How far back.
    pub lookback: Duration,
    /// Whose tasks.
    pub user_id: Option<Arc<str>>,
}

impl ListConfig {
    pub(super) fn check(
        &self,
        dialect: &Dialect,
        upstream: Option<&Credentials>,
        folder: &Path,
        at: &str,
        problems: &mut Problems,
    ) -> ListSource {
        check_interval(self.refresh_interval, at, problems);
        if !dialect.has_list() {
            problems.add(at, format!("provider {} has no list of tasks", dialect.name()));
        }
        if self.lookback < Span::secs(60) {
            problems.add(format!("{at}.lookback"), "must be at least 1m");
        }
        if self
            .user_id
            .as_ref()
            .is_some_and(|Text(id)| id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            problems.add(format!("{at}.user_id"), "must be printable and without blanks");
        }
        let own = self.authorization.as_ref();
        let key = own.map(|auth| auth.check(&format!("{at}.authorization"), dialect.name(), folder, problems));
        let key_name = own.map(|auth| serde_json::to_string(auth).unwrap_or_default());
        ListSource {
            key: key.unwrap_or_else(|| upstream.cloned()),
            key_name: key_name.unwrap_or_default(),
            refresh_interval: self.refresh_interval.0,
            lookback: self.lookback.0,
            user_id: self.user_id.as_ref().map(|Text(id)| id.as_str().into()),
        }
    }
}

/// An entry of `sql_sd_configs:`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SqlSdConfig {
    /// A file that holds the database's URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_file: Option<Text>,
    /// A variable that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_env: Option<Text>,
    /// A statement that reads; its column `task_id` is the id, `submit_time` when it was submitted, every other one a label.
    pub query: Text,
    /// How often it is asked.
    #[serde(default = "one_minute")]
    pub refresh_interval: Span,
    /// How long the statement may take.
    #[serde(default = "ten_seconds")]
    pub timeout: Span,
}

/// A database of ids, checked.
#[derive(Clone)]
pub struct SqlSource {
    /// `postgres://…` or `sqlite:FILE`.
    pub url: Arc<SecretSource>,
    /// What paths in that URL are relative to.
    pub folder: PathBuf,
    /// The statement.
    pub query: Arc<str>,
    /// How often it is asked.
    pub refresh_interval: Duration,
    /// How long the statement may take.
    pub timeout: Duration,
}

impl SqlSdConfig {
    pub(super) fn check(&self, folder: &Path, at: &str, problems: &mut Problems) -> Option<SqlSource> {
        check_interval(self.refresh_interval, at, problems);
        if self.timeout < Span::secs(1) {
            problems.add(format!("{at}.timeout"), "must be at least 1s");
        }
        let query = self.query.0.trim().trim_end_matches(';').trim_end();
        if query.is_empty() {
            problems.add(format!("{at}.query"), "must be a statement that reads");
        }
        let url = super::authorization::source("url", (&self.url_file, &self.url_env), at, folder, problems)?;
        Some(SqlSource {
            url: Arc::new(url),
            folder: folder.to_owned(),
            query: query.into(),
            refresh_interval: self.refresh_interval.0,
            timeout: self.timeout.0,
        })
    }
}
