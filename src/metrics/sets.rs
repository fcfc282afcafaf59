//! The rows of counters and histograms, for every label set.

use std::collections::BTreeMap;

use super::aggregates::{Aggregates, Set};
use super::counts::{Counts, Histogram};
use super::encoder::{Encoder, Extra, thousandths};
use super::families::{self, Family};
use super::histogram::HistogramRow;
use super::text::to_f64;
use crate::domain::cell::Timed;
use crate::domain::task::Agg;
use crate::domain::{Cell, Status, Timestamp};

/// Writes one row of a family: its own labels, its value, and, where it can have an exemplar, the cell that it shows.
type Row<'a> = &'a mut dyn FnMut(&[(&str, &str)], f64, Option<Cell>);

impl Aggregates {
    /// What a set shows now.
    fn shown<'a>(&'a self, set: &'a Set) -> &'a Counts {
        if set.hold.is_shown() { &set.counts } else { &self.zero }
    }

    /// Writes every family of this module; what belongs to the process was created when that `started`.
    pub fn write(&self, out: &mut Encoder, started: Timestamp) {
        self.write_sources(out, started);
        self.write_counters(out);
        self.write_histograms(out);
    }

    fn write_sources(&self, out: &mut Encoder, started: Timestamp) {
        let since = |created| Extra { created: Some(created), exemplar: None };
        out.rows(&families::DISCOVERED, &self.discovered, |out, ((upstream, source), counts)| {
            out.row(&[("upstream", upstream), ("source", source)], to_f64(counts.shown()), since(counts.created));
        });
        out.rows(&families::SCHEMA_DRIFT, &self.drift, |out, (key, counts)| {
            let (upstream, provider, field, problem) = key;
            let (field, problem) = (field.as_str(), problem.as_str());
            let labels = [("upstream", &**upstream), ("provider", *provider), ("field", field), ("problem", problem)];
            out.row(&labels, to_f64(counts.shown()), since(counts.created));
        });
        out.rows(&families::UNKNOWN_STATUSES, &self.unknown_words, |out, ((upstream, provider), count)| {
            out.row(&[("upstream", upstream), ("provider", provider)], to_f64(*count), since(started));
        });
    }

    fn write_counters(&self, out: &mut Encoder) {
        self.family(out, &families::SUBMITTED, |c, row| row(&[], to_f64(c.submitted), None));
        self.family(out, &families::FINISHED, |c, row| {
            for (end, n) in &c.finished {
                row(&[("status", end.as_str())], to_f64(*n), Some(Cell::Finished(*end)));
            }
        });
        self.family(out, &families::FAILURES, |c, row| {
            for ((end, class), n) in &c.failures {
                let labels = [("status", end.as_str()), ("failure_class", class.as_str())];
                row(&labels, to_f64(*n), Some(Cell::Failures(*end, *class)));
            }
        });
        self.family(out, &families::TOKENS, |c, row| {
            c.tokens.iter().for_each(|(kind, n)| row(&[("token_type", kind.as_str())], thousandths(*n), None));
        });
        self.family(out, &families::QUOTA, |c, row| row(&[], thousandths(c.quota), None));
        self.family(out, &families::VIDEO_SECONDS, |c, row| {
            c.video.iter().for_each(|(class, n)| row(&[("resolution", class.as_str())], thousandths(*n), None));
        });
        self.family(out, &families::TRANSITIONS, |c, row| {
            for ((from, to), n) in &c.moved {
                row(&[("from", from.as_str()), ("to", to.as_str())], to_f64(*n), None);
            }
        });
        self.family(out, &families::REGRESSIONS, |c, row| row(&[], to_f64(c.regressions), None));
        self.family(out, &families::INVALID_DURATIONS, |c, row| {
            for ((span, problem), n) in &c.invalid {
                row(&[("span", span.as_str()), ("problem", problem.as_str())], to_f64(*n), None);
            }
        });
    }

    fn write_histograms(&self, out: &mut Encoder) {
        type ByEnd = fn(&Counts) -> &BTreeMap<Status, Histogram>;
        for (family, pick, timed) in [
            (&families::LATENCY, (|c: &Counts| &c.latency) as ByEnd, Timed::Latency as fn(Status) -> Timed),
            (&families::RUN, |c: &Counts| &c.run, Timed::Run),
        ] {
            out.rows(family, &self.sets, |out, (agg, set)| {
                for (end, histogram) in pick(self.shown(set)) {
                    let labels = self.with_agg(agg, &[("status", end.as_str())]);
                    out.histogram(&labels, &histogram_row(set, histogram, timed(*end)));
                }
            });
        }
        for (family, pick, timed) in [
            (&families::QUEUE, (|c: &Counts| &c.queue) as fn(&Counts) -> &Histogram, Timed::Queue),
            (&families::GATEWAY_LAG, |c: &Counts| &c.gateway_lag, Timed::GatewayLag),
        ] {
            out.rows(family, &self.sets, |out, (agg, set)| {
                let row = histogram_row(set, pick(self.shown(set)), timed);
                out.histogram(&self.with_agg(agg, &[]), &row);
            });
        }
    }

    /// One family over all sets; `each` gives its rows by their own labels.
    fn family(&self, out: &mut Encoder, family: &Family, each: impl Fn(&Counts, Row<'_>)) {
        out.rows(family, &self.sets, |out, (agg, set)| {
            each(self.shown(set), &mut |own, value, cell| {
                let exemplar = cell.and_then(|cell| set.exemplar(cell));
                out.row(&self.with_agg(agg, own), value, Extra { created: Some(set.created), exemplar });
            });
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

fn histogram_row<'a>(set: &'a Set, histogram: &'a Histogram, timed: Timed) -> HistogramRow<'a> {
    let buckets = 0..histogram.counts.len();
    HistogramRow {
        bounds: histogram.bounds,
        counts: &histogram.counts,
        sum: thousandths(histogram.sum),
        created: Some(set.created),
        exemplars: buckets.map(|place| set.exemplar(Cell::Bucket(timed, place))).collect(),
        native: Some(&histogram.native),
    }
}
