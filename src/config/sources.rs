//! `static_configs:` and `file_sd_configs:` — task ids in the configuration and in files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::problem::Problems;
use super::scalars::{ConfigDuration, Text};
use crate::domain::labels::{LABEL_NAME_RULE, MAX_LABEL_BYTES, MAX_LABELS, is_label_name, sanitize_source_label};
use crate::domain::{NewTask, TaskId};
use crate::provider::Dialect;

/// Task ids with labels.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetGroup {
    /// The ids of the tasks.
    pub targets: Vec<Text>,
    /// Labels of all these tasks.
    #[serde(default)]
    pub labels: BTreeMap<String, Text>,
}

/// Files of task ids in Prometheus's `file_sd` format, YAML or JSON.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSdConfig {
    /// Paths or glob patterns, relative to the configuration file.
    pub files: Vec<Text>,
    /// Interval between reads; a file that changes is also read at once.
    #[serde(default = "thirty_seconds")]
    pub refresh_interval: ConfigDuration,
    /// Most task ids of all these files; more are an error, and the last list is kept.
    #[serde(default = "default_max_targets")]
    pub max_targets: usize,
}

fn thirty_seconds() -> ConfigDuration {
    ConfigDuration::from_secs(30)
}

/// A checked entry of `static_configs:`.
#[derive(Debug, Clone, Default)]
pub struct StaticSourceSettings {
    /// The tasks.
    pub tasks: Vec<NewTask>,
}

/// A checked entry of `file_sd_configs:`.
#[derive(Debug, Clone)]
pub struct FileSourceSettings {
    /// Glob patterns, absolute or relative to the working directory.
    pub patterns: Vec<PathBuf>,
    /// How often the files are read when no change is noticed.
    pub refresh_interval: Duration,
    /// Most task ids of all files.
    pub max_targets: usize,
}

/// Extensions of `file_sd` files.
const FILE_EXTENSIONS: [&str; 3] = ["yml", "yaml", "json"];

/// Most task ids of an entry of `static_configs:`, and default of `max_targets`.
const MAX_TARGETS: usize = 1_000_000;

/// Largest `max_targets`.
const LARGEST_MAX_TARGETS: usize = 10_000_000;

pub(super) fn default_max_targets() -> usize {
    MAX_TARGETS
}

pub(super) fn check_max_targets(max_targets: usize, at: &str, problems: &mut Problems) {
    if !(1..=LARGEST_MAX_TARGETS).contains(&max_targets) {
        problems.add(format!("{at}.max_targets"), format!("must be between 1 and {LARGEST_MAX_TARGETS}"));
    }
}

/// Why the labels of a group are invalid; `None` if they are valid. The message has no value.
pub fn group_label_problem(group: &TargetGroup) -> Option<String> {
    if group.labels.len() > MAX_LABELS {
        return Some(format!("has more than {MAX_LABELS} labels"));
    }
    group.labels.iter().find_map(|(name, Text(text))| match text.len() {
        _ if !is_label_name(name) => Some(LABEL_NAME_RULE.to_owned()),
        ..=MAX_LABEL_BYTES => None,
        length => Some(format!("label {name} has {length} bytes; at most {MAX_LABEL_BYTES} are read")),
    })
}

impl TargetGroup {
    /// Its labels with sanitized values.
    pub fn clean_labels(&self) -> Arc<BTreeMap<String, String>> {
        let clean = |Text(text): &Text| sanitize_source_label(text).into_owned();
        Arc::new(self.labels.iter().map(|(name, text)| (name.clone(), clean(text))).collect())
    }

    pub(super) fn check(&self, at: &str, problems: &mut Problems) -> StaticSourceSettings {
        if let Some(message) = group_label_problem(self) {
            problems.add(format!("{at}.labels"), message);
        }
        if self.targets.len() > MAX_TARGETS {
            problems.add(format!("{at}.targets"), format!("has more than {MAX_TARGETS} task ids; put them into files"));
            return StaticSourceSettings::default();
        }
        let labels = self.clean_labels();
        let mut tasks = Vec::with_capacity(self.targets.len());
        for (n, Text(id)) in self.targets.iter().enumerate() {
            match TaskId::parse(id) {
                Ok(id) => tasks.push(NewTask { labels: labels.clone(), ..NewTask::new(id) }),
                Err(error) => problems.add(format!("{at}.targets.{n}"), error.to_string()),
            }
        }
        StaticSourceSettings { tasks }
    }
}

impl StaticSourceSettings {
    /// Adds a problem for each id for which this dialect cannot build a request.
    pub(super) fn check_ids(&self, dialect: &Dialect, at: &str, problems: &mut Problems) {
        for (n, task) in self.tasks.iter().enumerate() {
            if let Err(error) = dialect.request(&task.id) {
                problems.add(format!("{at}.targets.{n}"), error.to_string());
            }
        }
    }
}

impl FileSdConfig {
    pub(super) fn check(&self, folder: &Path, at: &str, problems: &mut Problems) -> FileSourceSettings {
        if self.refresh_interval < ConfigDuration::from_secs(1) {
            problems.add(format!("{at}.refresh_interval"), "must be at least 1s");
        }
        if self.files.is_empty() {
            problems.add(format!("{at}.files"), "must name at least one file or pattern");
        }
        let mut patterns = Vec::new();
        for (n, Text(file)) in self.files.iter().enumerate() {
            let extension = Path::new(file).extension().and_then(|extension| extension.to_str());
            if !extension.is_some_and(|extension| FILE_EXTENSIONS.contains(&extension)) {
                problems.add(format!("{at}.files.{n}"), "must end in .yml, .yaml or .json");
            } else if let Err(error) = glob::Pattern::new(file) {
                problems.add(format!("{at}.files.{n}"), format!("not a valid pattern: {}", error.msg));
            }
            let pattern = folder.join(file);
            let mut found = pattern.to_str().and_then(|pattern| glob::glob(pattern).ok()).into_iter().flatten();
            if found.next().is_none() {
                problems.warn(format!("{at}.files.{n}"), "matches no file; tasks appear once there is one");
            }
            patterns.push(pattern);
        }
        check_max_targets(self.max_targets, at, problems);
        FileSourceSettings { patterns, refresh_interval: self.refresh_interval.0, max_targets: self.max_targets }
    }
}
