//! `list_configs:` — the upstream's own list of tasks: it names tasks, and reads many of them with one request.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::authorization::AuthorizationConfig;
use super::basic_auth::BasicAuthConfig;
use super::client_auth::ClientAuth;
use super::discovery::{check_interval, one_minute};
use super::oauth2::OAuth2Config;
use super::problem::Problems;
use super::scalars::{ConfigDuration, ConfigNumber, Text};
use super::schema_parts::words;
use super::sources::{check_max_targets, default_max_targets};
use crate::domain::labels::{LABEL_NAME_RULE, MAX_LABELS, is_label_name, sanitize_source_label};
use crate::domain::reading::RowField;
use crate::http::Credentials;
use crate::provider::{Dialect, ListScope};

fn one_day() -> ConfigDuration {
    ConfigDuration::from_secs(86_400)
}

const fn half() -> ConfigNumber {
    ConfigNumber(0.5)
}

const fn yes() -> bool {
    true
}

/// The provider's own list of tasks.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListConfig {
    /// Interval between reads for new tasks.
    #[serde(default = "one_minute")]
    pub refresh_interval: ConfigDuration,
    /// Most task ids; more are an error, and the last list is kept.
    #[serde(default = "default_max_targets")]
    pub max_targets: usize,
    /// Age of the oldest tasks to read.
    #[serde(default = "one_day")]
    pub lookback: ConfigDuration,
    /// The key for the list, such as new-api's dashboard token; the upstream's by default.
    #[serde(default)]
    pub authorization: Option<AuthorizationConfig>,
    /// A user name and a password, instead of `authorization`.
    #[serde(default)]
    pub basic_auth: Option<BasicAuthConfig>,
    /// Tokens of a token endpoint, instead of `authorization`.
    #[serde(default)]
    pub oauth2: Option<OAuth2Config>,
    /// Numeric id of the user with that token at new-api.
    #[serde(default)]
    pub user_id: Option<Text>,
    /// Whose tasks are read.
    #[serde(default)]
    pub scope: ScopeConfig,
    /// Labels of tasks, and the fields of their rows that they come from.
    #[serde(default)]
    #[schemars(schema_with = "labels")]
    pub labels: BTreeMap<String, Text>,
    /// Names of channels by id, for the label of `channel_id`.
    #[serde(default)]
    pub channel_names: BTreeMap<String, Text>,
    /// Rate limit of the list, without a burst.
    #[serde(default = "half")]
    pub requests_per_second: ConfigNumber,
    /// Whether tasks of the list are added; `false` only reads the tasks of other sources.
    #[serde(default = "yes")]
    pub discover: bool,
}

fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "additionalProperties": words(RowField::WORDS.iter().copied()) })
}

/// Whose tasks a list has.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ScopeConfig {
    /// Tasks of the key's user.
    #[default]
    Own,
    /// Tasks of every user, with an administrator's token.
    All,
}

/// A checked entry of `list_configs:`.
#[derive(Clone)]
pub struct ListSourceSettings {
    /// Its key.
    pub key: Option<Credentials>,
    /// Where the entry's own key comes from, as JSON; empty if it uses the upstream's key.
    pub key_reference: String,
    /// Interval between reads for new tasks.
    pub refresh_interval: Duration,
    /// Most task ids.
    pub max_targets: usize,
    /// Age of the oldest tasks to read.
    pub lookback: Duration,
    /// The user id, for gateways that require it.
    pub user_id: Option<Arc<str>>,
    /// Whose tasks are read.
    pub scope: ListScope,
    /// Labels of tasks, and the fields of their rows that they come from.
    pub labels: Vec<(String, RowField)>,
    /// Names of channels by id.
    pub channel_names: BTreeMap<String, String>,
    /// Rate of its own token bucket, which has no burst.
    pub requests_per_second: f64,
    /// Tasks that it names are added.
    pub discovers: bool,
}

impl ListConfig {
    pub(super) fn check(
        &self,
        dialect: &Dialect,
        upstream: Option<&Credentials>,
        folder: &Path,
        at: &str,
        problems: &mut Problems,
    ) -> ListSourceSettings {
        check_interval(self.refresh_interval, at, problems);
        check_max_targets(self.max_targets, at, problems);
        if !dialect.has_list() {
            problems.add(at, format!("provider {} has no list of tasks", dialect.name()));
        }
        if self.lookback < ConfigDuration::from_secs(60) {
            problems.add(format!("{at}.lookback"), "must be at least 1m");
        }
        if self
            .user_id
            .as_ref()
            .is_some_and(|Text(id)| id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            problems.add(format!("{at}.user_id"), "must be printable ASCII without spaces");
        }
        if !(0.001..=1000.0).contains(&self.requests_per_second.0) {
            problems.add(format!("{at}.requests_per_second"), "must be between 0.001 and 1000");
        }
        let has_scopes = dialect.list().is_some_and(|list| list.path_of_all.is_some());
        let scope = match self.scope {
            ScopeConfig::Own => ListScope::Own,
            ScopeConfig::All => ListScope::All,
        };
        if scope == ListScope::All && !has_scopes {
            problems.add(
                format!("{at}.scope"),
                format!("provider {} lists only the tasks of the key's own user; remove it", dialect.name()),
            );
        }
        if scope == ListScope::All && self.user_id.is_none() {
            problems.warn(format!("{at}.user_id"), "is missing: without it, no task of this list is ever polled alone");
        }
        let auth = ClientAuth {
            authorization: self.authorization.as_ref(),
            basic_auth: self.basic_auth.as_ref(),
            oauth2: self.oauth2.as_ref(),
        };
        let key = auth.check(at, dialect.signs(), folder, problems);
        ListSourceSettings {
            key: if auth.is_set() { key } else { upstream.cloned() },
            key_reference: auth.reference(),
            refresh_interval: self.refresh_interval.0,
            max_targets: self.max_targets,
            lookback: self.lookback.0,
            user_id: self.user_id.as_ref().map(|Text(id)| id.as_str().into()),
            scope,
            labels: self.check_labels(dialect, at, problems),
            channel_names: self.channel_names(),
            requests_per_second: self.requests_per_second.0,
            discovers: self.discover,
        }
    }

    fn check_labels(&self, dialect: &Dialect, at: &str, problems: &mut Problems) -> Vec<(String, RowField)> {
        let has_labels = !(self.labels.is_empty() && self.channel_names.is_empty());
        if has_labels && !dialect.is_new_api() {
            let key = if self.labels.is_empty() { "channel_names" } else { "labels" };
            let message = format!("the rows of provider {} have no fields for labels; remove it", dialect.name());
            problems.add(format!("{at}.{key}"), message);
        }
        if self.labels.len() > MAX_LABELS {
            problems.add(format!("{at}.labels"), format!("has more than {MAX_LABELS} labels"));
        }
        let mut labels = Vec::new();
        for (name, Text(field)) in &self.labels {
            if !is_label_name(name) {
                problems.add(format!("{at}.labels.{name}"), LABEL_NAME_RULE);
            }
            match RowField::from_word(field) {
                Some(field) => labels.push((name.clone(), field)),
                None => problems.add(
                    format!("{at}.labels.{name}"),
                    format!("unknown field of a row; known fields: {}", RowField::WORDS.join(", ")),
                ),
            }
        }
        labels
    }

    fn channel_names(&self) -> BTreeMap<String, String> {
        let clean = |Text(name): &Text| sanitize_source_label(name).into_owned();
        self.channel_names.iter().map(|(id, name)| (id.clone(), clean(name))).collect()
    }
}
