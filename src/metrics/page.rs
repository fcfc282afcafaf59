//! The page of `/metrics`: what is counted and gauged first, then every task's lines, in pieces.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use prometheus::proto::{MetricFamily, MetricType};

use super::aggregates::Aggregates;
use super::encoder::{Encoder, Extra, unit};
use super::families::{self, Family, Kind};
use super::format::Format;
use super::histogram::HistogramRow;
use super::proto::{self, Message};
use super::tasks::{Lines, Messages, TaskFamily};
use super::text::to_f64;
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
    format: Format,
    head: Option<Vec<u8>>,
    families: VecDeque<TaskFamily>,
    tasks: Vec<Arc<Task>>,
    /// Place of the next task in the family that is being written; `None` before its header.
    next: Option<usize>,
    lines: Lines,
    messages: Message,
    is_done: bool,
}

impl Page {
    /// A page that begins with `head`.
    pub fn new(head: Encoder, form: TaskStatusForm, tasks: Vec<Arc<Task>>) -> Self {
        Self {
            format: head.format(),
            head: Some(head.finish()),
            families: if tasks.is_empty() { VecDeque::new() } else { TaskFamily::all(form).collect() },
            tasks,
            next: None,
            lines: Lines::default(),
            messages: Message::default(),
            is_done: false,
        }
    }

    /// Its format.
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Begins a family; false when it has nothing to show in this format.
    fn begin(&mut self, family: TaskFamily) -> bool {
        let Family { name, help, kind, .. } = *family.family();
        match self.format {
            Format::Text => self.lines.text.header(name, help, kind),
            Format::OpenMetrics => self.lines.text.open_header(name, help, kind, unit(name)),
            Format::Protobuf => {
                // Its size stands before it: so it is written twice, and once to nowhere.
                let mut size = 0;
                let mut scratch = Message::default();
                for task in &self.tasks {
                    family.rows(task, &mut Messages { message: &mut scratch, task });
                    size += scratch.0.len();
                    scratch.0.clear();
                }
                if size == 0 {
                    return false;
                }
                proto::begin_family(&mut self.messages.0, name, help, kind, unit(name), size);
            }
        }
        true
    }

    fn written(&mut self) -> &mut Vec<u8> {
        if self.format == Format::Protobuf { &mut self.messages.0 } else { &mut self.lines.text.0 }
    }

    fn piece(&mut self) -> Bytes {
        let next = Vec::with_capacity(if self.is_done { 0 } else { PIECE + PIECE / 8 });
        Bytes::from(std::mem::replace(self.written(), next))
    }
}

impl Iterator for Page {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if let Some(head) = self.head.take().filter(|head| !head.is_empty()) {
            return Some(Bytes::from(head));
        }
        while let Some(family) = self.families.front().copied() {
            if self.next.is_none() && !self.begin(family) {
                self.families.pop_front();
                continue;
            }
            let mut place = self.next.unwrap_or_default();
            while let Some(task) = self.tasks.get(place) {
                place += 1;
                if self.format == Format::Protobuf {
                    family.rows(task, &mut Messages { message: &mut self.messages, task });
                } else {
                    self.lines.turn_to(family.family(), task);
                    family.rows(task, &mut self.lines);
                }
                if self.lines.text.0.len() + self.messages.0.len() >= PIECE {
                    self.next = Some(place);
                    return Some(self.piece());
                }
            }
            self.next = None;
            self.families.pop_front();
        }
        if !self.is_done && self.format == Format::OpenMetrics {
            self.lines.text.push("# EOF\n");
        }
        self.is_done = true;
        (!self.written().is_empty()).then(|| self.piece())
    }
}

/// Writes the families that are computed from the table at this moment: nothing that is gone can linger in them.
pub fn write_fleet(out: &mut Encoder, aggregates: &Aggregates, snapshot: &Snapshot) {
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
        out.header(&families::TASKS);
    }
    for (agg, counts) in &counts {
        for status in Status::ALL {
            let labels = aggregates.with_agg(agg, &[("status", status.as_str())]);
            out.row(&labels, to_f64(counts[status.index()]), Extra::default());
        }
    }
    if !oldest.is_empty() {
        out.header(&families::OLDEST_SUBMIT);
    }
    for ((agg, status), submit) in &oldest {
        let labels = aggregates.with_agg(agg, &[("status", status.as_str())]);
        out.row(&labels, submit.as_secs_f64(), Extra::default());
    }
    if !polled.is_empty() {
        out.header(&families::OLDEST_POLL);
    }
    for (upstream, poll) in &polled {
        out.row(&[("upstream", &**upstream)], poll.as_secs_f64(), Extra::default());
    }
    if !disagreements.is_empty() {
        out.header(&families::DISAGREEMENTS);
    }
    for ((agg, gateway, upstream), count) in &disagreements {
        let own = [("gateway_status", gateway.as_str()), ("upstream_status", upstream.as_str())];
        out.row(&aggregates.with_agg(agg, &own), to_f64(*count), Extra::default());
    }
}

fn earliest(held: &mut Timestamp, moment: Timestamp) {
    *held = (*held).min(moment);
}

/// Writes what the `prometheus` crate gathered, with `le` as every family here has it. All of it began with the process.
pub fn write_gathered(out: &mut Encoder, gathered: &[MetricFamily], started: Timestamp) {
    let created = Some(started);
    for family in gathered {
        let kind = match family.get_field_type() {
            MetricType::COUNTER => Kind::Counter,
            MetricType::HISTOGRAM => Kind::Histogram,
            _ => Kind::Gauge,
        };
        out.family(family.name(), family.help(), kind);
        for metric in family.get_metric() {
            let labels: Vec<_> = metric.get_label().iter().map(|pair| (pair.name(), pair.value())).collect();
            match kind {
                Kind::Counter => {
                    out.row(&labels, metric.get_counter().get_value(), Extra { created, exemplar: None });
                }
                Kind::Gauge => out.row(&labels, metric.get_gauge().get_value(), Extra::default()),
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
                    let row = HistogramRow {
                        bounds: &bounds,
                        counts: &counts,
                        sum: histogram.get_sample_sum(),
                        created,
                        ..HistogramRow::default()
                    };
                    out.histogram(&labels, &row);
                }
            }
        }
    }
}
