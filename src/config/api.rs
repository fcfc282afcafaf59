//! `api:` — who may register and forget tasks.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::authorization::source;
use super::problem::Problems;
use super::value::Text;
use crate::secret::SecretSource;

/// The section.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// A key each; without one nobody may.
    pub authorization: Vec<ApiKeyConfig>,
}

/// A key.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiKeyConfig {
    /// A file that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<Text>,
    /// A variable that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_env: Option<Text>,
    /// The upstreams that it is for; all when there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<Text>,
}

/// A key, checked.
#[derive(Clone)]
pub struct ApiKey {
    /// The key.
    pub key: Arc<SecretSource>,
    /// The upstreams that it is for; all when there are none.
    pub upstreams: Vec<Arc<str>>,
}

impl ApiKey {
    /// True when it is for this upstream.
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
            let key = source("credentials", (&entry.credentials_file, &entry.credentials_env), &at, folder, problems);
            let upstreams = entry.upstreams.iter().map(|Text(name)| name.as_str().into()).collect();
            keys.extend(key.map(|key| ApiKey { key: Arc::new(key), upstreams }));
        }
        keys
    }
}
