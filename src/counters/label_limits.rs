//! Limits on label values: the first model names and label values of an upstream are kept, further ones become `other`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::domain::label_set::{AggregateLabels, UNKNOWN_MODEL};
use crate::domain::labels::sanitize;
use crate::domain::{LabelSet, Task, Timestamp};

/// The value of a name beyond the limit.
pub const OTHER: &str = "other";

/// The value of an aggregate label that a task does not have.
pub const NONE: &str = "none";

/// Most values of one aggregate label.
const MAX_LABEL_VALUES: usize = 100;

/// A label set that no tracked task has had for this long is dropped, and its names are free again.
pub const UNUSED_FOR: Duration = Duration::from_hours(90 * 24);

/// A name is kept before the first label set that has it is committed.
const COMMIT_PENDING: Duration = Duration::from_hours(1);

/// The configured limits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelLimits {
    /// Only these model names are kept; empty for the first ones seen.
    pub models: Vec<Arc<str>>,
    /// Most model names.
    pub max_models: usize,
    /// The aggregate labels: the source's name and the exported one, sorted.
    pub labels: Vec<(String, Arc<str>)>,
}

impl LabelLimits {
    /// The aggregate labels as they are exported.
    pub fn exported_names(&self) -> Vec<Arc<str>> {
        self.labels.iter().map(|(_, exported)| exported.clone()).collect()
    }
}

/// The names that one upstream keeps.
#[derive(Debug)]
pub struct LabelLimiter {
    limits: LabelLimits,
    /// By label (`model` or a source label), then value: when it was first kept.
    kept: BTreeMap<String, BTreeMap<Arc<str>, Timestamp>>,
    /// How often a value became `other` since [`LabelLimiter::take_folded`], by label.
    folded: BTreeMap<String, u64>,
}

impl LabelLimiter {
    /// Keeps nothing yet.
    pub fn new(limits: LabelLimits) -> Self {
        Self { limits, kept: BTreeMap::new(), folded: BTreeMap::new() }
    }

    /// Takes new limits; names that are kept stay.
    pub fn configure(&mut self, limits: LabelLimits) {
        self.limits = limits;
    }

    /// The limits.
    pub const fn limits(&self) -> &LabelLimits {
        &self.limits
    }

    /// The `model` label for a model name; `None` for a blank one.
    pub fn model(&mut self, name: &str, now: Timestamp) -> Option<Arc<str>> {
        let name = sanitize(name);
        if name.is_empty() {
            return None;
        }
        if self.limits.models.is_empty() {
            return Some(self.keep("model", &name, self.limits.max_models, now));
        }
        let allowed = self.limits.models.iter().find(|allowed| ***allowed == *name).cloned();
        Some(allowed.unwrap_or_else(|| self.fold("model")))
    }

    /// The aggregate labels of a task.
    pub fn aggregate_labels(&mut self, task: &Task, now: Timestamp) -> AggregateLabels {
        let labels = self.limits.labels.clone();
        let value = |(name, exported): (String, Arc<str>)| {
            let value = task.origin.labels.get(&name).filter(|value| !value.is_empty());
            let value = value.map_or_else(|| NONE.into(), |value| self.keep(&name, value, MAX_LABEL_VALUES, now));
            (exported, value)
        };
        labels.into_iter().map(value).collect()
    }

    fn keep(&mut self, label: &str, name: &str, max: usize, now: Timestamp) -> Arc<str> {
        let kept = self.kept.entry(label.to_owned()).or_default();
        if let Some((known, _)) = kept.get_key_value(name) {
            return known.clone();
        }
        if kept.len() >= max {
            return self.fold(label);
        }
        let name: Arc<str> = name.into();
        kept.insert(name.clone(), now);
        name
    }

    fn fold(&mut self, label: &str) -> Arc<str> {
        *self.folded.entry(label.to_owned()).or_default() += 1;
        OTHER.into()
    }

    /// Keeps the names of a label set that the state has, whatever the limits are now.
    pub fn restore(&mut self, label_set: &LabelSet, used: Timestamp) {
        for (label, name) in named_values(&self.limits.labels, label_set) {
            if ![UNKNOWN_MODEL, OTHER, NONE].contains(&&**name) {
                self.kept.entry(label.to_owned()).or_default().entry(name.clone()).or_insert(used);
            }
        }
    }

    /// Frees the names that none of these label sets, which are all there are, has.
    pub fn free_unused<'a>(&mut self, label_sets: impl Iterator<Item = &'a LabelSet>, now: Timestamp) {
        let used: BTreeSet<(&str, &Arc<str>)> =
            label_sets.flat_map(|label_set| named_values(&self.limits.labels, label_set)).collect();
        for (label, kept) in &mut self.kept {
            kept.retain(|name, since| used.contains(&(label.as_str(), name)) || *since + COMMIT_PENDING > now);
        }
    }

    /// How often a value became `other` since the last call, by label.
    pub fn take_folded(&mut self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.folded)
    }
}

/// The values of a label set that are limited, each with its label.
fn named_values<'a>(
    labels: &'a [(String, Arc<str>)],
    label_set: &'a LabelSet,
) -> impl Iterator<Item = (&'a str, &'a Arc<str>)> {
    let values = labels.iter().zip(label_set.labels.iter()).map(|((label, _), (_, value))| (label.as_str(), value));
    std::iter::once(("model", &label_set.model)).chain(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{NewTask, TaskId};

    const NOW: Timestamp = Timestamp::from_secs(1_000);

    fn limiter(max_models: usize) -> LabelLimiter {
        let labels = vec![("team".to_owned(), "label_team".into())];
        LabelLimiter::new(LabelLimits { max_models, labels, ..LabelLimits::default() })
    }

    fn label_set(model: &str, team: &str) -> LabelSet {
        let labels = [("label_team".into(), team.into())].into();
        LabelSet { upstream: "u".into(), provider: "ark", model: model.into(), labels }
    }

    fn model(limiter: &mut LabelLimiter, name: &str, now: Timestamp) -> Option<String> {
        limiter.model(name, now).as_deref().map(str::to_owned)
    }

    fn team(limiter: &mut LabelLimiter, value: Option<&str>) -> String {
        let labels = value.map(|value| ("team".to_owned(), value.to_owned())).into_iter().collect();
        let new = NewTask { labels: Arc::new(labels), ..NewTask::new(TaskId::parse("t").unwrap()) };
        limiter.aggregate_labels(&Task::new("u".into(), "ark", new, NOW), NOW)[0].1.to_string()
    }

    #[test]
    fn the_first_names_are_kept_others_fold_and_unused_ones_are_freed() {
        let mut limiter = limiter(2);
        assert_eq!(model(&mut limiter, "m1", NOW).as_deref(), Some("m1"));
        assert_eq!(model(&mut limiter, "https://x.y/m", NOW).as_deref(), Some("redacted"));
        assert_eq!(model(&mut limiter, "m3", NOW).as_deref(), Some(OTHER));
        assert_eq!(model(&mut limiter, "  ", NOW), None);
        assert_eq!(limiter.take_folded(), BTreeMap::from([("model".to_owned(), 1)]));
        assert!(limiter.take_folded().is_empty());
        limiter.free_unused(std::iter::empty(), NOW + COMMIT_PENDING / 2);
        assert_eq!(model(&mut limiter, "m3", NOW).as_deref(), Some(OTHER), "their commits may be pending");
        let later = NOW + COMMIT_PENDING;
        limiter.free_unused([label_set("m1", NONE)].iter(), later);
        assert_eq!(model(&mut limiter, "m3", later).as_deref(), Some("m3"));
        assert_eq!(model(&mut limiter, "m4", later).as_deref(), Some(OTHER));
    }

    #[test]
    fn names_in_the_state_are_kept_after_a_restart() {
        let mut limiter = limiter(2);
        for name in ["m1", UNKNOWN_MODEL, OTHER, "m2"] {
            limiter.restore(&label_set(name, "growth"), NOW);
        }
        assert_eq!(model(&mut limiter, "m3", NOW).as_deref(), Some(OTHER));
        assert_eq!(model(&mut limiter, "m2", NOW).as_deref(), Some("m2"));
        for n in 1..MAX_LABEL_VALUES {
            assert_ne!(team(&mut limiter, Some(&format!("t{n}"))), OTHER);
        }
        assert_eq!(team(&mut limiter, Some("one too many")), OTHER);
        assert_eq!(team(&mut limiter, Some("growth")), "growth");
        assert_eq!([team(&mut limiter, None), team(&mut limiter, Some(""))], [NONE, NONE]);
    }

    #[test]
    fn an_allow_list_keeps_only_itself() {
        let limits = LabelLimits { models: vec!["good".into()], max_models: 9, ..LabelLimits::default() };
        let mut limiter = LabelLimiter::new(limits);
        assert_eq!(model(&mut limiter, "good", NOW).as_deref(), Some("good"));
        assert_eq!(model(&mut limiter, "bad", NOW).as_deref(), Some(OTHER));
    }
}
