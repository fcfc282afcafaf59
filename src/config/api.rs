//! `api:` — keys of the API that registers and forgets tasks.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::authorization::load_secret;
use super::problem::Problems;
use super::scalars::Text;
use crate::secret::SecretSource;

/// The section.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// The keys; without any, the API is disabled.
    pub authorization: Vec<ApiKeyConfig>,
}

/// An entry of `authorization:`.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiKeyConfig {
    /// A file that contains the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<Text>,
    /// An environment variable that contains the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_env: Option<Text>,
    /// The upstreams that it may be used for; all if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<Text>,
}

/// A checked key.
#[derive(Clone)]
pub struct ApiKey {
    /// The key.
    pub key: Arc<SecretSource>,
    /// The upstreams that it may be used for; all if empty.
    pub upstreams: Vec<Arc<str>>,
}

impl ApiKey {
    /// Whether it may be used for this upstream.
    pub fn is_for(&self, upstream: &str) -> bool {
        self.upstreams.is_empty() || self.upstreams.iter().any(|name| **name == *upstream)
    }
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKey").field("upstreams", &self.upstreams).finish_non_exhaustive()
    }
}

impl ApiConfig {
    pub(super) fn check(&self, upstreams: &[&str], folder: &Path, problems: &mut Problems) -> Vec<ApiKey> {
        let mut keys = Vec::new();
        for (n, entry) in self.authorization.iter().enumerate() {
            let at = format!("api.authorization.{n}");
            for (m, Text(name)) in entry.upstreams.iter().enumerate() {
                if !upstreams.contains(&name.as_str()) {
                    problems.add(format!("{at}.upstreams.{m}"), "there is no upstream of this name");
                }
            }
            let key =
                load_secret("credentials", (&entry.credentials_file, &entry.credentials_env), &at, folder, problems);
            let upstreams = entry.upstreams.iter().map(|Text(name)| name.as_str().into()).collect();
            keys.extend(key.map(|key| ApiKey { key: Arc::new(key), upstreams }));
        }
        keys
    }
}
