//! `webhook:` — the path and the signatures of an upstream's callbacks.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::http::{ClientConfig, TlsConfig};
use super::problem::Problems;
use super::scalars::Text;
use super::secret_reference::SecretReference;
use crate::http::{Client, KeySet, Proxy};
use crate::provider::{self, CallbackSignature, Dialect};
use crate::secret::SecretSource;

/// How callbacks of a provider are accepted.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookConfig {
    /// A file that contains the secret in the path of callbacks.
    pub secret_file: Option<Text>,
    /// An environment variable that contains the secret in the path of callbacks.
    pub secret_env: Option<Text>,
    /// A credential of systemd that contains the secret in the path of callbacks.
    pub secret_credential: Option<Text>,
    /// A file that contains the secret with which the provider signs callbacks.
    pub signing_secret_file: Option<Text>,
    /// An environment variable that contains the secret with which the provider signs callbacks.
    pub signing_secret_env: Option<Text>,
    /// A credential of systemd that contains the secret with which the provider signs callbacks.
    pub signing_secret_credential: Option<Text>,
    /// Where the provider publishes the keys with which it signs callbacks; defaults to the provider's address.
    pub jwks_url: Option<Text>,
}

/// How callbacks of an upstream are checked.
pub struct Webhook {
    /// The secret in the path.
    pub secret: Arc<SecretSource>,
    /// How callbacks are signed; `None` when only the path's secret counts.
    pub signature: Option<CallbackSignature>,
    /// The secret of the signature.
    pub signing_secret: Option<Arc<SecretSource>>,
    /// The published keys of the signature.
    pub public_keys: Option<KeySet>,
}

/// Largest accepted JSON Web Key Set, and the time-out of reading it.
const JWKS_LIMITS: (u64, Duration) = (256 << 10, Duration::from_secs(10));

impl WebhookConfig {
    /// Published keys are read as the upstream is: through its proxy, and trusting its certificates.
    pub(super) fn check(
        &self,
        dialect: &Dialect,
        (tls, proxy): (Option<&TlsConfig>, Option<Proxy>),
        at: &str,
        folder: &Path,
        problems: &mut Problems,
    ) -> Option<Arc<Webhook>> {
        if !dialect.has_callbacks() {
            let others = provider::names_of(|provider| provider.read_callback.is_some());
            problems.add(at, format!("provider {} has no callbacks; these have: {others}", dialect.name()));
        }
        let secret = SecretReference::new("secret", [&self.secret_file, &self.secret_env, &self.secret_credential]);
        let secret = secret.load_own(at, folder, problems);
        let kind = dialect.webhook_signature();
        let signing = SecretReference::new(
            "signing_secret",
            [&self.signing_secret_file, &self.signing_secret_env, &self.signing_secret_credential],
        );
        let has_signing_secret = signing.is_set();
        if has_signing_secret && !kind.is_some_and(CallbackSignature::has_secret) {
            let message = format!("provider {} does not sign callbacks with a secret; remove the key", dialect.name());
            problems.add(format!("{at}.{}", signing.key()), message);
        }
        if self.jwks_url.is_some() && kind.and_then(CallbackSignature::jwks_url).is_none() {
            let message = format!("provider {} does not publish keys for callbacks; remove the key", dialect.name());
            problems.add(format!("{at}.jwks_url"), message);
        }
        let signing_secret = has_signing_secret.then(|| signing.load(at, folder, problems)).flatten();
        let default_url = kind.and_then(CallbackSignature::jwks_url).filter(|_| !has_signing_secret);
        let url = self.jwks_url.as_ref().map(|url| url.0.as_str()).or(default_url);
        let client = url.and_then(|url| {
            let client = ClientConfig {
                url: ("jwks_url", url),
                build: Client::for_document,
                tls,
                proxy,
                timeout: JWKS_LIMITS.1,
                max_body_size: JWKS_LIMITS.0,
                has_large_bodies: false,
                max_idle: 0,
            };
            client.check(at, folder, problems)
        });
        let is_verified = signing_secret.is_some() || client.is_some();
        if kind.is_some() && !is_verified {
            problems
                .warn(at, "callbacks are not verified: only the secret in the path counts; set signing_secret_file");
        }
        Some(Arc::new(Webhook {
            secret: Arc::new(secret?),
            signature: kind.filter(|_| is_verified),
            signing_secret: signing_secret.map(Arc::new),
            public_keys: client.map(KeySet::new),
        }))
    }
}
