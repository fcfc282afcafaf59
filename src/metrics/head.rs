//! The part of a page before the series of tasks, rendered a few rows at a time: with many label sets it would be large.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::encoder::Encoder;
use super::families::{Family, Kind};
use super::format::Format;
use crate::domain::time::WallOffset;

/// Size of a piece of a page; it ends with the first row beyond it.
pub const PIECE_SIZE: usize = 64 * 1024;

/// Families that are rendered when they are taken, in pieces of about 64 KiB.
pub struct Head {
    encoder: Encoder,
    families: VecDeque<HeadFamily>,
    /// The next item of the first family; `None` before its header.
    next: Option<usize>,
    /// The length of what was written before the first family, and with its header.
    header: (usize, usize),
}

/// Writes the rows of an item, by its position.
type WriteItem = Box<dyn Fn(&mut Encoder, usize) + Send>;

/// A family that writes its rows item by item.
struct HeadFamily {
    name: Cow<'static, str>,
    help: Cow<'static, str>,
    kind: Kind,
    items: usize,
    write: WriteItem,
}

impl From<Encoder> for Head {
    /// Begins with what an encoder has written.
    fn from(encoder: Encoder) -> Self {
        Self { encoder, families: VecDeque::new(), next: None, header: (0, 0) }
    }
}

impl Head {
    /// Its format.
    pub const fn format(&self) -> Format {
        self.encoder.format()
    }

    /// From our own times to those of the wall clock.
    pub const fn wall_offset(&self) -> WallOffset {
        self.encoder.wall_offset()
    }

    /// Adds a family of the exporter, with the rows that `write` writes for each item. Without rows it writes nothing.
    pub fn family<T: Send + Sync + 'static>(
        &mut self,
        family: &Family,
        items: impl Into<Arc<[T]>>,
        write: impl Fn(&mut Encoder, &T) + Send + 'static,
    ) {
        self.named(family.name.into(), family.help.into(), family.kind, items, write);
    }

    /// Adds a family with this name.
    pub fn named<T: Send + Sync + 'static>(
        &mut self,
        name: Cow<'static, str>,
        help: Cow<'static, str>,
        kind: Kind,
        items: impl Into<Arc<[T]>>,
        write: impl Fn(&mut Encoder, &T) + Send + 'static,
    ) {
        let all: Arc<[T]> = items.into();
        let items = all.len();
        let write = Box::new(move |out: &mut Encoder, item: usize| write(out, &all[item]));
        self.families.push_back(HeadFamily { name, help, kind, items, write });
    }
}

impl HeadFamily {
    /// Bytes of its rows in protobuf, which precede them: the rows are written twice, the first time only to compute it.
    fn size(&self, mut scratch: Encoder) -> usize {
        scratch.family(&self.name, &self.help, self.kind);
        let size_of_item = |item| {
            (self.write)(&mut scratch, item);
            scratch.discard_rows()
        };
        (0..self.items).map(size_of_item).sum()
    }
}

impl Iterator for Head {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        while let Some(family) = self.families.front() {
            let first = self.next.unwrap_or_else(|| {
                self.encoder.end_family();
                let before = self.encoder.size();
                let is_protobuf = self.encoder.format() == Format::Protobuf;
                let size = if is_protobuf { family.size(self.encoder.empty()) } else { 0 };
                self.encoder.sized_family(&family.name, &family.help, family.kind, size);
                self.header = (before, self.encoder.size());
                0
            });
            for item in first..family.items {
                (family.write)(&mut self.encoder, item);
                if self.encoder.size() >= PIECE_SIZE {
                    self.next = Some(item + 1);
                    self.header = (0, 0);
                    return Some(self.encoder.take().into());
                }
            }
            let (before, with_header) = self.header;
            if self.encoder.size() == with_header && with_header > 0 {
                // No item has a row.
                self.encoder.truncate(before);
            }
            self.next = None;
            self.families.pop_front();
        }
        self.encoder.end_family();
        (self.encoder.size() > 0).then(|| self.encoder.take().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Counter;
    use crate::metrics::Extra;
    use crate::metrics::families;
    use crate::metrics::histogram::HistogramRow;

    fn write_rows(out: &mut Encoder, n: u64) {
        // Every third item has no row.
        for row in 0..n % 3 {
            out.row(&[("upstream", &format!("u{n}")), ("row", &row.to_string())], 0.5, Extra::default());
        }
    }

    fn write_histogram(out: &mut Encoder, n: u64) {
        let row = HistogramRow { bounds: &[1.0, 2.0], counts: &[n, 0, 1], sum: 2.5, ..HistogramRow::default() };
        out.histogram(&[("upstream", &format!("u{n}"))], &row);
    }

    #[test]
    fn pieces_are_small_and_make_the_same_page() {
        let latency = Family::from_counter(Counter::Latency);
        let items: Arc<[u64]> = (0..5_000).collect();
        for format in Format::ALL {
            let mut whole = Encoder::new(format, true);
            whole.header(&families::BUILD_INFO);
            whole.row(&[], 1.0, Extra::default());
            let mut head = Head::from({
                let mut first = whole.empty();
                first.header(&families::BUILD_INFO);
                first.row(&[], 1.0, Extra::default());
                first
            });
            head.family(&families::TASKS, items.clone(), |out, n| write_rows(out, *n));
            head.family(&families::UPSTREAM_UP, [0, 3, 6], |out, n| write_rows(out, *n));
            head.family(&families::LABEL_SETS, [], |out, n| write_rows(out, *n));
            head.family(&latency, items.clone(), |out, n| write_histogram(out, *n));
            head.family(&families::SERIES_TASKS, [4], |out, n| write_rows(out, *n));
            whole.header(&families::TASKS);
            items.iter().for_each(|n| write_rows(&mut whole, *n));
            whole.header(&latency);
            items.iter().for_each(|n| write_histogram(&mut whole, *n));
            whole.header(&families::SERIES_TASKS);
            write_rows(&mut whole, 4);
            let pieces: Vec<Bytes> = head.collect();
            assert!(pieces.len() > 5, "{format:?}: {}", pieces.len());
            assert!(pieces.iter().all(|piece| piece.len() < PIECE_SIZE + 1024));
            assert!(pieces.concat() == whole.finish(), "{format:?}");
        }
    }
}
