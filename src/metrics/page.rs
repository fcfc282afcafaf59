//! The page of `/metrics`: what is counted and gauged first, then every task's lines, in pieces.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use prometheus::proto::{MetricFamily, MetricType};

use super::encoder::{Encoder, Extra, unit};
use super::families::{Family, Kind};
use super::format::Format;
use super::histogram::HistogramRow;
use super::proto::{self, Message};
use super::shown::Shown;
use super::tasks::{Lines, Messages, TaskFamily};
use crate::config::TaskStatusForm;
use crate::domain::rows::{Chunk, Row, Rows};
use crate::domain::{Task, Timestamp};

/// A piece is sent when it has grown to this size.
const PIECE: usize = 64 * 1024;

/// The tasks as they are at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// All of them.
    pub chunks: Vec<Arc<Chunk>>,
    /// A task that has ended shows nothing of its own.
    pub only_active: bool,
    /// How many had to go without series so far.
    pub refused: u64,
}

impl Snapshot {
    /// Of these tasks, all of which have series.
    pub fn of(tasks: impl IntoIterator<Item = Task>) -> Self {
        let mut rows = Rows::default();
        for task in tasks {
            let place = rows.insert(task);
            if let Some(row) = rows.get_mut(place) {
                row.has_series = true;
            }
        }
        Self { chunks: rows.chunks(), only_active: false, refused: 0 }
    }

    /// All tasks.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().flatten()).map(|row| &row.task)
    }

    /// Those that have series of their own.
    pub fn with_series(&self) -> impl Iterator<Item = &Task> {
        let rows = self.chunks.iter().flat_map(|chunk| chunk.iter().flatten());
        rows.filter(|row| self.shows(row)).map(|row| &row.task)
    }

    /// True for a task with series of its own.
    fn shows(&self, row: &Row) -> bool {
        row.has_series && (!self.only_active || row.task.is_active())
    }
}

/// The page in pieces of about 64 KiB, made one by one as they are taken.
pub struct Page {
    format: Format,
    head: Option<Vec<u8>>,
    families: VecDeque<TaskFamily>,
    chunks: Vec<Shown>,
    /// Chunk and row from where the family that is being written goes on; `None` before its header.
    next: Option<(usize, usize)>,
    lines: Lines,
    messages: Message,
    is_done: bool,
}

impl Page {
    /// A page that begins with `head`; the tasks on it are those with series of their own.
    pub fn new(head: Encoder, form: TaskStatusForm, tasks: &Snapshot) -> Self {
        // What has nothing to show is not held.
        let shown = |chunk| Shown::of(chunk, |row| tasks.shows(row));
        let chunks: Vec<_> = tasks.chunks.iter().filter_map(shown).collect();
        Self {
            format: head.format(),
            head: Some(head.finish()),
            families: if chunks.is_empty() { VecDeque::new() } else { TaskFamily::all(form).collect() },
            chunks,
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
                for (_, task) in self.chunks.iter().flat_map(|shown| shown.having(family, 0)) {
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
            let (first, mut from) = self.next.unwrap_or_default();
            let full = 'family: {
                for (n, shown) in self.chunks.iter().enumerate().skip(first) {
                    for (row, task) in shown.having(family, std::mem::take(&mut from)) {
                        if self.format == Format::Protobuf {
                            family.rows(task, &mut Messages { message: &mut self.messages, task });
                        } else {
                            self.lines.write(family, task);
                        }
                        if self.lines.text.0.len() + self.messages.0.len() >= PIECE {
                            break 'family Some((n, row + 1));
                        }
                    }
                }
                None
            };
            self.next = full;
            if full.is_some() {
                return Some(self.piece());
            }
            self.families.pop_front();
        }
        if !self.is_done && self.format == Format::OpenMetrics {
            self.lines.text.push("# EOF\n");
        }
        self.is_done = true;
        (!self.written().is_empty()).then(|| self.piece())
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{NewTask, TaskId};

    #[test]
    fn a_page_holds_nothing_that_it_does_not_show() {
        let task = |n: u32| {
            let new = NewTask::new(TaskId::parse(&format!("t{n}")).unwrap());
            Task::new("u".into(), "new_api", new, Timestamp::from_secs(0))
        };
        let mut tasks = Snapshot::of((0..200).map(task));
        let last = tasks.chunks.len() - 1;
        for chunk in &mut tasks.chunks[..last] {
            Arc::make_mut(chunk).iter_mut().flatten().for_each(|row| row.has_series = false);
        }
        let page = |tasks: &Snapshot| Page::new(Encoder::new(Format::Text, false), TaskStatusForm::Set, tasks);
        let kept = page(&tasks);
        let held: Vec<bool> = tasks.chunks.iter().map(|chunk| Arc::strong_count(chunk) > 1).collect();
        assert_eq!((held.iter().filter(|held| **held).count(), held[last]), (1, true));
        assert!(last > 0);
        drop(kept);
        Arc::make_mut(&mut tasks.chunks[last]).iter_mut().flatten().for_each(|row| row.has_series = false);
        assert_eq!(page(&tasks).count(), 0);
    }
}
