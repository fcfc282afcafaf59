//! The Prometheus text format 0.0.4: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::Write as _;

use super::families::{Family, Kind};

/// What the format is called in `Content-Type`.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A growing page.
#[derive(Debug, Default)]
pub struct Text {
    out: String,
}

impl Text {
    /// The bytes so far; the page goes on empty.
    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.out)
    }

    /// How much there is.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// True for nothing.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// `# HELP` and `# TYPE`.
    pub fn header(&mut self, family: &Family) {
        self.raw_header(family.name, family.help, family.kind);
    }

    /// The same for a family that is not ours.
    pub fn raw_header(&mut self, name: &str, help: &str, kind: Kind) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {}", kind.as_str());
    }

    /// One line: `name{labels} value`.
    pub fn sample<'a>(&mut self, name: &str, labels: impl IntoIterator<Item = (&'a str, &'a str)>, value: f64) {
        self.begin(name);
        for (label, text) in labels {
            self.label(label, text);
        }
        self.end(value);
    }

    /// Begins a line; [`Text::label`]s and [`Text::end`] follow.
    pub fn begin(&mut self, name: &str) {
        self.out.push_str(name);
        self.out.push('{');
    }

    /// A label of the line that was begun.
    pub fn label(&mut self, name: &str, value: &str) {
        if !self.out.ends_with('{') {
            self.out.push(',');
        }
        self.out.push_str(name);
        self.out.push_str("=\"");
        escape(&mut self.out, value);
        self.out.push('"');
    }

    /// Ends the line that was begun.
    pub fn end(&mut self, value: f64) {
        if self.out.ends_with('{') {
            self.out.pop();
        } else {
            self.out.push('}');
        }
        self.out.push(' ');
        number(&mut self.out, value);
        self.out.push('\n');
    }

    /// Buckets, sum and count of one histogram; `counts` are not cumulative and have one more entry than `bounds`.
    pub fn histogram(&mut self, name: &str, labels: &[(&str, &str)], bounds: &[f64], counts: &[u64], sum: f64) {
        let mut total = 0;
        let bucket = format!("{name}_bucket");
        for (n, count) in counts.iter().enumerate() {
            total += count;
            let le = bounds.get(n).map_or_else(|| "+Inf".to_owned(), |bound| format!("{bound:?}"));
            self.sample(&bucket, labels.iter().copied().chain([("le", le.as_str())]), to_f64(total));
        }
        self.sample(&format!("{name}_sum"), labels.iter().copied(), sum);
        self.sample(&format!("{name}_count"), labels.iter().copied(), to_f64(total));
    }
}

/// Backslash, quote and line feed are escaped in label values.
fn escape(out: &mut String, value: &str) {
    if !value.contains(['\\', '"', '\n']) {
        out.push_str(value);
        return;
    }
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

/// A whole number without a point, anything else as short as it is exact.
fn number(out: &mut String, value: f64) {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    if value.fract() == 0.0 && value.abs() < EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        out.push_str(itoa::Buffer::new().format(value as i64));
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else {
        let _ = write!(out, "{value}");
    }
}

/// A count as a sample value; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "Prometheus values are 64-bit floats")]
pub fn to_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_as_the_format_wants_them() {
        let mut text = Text::default();
        text.sample("a", [], 1.0);
        text.sample("b", [("x", "q\"\\\n"), ("y", "é")], 0.25);
        text.sample("c", [], f64::INFINITY);
        text.sample("d", [], 1_795_132_800.071);
        text.histogram("h", &[("m", "v")], &[0.5, 5.0], &[1, 0, 2], 7.5);
        assert_eq!(
            text.take(),
            "a 1\nb{x=\"q\\\"\\\\\\n\",y=\"é\"} 0.25\nc +Inf\nd 1795132800.071\n\
             h_bucket{m=\"v\",le=\"0.5\"} 1\nh_bucket{m=\"v\",le=\"5.0\"} 1\nh_bucket{m=\"v\",le=\"+Inf\"} 3\n\
             h_sum{m=\"v\"} 7.5\nh_count{m=\"v\"} 3\n"
        );
    }
}
