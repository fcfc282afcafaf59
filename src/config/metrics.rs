//! `metrics:` — what is shown, and how much of it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::problem::Problems;
use super::value::{Span, Text};
use crate::domain::labels::{LABEL_NAME, is_label_name, sanitize};

/// Which tasks have series of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PerTask {
    /// All, ended ones until their retention is over.
    All,
    /// Those that have not ended.
    Active,
    /// None.
    Off,
}

/// How a task's status is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatusForm {
    /// Eight rows, one of them 1.
    Set,
    /// One row with a number.
    Code,
}

/// The section.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Which tasks have series of their own.
    pub per_task: PerTask,
    /// How their status is shown.
    pub task_status: TaskStatusForm,
    /// Most tasks with series of their own at once.
    pub max_task_series: usize,
    /// Labels of sources that aggregates carry too.
    pub aggregate_labels: Vec<Text>,
    /// Model names that are always kept; when there are any, no others are.
    pub models: Vec<Text>,
    /// Most model names that are kept per upstream.
    pub max_models: usize,
    /// How long a new label set is shown at 0 first.
    pub zero_hold: Span,
    /// `_created` lines in OpenMetrics.
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
            zero_hold: Span::secs(120),
            created_lines: false,
        }
    }
}

impl MetricsConfig {
    pub(super) fn check(&self, at: &str, problems: &mut Problems) {
        if self.max_models == 0 {
            problems.add(format!("{at}.max_models"), "must be at least 1");
        }
        if self.zero_hold > Span::secs(86_400) {
            problems.add(format!("{at}.zero_hold"), "must not be longer than 1d");
        }
        let mut seen = BTreeSet::new();
        for (n, Text(name)) in self.aggregate_labels.iter().enumerate() {
            if !is_label_name(name) {
                problems.add(format!("{at}.aggregate_labels.{n}"), LABEL_NAME);
            } else if !seen.insert(name) {
                problems.add(format!("{at}.aggregate_labels.{n}"), "this label stands here twice");
            }
        }
        for (n, Text(name)) in self.models.iter().enumerate() {
            if name.is_empty() || sanitize(name) != name.as_str() {
                problems
                    .add(format!("{at}.models.{n}"), "a model name is 1 to 128 printable characters and no URL or key");
            }
        }
    }
}
