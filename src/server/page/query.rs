//! The query of the start page: which tasks, in which order. A wrong value is an error that names the right ones.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Deserialize;

use crate::domain::enum_words::enum_words;
use crate::domain::label_set::UNKNOWN_MODEL;
use crate::domain::{Status, Task};
use crate::view::UpstreamView;

enum_words! {
    /// The order of the tasks.
    Sort {
        /// Stuck ones, then those without a result, then active ones.
        Attention = "attention",
        /// The newest first.
        Newest = "newest",
        /// The oldest first.
        Oldest = "oldest",
        /// By model, the newest first.
        Model = "model",
    }
}

/// The query as it was sent. A form sends empty texts for what is not chosen.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PageQuery {
    upstream: String,
    status: String,
    model: String,
    source: String,
    id: String,
    sort: String,
    refresh: String,
}

/// What there is to choose from.
pub struct Choices<'a> {
    /// Names of upstreams.
    pub upstreams: BTreeSet<&'a str>,
    /// Models of tasks.
    pub models: BTreeSet<&'a str>,
    /// Sources of tasks.
    pub sources: BTreeSet<&'a str>,
}

impl<'a> Choices<'a> {
    /// Of these tasks.
    pub fn of(views: &'a [Arc<UpstreamView>]) -> Self {
        let tasks = || views.iter().flat_map(|view| view.tasks());
        Self {
            upstreams: views.iter().map(|view| &*view.upstream).collect(),
            models: tasks().map(|task| task.video.model.as_deref().unwrap_or(UNKNOWN_MODEL)).collect(),
            sources: tasks().map(|task| task.origin.source.as_str()).collect(),
        }
    }
}

impl PageQuery {
    /// Checks the values. A model or a source that no task has any more is right: its tasks have gone.
    ///
    /// # Errors
    /// When a value is none of its words; the message names them.
    pub fn check(&self, choices: &Choices<'_>) -> Result<(), String> {
        let is_one_of = |key: &str, value: &str, words: &[&str]| {
            if value.is_empty() || words.contains(&value) {
                Ok(())
            } else {
                Err(format!("{key} must be one of {}", words.join(", ")))
            }
        };
        let upstreams: Vec<&str> = choices.upstreams.iter().copied().collect();
        is_one_of("upstream", &self.upstream, &upstreams)?;
        is_one_of("status", &self.status, &Status::ALL.map(Status::as_str))?;
        is_one_of("sort", &self.sort, Sort::WORDS)?;
        is_one_of("refresh", &self.refresh, &["off"])
    }

    /// The fields of the form with their choices; the search for ids is not one of them.
    pub fn fields<'a>(&'a self, choices: &Choices<'a>) -> [(&'static str, &'a str, Vec<&'a str>); 5] {
        let statuses = Status::ALL.map(Status::as_str).to_vec();
        [
            ("upstream", &self.upstream, choices.upstreams.iter().copied().collect()),
            ("status", &self.status, statuses),
            ("model", &self.model, choices.models.iter().copied().collect()),
            ("source", &self.source, choices.sources.iter().copied().collect()),
            ("sort", &self.sort, Sort::WORDS[1..].to_vec()),
        ]
    }

    /// The part of an id that is searched for.
    pub fn id(&self) -> &str {
        self.id.trim()
    }

    /// The order.
    pub fn sort(&self) -> Sort {
        Sort::from_word(&self.sort).unwrap_or(Sort::Attention)
    }

    /// Whether a task matches every condition.
    pub fn matches(&self, task: &Task) -> bool {
        let is = |expected: &str, text: &str| expected.is_empty() || expected == text;
        is(&self.upstream, &task.origin.upstream)
            && is(&self.status, task.status.as_str())
            && is(&self.model, task.video.model.as_deref().unwrap_or(UNKNOWN_MODEL))
            && is(&self.source, &task.origin.source)
            && task.id.as_str().contains(self.id())
    }

    /// The page is not to be refreshed.
    pub fn is_paused(&self) -> bool {
        self.refresh == "off"
    }

    /// The same query with refreshing, or without.
    pub fn with_other_refresh(&self) -> String {
        let refresh = if self.is_paused() { "" } else { "off" };
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (key, value) in [
            ("upstream", &*self.upstream),
            ("status", &self.status),
            ("model", &self.model),
            ("source", &self.source),
            ("id", &self.id),
            ("sort", &self.sort),
            ("refresh", refresh),
        ] {
            if !value.is_empty() {
                query.append_pair(key, value);
            }
        }
        query.finish()
    }
}
