//! `api:` — keys of the API that registers and forgets tasks.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::authorization::load_own_secret;
use super::problem::Problems;
use super::scalars::Text;
use crate::secret::{SecretSource, fingerprint};

/// The section.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// The keys; without any, the API is disabled.
    pub authorization: Vec<ApiKeyConfig>,
}

/// An entry of `authorization:`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiKeyConfig {
    /// A file that contains the key.
    pub credentials_file: Option<Text>,
    /// An environment variable that contains the key.
    pub credentials_env: Option<Text>,
    /// The upstreams that it may be used for; all if empty.
    pub upstreams: Vec<Text>,
    /// Most tasks of the API that these upstreams may track at a time.
    pub max_tasks: usize,
}

impl Default for ApiKeyConfig {
    fn default() -> Self {
        Self { credentials_file: None, credentials_env: None, upstreams: Vec::new(), max_tasks: 100_000 }
    }
}

/// A checked key.
#[derive(Clone)]
pub struct ApiKey {
    /// The file or environment variable that contains the key. It identifies the key over reloads.
    pub name: Arc<str>,
    /// The key.
    pub key: Arc<SecretSource>,
    /// The upstreams that it may be used for; all if empty.
    pub upstreams: Vec<Arc<str>>,
    /// Most tasks of the API that these upstreams may track at a time.
    pub max_tasks: usize,
}

impl ApiKey {
    /// Identifies the key in the state, without saying where it is kept.
    pub fn identity(&self) -> Arc<str> {
        fingerprint(&self.name).into()
    }

    /// Whether it may be used for this upstream.
    pub fn is_for(&self, upstream: &str) -> bool {
        self.upstreams.is_empty() || self.upstreams.iter().any(|name| **name == *upstream)
    }
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKey").field("name", &self.name).field("upstreams", &self.upstreams).finish_non_exhaustive()
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
            if entry.max_tasks == 0 {
                problems.add(format!("{at}.max_tasks"), "must be at least 1");
            }
            let reference = (&entry.credentials_file, &entry.credentials_env);
            let key = load_own_secret("credentials", reference, &at, folder, problems);
            let name = entry.credentials_file.as_ref().or(entry.credentials_env.as_ref());
            let name = name.map_or_else(Default::default, |Text(name)| name.as_str().into());
            let upstreams = entry.upstreams.iter().map(|Text(name)| name.as_str().into()).collect();
            keys.extend(key.map(|key| ApiKey { name, key: Arc::new(key), upstreams, max_tasks: entry.max_tasks }));
        }
        keys
    }
}
