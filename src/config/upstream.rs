//! `upstreams:` — who is asked, with which key, for which tasks.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use super::authorization::AuthorizationConfig;
use super::polling::{Polling, PollingConfig};
use super::problem::Problems;
use super::request::{RequestConfig, ResponseConfig};
use super::sources::{FileSdConfig, FileSource, StaticSource, TargetGroup};
use super::value::Text;
use crate::domain::labels::sanitise;
use crate::http::{self, Client, ClientError, Tls};
use crate::provider::{self, Dialect, Provider};
use crate::secret::Credentials;

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
}

/// `tls_config:`.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// Certificates to trust.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<Text>,
    /// Our certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<Text>,
    /// Its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<Text>,
    /// The name in the upstream's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<Text>,
}

/// The URL of a proxy; never printed, because it may carry a password.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct ProxyUrl(Text);

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

impl Serialize for ProxyUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("<redacted>")
    }
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
    /// How often, how hard.
    pub polling: Polling,
    /// Ids in the configuration, by place.
    pub statics: Vec<StaticSource>,
    /// Files of ids, by place.
    pub files: Vec<FileSource>,
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

impl UpstreamConfig {
    fn check(
        &self,
        at: &str,
        default: &Polling,
        base: &PollingConfig,
        folder: &Path,
        problems: &mut Problems,
    ) -> Option<Upstream> {
        if self.name.0.is_empty() || sanitise(&self.name.0) != self.name.0.as_str() {
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
        if !self.model.0.is_empty() && sanitise(&self.model.0) != self.model.0.as_str() {
            problems.add(format!("{at}.model"), "a model name is 1 to 128 printable characters and no URL or key");
        }
        let http = self.http(at, found?, &polling, folder, problems)?;
        let dialect = dialect?;
        for (n, group) in statics.iter().enumerate() {
            group.check_ids(&dialect, &format!("{at}.static_configs.{n}"), problems);
        }
        Some(Upstream {
            name: self.name.0.as_str().into(),
            dialect: Arc::new(dialect),
            http,
            key,
            model: Some(self.model.0.as_str()).filter(|model| !model.is_empty()).map(Into::into),
            polling,
            statics,
            files,
        })
    }

    fn dialect(&self, provider: &'static Provider, at: &str, problems: &mut Problems) -> Option<Dialect> {
        let before = problems.len();
        let mut overrides = self.request.clone().unwrap_or_default().check(&format!("{at}.request"), problems);
        overrides.elsewhere = self.base_url.is_some();
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
        if let Err(error) = http::is_base_url(base_url) {
            problems.add(format!("{at}.base_url"), error.to_string());
            return None;
        }
        let tls = self.tls_config.clone().unwrap_or_default();
        if tls.cert_file.is_some() != tls.key_file.is_some() {
            problems.add(format!("{at}.tls_config"), "cert_file and key_file belong together");
        }
        if tls.server_name.is_some() && self.proxy_url.is_some() {
            problems.add(format!("{at}.tls_config.server_name"), "cannot be used together with proxy_url");
        }
        let file = |text: Option<Text>| text.map(|text| folder.join(text.0));
        let options = http::Options {
            base_url: base_url.to_owned(),
            timeout: polling.timeout,
            max_body_size: polling.max_body_size,
            tls: Tls {
                ca_file: file(tls.ca_file),
                cert_file: file(tls.cert_file),
                key_file: file(tls.key_file),
                server_name: tls.server_name.map(|name| name.0),
            },
            proxy_url: self.proxy_url.as_ref().map(|url| url.0.0.clone()),
        };
        match Client::new(&options) {
            Ok(_) => Some(options),
            Err(error) => {
                let key = match &error {
                    ClientError::File(path, _) => format!("{at}.tls_config.{}", tls_key(&options.tls, path)),
                    ClientError::Part(
                        part @ ("proxy_url" | "tls_config.ca_file" | "tls_config.cert_file" | "tls_config.server_name"),
                        _,
                    ) => {
                        format!("{at}.{part}")
                    }
                    _ => at.to_owned(),
                };
                let message = match error {
                    ClientError::Part(_, message) => message,
                    other => other.to_string(),
                };
                problems.add(key, message);
                None
            }
        }
    }
}

fn tls_key(tls: &Tls, path: &PathBuf) -> &'static str {
    if tls.ca_file.as_ref() == Some(path) {
        "ca_file"
    } else if tls.cert_file.as_ref() == Some(path) {
        "cert_file"
    } else {
        "key_file"
    }
}
