//! The page of `/metrics`: what is counted and gauged first, then every task's lines, in pieces.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use prometheus::proto::{MetricFamily, MetricType};

use super::aggregates::Aggregates;
use super::families::{self, Family, Kind};
use super::tasks::{self, Lines};
use super::text::{Text, to_f64};
use crate::config::TaskStatusForm;
use crate::domain::task::Agg;
use crate::domain::{Status, Task, Timestamp};

/// A piece is sent when it has grown to this size.
const PIECE: usize = 64 * 1024;

/// The tasks as they are at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// All of them.
    pub tasks: Vec<Arc<Task>>,
    /// Those with series of their own.
    pub with_series: Vec<Arc<Task>>,
    /// How many had to go without so far.
    pub refused: u64,
}

/// The page in pieces of about 64 KiB, made one by one as they are taken.
pub struct Page {
    text: Text,
    families: VecDeque<(&'static Family, Lines)>,
    tasks: Vec<Arc<Task>>,
    next_task: usize,
}

impl Page {
    /// A page that begins with `head`.
    pub fn new(head: Text, form: TaskStatusForm, tasks: Vec<Arc<Task>>) -> Self {
        Self { text: head, families: tasks::families(form).into(), tasks, next_task: 0 }
    }
}

impl Iterator for Page {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        while let Some((family, lines)) = self.families.front().copied() {
            if self.next_task == 0 && self.tasks.is_empty() {
                self.families.clear();
                break;
            }
            while let Some(task) = self.tasks.get(self.next_task) {
                if self.next_task == 0 {
                    self.text.header(family);
                }
                self.next_task += 1;
                lines(&mut self.text, family, task);
                if self.text.len() >= PIECE {
                    return Some(Bytes::from(self.text.take()));
                }
            }
            self.next_task = 0;
            self.families.pop_front();
        }
        (!self.text.is_empty()).then(|| Bytes::from(self.text.take()))
    }
}

/// Writes the families that are computed from the table at this moment: nothing that is gone can linger in them.
pub fn write_fleet(text: &mut Text, aggregates: &Aggregates, snapshot: &Snapshot) {
    let mut counts: BTreeMap<Agg, [u64; 8]> = aggregates.aggs().map(|agg| (agg.clone(), [0; 8])).collect();
    let mut oldest: BTreeMap<(Agg, Status), Timestamp> = BTreeMap::new();
    let mut polled: BTreeMap<Arc<str>, Timestamp> = BTreeMap::new();
    let mut disagreements: BTreeMap<(Agg, Status, Status), u64> = BTreeMap::new();
    for task in &snapshot.tasks {
        let agg = task.agg();
        if task.is_active() {
            earliest(oldest.entry((agg.clone(), task.status)).or_insert(task.age_start()), task.age_start());
            let poll = task.last_poll.unwrap_or(task.first_seen);
            earliest(polled.entry(task.upstream.clone()).or_insert(poll), poll);
        }
        if let Some((gateway, upstream)) = task.disagreement() {
            *disagreements.entry((agg.clone(), gateway, upstream)).or_default() += 1;
        }
        counts.entry(agg).or_default()[task.status.index()] += 1;
    }
    if !counts.is_empty() {
        text.header(&families::TASKS);
    }
    for (agg, counts) in &counts {
        for status in Status::ALL {
            let labels = aggregates.with_agg(agg, &[("status", status.as_str())]);
            text.sample(families::TASKS.name, labels, to_f64(counts[status.index()]));
        }
    }
    if !oldest.is_empty() {
        text.header(&families::OLDEST_SUBMIT);
    }
    for ((agg, status), submit) in &oldest {
        let labels = aggregates.with_agg(agg, &[("status", status.as_str())]);
        text.sample(families::OLDEST_SUBMIT.name, labels, submit.as_secs_f64());
    }
    if !polled.is_empty() {
        text.header(&families::OLDEST_POLL);
    }
    for (upstream, poll) in &polled {
        text.sample(families::OLDEST_POLL.name, [("upstream", &**upstream)], poll.as_secs_f64());
    }
    if !disagreements.is_empty() {
        text.header(&families::DISAGREEMENTS);
    }
    for ((agg, gateway, upstream), count) in &disagreements {
        let own = [("gateway_status", gateway.as_str()), ("upstream_status", upstream.as_str())];
        text.sample(families::DISAGREEMENTS.name, aggregates.with_agg(agg, &own), to_f64(*count));
    }
}

fn earliest(held: &mut Timestamp, moment: Timestamp) {
    *held = (*held).min(moment);
}

/// Writes what the `prometheus` crate gathered, with `le` as every family here has it.
pub fn write_gathered(text: &mut Text, gathered: &[MetricFamily]) {
    for family in gathered {
        let kind = match family.get_field_type() {
            MetricType::COUNTER => Kind::Counter,
            MetricType::HISTOGRAM => Kind::Histogram,
            _ => Kind::Gauge,
        };
        text.raw_header(family.name(), family.help(), kind);
        for metric in family.get_metric() {
            let labels: Vec<_> = metric.get_label().iter().map(|pair| (pair.name(), pair.value())).collect();
            match kind {
                Kind::Counter => text.sample(family.name(), labels, metric.get_counter().get_value()),
                Kind::Gauge => text.sample(family.name(), labels, metric.get_gauge().get_value()),
                Kind::Histogram => {
                    let histogram = metric.get_histogram();
                    let buckets = histogram.get_bucket();
                    let bounds: Vec<_> = buckets.iter().map(prometheus::proto::Bucket::upper_bound).collect();
                    let mut below = 0;
                    let mut counts: Vec<_> = buckets
                        .iter()
                        .map(|bucket| {
                            bucket.cumulative_count() - std::mem::replace(&mut below, bucket.cumulative_count())
                        })
                        .collect();
                    counts.push(histogram.get_sample_count() - below);
                    text.histogram(family.name(), &labels, &bounds, &counts, histogram.get_sample_sum());
                }
            }
        }
    }
}
