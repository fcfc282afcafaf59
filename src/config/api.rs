//! `api:` — keys of the API, with what each may do.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::problem::Problems;
use super::scalars::Text;
use super::schema_parts::words;
use super::secret_reference::SecretReference;
use crate::domain::enum_words::enum_words;
use crate::domain::label_set::{OTHER, exported_label};
use crate::domain::labels::{LABEL_NAME_RULE, MAX_LABEL_CHARS, REDACTED, is_label_name, sanitize_source_label};
use crate::domain::{LabelSet, Task};
use crate::secret::{SecretSource, fingerprint};

enum_words! {
    /// What a key may do.
    Scope {
        /// Read pages, metrics, tasks and the configuration. While no key has it, everybody may read.
        Read = "read",
        /// Register and forget tasks.
        Write = "write",
    }
}

/// `api:` — keys of the HTTP API.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// The keys; without any, the API is read-only.
    pub authorization: Vec<ApiKeyConfig>,
}

/// A key of the HTTP API, and what it may do.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApiKeyConfig {
    /// A file that contains the key.
    pub credentials_file: Option<Text>,
    /// An environment variable that contains the key.
    pub credentials_env: Option<Text>,
    /// A credential of systemd that contains the key.
    pub credentials_credential: Option<Text>,
    /// The upstreams that it may be used for; all if empty.
    pub upstreams: Vec<Text>,
    /// What it may do. While no key has `read`, everybody may read.
    #[schemars(schema_with = "scopes")]
    pub scopes: Vec<Text>,
    /// Labels of its tasks: it registers with them, and reads only tasks that have them.
    pub labels: BTreeMap<String, Text>,
    /// Most tasks that it has registered at a time.
    pub max_tasks: usize,
}

fn scopes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": words(Scope::WORDS.iter().copied()) })
}

impl Default for ApiKeyConfig {
    fn default() -> Self {
        Self {
            credentials_file: None,
            credentials_env: None,
            credentials_credential: None,
            upstreams: Vec::new(),
            scopes: vec![Text(Scope::Write.as_str().to_owned())],
            labels: BTreeMap::new(),
            max_tasks: 100_000,
        }
    }
}

/// A checked key.
#[derive(Clone)]
pub struct ApiKey {
    /// The file, environment variable or credential that contains the key. It identifies the key over reloads.
    pub name: Arc<str>,
    /// The key.
    pub key: Arc<SecretSource>,
    /// The upstreams that it may be used for; all if empty.
    pub upstreams: Vec<Arc<str>>,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Labels that its tasks have, as they are exported.
    pub labels: BTreeMap<String, String>,
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

    /// Whether it may do this.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Whether it is for only some of what there is.
    pub fn is_bound(&self) -> bool {
        !self.labels.is_empty() || !self.upstreams.is_empty()
    }

    /// Whether a task is one of those that it is for.
    pub fn has_task(&self, task: &Task) -> bool {
        self.is_for(&task.origin.upstream)
            && self.labels.iter().all(|(name, value)| task.origin.labels.get(name) == Some(value))
    }

    /// Whether a label set has only tasks that it is for: it carries all of the labels.
    pub fn has_label_set(&self, set: &LabelSet) -> bool {
        let carries = |name: &str, value: &str| {
            let exported = exported_label(name);
            set.labels.iter().any(|(name, carried)| **name == *exported && **carried == *value)
        };
        self.is_for(&set.upstream) && self.labels.iter().all(|(name, value)| carries(name, value))
    }
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKey").field("name", &self.name).field("upstreams", &self.upstreams).finish_non_exhaustive()
    }
}

/// Whether tasks of nobody else are exported with this value: those beyond a limit are exported as `other`, secrets as
/// `redacted`, and long values are cut.
fn is_own_value(value: &str) -> bool {
    let is_exported = !value.is_empty() && sanitize_source_label(value) == value;
    is_exported && value.chars().count() < MAX_LABEL_CHARS && value != OTHER && value != REDACTED
}

impl ApiKeyConfig {
    fn check_scopes(&self, at: &str, problems: &mut Problems) -> Vec<Scope> {
        let words = || Scope::WORDS.join(", ");
        if self.scopes.is_empty() {
            problems.add(format!("{at}.scopes"), format!("a key needs at least one of {}", words()));
        }
        let parse = |(n, Text(word)): (usize, &Text)| {
            let scope = Scope::from_word(word);
            if scope.is_none() {
                problems.add(format!("{at}.scopes.{n}"), format!("unknown value; known values: {}", words()));
            }
            scope
        };
        self.scopes.iter().enumerate().filter_map(parse).collect()
    }

    fn check_labels(&self, at: &str, problems: &mut Problems) -> BTreeMap<String, String> {
        for (name, Text(value)) in &self.labels {
            let key = format!("{at}.labels.{name}");
            if !is_label_name(name) {
                problems.add(key, LABEL_NAME_RULE);
            } else if !is_own_value(value) {
                let message = format!(
                    "a value has 1 to 127 printable characters; {OTHER} and {REDACTED} are reserved: values of anybody are \
                     exported as them"
                );
                problems.add(key, message);
            }
        }
        self.labels.iter().map(|(name, Text(value))| (name.clone(), value.clone())).collect()
    }
}

impl ApiConfig {
    pub(super) fn check(
        &self,
        upstreams: &[&str],
        aggregate_labels: &[Text],
        folder: &Path,
        problems: &mut Problems,
    ) -> Vec<ApiKey> {
        let mut keys = Vec::new();
        for (n, entry) in self.authorization.iter().enumerate() {
            let at = format!("api.authorization.{n}");
            for (m, Text(name)) in entry.upstreams.iter().enumerate() {
                if !upstreams.contains(&name.as_str()) {
                    problems.add(format!("{at}.upstreams.{m}"), "there is no upstream of this name");
                }
            }
            let scopes = entry.check_scopes(&at, problems);
            let labels = entry.check_labels(&at, problems);
            let missing = labels.keys().find(|name| !aggregate_labels.iter().any(|Text(label)| label == *name));
            if let Some(name) = missing.filter(|_| scopes.contains(&Scope::Read)) {
                let message = format!("this key reads no counters: metrics.aggregate_labels lacks {name}");
                problems.warn(format!("{at}.labels"), message);
            }
            if entry.max_tasks == 0 {
                problems.add(format!("{at}.max_tasks"), "must be at least 1");
            }
            let reference = SecretReference::new(
                "credentials",
                [&entry.credentials_file, &entry.credentials_env, &entry.credentials_credential],
            );
            let key = reference.load_own(&at, folder, problems);
            let name = reference.value().into();
            let upstreams = entry.upstreams.iter().map(|Text(name)| name.as_str().into()).collect();
            let max_tasks = entry.max_tasks;
            keys.extend(key.map(|key| ApiKey { name, key: Arc::new(key), upstreams, scopes, labels, max_tasks }));
        }
        keys
    }
}
