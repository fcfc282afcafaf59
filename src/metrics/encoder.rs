//! Families and their rows, in whichever format is asked for.

use super::families::{Family, Kind};
use super::format::Format;
use super::histogram::HistogramRow;
use super::proto::{self, Message};
use super::text::{Text, Value};
use crate::counters::Exemplar;
use crate::domain::Timestamp;

/// A page, or the beginning of one, that grows family by family.
#[derive(Debug)]
pub struct Encoder {
    format: Format,
    /// OpenMetrics shows when counters and histograms were created.
    created_lines: bool,
    out: Text,
    /// The family that was begun; its rows in protobuf are kept apart until their size is known.
    family: Option<(String, String, Kind)>,
    rows: Message,
}

/// What else is known of a row.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extra<'a> {
    /// When it was created.
    pub created: Option<Timestamp>,
    /// The last task in it.
    pub exemplar: Option<&'a Exemplar>,
}

impl Encoder {
    /// Of nothing yet.
    pub fn new(format: Format, created_lines: bool) -> Self {
        Self { format, created_lines, out: Text::default(), family: None, rows: Message::default() }
    }

    /// Its format.
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Begins one of our families.
    pub fn header(&mut self, family: &Family) {
        self.family(family.name, family.help, family.kind);
    }

    /// Begins a family.
    pub fn family(&mut self, name: &str, help: &str, kind: Kind) {
        self.close();
        match self.format {
            Format::Text => self.out.header(name, help, kind),
            Format::OpenMetrics => self.out.open_header(name, help, kind, unit(name)),
            Format::Protobuf => {}
        }
        self.family = Some((name.to_owned(), help.to_owned(), kind));
    }

    /// One of our families with a row for each item; nothing at all when there are none.
    pub fn rows<T>(&mut self, family: &Family, items: impl IntoIterator<Item = T>, mut row: impl FnMut(&mut Self, T)) {
        let mut items = items.into_iter().peekable();
        if items.peek().is_some() {
            self.header(family);
            items.for_each(|item| row(self, item));
        }
    }

    /// A row of the family that was begun.
    pub fn row(&mut self, labels: &[(&str, &str)], value: f64, extra: Extra<'_>) {
        let Some((name, _, kind)) = &self.family else { return };
        let labels = || labels.iter().copied();
        if self.format == Format::Protobuf {
            match kind {
                Kind::Counter => self.rows.counter(labels(), value, extra.created, extra.exemplar),
                Kind::Gauge | Kind::Histogram => self.rows.gauge(labels(), value),
            }
            return;
        }
        let is_open = self.format == Format::OpenMetrics;
        let is_counter = *kind == Kind::Counter;
        self.out.series(name, labels());
        self.out.value(Value::Float(value));
        if let Some(exemplar) = extra.exemplar.filter(|_| is_open) {
            self.out.exemplar(exemplar);
        }
        self.out.push("\n");
        if let Some(created) = extra.created.filter(|_| is_open && is_counter && self.created_lines) {
            let name = format!("{}_created", name.trim_end_matches("_total"));
            self.out.sample(&name, labels(), Value::Thousandths(created.as_millis()));
        }
    }

    /// A histogram of the family that was begun.
    pub fn histogram(&mut self, labels: &[(&str, &str)], histogram: &HistogramRow<'_>) {
        let Some((name, ..)) = &self.family else { return };
        let own = || labels.iter().copied();
        if self.format == Format::Protobuf {
            self.rows.histogram(own(), histogram);
            return;
        }
        let is_open = self.format == Format::OpenMetrics;
        let bucket = format!("{name}_bucket");
        let mut total = 0;
        for (n, count) in histogram.counts.iter().enumerate() {
            total += count;
            let le = histogram.bounds.get(n).map_or_else(|| "+Inf".to_owned(), |bound| format!("{bound:?}"));
            self.out.series(&bucket, own().chain([("le", le.as_str())]));
            self.out.value(Value::Whole(total));
            if let Some(exemplar) = histogram.exemplar(n).filter(|_| is_open) {
                self.out.exemplar(exemplar);
            }
            self.out.push("\n");
        }
        self.out.sample(&format!("{name}_sum"), own(), Value::Float(histogram.sum));
        self.out.sample(&format!("{name}_count"), own(), Value::Whole(total));
        if let Some(created) = histogram.created.filter(|_| is_open && self.created_lines) {
            self.out.sample(&format!("{name}_created"), own(), Value::Thousandths(created.as_millis()));
        }
    }

    /// Ends the family that was begun.
    fn close(&mut self) {
        let Some((name, help, kind)) = self.family.take() else { return };
        let rows = std::mem::take(&mut self.rows.0);
        if !rows.is_empty() {
            proto::begin_family(&mut self.out.0, &name, &help, kind, unit(&name), rows.len());
            self.out.0.extend_from_slice(&rows);
        }
    }

    /// Everything that was written.
    pub fn finish(mut self) -> Vec<u8> {
        self.close();
        self.out.0
    }
}

/// The unit that a name ends with, as OpenMetrics wants it said.
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

    /// The value of label `x` in a text, read as the formats say: up to the first quote that is not escaped.
    fn of_text(page: &str) -> Option<String> {
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

    /// The field of a message, by its number, where it is one with a length.
    fn field(message: &[u8], wanted: u64) -> Option<&[u8]> {
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
            if tag >> 3 == wanted {
                return Some(value);
            }
        }
        None
    }

    proptest! {
        #[test]
        fn any_label_value_survives_in_each_format(value in ".*|[\\\\\"\n{}=,# ]{0,40}") {
            for format in [Format::Text, Format::OpenMetrics] {
                let page = String::from_utf8(page(format, &value)).unwrap();
                prop_assert_eq!(of_text(&page), Some(value.clone()), "{}", page);
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
    fn units_are_those_of_names() {
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
