//! `static_configs:` and `file_sd_configs:` — where task ids come from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::problem::Problems;
use super::value::{Span, Text};
use crate::domain::labels::{LABEL_NAME, is_label_name, sanitize};
use crate::domain::{NewTask, TaskId};
use crate::provider::Dialect;

/// Task ids with labels: an entry of `static_configs:` and of Prometheus's `file_sd` format alike.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TargetGroup {
    /// Task ids.
    pub targets: Vec<Text>,
    /// Labels that all of them carry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Text>,
}

/// An entry of `file_sd_configs:`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FileSdConfig {
    /// Paths or patterns, relative to the configuration file.
    pub files: Vec<Text>,
    /// How often they are read even when nothing tells of a change.
    #[serde(default = "thirty_seconds")]
    pub refresh_interval: Span,
}

fn thirty_seconds() -> Span {
    Span::secs(30)
}

/// Ids that stand in the configuration.
#[derive(Debug, Clone, Default)]
pub struct StaticSource {
    /// The tasks.
    pub tasks: Vec<NewTask>,
}

/// Files that hold ids.
#[derive(Debug, Clone)]
pub struct FileSource {
    /// Absolute or relative to the working directory.
    pub patterns: Vec<PathBuf>,
    /// How often they are read anyway.
    pub refresh_interval: Duration,
}

/// The extensions that `file_sd` files have.
const EXTENSIONS: [&str; 3] = ["yml", "yaml", "json"];

/// What is wrong with the labels of a group, if anything.
pub fn group_label_problem(group: &TargetGroup) -> Option<String> {
    group.labels.keys().find(|name| !is_label_name(name)).map(|_| LABEL_NAME.to_owned())
}

impl TargetGroup {
    /// The labels, sanitized.
    pub fn clean_labels(&self) -> Arc<BTreeMap<String, String>> {
        let clean = |Text(text): &Text| sanitize(text).into_owned();
        Arc::new(self.labels.iter().map(|(name, text)| (name.clone(), clean(text))).collect())
    }

    pub(super) fn check(&self, at: &str, problems: &mut Problems) -> StaticSource {
        if let Some(message) = group_label_problem(self) {
            problems.add(format!("{at}.labels"), message);
        }
        let labels = self.clean_labels();
        let mut tasks = Vec::with_capacity(self.targets.len());
        for (n, Text(id)) in self.targets.iter().enumerate() {
            match TaskId::parse(id) {
                Ok(id) => tasks.push(NewTask { labels: labels.clone(), ..NewTask::new(id) }),
                Err(error) => problems.add(format!("{at}.targets.{n}"), error.to_string()),
            }
        }
        StaticSource { tasks }
    }
}

impl StaticSource {
    /// Notes the ids that this provider cannot be asked for.
    pub(super) fn check_ids(&self, dialect: &Dialect, at: &str, problems: &mut Problems) {
        for (n, task) in self.tasks.iter().enumerate() {
            if let Err(error) = dialect.request(&task.id) {
                problems.add(format!("{at}.targets.{n}"), error.to_string());
            }
        }
    }
}

impl FileSdConfig {
    pub(super) fn check(&self, folder: &Path, at: &str, problems: &mut Problems) -> FileSource {
        if self.refresh_interval < Span::secs(1) {
            problems.add(format!("{at}.refresh_interval"), "must be at least 1s");
        }
        if self.files.is_empty() {
            problems.add(format!("{at}.files"), "must name at least one file or pattern");
        }
        let mut patterns = Vec::new();
        for (n, Text(file)) in self.files.iter().enumerate() {
            let extension = Path::new(file).extension().and_then(|extension| extension.to_str());
            if !extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) {
                problems.add(format!("{at}.files.{n}"), "must end in .yml, .yaml or .json");
            } else if let Err(error) = glob::Pattern::new(file) {
                problems.add(format!("{at}.files.{n}"), format!("is no pattern: {}", error.msg));
            }
            patterns.push(folder.join(file));
        }
        FileSource { patterns, refresh_interval: self.refresh_interval.0 }
    }
}
