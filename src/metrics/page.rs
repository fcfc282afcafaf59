//! The page of `/metrics`: counters and gauges first, then the series of tasks, in pieces.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use prometheus::proto::{MetricFamily, MetricType};

use super::encoder::{Encoder, Extra, unit};
use super::families::{Family, Kind};
use super::format::Format;
use super::histogram::HistogramRow;
use super::proto::{self, Message};
use super::series::SeriesSelection;
use super::shown::ShownChunk;
use super::tasks::{Lines, Messages, TaskFamily};
use crate::config::TaskStatusForm;
use crate::domain::Timestamp;
use crate::view::TaskChunk;

/// A piece is sent when it has grown to this size.
const PIECE: usize = 64 * 1024;

/// The page in pieces of about 64 KiB, each rendered when it is taken.
pub struct Page {
    format: Format,
    head: Option<Vec<u8>>,
    families: VecDeque<TaskFamily>,
    chunks: Vec<ShownChunk>,
    /// Chunk and row at which the current family continues; `None` before its header.
    next: Option<(usize, usize)>,
    lines: Lines,
    messages: Message,
    is_done: bool,
}

impl Page {
    /// A page that begins with `head`, followed by the series of the selected tasks of these chunks.
    pub fn new<'a>(
        head: Encoder,
        form: TaskStatusForm,
        chunks: impl IntoIterator<Item = &'a Arc<TaskChunk>>,
        selection: &SeriesSelection,
    ) -> Self {
        // A chunk without any series is not held.
        let shown = |chunk| ShownChunk::new(chunk, |task| selection.has(task));
        let chunks: Vec<_> = chunks.into_iter().filter_map(shown).collect();
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

    /// Begins a family; false when it has no series.
    fn begin(&mut self, family: TaskFamily) -> bool {
        let Family { name, help, kind, .. } = *family.family();
        match self.format {
            Format::Text => self.lines.text.header(name, help, kind),
            Format::OpenMetrics => self.lines.text.open_header(name, help, kind, unit(name)),
            Format::Protobuf => {
                // The size precedes the family: its rows are written twice, the first time only to be counted.
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

/// Writes what the `prometheus` crate gathered. All of it was created with the process.
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
    use crate::domain::{NewTask, Task, TaskId};
    use crate::metrics::SeriesLimits;
    use crate::view::TaskRows;

    #[test]
    fn a_page_holds_only_chunks_with_series() {
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
            Page::new(Encoder::new(Format::Text, false), TaskStatusForm::Set, &chunks, &selection)
        };
        let kept = page(3);
        // Beside the page, the table and `chunks` hold each of them.
        let held: Vec<bool> = chunks.iter().map(|chunk| Arc::strong_count(chunk) > 2).collect();
        assert!(held.len() > 1 && held[0] && !held[1..].contains(&true), "{held:?}");
        drop(kept);
        assert_eq!(page(0).count(), 0);
    }
}
