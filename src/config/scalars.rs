//! Scalar types: durations with a unit, numbers, and strings that may look like numbers.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use jiff::SpanRelativeTo;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

/// A duration with its unit, such as `15s`, `1h30m` or `30d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigDuration(pub Duration);

/// Longest accepted duration.
const MAX_DURATION: Duration = Duration::from_hours(24 * 3660);

impl ConfigDuration {
    /// From seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        const FORMAT_ERROR: &str = "a duration needs a unit, such as 15s, 2m, 1h30m or 30d";
        let span: jiff::Span = text.trim().parse().map_err(|_| FORMAT_ERROR)?;
        let exact = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| FORMAT_ERROR)?;
        let duration = Duration::try_from(exact).map_err(|_| "a duration must not be negative")?;
        if duration > MAX_DURATION { Err("a duration must not be longer than ten years") } else { Ok(Self(duration)) }
    }
}

impl std::str::FromStr for ConfigDuration {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        Self::parse(text)
    }
}

impl fmt::Display for ConfigDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        for (unit, name) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")] {
            if millis >= unit && millis.is_multiple_of(unit) {
                return write!(f, "{}{name}", millis / unit);
            }
        }
        if millis == 0 { f.write_str("0s") } else { write!(f, "{millis}ms") }
    }
}

impl Serialize for ConfigDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ConfigDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

/// What jiff reads as a duration, as far as a pattern can tell: its own format, such as `1h 30m`, and ISO 8601. Signs are left to the
/// parser, which accepts a zero with each of them.
const DURATION_PATTERN: &str = concat!(
    r"^\s*(",
    r"[-+]?(([0-9]+\s*([.,][0-9]+\s*)?(",
    "weeks|week|wks|wk|w|days|day|d|hours|hour|hrs|hr|h|minutes|minute|mins|min|m|seconds|second|secs|sec|s|",
    "milliseconds|millisecond|millis|milli|msecs|msec|ms|",
    "microseconds|microsecond|micros|micro|usecs|usec|us|\u{b5}secs|\u{b5}sec|\u{b5}s|",
    "nanoseconds|nanosecond|nanos|nano|nsecs|nsec|ns",
    // Without a date, years and months have a length only where they are zero.
    r")|0+\s*(years|year|yrs|yr|y|months|month|mos|mo)),?\s*)+([0-9]+:[0-9]+:[0-9]+([.,][0-9]+)?)?(ago)?",
    r"|[-+]?[0-9]+:[0-9]+:[0-9]+([.,][0-9]+)?",
    r"|[-+]?[Pp]([0-9]+[WwDd]|0+[YyMm])*([Tt]([0-9]+([.,][0-9]+)?[HhMmSs])+)?",
    r")\s*$",
);

impl JsonSchema for ConfigDuration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A duration with its unit, such as 15s, 2m, 1h30m or 30d.",
            "type": "string",
            "pattern": DURATION_PATTERN,
            "examples": ["15s", "2m", "1h30m", "30d"],
        })
    }
}

/// What jiff reads as a time with a zone, as far as a pattern can tell.
pub const TIME_PATTERN: &str =
    r"^([0-9]{4}|[-+][0-9]{6})-?[0-9]{2}-?[0-9]{2}[Tt ][0-9]{2}[0-9:.,]*([Zz]|[-+][0-9]{2}[0-9:.,]*)(\[.*\])*$";

/// A string. YAML numbers and booleans are accepted as their text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Text(pub String);

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScalarVisitor;
        impl Visitor<'_> for ScalarVisitor {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Text, E> {
                Ok(Text(format!("{value:?}"))) // The format that `yaml.rs` compares with.
            }
        }
        deserializer.deserialize_any(ScalarVisitor)
    }
}

impl JsonSchema for Text {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

/// A finite number, in any notation such as `1.50`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(transparent)]
pub struct ConfigNumber(pub f64);

impl<'de> Deserialize<'de> for ConfigNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        let number = text.trim().parse().ok().filter(|number: &f64| number.is_finite());
        number.map(Self).ok_or_else(|| de::Error::custom("expected a number"))
    }
}

impl JsonSchema for ConfigNumber {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Number".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let pattern = r"^\s*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([Ee][-+]?[0-9]+)?\s*$";
        json_schema!({ "type": ["number", "string"], "pattern": pattern })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_parsed_and_written_with_their_unit() {
        for (text, secs, again) in
            [("15s", 15, "15s"), ("2m", 120, "2m"), ("1h30m", 5400, "90m"), ("30d", 2_592_000, "30d"), ("0s", 0, "0s")]
        {
            let span = ConfigDuration::parse(text).unwrap();
            assert_eq!((span.0.as_secs(), span.to_string().as_str()), (secs, again));
        }
        for text in ["15", "soon", "", "-5s", "20000d", "1y"] {
            assert!(ConfigDuration::parse(text).is_err(), "{text}");
        }
    }
}
