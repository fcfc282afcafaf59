//! `authorization:` — references to keys; the configuration never contains a key.

use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problem::Problems;
use super::scalars::Text;
use super::secret_reference::SecretReference;
use crate::http::Credentials;
use crate::provider::{self, Signs};
use crate::secret::Signer;

/// One key, or the two keys that sign tokens or requests. Each is in a file, an environment variable or a credential of systemd.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthorizationConfig {
    /// A file that contains the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<Text>,
    /// An environment variable that contains the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_env: Option<Text>,
    /// A credential of systemd that contains the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_credential: Option<Text>,
    /// A file that contains the access key, for providers that require signatures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_file: Option<Text>,
    /// An environment variable that contains the access key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_env: Option<Text>,
    /// A credential of systemd that contains the access key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_credential: Option<Text>,
    /// A file that contains the secret key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key_file: Option<Text>,
    /// An environment variable that contains the secret key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key_env: Option<Text>,
    /// A credential of systemd that contains the secret key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key_credential: Option<Text>,
}

impl AuthorizationConfig {
    pub(super) fn check(
        &self,
        at: &str,
        signs: Option<Signs>,
        folder: &Path,
        problems: &mut Problems,
    ) -> Option<Credentials> {
        let key = SecretReference::new(
            "credentials",
            [&self.credentials_file, &self.credentials_env, &self.credentials_credential],
        );
        let access = SecretReference::new(
            "access_key",
            [&self.access_key_file, &self.access_key_env, &self.access_key_credential],
        );
        let secret = SecretReference::new(
            "secret_key",
            [&self.secret_key_file, &self.secret_key_env, &self.secret_key_credential],
        );
        if !access.is_set() && !secret.is_set() {
            if let Some(Signs::Requests(_)) = signs {
                problems.add(at, "requests of this provider are signed; set access_key_file and secret_key_file");
                return None;
            }
            return Some(Credentials::Key(Arc::new(key.load(at, folder, problems)?)));
        }
        if key.is_set() {
            problems.add(at, "set either credentials, or access_key and secret_key, not both");
            return None;
        }
        let Some(signs) = signs else {
            let others = provider::names_of(|provider| provider.signs.is_some());
            problems.add(at, format!("access_key and secret_key are only for {others}; use credentials_file"));
            return None;
        };
        let (access, secret) = (access.load(at, folder, problems), secret.load(at, folder, problems));
        let (access, secret) = (access?, secret?);
        Some(match signs {
            Signs::Tokens => Credentials::Token(Arc::new(Signer::new(access, secret))),
            Signs::Requests(_) => Credentials::Signature(Arc::new(access), Arc::new(secret)),
        })
    }
}
