//! Reports what is unusual about an upstream's answers: each kind is logged once.

use std::collections::HashSet;
use std::sync::Arc;

use crate::domain::drift::{Field, FieldProblem};
use crate::domain::{Drift, TaskId};

/// Most unknown status words, and models of unknown vendors, that are logged.
const MAX_WORDS: usize = 50;

/// What was logged of one upstream.
pub struct DriftReporter {
    upstream: Arc<str>,
    words: HashSet<String>,
    drift: HashSet<(Field, FieldProblem)>,
    /// Models of vendors whose bodies are not known.
    models: HashSet<String>,
    has_effects: bool,
    has_list_only: bool,
}

impl DriftReporter {
    /// Nothing was logged yet.
    pub fn new(upstream: Arc<str>) -> Self {
        Self {
            upstream,
            words: HashSet::new(),
            drift: HashSet::new(),
            models: HashSet::new(),
            has_effects: false,
            has_list_only: false,
        }
    }

    /// An answer had an unknown status word.
    pub fn report_word(&mut self, word: &str, id: &TaskId) {
        if self.words.len() < MAX_WORDS && self.words.insert(word.to_owned()) {
            tracing::warn!(upstream.name = %self.upstream, task.id = %id, word, "unknown status word");
        }
    }

    /// A gateway's row had the body of a vendor that is not known.
    pub fn report_unknown_body(&mut self, model: &str, id: &TaskId) {
        if self.models.len() < MAX_WORDS && self.models.insert(model.to_owned()) {
            tracing::info!(
                upstream.name = %self.upstream, task.id = %id, model,
                "the gateway's row has the body of an unknown vendor; only a status word and an error are read from it"
            );
        }
    }

    /// Reading a task has changed it at its gateway.
    pub fn report_effect(&mut self, id: &TaskId) {
        if !std::mem::replace(&mut self.has_effects, true) {
            tracing::warn!(
                upstream.name = %self.upstream, task.id = %id,
                "polling tasks of Gemini and Vertex channels makes the gateway store only their status, without finish time and refund; \
                 see \"What reading does to a gateway\" in docs/configuration.md"
            );
        }
    }

    /// A task is unknown to the key although a list shows it.
    pub fn report_list_only(&mut self, id: &TaskId) {
        if !std::mem::replace(&mut self.has_list_only, true) {
            tracing::warn!(
                upstream.name = %self.upstream, task.id = %id,
                "the key does not know tasks that the list shows: key and list belong to different users. These tasks are read by \
                 the list only"
            );
        }
    }

    /// An answer was not as its provider documents it.
    pub fn report_drift(&mut self, drift: Drift, id: &TaskId) {
        for (field, problem) in drift.iter().filter(|problem| self.drift.insert(*problem)) {
            let (field, problem) = (field.as_str(), problem.as_str());
            tracing::warn!(upstream.name = %self.upstream, task.id = %id, field, problem, "answer differs from the provider's documentation");
        }
    }
}
