//! The limit on label sets. Labels multiply: a limit on the values of each one does not limit their combinations.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::domain::label_set::{OTHER, UNKNOWN_MODEL};
use crate::domain::{LabelSet, Timestamp};

/// A name or a label set is kept before its first commit.
pub const COMMIT_PENDING: Duration = Duration::from_hours(1);

/// Label sets that can replace every other one: all labels are `other`, and the model is `unknown` or `other`.
const LAST_RESORTS: usize = 2;

/// The label sets of one upstream.
#[derive(Debug, Default)]
pub struct SetLimiter {
    /// Each with the time at which it was admitted.
    sets: BTreeMap<LabelSet, Timestamp>,
    /// How often a set was folded since [`SetLimiter::take_folded`].
    folded: u64,
}

impl SetLimiter {
    /// Whether this set was admitted.
    pub fn has(&self, set: &LabelSet) -> bool {
        self.sets.contains_key(set)
    }

    /// Keeps a set that the state has, whatever the limit is.
    pub fn restore(&mut self, set: LabelSet, used: Timestamp) {
        self.sets.entry(set).or_insert(used);
    }

    /// Forgets every set.
    pub fn clear(&mut self) {
        self.sets.clear();
    }

    /// Admits a set, or folds it: labels become `other` in the order of `fold_order` (positions in the set), and at last the
    /// model. A tenth of `max` is kept for folded sets, so that the first labels still tell tasks apart.
    pub fn admit(&mut self, wanted: LabelSet, max: usize, fold_order: &[usize], now: Timestamp) -> LabelSet {
        let reserved = (max / 10).max(LAST_RESORTS);
        if self.has(&wanted) {
            return wanted;
        }
        if self.sets.len() + reserved < max {
            return self.insert(wanted, now);
        }
        let mut folded = wanted.clone();
        for label in fold_order {
            folded = with_other(folded, *label);
            if self.has_place(&folded, max) {
                break;
            }
        }
        // A task without a model keeps `unknown`: it gets its model later.
        if !self.has_place(&folded, max) && &*folded.model != UNKNOWN_MODEL {
            folded.model = OTHER.into();
        }
        self.folded += u64::from(folded != wanted);
        self.insert(folded, now)
    }

    fn insert(&mut self, set: LabelSet, now: Timestamp) -> LabelSet {
        self.sets.entry(set.clone()).or_insert(now);
        set
    }

    /// Whether a folded set was admitted, or can be without taking the place of a last resort.
    fn has_place(&self, set: &LabelSet, max: usize) -> bool {
        let all_other = (0..set.labels.len()).fold(set.clone(), with_other);
        let last_resorts = [UNKNOWN_MODEL, OTHER].map(|model| LabelSet { model: model.into(), ..all_other.clone() });
        let missing = last_resorts.iter().filter(|last| !self.has(last)).count();
        self.has(set) || last_resorts.contains(set) || self.sets.len() + missing < max
    }

    /// Frees the sets that are not among these, which are all that are counted.
    pub fn free_unused(&mut self, counted: &BTreeSet<&LabelSet>, now: Timestamp) {
        self.sets.retain(|set, since| counted.contains(set) || *since + COMMIT_PENDING > now);
        for set in counted {
            // Its commit took longer than expected.
            self.restore((*set).clone(), now);
        }
    }

    /// How often a set was folded since the last call.
    pub const fn take_folded(&mut self) -> u64 {
        std::mem::replace(&mut self.folded, 0)
    }
}

fn with_other(set: LabelSet, label: usize) -> LabelSet {
    let value = |(n, (name, value)): (usize, &(_, _))| {
        let name = Arc::clone(name);
        if n == label { (name, OTHER.into()) } else { (name, Arc::clone(value)) }
    };
    let labels = set.labels.iter().enumerate().map(value).collect();
    LabelSet { labels, ..set }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000);

    /// Labels `a` and `b`; `a` is the last one in the configuration.
    const A_FIRST: &[usize] = &[0, 1];

    fn set(model: &str, a: &str, b: &str) -> LabelSet {
        let labels = [("label_a".into(), a.into()), ("label_b".into(), b.into())].into();
        LabelSet { upstream: "u".into(), provider: "ark", model: model.into(), labels }
    }

    fn text(set: &LabelSet) -> String {
        format!("{} {} {}", set.model, set.labels[0].1, set.labels[1].1)
    }

    #[test]
    fn the_last_label_folds_first_and_the_model_at_last() {
        let mut limiter = SetLimiter::default();
        let mut admit = |model: &str, a: &str, b: &str| text(&limiter.admit(set(model, a, b), 20, A_FIRST, NOW));
        for n in 0..18 {
            assert_eq!(admit("m", &n.to_string(), "b"), format!("m {n} b"));
        }
        assert_eq!(admit("m", "18", "b"), "other other other", "two places are reserved");
        assert_eq!(admit("unknown", "18", "b"), "unknown other other");
        assert_eq!(admit("m", "7", "b"), "m 7 b", "a set that was admitted stays");
        assert_eq!((limiter.sets.len(), limiter.take_folded(), limiter.take_folded()), (20, 2, 0));

        let mut limiter = SetLimiter::default();
        let mut admit = |model: &str, a: &str, b: &str| text(&limiter.admit(set(model, a, b), 100, A_FIRST, NOW));
        for n in 0..90 {
            admit("m", &n.to_string(), "b");
        }
        assert_eq!(
            [admit("m", "x", "b"), admit("m", "x", "c"), admit("n", "x", "b")],
            ["m other b", "m other c", "n other b"]
        );
        for n in 3..8 {
            assert_eq!(admit("m", "x", &format!("b{n}")), format!("m other b{n}"));
        }
        assert_eq!([admit("m", "x", "d"), admit("unknown", "x", "d")], ["other other other", "unknown other other"]);
    }

    #[test]
    fn sets_of_the_state_stay_and_unused_ones_are_freed() {
        let mut limiter = SetLimiter::default();
        for n in 0..30 {
            limiter.restore(set("m", &n.to_string(), "b"), NOW);
        }
        assert_eq!(text(&limiter.admit(set("m", "29", "b"), 10, A_FIRST, NOW)), "m 29 b");
        assert_eq!(text(&limiter.admit(set("m", "30", "b"), 10, A_FIRST, NOW)), "other other other");
        let (kept, late) = (set("m", "1", "b"), set("m", "late", "b"));
        limiter.free_unused(&[&kept, &late].into(), NOW + COMMIT_PENDING);
        assert_eq!(limiter.sets.keys().collect::<Vec<_>>(), [&kept, &late]);
        assert_eq!(text(&limiter.admit(set("m", "30", "b"), 10, A_FIRST, NOW)), "m 30 b");
    }

    proptest! {
        #[test]
        fn whatever_tasks_come_the_limit_holds_and_the_last_labels_fold_first(
            max in 10usize..60,
            last_is_b in any::<bool>(),
            restored in proptest::collection::vec((0u8..4, 0u8..9, 0u8..9), 0..20),
            tasks in proptest::collection::vec((0u8..9, 0u8..30, 0u8..30), 0..300),
        ) {
            let order: &[usize] = if last_is_b { &[1, 0] } else { A_FIRST };
            let name = |n: u8| if n == 0 { UNKNOWN_MODEL.to_owned() } else { format!("v{n}") };
            let set = |(model, a, b): (u8, u8, u8)| set(&name(model), &format!("v{a}"), &format!("v{b}"));
            let mut limiter = SetLimiter::default();
            for task in restored {
                limiter.restore(set(task), NOW);
            }
            let limit = max.max(limiter.sets.len() + LAST_RESORTS);
            for task in tasks {
                let wanted = set(task);
                let before = limiter.sets.len();
                let had = limiter.has(&wanted);
                let given = limiter.admit(wanted.clone(), max, order, NOW);
                prop_assert!(limiter.has(&given) && limiter.sets.len() <= limit);
                prop_assert_eq!(&limiter.admit(given.clone(), max, order, NOW), &given, "a set that was given is kept");
                let is_other = |label: usize| &*given.labels[label].1 == OTHER;
                if had || before + (max / 10).max(LAST_RESORTS) < max {
                    prop_assert_eq!(&given, &wanted);
                } else {
                    prop_assert!(is_other(order[0]), "the last label folds first: {:?}", given);
                    prop_assert!(given.model == wanted.model || is_other(order[1]), "the model folds at last: {:?}", given);
                }
                prop_assert!((0..2).all(|label| is_other(label) || given.labels[label] == wanted.labels[label]));
                prop_assert!(&*wanted.model != UNKNOWN_MODEL || given.model == wanted.model);
            }
        }
    }
}
