//! `oauth2:` — tokens of a token endpoint, for a client's id and secret (client credentials grant).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::basic_auth::BasicAuthConfig;
use super::http::{ClientConfig, ProxyConfig, ProxyUrl, TlsConfig};
use super::problem::Problems;
use super::scalars::Text;
use super::secret_reference::SecretReference;
use crate::http::{Client, TokenClient};

/// A client at a token endpoint (client credentials grant).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OAuth2Config {
    /// The client's id.
    pub client_id: Text,
    /// A file that contains the client's secret.
    #[serde(default)]
    pub client_secret_file: Option<Text>,
    /// An environment variable that contains the client's secret.
    #[serde(default)]
    pub client_secret_env: Option<Text>,
    /// A credential of systemd that contains the client's secret.
    #[serde(default)]
    pub client_secret_credential: Option<Text>,
    /// URL of the token endpoint.
    pub token_url: Text,
    /// Scopes of the token; without them, the server's default.
    #[serde(default)]
    pub scopes: Vec<Text>,
    /// More parameters of the request for a token.
    #[serde(default)]
    pub endpoint_params: BTreeMap<String, Text>,
    /// TLS settings of the token endpoint.
    #[serde(default)]
    pub tls_config: Option<TlsConfig>,
    /// Proxy URL of the token endpoint; it may contain a password.
    #[serde(default)]
    pub proxy_url: Option<ProxyUrl>,
    /// Hosts that are reached without the proxy.
    #[serde(default)]
    pub no_proxy: Option<Text>,
    /// User and password of the proxy.
    #[serde(default)]
    pub proxy_authorization: Option<BasicAuthConfig>,
}

/// Time-out of a request for a token.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Largest accepted answer of a token endpoint, in bytes.
const MAX_BODY_SIZE: u64 = 256 << 10;

/// Parameters that have keys of their own, or are always the same.
const OWN_PARAMS: [(&str, &str); 4] = [
    ("client_id", "set `client_id` of `oauth2` instead"),
    (
        "client_secret",
        "set `client_secret_file`, `client_secret_env` or `client_secret_credential` of `oauth2` instead",
    ),
    ("grant_type", "is always client_credentials"),
    ("scope", "set `scopes` of `oauth2` instead"),
];

impl OAuth2Config {
    /// Where the client's secret is.
    pub(super) fn secret(&self) -> SecretReference<'_> {
        SecretReference::new(
            "client_secret",
            [&self.client_secret_file, &self.client_secret_env, &self.client_secret_credential],
        )
    }

    pub(super) fn check(&self, at: &str, folder: &Path, problems: &mut Problems) -> Option<Arc<TokenClient>> {
        if self.client_id.0.is_empty() {
            problems.add(format!("{at}.client_id"), "must not be empty");
        }
        for (name, message) in OWN_PARAMS {
            if self.endpoint_params.contains_key(name) {
                problems.add(format!("{at}.endpoint_params.{name}"), message);
            }
        }
        for (n, Text(scope)) in self.scopes.iter().enumerate() {
            // RFC 6749, section 3.3.
            if scope.is_empty() || !scope.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')) {
                problems.add(
                    format!("{at}.scopes.{n}"),
                    "a scope is printable ASCII without spaces, quotes and backslashes",
                );
            }
        }
        let secret = self.secret().load(at, folder, problems);
        let proxy = ProxyConfig {
            url: self.proxy_url.as_ref(),
            no_proxy: self.no_proxy.as_ref(),
            authorization: self.proxy_authorization.as_ref(),
        };
        let client = ClientConfig {
            url: ("token_url", &self.token_url.0),
            build: Client::for_document,
            tls: self.tls_config.as_ref(),
            proxy: proxy.check(at, folder, problems),
            timeout: TIMEOUT,
            max_body_size: MAX_BODY_SIZE,
            has_large_bodies: false,
            max_idle: 0,
        };
        let client = client.check(at, folder, problems);
        let scopes: Vec<_> = self.scopes.iter().map(|Text(scope)| scope.clone()).collect();
        let params = self.endpoint_params.iter().map(|(name, Text(value))| (name.clone(), value.clone()));
        Some(Arc::new(TokenClient::new(client?, &self.client_id.0, Arc::new(secret?), &scopes, params)))
    }
}
