//! The counters of tasks on a page, for every label set of every upstream.

use std::sync::Arc;

use super::encoder::{Encoder, Extra};
use super::families::{self, Family};
use super::head::Head;
use super::histogram::HistogramRow;
use super::text::to_f64;
use crate::counters::{CounterSet, HeldCount, Part, StateKey};
use crate::domain::counter::CounterKind;
use crate::domain::{Counter, CounterKey, LabelSet, Timestamp};
use crate::view::UpstreamView;

/// Adds every family of counters of tasks to a page.
pub fn add_to(head: &mut Head, views: &[Arc<UpstreamView>]) {
    let sets = views.iter().flat_map(|view| view.counters.sets());
    let sets: Arc<[(LabelSet, Arc<CounterSet>)]> =
        sets.map(|(label_set, set)| (label_set.clone(), set.clone())).collect();
    for counter in Counter::ALL {
        head.family(&Family::from_counter(*counter), sets.clone(), |out, (label_set, set)| {
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
    let in_unit = |number: u64| to_f64(number) / spec.unit.scale();
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

/// What is exported of a count, with the time of its creation.
type ExportedCount = (u64, Timestamp);

fn write_count(out: &mut Encoder, labels: &[(&str, &str)], (count, created): ExportedCount) {
    out.row(labels, to_f64(count), Extra { created: Some(created), exemplar: None });
}

/// Adds what is counted of whole upstreams. `started` is the creation time of counters that the state does not keep.
pub fn add_upstream_counts(head: &mut Head, views: &[Arc<UpstreamView>], started: Timestamp) {
    let exported = |count: &HeldCount| (count.exported(), count.created());
    let sources = views.iter().flat_map(|view| {
        let sources = view.counters.sources();
        sources.map(|(source, count)| (view.upstream.clone(), source.to_owned(), exported(count)))
    });
    head.family(&families::DISCOVERED, sources.collect::<Vec<_>>(), |out, (upstream, source, count)| {
        write_count(out, &[("upstream", upstream), ("source", source)], *count);
    });
    let drift = views.iter().flat_map(|view| {
        let drift = view.counters.drift();
        drift.map(|(field, problem, count)| (view.upstream.clone(), view.provider, field, problem, exported(count)))
    });
    head.family(
        &families::SCHEMA_DRIFT,
        drift.collect::<Vec<_>>(),
        |out, (upstream, provider, field, problem, count)| {
            let (field, problem) = (field.as_str(), problem.as_str());
            let labels = [("upstream", &**upstream), ("provider", provider), ("field", field), ("problem", problem)];
            write_count(out, &labels, *count);
        },
    );
    let unknown = views.iter().map(|view| (view.upstream.clone(), view.provider, view.counters.unknown_words()));
    head.family(&families::UNKNOWN_STATUSES, unknown.collect::<Vec<_>>(), move |out, (upstream, provider, count)| {
        write_count(out, &[("upstream", upstream), ("provider", provider)], (*count, started));
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::counters::UpstreamCounters;
    use crate::domain::time::Now;
    use crate::domain::{NewTask, Status, Task, TaskId, Transition};
    use crate::metrics::contents::Contents;
    use crate::metrics::format::Format;
    use crate::metrics::head::PIECE_SIZE;
    use crate::metrics::task_gauges::TaskGauges;

    #[test]
    fn every_series_that_is_not_late_is_exported_from_the_start() {
        let now = Now { steady: Timestamp::from_secs(0), monotonic: crate::clock::instant() };
        let task = Task::new("u".into(), "new_api", NewTask::new(TaskId::parse("t").unwrap()), now.steady);
        let page = |counters: &UpstreamCounters| {
            let empty = UpstreamView::empty("u".into(), "new_api");
            let view = UpstreamView { counters: Arc::new(counters.clone()), ..empty };
            let mut head = Head::from(Encoder::new(Format::Text, false));
            let views = [Arc::new(view)];
            add_upstream_counts(&mut head, &views, now.steady);
            add_to(&mut head, &views);
            String::from_utf8(head.collect::<Vec<_>>().concat()).unwrap()
        };
        let mut counters = UpstreamCounters::new(Duration::ZERO, Vec::new());
        let hold = counters.zero_hold(now.steady);
        counters.create_series(task.label_set(), hold, now);
        let before = page(&counters).lines().count();
        let possible = Counter::ALL.iter().flat_map(|counter| counter.combinations()).filter(|key| key.is_possible());
        let increments: Vec<_> = possible.map(|key| (key, 500)).collect();
        let lines = |key: &CounterKey| match key.counter.spec().kind {
            CounterKind::Counter => 1,
            CounterKind::Histogram(bounds) => bounds.len() + 3,
        };
        let late: usize = increments.iter().filter(|(key, _)| key.counter.is_late()).map(|(key, _)| lines(key)).sum();
        assert!(late > 40, "{late}");
        counters.count(
            &Transition {
                task,
                from: Status::Running,
                at: now.steady,
                increments,
                durable: true,
                sample: None,
                spent: Vec::new(),
            },
            hold,
            now,
        );
        let after = page(&counters);
        // A header of two lines comes with the first series of each late counter.
        let headers = 2 * Counter::ALL.iter().filter(|counter| counter.is_late()).count();
        assert_eq!(after.lines().count(), before + late + headers);
        assert!(after.contains("videogen_quota_total{upstream=\"u\",provider=\"new_api\",model=\"unknown\"} 0.5\n"));
        assert!(!after.lines().any(|line| line.starts_with("videogen_task") && line.ends_with(" 0")), "{after}");
    }

    #[test]
    fn a_page_with_many_label_sets_is_rendered_in_small_pieces() {
        let now = Now { steady: Timestamp::from_secs(0), monotonic: crate::clock::instant() };
        let mut counters = UpstreamCounters::new(Duration::ZERO, Vec::new());
        let task = Task::new("u".into(), "new_api", NewTask::new(TaskId::parse("t").unwrap()), now.steady);
        for n in 0..200 {
            let label_set = LabelSet { model: format!("model-{n}").into(), ..task.label_set() };
            counters.create_series(label_set, counters.zero_hold(now.steady), now);
        }
        let view = UpstreamView { counters: Arc::new(counters), ..UpstreamView::empty("u".into(), "new_api") };
        let views = [Arc::new(view)];
        for format in Format::ALL {
            let mut head = Head::from(Encoder::new(format, true));
            TaskGauges::default().add_to(&mut head, &views, Contents::Everything);
            add_upstream_counts(&mut head, &views, now.steady);
            add_to(&mut head, &views);
            let sizes: Vec<usize> = head.map(|piece| piece.len()).collect();
            assert!(sizes.iter().sum::<usize>() > 1_000_000, "{format:?}: {sizes:?}");
            assert!(sizes.iter().all(|size| *size < PIECE_SIZE * 3 / 2), "{format:?}: {sizes:?}");
        }
    }
}
