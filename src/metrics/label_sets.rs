//! Writes the counters of tasks, for every label set of every upstream.

use std::sync::Arc;

use super::encoder::{Encoder, Extra};
use super::families::{self, Family};
use super::histogram::HistogramRow;
use super::text::to_f64;
use crate::counters::{CounterSet, HeldCount, Part, StateKey};
use crate::domain::counter::{CounterKind, Unit};
use crate::domain::{Counter, CounterKey, LabelSet, Timestamp};
use crate::view::UpstreamView;

/// Writes every family of counters. `started` is the creation time of counters that the state does not keep.
pub fn write(out: &mut Encoder, views: &[Arc<UpstreamView>], started: Timestamp) {
    write_upstream_counts(out, views, started);
    for counter in Counter::ALL {
        let sets = views.iter().flat_map(|view| view.counters.sets());
        out.rows(&Family::from_counter(*counter), sets, |out, (label_set, set)| {
            for series in set.series(*counter) {
                write_series(out, series, (label_set, set));
            }
        });
    }
}

fn write_series(out: &mut Encoder, series: CounterKey, (label_set, set): (&LabelSet, &CounterSet)) {
    let (spec, values) = (series.counter.spec(), set.values(series));
    let labels = label_set.with(&series.labels().collect::<Vec<_>>());
    let created = Some(set.created(series));
    let in_unit = |number: u64| match spec.unit {
        Unit::One => to_f64(number),
        Unit::Thousandth => to_f64(number) / 1000.0,
    };
    if let (CounterKind::Histogram(_), Some(histogram)) = (spec.kind, values.histogram(series)) {
        let buckets = 0..histogram.counts.len();
        let row = HistogramRow {
            bounds: histogram.bounds,
            counts: histogram.counts,
            sum: in_unit(histogram.sum),
            created,
            exemplars: buckets.map(|n| set.exemplar(StateKey { series, part: Part::Bucket(n) })).collect(),
            native: Some(histogram.native),
        };
        out.histogram(&labels, &row);
    } else {
        let exemplar = set.exemplar(StateKey { series, part: Part::Count });
        out.row(&labels, in_unit(values.count(series)), Extra { created, exemplar });
    }
}

fn write_upstream_counts(out: &mut Encoder, views: &[Arc<UpstreamView>], started: Timestamp) {
    let since = |created| Extra { created: Some(created), exemplar: None };
    let write = |out: &mut Encoder, labels: &[(&str, &str)], count: &HeldCount| {
        out.row(labels, to_f64(count.exported()), since(count.created()));
    };
    let sources = views.iter().flat_map(|view| view.counters.sources().map(move |source| (view, source)));
    out.rows(&families::DISCOVERED, sources, |out, (view, (source, count))| {
        write(out, &[("upstream", &view.upstream), ("source", source)], count);
    });
    let drift = views.iter().flat_map(|view| view.counters.drift().map(move |drift| (view, drift)));
    out.rows(&families::SCHEMA_DRIFT, drift, |out, (view, (field, problem, count))| {
        let (field, problem) = (field.as_str(), problem.as_str());
        let labels =
            [("upstream", &*view.upstream), ("provider", view.provider), ("field", field), ("problem", problem)];
        write(out, &labels, count);
    });
    out.rows(&families::UNKNOWN_STATUSES, views, |out, view| {
        let labels = [("upstream", &*view.upstream), ("provider", view.provider)];
        out.row(&labels, to_f64(view.counters.unknown_words()), since(started));
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::counters::UpstreamCounters;
    use crate::domain::time::Now;
    use crate::domain::{NewTask, Status, Task, TaskId, Transition};
    use crate::metrics::format::Format;

    #[test]
    fn every_series_that_is_not_late_is_exported_from_the_start() {
        let now = Now { wall: Timestamp::from_secs(0), monotonic: crate::clock::instant() };
        let task = Task::new("u".into(), "new_api", NewTask::new(TaskId::parse("t").unwrap()), now.wall);
        let page = |counters: &UpstreamCounters| {
            let empty = UpstreamView::empty("u".into(), "new_api");
            let view = UpstreamView { counters: Arc::new(counters.clone()), ..empty };
            let mut out = Encoder::new(Format::Text, false);
            write(&mut out, &[Arc::new(view)], now.wall);
            String::from_utf8(out.finish()).unwrap()
        };
        let mut counters = UpstreamCounters::new(Duration::ZERO, Vec::new());
        let hold = counters.zero_hold(now.wall);
        counters.create_series(task.label_set(), hold, now);
        let before = page(&counters).lines().count();
        let possible = Counter::ALL.iter().flat_map(|counter| counter.combinations()).filter(|key| key.is_possible());
        let increments: Vec<_> = possible.map(|key| (key, 500)).collect();
        let late = increments.iter().filter(|(key, _)| key.counter.is_late()).count();
        assert!(late > 40 && increments.len() > late + 30, "{late} of {}", increments.len());
        counters.count(&Transition { task, from: Status::Running, at: now.wall, increments, durable: true }, hold, now);
        let after = page(&counters);
        assert_eq!(after.lines().count(), before + late);
        assert!(after.contains("videogen_quota_total{upstream=\"u\",provider=\"new_api\",model=\"unknown\"} 0.5\n"));
        assert!(!after.lines().any(|line| line.starts_with("videogen_task") && line.ends_with(" 0")), "{after}");
    }
}
