//! `metrics:` — which series are exported, and their limits.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problem::Problems;
use super::scalars::{ConfigDuration, Text};
use crate::domain::labels::{LABEL_NAME_RULE, is_label_name, sanitize};

/// Which tasks have series of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PerTask {
    /// All tasks; ended ones until their retention is over.
    All,
    /// Tasks that have not ended.
    Active,
    /// No tasks.
    Off,
}

/// How a task's status is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatusForm {
    /// Eight series, one for each status; the current one has the value 1.
    Set,
    /// One series; its value is the number of the status.
    Code,
}

/// `metrics:` — which series are exported, and their limits.
#[derive(Debug, Clone, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Which tasks have series of their own.
    pub per_task: PerTask,
    /// How their status is exported.
    pub task_status: TaskStatusForm,
    /// Maximum number of tasks with series of their own.
    pub max_task_series: usize,
    /// Labels of tasks that aggregates also have, as `label_<name>`.
    pub aggregate_labels: Vec<Text>,
    /// Model names to keep, all others become `other`; if empty, the first `max_models` of each upstream.
    pub models: Vec<Text>,
    /// Maximum number of model names for each upstream.
    pub max_models: usize,
    /// Maximum number of combinations of model and `aggregate_labels` for each upstream; further ones become `other`, first in the
    /// last of `aggregate_labels`, at last in the model.
    pub max_label_sets: usize,
    /// A new series stays at 0 until every Prometheus has read that, and at most this long, so that `increase()` sees the first event;
    /// 0s disables it.
    pub zero_hold: ConfigDuration,
    /// Whether OpenMetrics output has `_created` lines.
    pub created_lines: bool,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self {
            per_task: PerTask::All,
            task_status: TaskStatusForm::Set,
            max_task_series: 10_000,
            aggregate_labels: Vec::new(),
            models: Vec::new(),
            max_models: 100,
            max_label_sets: 1000,
            zero_hold: ConfigDuration::from_secs(120),
            created_lines: false,
        }
    }
}

impl MetricsConfig {
    pub(super) fn check(&self, at: &str, problems: &mut Problems) {
        if self.max_models == 0 {
            problems.add(format!("{at}.max_models"), "must be at least 1");
        }
        if self.max_label_sets < 10 {
            problems.add(format!("{at}.max_label_sets"), "must be at least 10");
        }
        if self.zero_hold > ConfigDuration::from_secs(86_400) {
            problems.add(format!("{at}.zero_hold"), "must not be longer than 1d");
        }
        let mut seen = BTreeSet::new();
        for (n, Text(name)) in self.aggregate_labels.iter().enumerate() {
            if !is_label_name(name) {
                problems.add(format!("{at}.aggregate_labels.{n}"), LABEL_NAME_RULE);
            } else if !seen.insert(name) {
                problems.add(format!("{at}.aggregate_labels.{n}"), "this label appears twice");
            }
        }
        for (n, Text(name)) in self.models.iter().enumerate() {
            if name.is_empty() || sanitize(name) != name.as_str() {
                problems.add(
                    format!("{at}.models.{n}"),
                    "a model name has 1 to 128 printable characters and is neither a URL nor a key",
                );
            }
        }
    }
}
