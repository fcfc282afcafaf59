//! Renders `/metrics` in pieces: first aggregates, then the series of tasks.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::encoder::{Encoder, Extra, unit};
use super::families::{Family, Kind};
use super::format::Format;
use super::head::{Head, PIECE_SIZE};
use super::histogram::HistogramRow;
use super::protobuf::{self, Message};
use super::series_chunk::SeriesChunk;
use super::series_selection::SeriesSelection;
use super::tasks::{ProtobufRows, TaskContext, TaskFamily, TextRows};
use crate::config::TaskStatusForm;
use crate::domain::Timestamp;
use crate::domain::time::WallOffset;
use crate::view::TaskChunk;

/// The page in pieces of about 64 KiB, each rendered when it is taken.
pub struct Page {
    format: Format,
    /// From our own times to those of the wall clock.
    wall_offset: WallOffset,
    head: Option<Head>,
    families: VecDeque<TaskFamily>,
    chunks: Vec<SeriesChunk>,
    /// Chunk and row of the next row in the current family; `None` before its header.
    next: Option<(usize, usize)>,
    text_rows: TextRows,
    messages: Message,
    is_done: bool,
}

impl Page {
    /// A page that begins with `head`, followed by the series of the selected tasks of these chunks.
    pub fn new<'a>(
        head: impl Into<Head>,
        form: TaskStatusForm,
        chunks: impl IntoIterator<Item = (&'a Arc<TaskChunk>, TaskContext)>,
        selection: &SeriesSelection,
    ) -> Self {
        let head = head.into();
        // The page does not keep chunks without series in memory.
        let with_series = |chunk| SeriesChunk::new(chunk, selection, head.wall_offset());
        let chunks: Vec<_> = chunks.into_iter().filter_map(with_series).collect();
        Self {
            format: head.format(),
            wall_offset: head.wall_offset(),
            head: Some(head),
            families: if chunks.is_empty() { VecDeque::new() } else { TaskFamily::in_form(form).collect() },
            chunks,
            next: None,
            text_rows: TextRows::default(),
            messages: Message::default(),
            is_done: false,
        }
    }

    /// Its format.
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Begins a family; false when it has no rows.
    fn begin_family(&mut self, family: TaskFamily) -> bool {
        let Family { name, help, kind, .. } = *family.family();
        match self.format {
            Format::Text => self.text_rows.text.write_header(name, help, kind),
            Format::OpenMetrics => self.text_rows.text.write_open_metrics_header(name, help, kind, unit(name)),
            Format::Protobuf => {
                // The size precedes the rows, so that they are written twice: the first time only to compute it.
                let mut size = 0;
                let mut scratch = Message::default();
                for chunk in &self.chunks {
                    for (_, task) in chunk.tasks_with(family, 0) {
                        let task = &*task.by_wall(self.wall_offset);
                        family.write_rows(task, chunk.context(), &mut ProtobufRows { message: &mut scratch, task });
                        size += scratch.0.len();
                        scratch.0.clear();
                    }
                }
                if size == 0 {
                    return false;
                }
                protobuf::begin_family(&mut self.messages.0, name, help, kind, unit(name), size);
            }
        }
        true
    }

    fn buffer(&mut self) -> &mut Vec<u8> {
        if self.format == Format::Protobuf { &mut self.messages.0 } else { &mut self.text_rows.text.0 }
    }

    fn take_piece(&mut self) -> Bytes {
        let next = Vec::with_capacity(if self.is_done { 0 } else { PIECE_SIZE + PIECE_SIZE / 8 });
        Bytes::from(std::mem::replace(self.buffer(), next))
    }
}

impl Iterator for Page {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if let Some(piece) = self.head.as_mut().and_then(Iterator::next) {
            return Some(piece);
        }
        self.head = None;
        while let Some(family) = self.families.front().copied() {
            if self.next.is_none() && !self.begin_family(family) {
                self.families.pop_front();
                continue;
            }
            let (first, mut from) = self.next.unwrap_or_default();
            let full = 'family: {
                for (n, chunk) in self.chunks.iter().enumerate().skip(first) {
                    for (row, task) in chunk.tasks_with(family, std::mem::take(&mut from)) {
                        if self.format == Format::Protobuf {
                            let task = &*task.by_wall(self.wall_offset);
                            let rows = &mut ProtobufRows { message: &mut self.messages, task };
                            family.write_rows(task, chunk.context(), rows);
                        } else {
                            self.text_rows.write(family, &task.by_wall(self.wall_offset), chunk.context());
                        }
                        if self.text_rows.text.0.len() + self.messages.0.len() >= PIECE_SIZE {
                            break 'family Some((n, row + 1));
                        }
                    }
                }
                None
            };
            self.next = full;
            if full.is_some() {
                return Some(self.take_piece());
            }
            self.families.pop_front();
        }
        if !self.is_done && self.format == Format::OpenMetrics {
            self.text_rows.text.push("# EOF\n");
        }
        self.is_done = true;
        (!self.buffer().is_empty()).then(|| self.take_piece())
    }
}

/// Adds the families that the `prometheus` crate gathered. They were created with the process.
pub fn add_gathered(head: &mut Head, gathered: Vec<MetricFamily>, started: Timestamp) {
    for mut family in gathered {
        let kind = match family.get_field_type() {
            MetricType::COUNTER => Kind::Counter,
            MetricType::HISTOGRAM => Kind::Histogram,
            _ => Kind::Gauge,
        };
        let (name, help) = (family.name().to_owned(), family.help().to_owned());
        let write = move |out: &mut Encoder, metric: &Metric| write_gathered(out, kind, metric, started);
        head.named(name.into(), help.into(), kind, family.take_metric(), write);
    }
}

fn write_gathered(out: &mut Encoder, kind: Kind, metric: &Metric, started: Timestamp) {
    let created = Some(started);
    let labels: Vec<_> = metric.get_label().iter().map(|pair| (pair.name(), pair.value())).collect();
    match kind {
        Kind::Counter => out.row(&labels, metric.get_counter().get_value(), Extra { created, exemplar: None }),
        Kind::Gauge => out.row(&labels, metric.get_gauge().get_value(), Extra::default()),
        Kind::Histogram => {
            let histogram = metric.get_histogram();
            let buckets = histogram.get_bucket();
            let bounds: Vec<_> = buckets.iter().map(prometheus::proto::Bucket::upper_bound).collect();
            let mut previous = 0;
            let own = |bucket: &prometheus::proto::Bucket| {
                bucket.cumulative_count() - std::mem::replace(&mut previous, bucket.cumulative_count())
            };
            let mut counts: Vec<_> = buckets.iter().map(own).collect();
            counts.push(histogram.get_sample_count() - previous);
            let sum = histogram.get_sample_sum();
            let row = HistogramRow { bounds: &bounds, counts: &counts, sum, created, ..HistogramRow::default() };
            out.histogram(&labels, &row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{NewTask, Task, TaskId};
    use crate::metrics::SeriesLimits;
    use crate::view::TaskRows;

    #[test]
    fn a_page_keeps_only_chunks_with_series() {
        let mut rows = TaskRows::default();
        for n in 0..200 {
            let new = NewTask::new(TaskId::parse(&format!("t{n}")).unwrap());
            let seen = Timestamp::from_secs(i64::from(n));
            rows.insert(Task::new("u".into(), "new_api", new, seen));
        }
        let chunks = rows.chunks();
        let tasks = || rows.iter().map(|(_, row)| &row.task);
        let page = |max| {
            let selection = SeriesLimits { max, only_active: false, off: false }.select(200, tasks());
            let chunks = chunks.iter().map(|chunk| (chunk, TaskContext::none()));
            Page::new(Encoder::new(Format::Text, false), TaskStatusForm::Set, chunks, &selection)
        };
        let first = page(3);
        // The table and `chunks` have two references to each chunk.
        let held: Vec<bool> = chunks.iter().map(|chunk| Arc::strong_count(chunk) > 2).collect();
        assert!(held.len() > 1 && held[0] && !held[1..].contains(&true), "{held:?}");
        drop(first);
        assert_eq!(page(0).count(), 0);
    }
}
