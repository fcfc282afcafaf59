//! The lines of counters and histograms, for every label set.

use std::collections::BTreeMap;

use super::aggregates::{Aggregates, Set};
use super::counts::{Counts, Histogram};
use super::families::{self, Family};
use super::text::{Text, to_f64};
use crate::domain::Status;
use crate::domain::task::Agg;

impl Aggregates {
    /// What a set shows now.
    fn shown<'a>(&'a self, set: &'a Set) -> &'a Counts {
        if set.hold.is_shown() { &set.counts } else { &self.zero }
    }

    /// Writes every family of this module.
    pub fn write(&self, text: &mut Text) {
        self.write_sources(text);
        self.write_counters(text);
        self.write_histograms(text);
    }

    fn write_sources(&self, text: &mut Text) {
        rows(text, &families::DISCOVERED, &self.discovered, |text, family, ((upstream, source), counts)| {
            text.sample(family.name, [("upstream", &**upstream), ("source", source)], to_f64(counts.shown()));
        });
        rows(text, &families::SCHEMA_DRIFT, &self.drift, |text, family, (key, counts)| {
            let (upstream, provider, field, problem) = key;
            let (field, problem) = (field.as_str(), problem.as_str());
            let labels = [("upstream", &**upstream), ("provider", *provider), ("field", field), ("problem", problem)];
            text.sample(family.name, labels, to_f64(counts.shown()));
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
            c.tokens.iter().for_each(|(kind, n)| row(&[("token_type", kind.as_str())], thousandths(*n)));
        });
        self.family(text, &families::QUOTA, |c, row| row(&[], thousandths(c.quota)));
        self.family(text, &families::VIDEO_SECONDS, |c, row| {
            c.video.iter().for_each(|(class, n)| row(&[("resolution", class.as_str())], thousandths(*n)));
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
                for (end, histogram) in pick(self.shown(set)) {
                    let labels = self.with_agg(agg, &[("status", end.as_str())]);
                    text.histogram(
                        family.name,
                        &labels,
                        histogram.bounds,
                        &histogram.counts,
                        thousandths(histogram.sum),
                    );
                }
            });
        }
        for (family, pick) in [
            (&families::QUEUE, (|c: &Counts| &c.queue) as fn(&Counts) -> &Histogram),
            (&families::GATEWAY_LAG, |c: &Counts| &c.gateway_lag),
        ] {
            rows(text, family, &self.sets, |text, family, (agg, set)| {
                let histogram = pick(self.shown(set));
                let labels = self.with_agg(agg, &[]);
                text.histogram(family.name, &labels, histogram.bounds, &histogram.counts, thousandths(histogram.sum));
            });
        }
    }

    /// One family over all sets; `each` gives its rows by their own labels.
    fn family(&self, text: &mut Text, family: &Family, each: impl Fn(&Counts, &mut dyn FnMut(&[(&str, &str)], f64))) {
        rows(text, family, &self.sets, |text, family, (agg, set)| {
            each(self.shown(set), &mut |own, value| text.sample(family.name, self.with_agg(agg, own), value));
        });
    }

    /// The labels of `agg` and then `own`.
    pub fn with_agg<'a>(&'a self, agg: &'a Agg, own: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut labels = vec![("upstream", &*agg.upstream), ("provider", agg.provider), ("model", &*agg.model)];
        labels.extend(agg.labels.iter().map(|(name, value)| (&**name, &**value)));
        labels.extend_from_slice(own);
        labels
    }
}

/// Amounts and sums are counted in thousandths.
fn thousandths(count: u64) -> f64 {
    to_f64(count) / 1000.0
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
