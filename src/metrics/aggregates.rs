//! What is counted about tasks: it outlives them, never falls, and never carries a task id.
//!
//! A label set is born at 0 when its first task is tracked and stays shown at 0 for `metrics.zero_hold`, so that
//! `increase()` sees the first event. What happened meanwhile is released together, by time and not by being looked at.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::counts::{Counts, Histogram};
use super::families::{self, Family};
use super::text::{Text, to_f64};
use crate::domain::drift::{Field, FieldProblem};
use crate::domain::task::Agg;
use crate::domain::{Drift, Increment, Status, Timestamp};

/// All label sets.
#[derive(Debug)]
pub struct Aggregates {
    hold: Duration,
    labels: Vec<String>,
    sets: BTreeMap<Agg, Set>,
    discovered: BTreeMap<(Arc<str>, String), Delayed>,
    drift: BTreeMap<(Arc<str>, &'static str, Field, FieldProblem), Delayed>,
    unknown_words: BTreeMap<(Arc<str>, &'static str), u64>,
}

/// The counters and histograms of one aggregate.
#[derive(Debug)]
struct Set {
    created: Timestamp,
    held: Vec<Increment>,
    shown: Counts,
}

/// A counter that is held at 0 at first.
#[derive(Debug)]
struct Delayed {
    created: Timestamp,
    held: u64,
    shown: u64,
}

impl Delayed {
    fn new(now: Timestamp) -> Self {
        Self { created: now, held: 0, shown: 0 }
    }

    fn release(&mut self, hold: Duration, now: Timestamp) {
        if self.created + hold <= now {
            self.shown += std::mem::take(&mut self.held);
        }
    }
}

impl Aggregates {
    /// Nothing counted yet.
    pub fn new(hold: Duration, labels: Vec<String>) -> Self {
        Self {
            hold,
            labels,
            sets: BTreeMap::new(),
            discovered: BTreeMap::new(),
            drift: BTreeMap::new(),
            unknown_words: BTreeMap::new(),
        }
    }

    /// Takes a new hold and new aggregate labels; sets under other labels go, because their series would clash.
    pub fn configure(&mut self, hold: Duration, labels: Vec<String>) {
        self.hold = hold;
        if self.labels != labels {
            self.sets.clear();
            self.labels = labels;
        }
    }

    /// Creates the set of `agg` at 0, if it is new.
    pub fn born(&mut self, agg: Agg, now: Timestamp) {
        self.add(agg, &[], now);
    }

    /// Adds the increments of one transition, if it has any, to the set of `agg`, which is created at 0 if it is new.
    pub fn add(&mut self, agg: Agg, increments: &[Increment], now: Timestamp) {
        let hold = self.hold;
        let set =
            self.sets.entry(agg).or_insert_with(|| Set { created: now, held: Vec::new(), shown: Counts::default() });
        set.held.extend_from_slice(increments);
        set.release(hold, now);
    }

    /// Creates the counter of a source at 0.
    pub fn source(&mut self, upstream: Arc<str>, source: &str, now: Timestamp) {
        self.discovered.entry((upstream, source.to_owned())).or_insert_with(|| Delayed::new(now));
    }

    /// Counts tasks that a source brought first.
    pub fn discovered(&mut self, upstream: Arc<str>, source: &str, tasks: u64, now: Timestamp) {
        self.discovered.entry((upstream, source.to_owned())).or_insert_with(|| Delayed::new(now)).held += tasks;
    }

    /// Creates the counter of unknown status words of an upstream at 0.
    pub fn upstream(&mut self, upstream: Arc<str>, provider: &'static str) {
        self.unknown_words.entry((upstream, provider)).or_default();
    }

    /// Counts an answer with a status word that no table knows.
    pub fn unknown_word(&mut self, upstream: Arc<str>, provider: &'static str) {
        *self.unknown_words.entry((upstream, provider)).or_default() += 1;
    }

    /// Counts where an answer was not as its provider documents it.
    pub fn drifted(&mut self, upstream: &Arc<str>, provider: &'static str, drift: Drift, now: Timestamp) {
        for (field, problem) in drift.iter() {
            let key = (upstream.clone(), provider, field, problem);
            self.drift.entry(key).or_insert_with(|| Delayed::new(now)).held += 1;
        }
    }

    /// Forgets upstreams that are not configured any more.
    pub fn keep_upstreams(&mut self, keep: impl Fn(&str) -> bool) {
        self.sets.retain(|agg, _| keep(&agg.upstream));
        self.discovered.retain(|(upstream, _), _| keep(upstream));
        self.drift.retain(|(upstream, ..), _| keep(upstream));
        self.unknown_words.retain(|(upstream, _), _| keep(upstream));
    }

    /// The sets that there are.
    pub fn aggs(&self) -> impl Iterator<Item = &Agg> {
        self.sets.keys()
    }

    /// Writes every family of this module as it is shown at `now`.
    pub fn write(&mut self, text: &mut Text, now: Timestamp) {
        let hold = self.hold;
        for set in self.sets.values_mut() {
            set.release(hold, now);
        }
        for counter in self.discovered.values_mut().chain(self.drift.values_mut()) {
            counter.release(hold, now);
        }
        self.write_sources(text);
        self.write_counters(text);
        self.write_histograms(text);
    }

    fn write_sources(&self, text: &mut Text) {
        rows(text, &families::DISCOVERED, &self.discovered, |text, family, ((upstream, source), counts)| {
            text.sample(family.name, [("upstream", &**upstream), ("source", source)], to_f64(counts.shown));
        });
        rows(text, &families::SCHEMA_DRIFT, &self.drift, |text, family, (key, counts)| {
            let (upstream, provider, field, problem) = key;
            let (field, problem) = (field.as_str(), problem.as_str());
            let labels = [("upstream", &**upstream), ("provider", *provider), ("field", field), ("problem", problem)];
            text.sample(family.name, labels, to_f64(counts.shown));
        });
        rows(text, &families::UNKNOWN_STATUSES, &self.unknown_words, |text, family, ((upstream, provider), count)| {
            text.sample(family.name, [("upstream", &**upstream), ("provider", *provider)], to_f64(*count));
        });
    }

    fn write_counters(&self, text: &mut Text) {
        self.family(text, &families::SUBMITTED, |c, row| row(&[], to_f64(c.submitted)));
        self.family(text, &families::FINISHED, |c, row| {
            c.finished.iter().for_each(|(end, n)| row(&[("status", end.as_str())], to_f64(*n)));
        });
        self.family(text, &families::FAILURES, |c, row| {
            for ((end, class), n) in &c.failures {
                row(&[("status", end.as_str()), ("failure_class", class.as_str())], to_f64(*n));
            }
        });
        self.family(text, &families::TOKENS, |c, row| {
            c.tokens.iter().for_each(|(kind, n)| row(&[("token_type", kind.as_str())], *n));
        });
        self.family(text, &families::QUOTA, |c, row| row(&[], c.quota));
        self.family(text, &families::VIDEO_SECONDS, |c, row| {
            c.video.iter().for_each(|(class, n)| row(&[("resolution", class.as_str())], *n));
        });
        self.family(text, &families::TRANSITIONS, |c, row| {
            for ((from, to), n) in &c.moved {
                row(&[("from", from.as_str()), ("to", to.as_str())], to_f64(*n));
            }
        });
        self.family(text, &families::REGRESSIONS, |c, row| row(&[], to_f64(c.regressions)));
        self.family(text, &families::INVALID_DURATIONS, |c, row| {
            for ((span, problem), n) in &c.invalid {
                row(&[("span", span.as_str()), ("problem", problem.as_str())], to_f64(*n));
            }
        });
    }

    fn write_histograms(&self, text: &mut Text) {
        for (family, pick) in [
            (&families::LATENCY, (|c: &Counts| &c.latency) as fn(&Counts) -> &BTreeMap<Status, Histogram>),
            (&families::RUN, |c: &Counts| &c.run),
        ] {
            rows(text, family, &self.sets, |text, family, (agg, set)| {
                for (end, histogram) in pick(&set.shown) {
                    let labels = self.with_agg(agg, &[("status", end.as_str())]);
                    text.histogram(family.name, &labels, histogram.bounds, &histogram.counts, histogram.sum);
                }
            });
        }
        for (family, pick) in [
            (&families::QUEUE, (|c: &Counts| &c.queue) as fn(&Counts) -> &Histogram),
            (&families::GATEWAY_LAG, |c: &Counts| &c.gateway_lag),
        ] {
            rows(text, family, &self.sets, |text, family, (agg, set)| {
                let histogram = pick(&set.shown);
                let labels = self.with_agg(agg, &[]);
                text.histogram(family.name, &labels, histogram.bounds, &histogram.counts, histogram.sum);
            });
        }
    }

    /// One family over all sets; `each` gives its rows by their own labels.
    fn family(&self, text: &mut Text, family: &Family, each: impl Fn(&Counts, &mut dyn FnMut(&[(&str, &str)], f64))) {
        rows(text, family, &self.sets, |text, family, (agg, set)| {
            each(&set.shown, &mut |own, value| text.sample(family.name, self.with_agg(agg, own), value));
        });
    }

    /// The labels of `agg` and then `own`.
    pub fn with_agg<'a>(&'a self, agg: &'a Agg, own: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut labels = vec![("upstream", &*agg.upstream), ("provider", agg.provider), ("model", &*agg.model)];
        labels.extend(self.labels.iter().zip(agg.labels.iter()).map(|(name, value)| (name.as_str(), &**value)));
        labels.extend_from_slice(own);
        labels
    }
}

impl Set {
    fn release(&mut self, hold: Duration, now: Timestamp) {
        if self.created + hold <= now {
            for increment in std::mem::take(&mut self.held) {
                self.shown.add(increment);
            }
        }
    }
}

/// A family's header and rows; nothing at all when there are none.
fn rows<T>(
    text: &mut Text,
    family: &Family,
    items: impl IntoIterator<Item = T>,
    mut row: impl FnMut(&mut Text, &Family, T),
) {
    let mut items = items.into_iter().peekable();
    if items.peek().is_none() {
        return;
    }
    text.header(family);
    for item in items {
        row(text, family, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::FailureClass;

    const HOLD: Duration = Duration::from_mins(2);

    fn agg() -> Agg {
        Agg { upstream: "u".into(), provider: "new_api", model: "m".into(), labels: Arc::new([]) }
    }

    fn page(aggregates: &mut Aggregates, secs: i64) -> String {
        let mut text = Text::default();
        aggregates.write(&mut text, Timestamp::from_secs(secs));
        text.take()
    }

    #[test]
    fn a_set_is_born_at_zero_held_and_then_released_together() {
        let mut aggregates = Aggregates::new(HOLD, Vec::new());
        aggregates.born(agg(), Timestamp::from_secs(0));
        let ending = [Increment::Finished(Status::Failed), Increment::Latency(Status::Failed, 30.0)];
        aggregates.add(agg(), &ending, Timestamp::from_secs(100));
        let finished =
            "videogen_tasks_finished_total{upstream=\"u\",provider=\"new_api\",model=\"m\",status=\"failed\"}";
        let count =
            "videogen_task_latency_seconds_count{upstream=\"u\",provider=\"new_api\",model=\"m\",status=\"failed\"}";
        for (at, value) in [(100, 0), (119, 0), (120, 1), (500, 1)] {
            let page = page(&mut aggregates, at);
            assert!(page.contains(&format!("{finished} {value}\n")), "{at}: {page}");
            assert!(page.contains(&format!("{count} {value}\n")), "{at}: {page}");
        }
        aggregates.add(agg(), &ending, Timestamp::from_secs(501));
        assert!(page(&mut aggregates, 501).contains(&format!("{finished} 2\n")), "an old set is not held");
    }

    #[test]
    fn every_possible_series_is_there_from_the_start() {
        let mut aggregates = Aggregates::new(Duration::ZERO, Vec::new());
        aggregates.born(agg(), Timestamp::from_secs(0));
        let before = page(&mut aggregates, 0).lines().count();
        for end in Status::ENDS {
            let mut increments = vec![Increment::Finished(end), Increment::Moved(Status::Running, end)];
            increments.extend(FailureClass::possible(end).iter().map(|class| Increment::Failure(end, *class)));
            aggregates.add(agg(), &increments, Timestamp::from_secs(1));
        }
        aggregates.add(
            agg(),
            &[Increment::Latency(Status::Expired, 1e6), Increment::Quota(0.5)],
            Timestamp::from_secs(1),
        );
        assert_eq!(page(&mut aggregates, 2).lines().count(), before);
    }
}
