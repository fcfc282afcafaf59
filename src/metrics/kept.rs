//! Which model names and label values are kept; the others become `other`, so that nothing from outside is without bound.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::config::MetricsConfig;
use crate::domain::labels::sanitise;
use crate::domain::task::{Agg, AggregateLabels, UNKNOWN_MODEL};
use crate::domain::{Task, Timestamp};

/// What a name becomes for which there is no room.
pub const OTHER: &str = "other";

/// What an aggregate label is for a task that does not have it.
pub const NONE: &str = "none";

/// Most values of one aggregate label per upstream.
const MAX_LABEL_VALUES: usize = 100;

/// A label set without a tracked task for this long goes, and its names free their places.
pub const UNUSED_FOR: Duration = Duration::from_hours(90 * 24);

/// A name gets its place a moment before the first label set that carries it is committed.
const ON_ITS_WAY: Duration = Duration::from_hours(1);

/// The aggregate labels, as sources call them and as they are shown; sorted, so that another order is no change.
pub fn labels(config: &MetricsConfig) -> Vec<(String, Arc<str>)> {
    let labels: BTreeSet<&String> = config.aggregate_labels.iter().map(|label| &label.0).collect();
    labels.into_iter().map(|label| (label.clone(), format!("label_{label}").into())).collect()
}

/// The names that have a place.
#[derive(Debug)]
pub struct Kept {
    allowed: Vec<Arc<str>>,
    /// The aggregate labels: as sources call them, and as they are shown.
    labels: Vec<(String, Arc<str>)>,
    max_models: usize,
    /// By upstream and kind (`model` or the label's name), then name: when it got its place.
    places: HashMap<(Arc<str>, String), BTreeMap<Arc<str>, Timestamp>>,
    folded: BTreeMap<String, u64>,
}

impl Kept {
    /// Nothing kept yet.
    pub fn new(config: &MetricsConfig) -> Self {
        let mut kept = Self {
            allowed: Vec::new(),
            labels: Vec::new(),
            max_models: 0,
            places: HashMap::new(),
            folded: BTreeMap::new(),
        };
        kept.configure(config);
        kept
    }

    /// Takes new limits; names that have a place keep it.
    pub fn configure(&mut self, config: &MetricsConfig) {
        self.allowed = config.models.iter().map(|name| name.0.as_str().into()).collect();
        self.max_models = config.max_models;
        self.labels = labels(config);
        for label in std::iter::once("model").chain(self.labels.iter().map(|(label, _)| label.as_str())) {
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

    /// The labels that the aggregates of a task carry.
    pub fn aggregate_labels(&mut self, task: &Task, now: Timestamp) -> AggregateLabels {
        let labels = self.labels.clone();
        let value = |(name, shown): (String, Arc<str>)| {
            (shown, self.label(&task.home.upstream, &name, task.home.labels.get(&name).map(String::as_str), now))
        };
        labels.into_iter().map(value).collect()
    }

    /// The value of an aggregate label for a task of an upstream.
    fn label(&mut self, upstream: &Arc<str>, label: &str, value: Option<&str>, now: Timestamp) -> Arc<str> {
        match value.filter(|value| !value.is_empty()) {
            Some(value) => self.place(upstream, label, value, MAX_LABEL_VALUES, now),
            None => NONE.into(),
        }
    }

    fn place(&mut self, upstream: &Arc<str>, kind: &str, name: &str, max: usize, now: Timestamp) -> Arc<str> {
        let places = self.places.entry((upstream.clone(), kind.to_owned())).or_default();
        if let Some((kept, _)) = places.get_key_value(name) {
            return kept.clone();
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

    /// Gives the names of a label set that goes on after a restart their places again, whatever the limits are now.
    pub fn restore(&mut self, agg: &Agg, used: Timestamp) {
        for (kind, name) in named(&self.labels, agg) {
            if ![UNKNOWN_MODEL, OTHER, NONE].contains(&&**name) {
                let places = self.places.entry((agg.upstream.clone(), kind.to_owned())).or_default();
                places.entry(name.clone()).or_insert(used);
            }
        }
    }

    /// Frees the places of names that none of these label sets, which are all there are, carries.
    pub fn free<'a>(&mut self, sets: impl Iterator<Item = &'a Agg>, now: Timestamp) {
        let carried: BTreeSet<(&Arc<str>, &str, &Arc<str>)> =
            sets.flat_map(|agg| named(&self.labels, agg).map(|(kind, name)| (&agg.upstream, kind, name))).collect();
        for ((upstream, kind), places) in &mut self.places {
            places.retain(|name, placed| {
                carried.contains(&(upstream, kind.as_str(), name)) || *placed + ON_ITS_WAY > now
            });
        }
    }

    /// How often a value was folded, by label.
    pub const fn folded(&self) -> &BTreeMap<String, u64> {
        &self.folded
    }
}

/// The names of a label set, each with its kind.
fn named<'a>(labels: &'a [(String, Arc<str>)], agg: &'a Agg) -> impl Iterator<Item = (&'a str, &'a Arc<str>)> {
    let values = labels.iter().zip(agg.labels.iter()).map(|((kind, _), (_, value))| (kind.as_str(), value));
    std::iter::once(("model", &agg.model)).chain(values)
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
        let set = |model: &str| Agg { upstream: a.clone(), provider: "ark", model: model.into(), labels: [].into() };
        kept.free(std::iter::empty(), NOW + ON_ITS_WAY / 2);
        assert_eq!(name(&mut kept, &a, "m3", NOW).as_deref(), Some(OTHER), "their sets may still be on their way");
        let later = NOW + ON_ITS_WAY;
        kept.free([set("m1")].iter(), later);
        assert_eq!(name(&mut kept, &a, "m3", later).as_deref(), Some("m3"));
        assert_eq!(name(&mut kept, &a, "m4", later).as_deref(), Some(OTHER));
    }

    #[test]
    fn after_a_restart_names_have_their_places_again() {
        let labels = vec![crate::config::Text("team".to_owned())];
        let mut kept =
            Kept::new(&MetricsConfig { max_models: 2, aggregate_labels: labels, ..MetricsConfig::default() });
        let a: Arc<str> = "a".into();
        for model in ["m1", UNKNOWN_MODEL, OTHER, "m2"] {
            let agg = Agg {
                upstream: a.clone(),
                provider: "ark",
                model: model.into(),
                labels: [("label_team".into(), "growth".into())].into(),
            };
            kept.restore(&agg, NOW);
        }
        assert_eq!(kept.model(&a, "m3", NOW).as_deref(), Some(OTHER));
        assert_eq!(kept.model(&a, "m2", NOW).as_deref(), Some("m2"));
        for n in 1..MAX_LABEL_VALUES {
            assert_ne!(&*kept.label(&a, "team", Some(&format!("t{n}")), NOW), OTHER);
        }
        assert_eq!(&*kept.label(&a, "team", Some("one too many"), NOW), OTHER);
        assert_eq!(&*kept.label(&a, "team", Some("growth"), NOW), "growth");
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
