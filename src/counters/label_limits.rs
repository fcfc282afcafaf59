//! Limits on label values: the first model names and label values of an upstream are kept, further ones become `other`. The
//! label sets that they make are limited, too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::set_limits::{COMMIT_PENDING, SetLimiter};
use crate::domain::label_set::{AggregateLabels, OTHER, UNKNOWN_MODEL};
use crate::domain::labels::sanitize;
use crate::domain::{LabelSet, Task, Timestamp};

/// The value of an aggregate label that a task does not have.
pub const NONE: &str = "none";

/// Most values of one aggregate label.
const MAX_LABEL_VALUES: usize = 100;

/// A label set that no tracked task has had for this long is dropped, and its names are free again.
pub const UNUSED_FOR: Duration = Duration::from_hours(90 * 24);

/// The configured limits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelLimits {
    /// Only these model names are kept; empty for the first ones seen.
    pub models: Vec<Arc<str>>,
    /// Most model names.
    pub max_models: usize,
    /// The aggregate labels: the source's name and the exported one, sorted.
    pub labels: Vec<(String, Arc<str>)>,
    /// Positions in `labels`, in the order in which they become `other` when there are too many label sets.
    pub fold_order: Vec<usize>,
    /// Most label sets.
    pub max_sets: usize,
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
    sets: SetLimiter,
}

impl LabelLimiter {
    /// Keeps nothing yet.
    pub fn new(limits: LabelLimits) -> Self {
        Self { limits, kept: BTreeMap::new(), folded: BTreeMap::new(), sets: SetLimiter::default() }
    }

    /// Takes new limits; names that are kept stay, and so do label sets, unless they have other labels.
    pub fn configure(&mut self, limits: LabelLimits) {
        if self.limits.labels != limits.labels {
            self.sets.clear();
        }
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

    /// Gives a task its label set, within the limits. A task keeps the one that it has.
    pub fn assign(&mut self, task: &mut Task, now: Timestamp) {
        if !self.sets.has(&task.label_set()) {
            self.assign_again(task, now);
        }
    }

    /// Gives a task a label set, within the limits: it is new, or its model has become known.
    pub fn assign_again(&mut self, task: &mut Task, now: Timestamp) {
        let wanted = LabelSet { labels: self.aggregate_labels(task, now), ..task.label_set() };
        let LabelLimits { max_sets, fold_order, .. } = &self.limits;
        task.set_label_set(self.sets.admit(wanted, *max_sets, fold_order, now));
    }

    /// The aggregate labels of a task.
    fn aggregate_labels(&mut self, task: &Task, now: Timestamp) -> AggregateLabels {
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

    /// Keeps a label set that the state has, and its names, whatever the limits are now.
    pub fn restore(&mut self, label_set: &LabelSet, used: Timestamp) {
        self.sets.restore(label_set.clone(), used);
        for (label, name) in named_values(&self.limits.labels, label_set) {
            if ![UNKNOWN_MODEL, OTHER, NONE].contains(&&**name) {
                self.kept.entry(label.to_owned()).or_default().entry(name.clone()).or_insert(used);
            }
        }
    }

    /// Frees the label sets that are not among these, which are all that are counted, and the names that none of them has.
    pub fn free_unused<'a>(&mut self, label_sets: impl Iterator<Item = &'a LabelSet>, now: Timestamp) {
        let label_sets: BTreeSet<&LabelSet> = label_sets.collect();
        self.sets.free_unused(&label_sets, now);
        let used: BTreeSet<(&str, &Arc<str>)> =
            label_sets.iter().flat_map(|label_set| named_values(&self.limits.labels, label_set)).collect();
        for (label, kept) in &mut self.kept {
            kept.retain(|name, since| used.contains(&(label.as_str(), name)) || *since + COMMIT_PENDING > now);
        }
    }

    /// How often a value became `other` since the last call, by label.
    pub fn take_folded(&mut self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.folded)
    }

    /// How often a label set was folded since the last call.
    pub const fn take_folded_sets(&mut self) -> u64 {
        self.sets.take_folded()
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
        LabelLimiter::new(LabelLimits {
            max_models,
            labels,
            fold_order: vec![0],
            max_sets: 200,
            ..LabelLimits::default()
        })
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

    #[test]
    fn a_task_keeps_its_label_set_until_its_model_is_known() {
        let mut limiter = limiter(99);
        limiter.limits.max_sets = 10;
        let task = |team: &str| {
            let labels = [("team".to_owned(), team.to_owned())].into();
            Task::new(
                "u".into(),
                "ark",
                NewTask { labels: Arc::new(labels), ..NewTask::new(TaskId::parse("t").unwrap()) },
                NOW,
            )
        };
        let mut tasks: Vec<Task> = (0..9).map(|n| task(&format!("t{n}"))).collect();
        for task in &mut tasks {
            limiter.assign(task, NOW);
        }
        assert_eq!(tasks[7].label_set(), label_set(UNKNOWN_MODEL, "t7"));
        assert_eq!(tasks[8].label_set(), label_set(UNKNOWN_MODEL, OTHER), "two of ten are for folded sets");
        let with_model = |task: &mut Task| Arc::make_mut(&mut task.video).model = Some("m".into());
        with_model(&mut tasks[0]);
        limiter.assign_again(&mut tasks[0], NOW);
        assert_eq!(tasks[0].label_set(), label_set(OTHER, OTHER), "the last place");
        assert_eq!(tasks[0].video.model.as_deref(), Some(OTHER));
        limiter.limits.max_sets = 100;
        for task in &mut tasks {
            let before = task.label_set();
            limiter.assign(task, NOW);
            assert_eq!(task.label_set(), before, "more sets are allowed now");
        }
        assert_eq!(limiter.take_folded_sets(), 2);
        limiter.configure(LabelLimits { max_sets: 100, labels: Vec::new(), ..LabelLimits::default() });
        limiter.assign(&mut tasks[8], NOW);
        assert_eq!(tasks[8].label_set().labels.len(), 0);
    }

    #[test]
    fn a_whole_gateway_stays_within_the_limits_and_keeps_its_channels() {
        let names = ["channel", "group", "user"];
        let labels = names.map(|name| (name.to_owned(), format!("label_{name}").into())).to_vec();
        // `aggregate_labels: [channel, group, user]`: the last one is folded first.
        let limits =
            LabelLimits { fold_order: vec![2, 1, 0], max_sets: 1000, max_models: 50, labels, ..LabelLimits::default() };
        let mut limiter = LabelLimiter::new(limits);
        // Steps that have no common factor with the counts reach every combination.
        let (mut user, mut channel) = (0u32, 0u32);
        let (mut sets, mut channels, mut users) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for _ in 0..100_000 {
            (user, channel) = ((user + 173) % 500, (channel + 7) % 20);
            let values = [format!("c{channel}"), format!("g{}", user % 3), format!("u{user}")];
            let labels = names.map(str::to_owned).into_iter().zip(values).collect();
            let new = NewTask { labels: Arc::new(labels), ..NewTask::new(TaskId::parse("t").unwrap()) };
            let mut task = Task::new("u".into(), "new_api", new, NOW);
            limiter.assign(&mut task, NOW);
            Arc::make_mut(&mut task.video).model = limiter.model(&format!("m{}", channel / 4), NOW);
            limiter.assign_again(&mut task, NOW);
            let labels = task.origin.aggregate_labels.clone();
            channels.insert(labels[0].1.to_string());
            users.insert(labels[2].1.to_string());
            sets.insert(task.label_set());
        }
        assert!(sets.len() <= 1000, "{}", sets.len());
        assert_eq!(channels, (0..20).map(|n| format!("c{n}")).collect(), "what comes late is folded by user");
        assert!(users.contains(OTHER) && users.len() > 10, "{users:?}");
    }
}
