//! `tls_config:`, `proxy_url:`, `no_proxy:` and `proxy_authorization:`, and the check that a client can be built from them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::basic_auth::BasicAuthConfig;
use super::problem::Problems;
use super::scalars::Text;
use crate::http::{self, Client, ClientError, Proxy, Tls};

/// Certificates of a connection.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// A file with the trusted certificates, instead of the system's.
    pub ca_file: Option<Text>,
    /// A file with the client certificate.
    pub cert_file: Option<Text>,
    /// A file with the key of the client certificate.
    pub key_file: Option<Text>,
    /// Expected name in the server's certificate, if it is another than in the URL.
    pub server_name: Option<Text>,
}

/// The URL of a proxy. It is never printed, because it may contain a password.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ProxyUrl(Text);

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

/// A proxy as written.
#[derive(Clone, Copy)]
pub(super) struct ProxyConfig<'a> {
    pub url: Option<&'a ProxyUrl>,
    pub no_proxy: Option<&'a Text>,
    pub authorization: Option<&'a BasicAuthConfig>,
}

impl ProxyConfig<'_> {
    /// Loads the password. URL and exceptions are checked when a client is built.
    pub(super) fn check(&self, at: &str, folder: &Path, problems: &mut Problems) -> Option<Proxy> {
        let Some(ProxyUrl(Text(url))) = self.url else {
            for (key, is_set) in
                [("no_proxy", self.no_proxy.is_some()), ("proxy_authorization", self.authorization.is_some())]
            {
                if is_set {
                    problems.add(format!("{at}.{key}"), "needs proxy_url, which is missing");
                }
            }
            return None;
        };
        let key = format!("{at}.proxy_authorization");
        let authorization = self.authorization.and_then(|auth| auth.check(&key, folder, problems));
        let proxy =
            Proxy { url: url.clone(), no_proxy: self.no_proxy.map(|Text(text)| text.clone()), authorization: None };
        if self.authorization.is_some() && proxy.has_user_in_url() {
            problems.add(key, "proxy_url has a user already; remove one of them");
        }
        Some(Proxy { authorization, ..proxy })
    }
}

/// Settings of an HTTP client, unchecked.
pub(super) struct ClientConfig<'a> {
    /// The configuration key of the URL, and the URL.
    pub url: (&'static str, &'a str),
    /// The constructor of the client.
    pub build: fn(&http::Options) -> Result<Client, ClientError>,
    pub tls: Option<&'a TlsConfig>,
    pub proxy: Option<Proxy>,
    pub timeout: Duration,
    pub max_body_size: u64,
    /// Responses repeat large inputs.
    pub has_large_bodies: bool,
    /// Most idle connections.
    pub max_idle: usize,
}

impl ClientConfig<'_> {
    /// Builds the client.
    pub(super) fn check(&self, at: &str, folder: &Path, problems: &mut Problems) -> Option<Arc<Client>> {
        let tls = self.tls.cloned().unwrap_or_default();
        if tls.cert_file.is_some() != tls.key_file.is_some() {
            problems.add(format!("{at}.tls_config"), "set both cert_file and key_file, or neither");
        }
        if tls.server_name.is_some() && self.proxy.is_some() {
            problems.add(format!("{at}.tls_config.server_name"), "cannot be used together with proxy_url");
        }
        let file = |text: Option<Text>| text.map(|text| folder.join(text.0));
        let options = http::Options {
            base_url: self.url.1.to_owned(),
            timeout: self.timeout,
            max_body_size: self.max_body_size,
            has_large_bodies: self.has_large_bodies,
            max_idle: self.max_idle,
            tls: Tls {
                ca_file: file(tls.ca_file),
                cert_file: file(tls.cert_file),
                key_file: file(tls.key_file),
                server_name: tls.server_name.map(|name| name.0),
            },
            proxy: self.proxy.clone(),
        };
        match (self.build)(&options) {
            Ok(client) => Some(Arc::new(client)),
            Err(error) => {
                let key = match &error {
                    ClientError::BaseUrl(_) => format!("{at}.{}", self.url.0),
                    ClientError::File(path, _) => format!("{at}.tls_config.{}", tls_file_key(&options.tls, path)),
                    ClientError::Part(
                        part @ ("proxy_url"
                        | "proxy_authorization"
                        | "no_proxy"
                        | "tls_config.ca_file"
                        | "tls_config.cert_file"
                        | "tls_config.server_name"),
                        _,
                    ) => format!("{at}.{part}"),
                    ClientError::Part(..) => at.to_owned(),
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

fn tls_file_key(tls: &Tls, path: &PathBuf) -> &'static str {
    if tls.ca_file.as_ref() == Some(path) {
        "ca_file"
    } else if tls.cert_file.as_ref() == Some(path) {
        "cert_file"
    } else {
        "key_file"
    }
}
