//! What is odd about an upstream's answers: counted each time, logged once.

use std::collections::HashSet;
use std::sync::Arc;

use crate::domain::drift::{Field, FieldProblem};
use crate::domain::{Answer, Drift, TaskId};
use crate::metrics::{Metrics, Now};

/// Unknown status words that are told of; more are only counted.
const MAX_WORDS: usize = 50;

/// What was told of one upstream.
pub struct Oddities {
    upstream: Arc<str>,
    provider: &'static str,
    words: HashSet<String>,
    drift: HashSet<(Field, FieldProblem)>,
}

impl Oddities {
    /// Nothing yet.
    pub fn new(upstream: Arc<str>, provider: &'static str) -> Self {
        Self { upstream, provider, words: HashSet::new(), drift: HashSet::new() }
    }

    /// Looks at a good answer.
    pub fn note(&mut self, answer: &Answer, id: &TaskId, metrics: &Metrics, now: Now) {
        if let Some(word) = &answer.unknown_word {
            metrics.unknown_word(&self.upstream, self.provider);
            if self.words.len() < MAX_WORDS && self.words.insert(word.clone()) {
                tracing::warn!(upstream.name = %self.upstream, task.id = %id, word, "a status word that no table knows");
            }
        }
        self.note_drift(answer.drift, id, metrics, now);
    }

    /// Looks at where an answer was not as documented.
    pub fn note_drift(&mut self, drift: Drift, id: &TaskId, metrics: &Metrics, now: Now) {
        metrics.drifted(&self.upstream, self.provider, drift, now);
        for (field, problem) in drift.iter().filter(|problem| self.drift.insert(*problem)) {
            let (field, problem) = (field.as_str(), problem.as_str());
            tracing::warn!(upstream.name = %self.upstream, task.id = %id, field, problem, "an answer is not as its provider documents it");
        }
    }
}
