//! `authorization:` — references to keys; the configuration never contains a key.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::problem::Problems;
use super::scalars::Text;
use crate::files;
use crate::http::Credentials;
use crate::provider::{self, Signs};
use crate::secret::{SecretSource, Signer};

/// The section: one key, or the two keys that sign tokens or requests.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthorizationConfig {
    /// A file that contains the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<Text>,
    /// An environment variable that contains it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_env: Option<Text>,
    /// A file that contains the access key, for providers that require signatures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_file: Option<Text>,
    /// An environment variable that contains it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_env: Option<Text>,
    /// A file that contains the secret key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key_file: Option<Text>,
    /// An environment variable that contains it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key_env: Option<Text>,
}

impl AuthorizationConfig {
    pub(super) fn check(
        &self,
        at: &str,
        signs: Option<Signs>,
        folder: &Path,
        problems: &mut Problems,
    ) -> Option<Credentials> {
        let pair = [&self.access_key_file, &self.access_key_env, &self.secret_key_file, &self.secret_key_env];
        if pair.iter().all(|reference| reference.is_none()) {
            if let Some(Signs::Requests(_)) = signs {
                problems.add(at, "requests of this provider are signed; set access_key_file and secret_key_file");
                return None;
            }
            let key =
                load_secret("credentials", (&self.credentials_file, &self.credentials_env), at, folder, problems)?;
            return Some(Credentials::Key(Arc::new(key)));
        }
        if self.credentials_file.is_some() || self.credentials_env.is_some() {
            problems.add(at, "set either credentials, or access_key and secret_key, not both");
            return None;
        }
        let Some(signs) = signs else {
            let others = provider::names_of(|provider| provider.signs.is_some());
            problems.add(at, format!("access_key and secret_key are only for {others}; use credentials_file"));
            return None;
        };
        let access = load_secret("access_key", (&self.access_key_file, &self.access_key_env), at, folder, problems);
        let secret = load_secret("secret_key", (&self.secret_key_file, &self.secret_key_env), at, folder, problems);
        let (access, secret) = (access?, secret?);
        Some(match signs {
            Signs::Tokens => Credentials::Token(Arc::new(Signer::new(access, secret))),
            Signs::Requests(_) => Credentials::Signature(Arc::new(access), Arc::new(secret)),
        })
    }
}

/// Shortest key that others send to us.
const MIN_OWN_SECRET: usize = 16;

/// Like [`load_secret`], for a secret that others send to us: it must be long enough that nobody guesses it.
pub(super) fn load_own_secret(
    name: &str,
    reference: (&Option<Text>, &Option<Text>),
    at: &str,
    folder: &Path,
    problems: &mut Problems,
) -> Option<SecretSource> {
    let secret = load_secret(name, reference, at, folder, problems)?;
    if secret.char_count() < MIN_OWN_SECRET {
        let key = if reference.0.is_some() { "file" } else { "env" };
        let message =
            "the secret has less than 16 characters and could be guessed; create one with `openssl rand -hex 32`";
        problems.add(format!("{at}.{name}_{key}"), message);
    }
    Some(secret.with_min_chars(MIN_OWN_SECRET))
}

/// Loads a secret from `NAME_file` or `NAME_env`, of which exactly one must be set.
pub(super) fn load_secret(
    name: &str,
    (file, variable): (&Option<Text>, &Option<Text>),
    at: &str,
    folder: &Path,
    problems: &mut Problems,
) -> Option<SecretSource> {
    let (key, source) = match (file, variable) {
        (Some(file), None) => {
            let path = folder.join(&file.0);
            if files::is_readable_by_others(&path) {
                let message = "every user of this machine can read the file; give it mode 0600, or 0440 in Kubernetes (defaultMode)";
                problems.warn(format!("{at}.{name}_file"), message);
            }
            ("file", SecretSource::from_file(&path))
        }
        (None, Some(variable)) => ("env", SecretSource::from_env(&variable.0)),
        _ => {
            problems.add(at, format!("set exactly one of {name}_file and {name}_env"));
            return None;
        }
    };
    source.map_err(|error| problems.add(format!("{at}.{name}_{key}"), error.to_string())).ok()
}
