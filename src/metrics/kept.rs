//! Which model names and label values are kept; the others become `other`, so that nothing from outside is without bound.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::config::MetricsConfig;
use crate::domain::Timestamp;
use crate::domain::labels::sanitise;

/// What a name becomes for which there is no room.
pub const OTHER: &str = "other";

/// What an aggregate label is for a task that does not have it.
pub const NONE: &str = "none";

/// Most values of one aggregate label per upstream.
const MAX_LABEL_VALUES: usize = 100;

/// A name without a tracked task for this long frees its place.
const FREE_AFTER: Duration = Duration::from_hours(90 * 24);

/// The names that have a place.
#[derive(Debug)]
pub struct Kept {
    allowed: Vec<Arc<str>>,
    max_models: usize,
    /// By upstream and kind (`model` or the label's name), then name: when a task last had it.
    places: HashMap<(Arc<str>, String), BTreeMap<Arc<str>, Timestamp>>,
    folded: BTreeMap<String, u64>,
}

impl Kept {
    /// Nothing kept yet.
    pub fn new(config: &MetricsConfig) -> Self {
        let mut kept = Self { allowed: Vec::new(), max_models: 0, places: HashMap::new(), folded: BTreeMap::new() };
        kept.configure(config);
        kept
    }

    /// Takes new limits; names that have a place keep it.
    pub fn configure(&mut self, config: &MetricsConfig) {
        self.allowed = config.models.iter().map(|name| name.0.as_str().into()).collect();
        self.max_models = config.max_models;
        for label in std::iter::once("model").chain(config.aggregate_labels.iter().map(|label| label.0.as_str())) {
            self.folded.entry(label.to_owned()).or_default();
        }
    }

    /// The `model` label for a model name of an upstream; `None` for a blank one.
    pub fn model(&mut self, upstream: &Arc<str>, name: &str, now: Timestamp) -> Option<Arc<str>> {
        let name = sanitise(name);
        if name.is_empty() {
            return None;
        }
        if self.allowed.is_empty() {
            return Some(self.place(upstream, "model", &name, self.max_models, now));
        }
        let allowed = self.allowed.iter().find(|allowed| ***allowed == *name).cloned();
        Some(allowed.unwrap_or_else(|| self.fold("model")))
    }

    /// The value of an aggregate label for a task of an upstream.
    pub fn label(&mut self, upstream: &Arc<str>, label: &str, value: Option<&str>, now: Timestamp) -> Arc<str> {
        match value.filter(|value| !value.is_empty()) {
            Some(value) => self.place(upstream, label, value, MAX_LABEL_VALUES, now),
            None => NONE.into(),
        }
    }

    fn place(&mut self, upstream: &Arc<str>, kind: &str, name: &str, max: usize, now: Timestamp) -> Arc<str> {
        let places = self.places.entry((upstream.clone(), kind.to_owned())).or_default();
        if let Some((kept, _)) = places.get_key_value(name) {
            let kept = kept.clone();
            places.insert(kept.clone(), now);
            return kept;
        }
        if places.len() >= max {
            return self.fold(kind);
        }
        let kept: Arc<str> = name.into();
        places.insert(kept.clone(), now);
        kept
    }

    fn fold(&mut self, kind: &str) -> Arc<str> {
        *self.folded.entry(kind.to_owned()).or_default() += 1;
        OTHER.into()
    }

    /// Notes which models tracked tasks have now, and frees the places of those that none has had for long.
    pub fn free<'a>(&mut self, tracked: impl Iterator<Item = (&'a Arc<str>, &'a Arc<str>)>, now: Timestamp) {
        for (upstream, model) in tracked {
            if let Some(places) = self.places.get_mut(&(upstream.clone(), "model".to_owned()))
                && let Some(used) = places.get_mut(model)
            {
                *used = now;
            }
        }
        for ((_, kind), places) in &mut self.places {
            if kind == "model" {
                places.retain(|_, used| *used + FREE_AFTER > now);
            }
        }
    }

    /// How often a value was folded, by label.
    pub const fn folded(&self) -> &BTreeMap<String, u64> {
        &self.folded
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Text;

    const NOW: Timestamp = Timestamp::from_secs(1_000);

    #[test]
    fn the_first_names_are_kept_others_fold_and_unused_ones_make_room() {
        let mut kept = Kept::new(&MetricsConfig { max_models: 2, ..MetricsConfig::default() });
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let name =
            |kept: &mut Kept, upstream, name: &str, now| kept.model(upstream, name, now).as_deref().map(str::to_owned);
        assert_eq!(name(&mut kept, &a, "m1", NOW).as_deref(), Some("m1"));
        assert_eq!(name(&mut kept, &a, "https://x.y/m", NOW).as_deref(), Some("redacted"));
        assert_eq!(name(&mut kept, &a, "m3", NOW).as_deref(), Some(OTHER));
        assert_eq!(name(&mut kept, &b, "m3", NOW).as_deref(), Some("m3"), "each upstream has its own places");
        assert_eq!(name(&mut kept, &a, "  ", NOW), None);
        assert_eq!(kept.folded()["model"], 1);
        let later = NOW + FREE_AFTER;
        kept.free([(&a, &"m1".into())].into_iter(), later);
        assert_eq!(name(&mut kept, &a, "m3", later).as_deref(), Some("m3"));
    }

    #[test]
    fn an_allow_list_keeps_only_itself() {
        let models = vec![Text("good".to_owned())];
        let mut kept = Kept::new(&MetricsConfig { models, ..MetricsConfig::default() });
        let upstream: Arc<str> = "a".into();
        assert_eq!(kept.model(&upstream, "good", NOW).as_deref(), Some("good"));
        assert_eq!(kept.model(&upstream, "bad", NOW).as_deref(), Some(OTHER));
        assert_eq!(&*kept.label(&upstream, "team", None, NOW), NONE);
    }
}
