//! `upstreams:` — who is asked, with which key, for which tasks.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::authorization::{AuthorizationConfig, source};
use super::discovery::{HttpSdConfig, HttpSource, ListConfig, ListSource, SqlSdConfig, SqlSource};
use super::http::{ProxyUrl, Reach, TlsConfig};
use super::polling::{Polling, PollingConfig};
use super::problem::Problems;
use super::request::{RequestConfig, ResponseConfig};
use super::sources::{FileSdConfig, FileSource, StaticSource, TargetGroup};
use super::value::Text;
use crate::domain::labels::sanitize;
use crate::http::{self, Client};
use crate::provider::{self, Dialect, Provider};
use crate::secret::{Credentials, SecretSource};

/// An entry as written.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamConfig {
    /// The `upstream` label; unique.
    pub name: Text,
    /// Its dialect.
    pub provider: Text,
    /// Where it is; the provider's own address when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<Text>,
    /// Its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<AuthorizationConfig>,
    /// The model of tasks whose answers do not name one.
    #[serde(default, skip_serializing_if = "is_blank")]
    pub model: Text,
    /// What differs from how the provider is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestConfig>,
    /// How answers are read, for provider custom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<ResponseConfig>,
    /// Where its provider tells by itself how its tasks are doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookConfig>,
    /// TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_config: Option<TlsConfig>,
    /// A proxy, which may carry a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_url: Option<ProxyUrl>,
    /// Overrides of `polling:`.
    #[serde(default)]
    pub polling: PollingConfig,
    /// Task ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub static_configs: Vec<TargetGroup>,
    /// Files of task ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub file_sd_configs: Vec<FileSdConfig>,
    /// Servers of task ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub http_sd_configs: Vec<HttpSdConfig>,
    /// The upstream's own list of tasks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub list_configs: Vec<ListConfig>,
    /// Databases of task ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sql_sd_configs: Vec<SqlSdConfig>,
}

/// `webhook:`.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookConfig {
    /// A file that holds the secret of its path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<Text>,
    /// A variable that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_env: Option<Text>,
}

fn is_blank(text: &Text) -> bool {
    text.0.is_empty()
}

/// An upstream ready to be asked.
#[derive(Clone)]
pub struct Upstream {
    /// The `upstream` label.
    pub name: Arc<str>,
    /// Its dialect.
    pub dialect: Arc<Dialect>,
    /// How its client is built.
    pub http: http::Options,
    /// Its key.
    pub key: Option<Credentials>,
    /// The model of tasks whose answers do not name one.
    pub model: Option<Arc<str>>,
    /// The secret of the path where its provider tells how its tasks are doing.
    pub webhook: Option<Arc<SecretSource>>,
    /// How often, how hard.
    pub polling: Polling,
    /// Ids in the configuration, by place.
    pub statics: Vec<StaticSource>,
    /// Files of ids, by place.
    pub files: Vec<FileSource>,
    /// Servers of ids, by place.
    pub https: Vec<HttpSource>,
    /// Its own lists, by place.
    pub lists: Vec<ListSource>,
    /// Databases of ids, by place.
    pub sqls: Vec<SqlSource>,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("name", &self.name)
            .field("provider", &self.dialect.name())
            .finish_non_exhaustive()
    }
}

/// Checks all entries; what comes back is complete when no problem was added.
pub fn check_all(
    entries: &[UpstreamConfig],
    default: &Polling,
    base: &PollingConfig,
    folder: &Path,
    problems: &mut Problems,
) -> Vec<Upstream> {
    let mut names = BTreeMap::new();
    let mut upstreams = Vec::new();
    for (n, entry) in entries.iter().enumerate() {
        let at = format!("upstreams.{n}");
        if let Some(first) = names.insert(entry.name.0.as_str(), n) {
            problems.add(format!("{at}.name"), format!("the name of upstreams.{first} again; each name is used once"));
        }
        upstreams.extend(entry.check(&at, default, base, folder, problems));
    }
    upstreams
}

impl WebhookConfig {
    fn check(&self, dialect: &Dialect, at: &str, folder: &Path, problems: &mut Problems) -> Option<Arc<SecretSource>> {
        if !dialect.has_callbacks() {
            problems
                .add(at, format!("provider {} has no callbacks; ark, kling and minimax_hailuo have", dialect.name()));
        }
        source("secret", (&self.secret_file, &self.secret_env), at, folder, problems).map(Arc::new)
    }
}

impl UpstreamConfig {
    fn check(
        &self,
        at: &str,
        default: &Polling,
        base: &PollingConfig,
        folder: &Path,
        problems: &mut Problems,
    ) -> Option<Upstream> {
        if self.name.0.is_empty() || sanitize(&self.name.0) != self.name.0.as_str() {
            problems.add(format!("{at}.name"), "a name is 1 to 128 printable characters and no URL or key");
        }
        let found = provider::named(&self.provider.0);
        if found.is_none() {
            problems.add(format!("{at}.provider"), format!("unknown provider; known are {}", provider::names()));
        }
        let polling = self.polling.over(Some(base), &format!("{at}.polling"), problems);
        let polling = if problems.is_empty() { polling } else { *default };
        let key = self.authorization.as_ref();
        let key = key.and_then(|auth| auth.check(&format!("{at}.authorization"), &self.provider.0, folder, problems));
        let dialect = found.and_then(|provider| self.dialect(provider, at, problems));
        let statics = self.static_configs.iter().enumerate();
        let statics: Vec<StaticSource> =
            statics.map(|(n, group)| group.check(&format!("{at}.static_configs.{n}"), problems)).collect();
        let files = self.file_sd_configs.iter().enumerate();
        let files =
            files.map(|(n, entry)| entry.check(folder, &format!("{at}.file_sd_configs.{n}"), problems)).collect();
        let https = self.http_sd_configs.iter().enumerate();
        let https = https.filter_map(|(n, entry)| entry.check(folder, &format!("{at}.http_sd_configs.{n}"), problems));
        let https = https.collect();
        let sqls = self.sql_sd_configs.iter().enumerate();
        let sqls = sqls.filter_map(|(n, entry)| entry.check(folder, &format!("{at}.sql_sd_configs.{n}"), problems));
        let sqls = sqls.collect();
        if !self.model.0.is_empty() && sanitize(&self.model.0) != self.model.0.as_str() {
            problems.add(format!("{at}.model"), "a model name is 1 to 128 printable characters and no URL or key");
        }
        let http = found.and_then(|provider| self.http(at, provider, &polling, folder, problems));
        let dialect = dialect?;
        let lists = self.list_configs.iter().enumerate();
        let lists = lists
            .map(|(n, entry)| entry.check(&dialect, key.as_ref(), folder, &format!("{at}.list_configs.{n}"), problems));
        let lists = lists.collect();
        let webhook = self
            .webhook
            .as_ref()
            .and_then(|webhook| webhook.check(&dialect, &format!("{at}.webhook"), folder, problems));
        for (n, group) in statics.iter().enumerate() {
            group.check_ids(&dialect, &format!("{at}.static_configs.{n}"), problems);
        }
        Some(Upstream {
            name: self.name.0.as_str().into(),
            dialect: Arc::new(dialect),
            http: http?,
            key,
            model: Some(self.model.0.as_str()).filter(|model| !model.is_empty()).map(Into::into),
            webhook,
            polling,
            statics,
            files,
            https,
            lists,
            sqls,
        })
    }

    fn dialect(&self, provider: &'static Provider, at: &str, problems: &mut Problems) -> Option<Dialect> {
        let before = problems.len();
        let mut overrides = self.request.clone().unwrap_or_default().check(&format!("{at}.request"), problems);
        overrides.custom_base_url = self.base_url.is_some();
        overrides.response = self.response.as_ref().map(|response| response.check(&format!("{at}.response"), problems));
        if problems.len() > before {
            return None;
        }
        let dialect = Dialect::new(provider, overrides);
        let dialect = dialect.map_err(|error| problems.add(format!("{at}.{}", error.key), error.message)).ok()?;
        if dialect.needs_key() && self.authorization.is_none() {
            problems.add(format!("{at}.request.headers"), "there is no authorization to take {credentials} from");
        }
        Some(dialect)
    }

    fn http(
        &self,
        at: &str,
        provider: &Provider,
        polling: &Polling,
        folder: &Path,
        problems: &mut Problems,
    ) -> Option<http::Options> {
        let given = self.base_url.as_ref().map(|url| url.0.as_str());
        let Some(base_url) = given.or(provider.base_url) else {
            problems.add(
                at,
                format!("the key `base_url` is missing; provider {} has no address of its own", provider.name),
            );
            return None;
        };
        let reach = Reach {
            url: ("base_url", base_url),
            build: Client::new,
            tls: self.tls_config.as_ref(),
            proxy_url: self.proxy_url.as_ref(),
            timeout: polling.timeout,
            max_body_size: polling.max_body_size,
        };
        reach.check(at, folder, problems)
    }
}
