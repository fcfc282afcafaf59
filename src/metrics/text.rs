//! Writes the two text formats, Prometheus 0.0.4 and OpenMetrics 1.0.0, whose sample lines are almost the same:
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>,
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>.

use std::io::Write as _;

use super::families::Kind;
use crate::counters::Exemplar;
use crate::domain::Timestamp;

/// A page that is being written.
#[derive(Debug, Default)]
pub struct TextBuffer(pub Vec<u8>);

/// A sample value.
#[derive(Debug, Clone, Copy)]
pub enum SampleValue {
    /// An integer.
    Integer(u64),
    /// Thousandths: a time in milliseconds that is written in seconds.
    Thousandths(i64),
    /// Any number.
    Float(f64),
}

impl SampleValue {
    /// The value as a float.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Integer(whole) => to_f64(whole),
            Self::Thousandths(count) => Timestamp::from_millis(count).as_secs_f64(),
            Self::Float(value) => value,
        }
    }
}

impl TextBuffer {
    /// Writes `# HELP` and `# TYPE` of the Prometheus format.
    pub fn write_header(&mut self, name: &str, help: &str, kind: Kind) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {}", kind.as_str());
    }

    /// Writes `# HELP`, `# TYPE` and `# UNIT` of OpenMetrics, which omits `_total` from the names of counters.
    pub fn write_open_metrics_header(&mut self, name: &str, help: &str, kind: Kind, unit: Option<&str>) {
        let name = if kind == Kind::Counter { name.trim_end_matches("_total") } else { name };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"");
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {}", kind.as_str());
        if let Some(unit) = unit {
            let _ = writeln!(self.0, "# UNIT {name} {unit}");
        }
    }

    /// Writes a line: `name{labels} value`.
    pub fn write_line<'a>(&mut self, name: &str, labels: impl Iterator<Item = (&'a str, &'a str)>, value: SampleValue) {
        self.begin_line(name, labels);
        self.end_line(value);
    }

    /// Begins a line with its name and labels; [`TextBuffer::end_line`] or [`TextBuffer::write_value`] follows.
    pub fn begin_line<'a>(&mut self, name: &str, labels: impl Iterator<Item = (&'a str, &'a str)>) {
        self.push(name);
        let mut separator = b'{';
        for (label, text) in labels {
            self.0.push(separator);
            separator = b',';
            self.push(label);
            self.push("=\"");
            write_escaped(&mut self.0, text);
            self.0.push(b'"');
        }
        if separator == b',' {
            self.0.push(b'}');
        }
    }

    /// Ends the current line with its value.
    pub fn end_line(&mut self, value: SampleValue) {
        self.write_value(value);
        self.0.push(b'\n');
    }

    /// Writes the value of the current line.
    pub fn write_value(&mut self, value: SampleValue) {
        self.0.push(b' ');
        match value {
            SampleValue::Integer(whole) => self.push(itoa::Buffer::new().format(whole)),
            SampleValue::Thousandths(count) => write_thousandths(&mut self.0, count),
            SampleValue::Float(value) => write_number(&mut self.0, value),
        }
    }

    /// Writes ` # {task_id="…"} value time` after the value.
    pub fn write_exemplar(&mut self, exemplar: &Exemplar) {
        self.push(" # ");
        self.begin_line("", std::iter::once((Exemplar::LABEL, exemplar.task_id.as_str())));
        self.write_value(SampleValue::Float(exemplar.value));
        self.write_value(SampleValue::Thousandths(exemplar.at.as_millis()));
    }

    /// Writes a text as it is.
    pub fn push(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }
}

/// Writes a label value with backslash, quote and line feed escaped.
pub fn write_escaped(out: &mut Vec<u8>, value: &str) {
    if !has_special(value.as_bytes()) {
        out.extend_from_slice(value.as_bytes());
        return;
    }
    for byte in value.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'"' => out.extend_from_slice(b"\\\""),
            b'\n' => out.extend_from_slice(b"\\n"),
            byte => out.push(byte),
        }
    }
}

/// Whether there is a backslash, a quote or a line feed. It compares eight bytes at a time: for short values this is faster
/// than a search for three characters.
fn has_special(bytes: &[u8]) -> bool {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const TOPS: u64 = u64::from_le_bytes([0x80; 8]);
    // Sets the highest bit of bytes that are 0. It may set further bits above such a byte, but never without one.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & TOPS;
    let special = |word: u64| {
        [b'\\', b'"', b'\n'].into_iter().fold(0, |found, byte| found | zeros(word ^ (ONES * u64::from(byte))))
    };
    let word = |word: &[u8; 8]| special(u64::from_le_bytes(*word));
    // The last word may overlap the one before it.
    let Some(last) = bytes.last_chunk() else {
        return bytes.iter().any(|byte| matches!(byte, b'\\' | b'"' | b'\n'));
    };
    let mut found = word(last);
    for chunk in bytes.as_chunks().0 {
        found |= word(chunk);
    }
    found != 0
}

/// Writes a number in its shortest exact form; an integer has no decimal point.
fn write_number(out: &mut Vec<u8>, value: f64) {
    const EXACT: f64 = 1e15;
    let scaled = value * 1000.0;
    // A float with at most 15 significant digits is exact, so equality means that three decimals are enough.
    #[expect(clippy::cast_possible_truncation, clippy::float_cmp, reason = "whole and below 2^53; and exact or not")]
    if scaled.abs() < EXACT && scaled.round() / 1000.0 == value {
        write_thousandths(out, scaled.round() as i64);
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    } else {
        let _ = write!(out, "{value}");
    }
}

/// Writes a number of thousandths as a decimal number.
fn write_thousandths(out: &mut Vec<u8>, count: i64) {
    if count < 0 {
        out.push(b'-');
    }
    let (whole, rest) = (count.unsigned_abs() / 1000, count.unsigned_abs() % 1000);
    out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
    if rest > 0 {
        #[expect(clippy::cast_possible_truncation, reason = "a digit")]
        let digits = [rest / 100, rest / 10 % 10, rest % 10].map(|digit| b'0' + digit as u8);
        let zeros = digits.iter().rev().take_while(|digit| **digit == b'0').count();
        out.push(b'.');
        out.extend_from_slice(&digits[..3 - zeros]);
    }
}

/// A count as a sample value; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "Prometheus values are 64-bit floats")]
pub fn to_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(value: f64) -> String {
        let mut out = Vec::new();
        write_number(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_follow_the_formats() {
        let mut text = TextBuffer::default();
        text.write_line("a", [].into_iter(), SampleValue::Integer(1));
        text.write_line("b", [("x", "q\"\\\n"), ("y", "é")].into_iter(), SampleValue::Float(0.25));
        text.write_line("c", [].into_iter(), SampleValue::Float(f64::INFINITY));
        text.write_line("d", [].into_iter(), SampleValue::Thousandths(1_795_132_800_070));
        text.write_header("h", "one\ntwo \\ \"three\"", Kind::Gauge);
        text.write_open_metrics_header("x_seconds_total", "\"three\"", Kind::Counter, Some("seconds"));
        let page = String::from_utf8(text.0).unwrap();
        assert_eq!(
            page,
            "a 1\nb{x=\"q\\\"\\\\\\n\",y=\"é\"} 0.25\nc +Inf\nd 1795132800.07\n\
             # HELP h one\\ntwo \\\\ \"three\"\n# TYPE h gauge\n\
             # HELP x_seconds \\\"three\\\"\n# TYPE x_seconds counter\n# UNIT x_seconds seconds\n"
        );
    }

    #[test]
    fn numbers_are_short_and_exact() {
        for (value, text) in [
            (0.0, "0"),
            (-0.5, "-0.5"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e21, "1000000000000000000000"),
            (999_999_999_999.999, "999999999999.999"),
            (1.0005, "1.0005"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(written(value), text);
        }
    }

    proptest! {
        #[test]
        fn values_are_escaped_as_the_formats_require(value in "[ -~\n\\\\\"é]{0,40}") {
            let mut out = Vec::new();
            write_escaped(&mut out, &value);
            let expected = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            prop_assert_eq!(String::from_utf8(out).unwrap(), expected);
        }

        #[test]
        fn a_number_is_read_back_exactly(value in proptest::num::f64::NORMAL | proptest::num::f64::ZERO, small in 0u32..10_000_000) {
            for value in [value, f64::from(small) / 1000.0, f64::from(small) / 997.0] {
                prop_assert_eq!(written(value).parse::<f64>().unwrap().to_bits(), (value + 0.0).to_bits());
                // Negative zero is written as 0.
                prop_assert_eq!(written(value), (value + 0.0).to_string());
            }
        }
    }
}
