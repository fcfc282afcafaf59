//! `authorization:` — references to keys, never a key.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::problem::Problems;
use super::value::Text;
use crate::secret::{Credentials, SecretSource, Signer};

/// The section: one key, or the two that Kling's tokens are signed with.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthorizationConfig {
    /// A file that holds the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<Text>,
    /// A variable that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_env: Option<Text>,
    /// A file that holds Kling's access key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_file: Option<Text>,
    /// A variable that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_env: Option<Text>,
    /// A file that holds Kling's secret key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key_file: Option<Text>,
    /// A variable that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key_env: Option<Text>,
}

/// The one provider whose own API wants signed tokens.
const SIGNING: &str = "kling";

impl AuthorizationConfig {
    pub(super) fn check(
        &self,
        at: &str,
        provider: &str,
        folder: &Path,
        problems: &mut Problems,
    ) -> Option<Credentials> {
        let pair = [&self.access_key_file, &self.access_key_env, &self.secret_key_file, &self.secret_key_env];
        if pair.iter().all(|reference| reference.is_none()) {
            let key = source("credentials", (&self.credentials_file, &self.credentials_env), at, folder, problems)?;
            return Some(Credentials::Key(Arc::new(key)));
        }
        if self.credentials_file.is_some() || self.credentials_env.is_some() {
            problems.add(at, "credentials and an access key do not go together: one key, or Kling's two");
            return None;
        }
        if provider != SIGNING {
            problems
                .add(at, format!("access_key and secret_key are for provider {SIGNING} alone; use credentials_file"));
            return None;
        }
        let access = source("access_key", (&self.access_key_file, &self.access_key_env), at, folder, problems);
        let secret = source("secret_key", (&self.secret_key_file, &self.secret_key_env), at, folder, problems);
        Some(Credentials::Signed(Arc::new(Signer::new(access?, secret?))))
    }
}

/// The secret that exactly one of `NAME_file` and `NAME_env` refers to.
pub(super) fn source(
    name: &str,
    (file, variable): (&Option<Text>, &Option<Text>),
    at: &str,
    folder: &Path,
    problems: &mut Problems,
) -> Option<SecretSource> {
    let (key, source) = match (file, variable) {
        (Some(file), None) => ("file", SecretSource::file(&folder.join(&file.0))),
        (None, Some(variable)) => ("env", SecretSource::variable(&variable.0)),
        _ => {
            problems.add(at, format!("exactly one of {name}_file and {name}_env is needed"));
            return None;
        }
    };
    source.map_err(|error| problems.add(format!("{at}.{name}_{key}"), error.to_string())).ok()
}
