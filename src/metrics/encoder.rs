//! Writes metric families in each format.

use super::families::{Family, Kind};
use super::format::Format;
use super::histogram::HistogramRow;
use super::protobuf::{self, Message};
use super::text::{SampleValue, TextBuffer};
use crate::counters::Exemplar;
use crate::domain::Timestamp;
use crate::domain::time::WallOffset;

/// Writes a page, or the first part of one, family by family.
#[derive(Debug)]
pub struct Encoder {
    format: Format,
    /// Write `_created` lines in OpenMetrics.
    created_lines: bool,
    /// From our own times to those of the wall clock.
    wall_offset: WallOffset,
    out: TextBuffer,
    /// The current family: name, help and type.
    family: Option<(String, String, Kind)>,
    /// Its rows in protobuf, whose size has to be written before them.
    rows: Message,
    /// The size of those rows was written already.
    is_sized: bool,
}

/// Optional parts of a row.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extra<'a> {
    /// When it was created.
    pub created: Option<Timestamp>,
    /// The last task that was counted.
    pub exemplar: Option<&'a Exemplar>,
}

impl Encoder {
    /// An encoder without families.
    pub fn new(format: Format, created_lines: bool) -> Self {
        Self {
            format,
            created_lines,
            wall_offset: WallOffset::default(),
            out: TextBuffer::default(),
            family: None,
            rows: Message::default(),
            is_sized: false,
        }
    }

    /// Without families, in the same format.
    pub(super) fn empty(&self) -> Self {
        Self::new(self.format, self.created_lines).with_wall_offset(self.wall_offset)
    }

    /// Writes our own times, which are those of the steady clock, by the wall clock.
    #[must_use]
    pub const fn with_wall_offset(mut self, offset: WallOffset) -> Self {
        self.wall_offset = offset;
        self
    }

    /// From our own times to those of the wall clock.
    pub(super) const fn wall_offset(&self) -> WallOffset {
        self.wall_offset
    }

    fn by_wall(&self, time: Option<Timestamp>) -> Option<Timestamp> {
        time.map(|time| self.wall_offset.apply(time))
    }

    /// Its format.
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Begins a family of the exporter.
    pub fn header(&mut self, family: &Family) {
        self.family(family.name, family.help, family.kind);
    }

    /// Begins a family with this name.
    pub fn family(&mut self, name: &str, help: &str, kind: Kind) {
        self.end_family();
        match self.format {
            Format::Text => self.out.write_header(name, help, kind),
            Format::OpenMetrics => self.out.write_open_metrics_header(name, help, kind, unit(name)),
            Format::Protobuf => {}
        }
        self.family = Some((name.to_owned(), help.to_owned(), kind));
    }

    /// Begins a family whose rows in protobuf have this size together, so that they need not be kept until its end.
    pub(super) fn sized_family(&mut self, name: &str, help: &str, kind: Kind, rows: usize) {
        self.family(name, help, kind);
        if self.format == Format::Protobuf {
            protobuf::begin_family(&mut self.out.0, name, help, kind, unit(name), rows);
            self.is_sized = true;
        }
    }

    /// Drops the rows of the current family in protobuf; returns their size.
    pub(super) fn discard_rows(&mut self) -> usize {
        let size = self.rows.0.len();
        self.rows.0.clear();
        size
    }

    /// Bytes that were written and not taken.
    pub(super) const fn size(&self) -> usize {
        self.out.0.len() + self.rows.0.len()
    }

    /// Takes what was written, during a family only if that is [sized](Self::sized_family).
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.out.0.append(&mut self.rows.0);
        std::mem::take(&mut self.out.0)
    }

    /// Drops what was written last, back to this length, with the current family.
    pub(super) fn truncate(&mut self, length: usize) {
        self.out.0.truncate(length);
        self.family = None;
    }

    /// Writes a row of the current family.
    pub fn row(&mut self, labels: &[(&str, &str)], value: f64, extra: Extra<'_>) {
        let Some((name, _, kind)) = &self.family else { return };
        let created = self.by_wall(extra.created);
        let exemplar = extra.exemplar.map(|exemplar| exemplar.by_wall(self.wall_offset));
        let labels = || labels.iter().copied();
        if self.format == Format::Protobuf {
            match kind {
                Kind::Counter => self.rows.counter(labels(), value, created, exemplar.as_deref()),
                Kind::Gauge | Kind::Histogram => self.rows.gauge(labels(), value),
            }
            return;
        }
        let is_open = self.format == Format::OpenMetrics;
        let is_counter = *kind == Kind::Counter;
        self.out.begin_line(name, labels());
        self.out.write_value(SampleValue::Float(value));
        if let Some(exemplar) = exemplar.filter(|_| is_open) {
            self.out.write_exemplar(&exemplar);
        }
        self.out.push("\n");
        if let Some(created) = created.filter(|_| is_open && is_counter && self.created_lines) {
            let name = format!("{}_created", name.trim_end_matches("_total"));
            self.out.write_line(&name, labels(), SampleValue::Thousandths(created.as_millis()));
        }
    }

    /// Writes a histogram of the current family.
    pub fn histogram(&mut self, labels: &[(&str, &str)], histogram: &HistogramRow<'_>) {
        let Some((name, ..)) = &self.family else { return };
        let exemplars: Vec<_> =
            histogram.exemplars.iter().map(|of| of.map(|of| of.by_wall(self.wall_offset))).collect();
        let histogram = &HistogramRow {
            created: self.by_wall(histogram.created),
            exemplars: exemplars.iter().map(Option::as_deref).collect(),
            ..*histogram
        };
        let base_labels = || labels.iter().copied();
        if self.format == Format::Protobuf {
            self.rows.histogram(base_labels(), histogram);
            return;
        }
        let is_open = self.format == Format::OpenMetrics;
        let bucket = format!("{name}_bucket");
        let mut total = 0;
        for (n, count) in histogram.counts.iter().enumerate() {
            total += count;
            let le = histogram.bounds.get(n).map_or_else(|| "+Inf".to_owned(), |bound| format!("{bound:?}"));
            self.out.begin_line(&bucket, base_labels().chain([("le", le.as_str())]));
            self.out.write_value(SampleValue::Integer(total));
            if let Some(exemplar) = histogram.exemplar(n).filter(|_| is_open) {
                self.out.write_exemplar(exemplar);
            }
            self.out.push("\n");
        }
        self.out.write_line(&format!("{name}_sum"), base_labels(), SampleValue::Float(histogram.sum));
        self.out.write_line(&format!("{name}_count"), base_labels(), SampleValue::Integer(total));
        if let Some(created) = histogram.created.filter(|_| is_open && self.created_lines) {
            self.out.write_line(
                &format!("{name}_created"),
                base_labels(),
                SampleValue::Thousandths(created.as_millis()),
            );
        }
    }

    /// Ends the current family.
    pub(super) fn end_family(&mut self) {
        let Some((name, help, kind)) = self.family.take() else { return };
        let is_sized = std::mem::take(&mut self.is_sized);
        if !is_sized && !self.rows.0.is_empty() {
            protobuf::begin_family(&mut self.out.0, &name, &help, kind, unit(&name), self.rows.0.len());
        }
        self.out.0.append(&mut self.rows.0);
    }

    /// Returns the page.
    pub fn finish(mut self) -> Vec<u8> {
        self.end_family();
        self.out.0
    }
}

/// The unit at the end of a name; OpenMetrics requires it as `# UNIT`.
pub fn unit(name: &str) -> Option<&'static str> {
    let name = name.trim_end_matches("_total");
    ["seconds", "bytes", "ratio"].into_iter().find(|unit| name.ends_with(&format!("_{unit}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page(format: Format, value: &str) -> Vec<u8> {
        let mut out = Encoder::new(format, true);
        out.family("videogen_a_total", "What \"it\" is.", Kind::Counter);
        out.row(&[("x", value), ("y", "")], 2.5, Extra::default());
        out.finish()
    }

    /// Parses the value of label `x`, up to the first quote that is not escaped.
    fn parse_label(page: &str) -> Option<String> {
        let mut chars = page.split_once("{x=\"")?.1.chars();
        let mut value = String::new();
        loop {
            match chars.next()? {
                '"' => return Some(value),
                '\\' => value.push(match chars.next()? {
                    'n' => '\n',
                    other => other,
                }),
                other => value.push(other),
            }
        }
    }

    /// The bytes of a protobuf field that has a length.
    fn field(message: &[u8], number: u64) -> Option<&[u8]> {
        let mut rest = message;
        let varint = |rest: &mut &[u8]| {
            let mut value = 0;
            for shift in (0..64).step_by(7) {
                let (first, more) = rest.split_first()?;
                *rest = more;
                value |= u64::from(first & 0x7f) << shift;
                if *first < 0x80 {
                    return Some(value);
                }
            }
            None
        };
        while !rest.is_empty() {
            let tag = varint(&mut rest)?;
            let length = match tag & 7 {
                0 => {
                    varint(&mut rest)?;
                    0
                }
                1 => 8,
                _ => usize::try_from(varint(&mut rest)?).ok()?,
            };
            let (value, more) = rest.split_at_checked(length)?;
            rest = more;
            if tag >> 3 == number {
                return Some(value);
            }
        }
        None
    }

    proptest! {
        #[test]
        fn any_label_value_is_read_back_from_each_format(value in ".*|[\\\\\"\n{}=,# ]{0,40}") {
            for format in [Format::Text, Format::OpenMetrics] {
                let page = String::from_utf8(page(format, &value)).unwrap();
                prop_assert_eq!(parse_label(&page), Some(value.clone()), "{}", page);
                let is_whole = page.ends_with("\",y=\"\"} 2.5\n");
                prop_assert!(is_whole);
                prop_assert_eq!(page.lines().filter(|line| !line.starts_with("# ")).count(), 1, "{}", page);
            }
            let page = page(Format::Protobuf, &value);
            let length = page.iter().take_while(|byte| **byte >= 0x80).count() + 1;
            let label = field(&page[length..], 4).and_then(|metric| field(metric, 1));
            prop_assert_eq!(label.and_then(|label| field(label, 2)), Some(value.as_bytes()));
        }
    }

    #[test]
    fn a_unit_is_the_end_of_a_name() {
        for (name, expected) in [
            ("videogen_task_duration_seconds", Some("seconds")),
            ("videogen_video_seconds_total", Some("seconds")),
            ("videogen_exporter_exposition_bytes", Some("bytes")),
            ("videogen_task_progress_ratio", Some("ratio")),
            ("videogen_tasks", None),
        ] {
            assert_eq!(unit(name), expected, "{name}");
        }
    }
}
