//! Lines of the two text formats, Prometheus 0.0.4 and OpenMetrics 1.0.0, which differ around the samples:
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>,
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>.

use std::io::Write as _;

use super::families::Kind;
use crate::counters::Exemplar;
use crate::domain::Timestamp;

/// A growing page.
#[derive(Debug, Default)]
pub struct Text(pub Vec<u8>);

/// A value as a line has it.
#[derive(Debug, Clone, Copy)]
pub enum Value {
    /// Whole.
    Whole(u64),
    /// Thousandths, such as a moment in seconds.
    Thousandths(i64),
    /// Anything.
    Float(f64),
}

impl Value {
    /// The number itself.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Whole(whole) => to_f64(whole),
            Self::Thousandths(count) => Timestamp::from_millis(count).as_secs_f64(),
            Self::Float(value) => value,
        }
    }
}

impl Text {
    /// `# HELP` and `# TYPE` of the Prometheus format.
    pub fn header(&mut self, name: &str, help: &str, kind: Kind) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {}", kind.as_str());
    }

    /// `# HELP`, `# TYPE` and `# UNIT` of OpenMetrics, where a counter's name is without its `_total`.
    pub fn open_header(&mut self, name: &str, help: &str, kind: Kind, unit: Option<&str>) {
        let name = if kind == Kind::Counter { name.trim_end_matches("_total") } else { name };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"");
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {}", kind.as_str());
        if let Some(unit) = unit {
            let _ = writeln!(self.0, "# UNIT {name} {unit}");
        }
    }

    /// One line: `name{labels} value`.
    pub fn sample<'a>(&mut self, name: &str, labels: impl Iterator<Item = (&'a str, &'a str)>, value: Value) {
        self.series(name, labels);
        self.end(value);
    }

    /// Begins a line with its name and labels; [`Text::end`] or [`Text::value`] follows.
    pub fn series<'a>(&mut self, name: &str, labels: impl Iterator<Item = (&'a str, &'a str)>) {
        self.push(name);
        let mut before = b'{';
        for (label, text) in labels {
            self.0.push(before);
            before = b',';
            self.push(label);
            self.push("=\"");
            escape(&mut self.0, text);
            self.0.push(b'"');
        }
        if before == b',' {
            self.0.push(b'}');
        }
    }

    /// Ends the line that was begun.
    pub fn end(&mut self, value: Value) {
        self.value(value);
        self.0.push(b'\n');
    }

    /// The value of the line that was begun.
    pub fn value(&mut self, value: Value) {
        self.0.push(b' ');
        match value {
            Value::Whole(whole) => self.push(itoa::Buffer::new().format(whole)),
            Value::Thousandths(count) => thousandths(&mut self.0, count),
            Value::Float(value) => number(&mut self.0, value),
        }
    }

    /// ` # {task_id="…"} value time`, behind the value.
    pub fn exemplar(&mut self, exemplar: &Exemplar) {
        self.push(" # ");
        self.series("", std::iter::once((Exemplar::LABEL, exemplar.task_id.as_str())));
        self.value(Value::Float(exemplar.value));
        self.value(Value::Thousandths(exemplar.at.as_millis()));
    }

    /// As it is.
    pub fn push(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }
}

/// Backslash, quote and line feed are escaped in label values.
pub fn escape(out: &mut Vec<u8>, value: &str) {
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

/// True where there is a backslash, a quote or a line feed. Values are short: a loop over words is over before one that would be
/// faster in the end has begun.
fn has_special(bytes: &[u8]) -> bool {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const TOPS: u64 = u64::from_le_bytes([0x80; 8]);
    // The highest bit of each byte that is 0, and perhaps of some above it: enough to know whether there is one.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & TOPS;
    let special = |word: u64| {
        [b'\\', b'"', b'\n'].into_iter().fold(0, |found, byte| found | zeros(word ^ (ONES * u64::from(byte))))
    };
    let word = |word: &[u8; 8]| special(u64::from_le_bytes(*word));
    // The last word may have something of the one before it.
    let Some(last) = bytes.last_chunk() else {
        return bytes.iter().any(|byte| matches!(byte, b'\\' | b'"' | b'\n'));
    };
    let mut found = word(last);
    for chunk in bytes.as_chunks().0 {
        found |= word(chunk);
    }
    found != 0
}

/// A whole number without a point, anything else as short as it is exact.
fn number(out: &mut Vec<u8>, value: f64) {
    const EXACT: f64 = 1e15;
    let scaled = value * 1000.0;
    // Of 15 digits at most, no other number is this close: three places behind the point are all there is to it.
    #[expect(clippy::cast_possible_truncation, clippy::float_cmp, reason = "whole and below 2^53; and exact or not")]
    if scaled.abs() < EXACT && scaled.round() / 1000.0 == value {
        thousandths(out, scaled.round() as i64);
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    } else {
        let _ = write!(out, "{value}");
    }
}

/// A number of thousandths, in ones.
fn thousandths(out: &mut Vec<u8>, count: i64) {
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
        number(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_written_as_the_formats_want_them() {
        let mut text = Text::default();
        text.sample("a", [].into_iter(), Value::Whole(1));
        text.sample("b", [("x", "q\"\\\n"), ("y", "é")].into_iter(), Value::Float(0.25));
        text.sample("c", [].into_iter(), Value::Float(f64::INFINITY));
        text.sample("d", [].into_iter(), Value::Thousandths(1_795_132_800_070));
        text.header("h", "one\ntwo \\ \"three\"", Kind::Gauge);
        text.open_header("x_seconds_total", "\"three\"", Kind::Counter, Some("seconds"));
        let page = String::from_utf8(text.0).unwrap();
        assert_eq!(
            page,
            "a 1\nb{x=\"q\\\"\\\\\\n\",y=\"é\"} 0.25\nc +Inf\nd 1795132800.07\n\
             # HELP h one\\ntwo \\\\ \"three\"\n# TYPE h gauge\n\
             # HELP x_seconds \\\"three\\\"\n# TYPE x_seconds counter\n# UNIT x_seconds seconds\n"
        );
    }

    #[test]
    fn numbers_are_as_short_as_they_are_exact() {
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
        fn what_is_escaped_can_be_told_from_what_is_not(value in "[ -~\n\\\\\"é]{0,40}") {
            let mut out = Vec::new();
            escape(&mut out, &value);
            let expected = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            prop_assert_eq!(String::from_utf8(out).unwrap(), expected);
        }

        #[test]
        fn a_number_is_read_back_as_it_was(value in proptest::num::f64::NORMAL | proptest::num::f64::ZERO, small in 0u32..10_000_000) {
            for value in [value, f64::from(small) / 1000.0, f64::from(small) / 997.0] {
                prop_assert_eq!(written(value).parse::<f64>().unwrap().to_bits(), (value + 0.0).to_bits());
                // A zero has no sign here.
                prop_assert_eq!(written(value), (value + 0.0).to_string());
            }
        }
    }
}
