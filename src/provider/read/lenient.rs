//! Lenient decoding of JSON: numbers in strings, times in several units, null and empty strings as missing values.

use std::borrow::Cow;

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use serde_json::Value;

use crate::domain::Timestamp;
use crate::domain::drift::FieldProblem;
use crate::domain::labels;

/// What no task can have more of. One larger number from an upstream would fill a counter for ever.
pub mod limit {
    /// Tokens of a task.
    pub const TOKENS: f64 = 1e12;
    /// The upstream's own units for a task.
    pub const CREDITS: f64 = 1e15;
    /// Length of a video, in seconds: a day.
    pub const VIDEO_SECONDS: f64 = 86_400.0;
    /// Time until the provider gives up a task, in seconds: about thirty years.
    pub const DEADLINE_SECONDS: f64 = 1e9;
    /// Money, in whole units of a currency.
    pub const COST: f64 = 1e9;
    /// Anything else: sides of a picture, frames, percent.
    pub const OTHER: f64 = 1e9;
    /// Times in Unix milliseconds: from the year 2015 to the year 2100.
    pub const TIMES: std::ops::Range<i64> = 1_420_070_400_000..4_102_444_800_000;
    /// Progress in percent, from an unset one to a wrong sum. It is cut to 0 and 100.
    pub const PERCENT: std::ops::RangeInclusive<f64> = -100.0..=1000.0;
}

/// The offset from UTC of times without a zone, if it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Zone(pub Option<Offset>);

impl Zone {
    /// Times without a zone cannot be read.
    pub const UNKNOWN: Self = Self(None);

    /// Parses an offset such as `+08:00`, `-5` or `Z`.
    ///
    /// # Errors
    /// When it is not an offset of less than 15 hours.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const MESSAGE: &str = "expected an offset from UTC, such as +08:00, -05:30 or Z";
        if text.eq_ignore_ascii_case("z") {
            return Ok(Self(Some(Offset::UTC)));
        }
        let (sign, rest) = match text.split_at_checked(1) {
            Some(("+", rest)) => (1, rest),
            Some(("-", rest)) => (-1, rest),
            _ => return Err(MESSAGE),
        };
        let (hours, minutes) = rest.split_once(':').unwrap_or((rest, "0"));
        let number = |text: &str, most: i32| {
            let digits = matches!(text.len(), 1 | 2) && text.bytes().all(|b| b.is_ascii_digit());
            text.parse::<i32>().ok().filter(|number| digits && *number <= most).ok_or(MESSAGE)
        };
        let seconds = number(hours, 14)? * 3600 + number(minutes, 59)? * 60;
        Ok(Self(Some(Offset::from_seconds(sign * seconds).map_err(|_| MESSAGE)?)))
    }

    /// Formats a time in this zone, or in UTC, as `20260131235959`.
    pub fn format_compact(self, time: Timestamp) -> String {
        let offset = self.0.unwrap_or(Offset::UTC);
        let civil = jiff::Timestamp::from_millisecond(time.as_millis()).unwrap_or_default();
        offset.to_datetime(civil).strftime("%Y%m%d%H%M%S").to_string()
    }

    /// This zone, or the given offset when it is unknown.
    #[must_use]
    pub const fn or_hours(self, hours: i8) -> Self {
        match self.0 {
            Some(_) => self,
            None => Self(Some(Offset::constant(hours))),
        }
    }
}

/// The value at a path: keys of objects, separated by dots.
pub fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, key| value.get(key))
}

/// A trimmed, non-empty string; a number becomes its digits.
pub fn text<'a>(object: &'a Value, key: &str) -> Option<Cow<'a, str>> {
    as_text(object.get(key)?)
}

/// A value as by [`text`].
pub fn as_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.trim()).filter(|text| !text.is_empty()).map(Cow::Borrowed),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}

/// A string that may be stored, by [`labels::storable_text`].
pub fn owned(object: &Value, key: &str) -> Option<String> {
    text(object, key).and_then(|text| labels::storable_text(&text))
}

/// A finite number, possibly in a string.
pub fn number(object: &Value, key: &str) -> Option<f64> {
    as_number(object.get(key)?)
}

fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
    .filter(|number: &f64| number.is_finite())
}

/// A number between 0 and [`limit::OTHER`].
pub fn amount(object: &Value, key: &str) -> Option<f64> {
    number(object, key).filter(|amount| (0.0..=limit::OTHER).contains(amount))
}

/// The time at the first of these keys that has one.
pub fn time(object: &Value, keys: &[&str]) -> Option<Timestamp> {
    keys.iter().find_map(|key| as_time(object.get(key)?))
}

/// A time as Unix seconds, milliseconds (over 1e11) or microseconds (over 1e14), or as RFC 3339, within [`limit::TIMES`]. 0 and
/// less is no time.
pub fn as_time(value: &Value) -> Option<Timestamp> {
    checked_time(value, Zone::UNKNOWN).ok().flatten()
}

/// A string as by [`as_text`]; an error for a boolean, list or object.
pub fn checked_text(value: &Value) -> Result<Option<Cow<'_, str>>, FieldProblem> {
    match value {
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(FieldProblem::WrongType),
        _ => Ok(as_text(value)),
    }
}

/// Whether there is a string or number: false for null and a blank string, an error for a boolean, list or object.
fn has_content(value: &Value) -> Result<bool, FieldProblem> {
    match value {
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(FieldProblem::WrongType),
        Value::Null => Ok(false),
        Value::Number(_) => Ok(true),
        Value::String(text) => Ok(!text.trim().is_empty()),
    }
}

/// A number between 0 and `most`, possibly in a string; `None` for a blank string.
pub fn checked_amount(value: &Value, most: f64) -> Result<Option<f64>, FieldProblem> {
    if !has_content(value)? {
        return Ok(None);
    }
    as_number(value).filter(|amount| (0.0..=most).contains(amount)).map(Some).ok_or(FieldProblem::Unreadable)
}

/// The length of a video, in seconds; a string may have the unit, such as `6s`. 0 means that it is not known.
pub fn checked_seconds(value: &Value) -> Result<Option<f64>, FieldProblem> {
    let number = value.as_str().and_then(|text| text.trim().strip_suffix(['s', 'S'])).map(Value::from);
    let seconds = checked_amount(number.as_ref().unwrap_or(value), limit::VIDEO_SECONDS)?;
    Ok(seconds.filter(|seconds| *seconds > 0.0))
}

/// The unit of progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProgressUnit {
    /// A ratio between 0 and 1, percent otherwise.
    #[default]
    Auto,
    /// 0 to 1.
    Ratio,
    /// 0 to 100.
    Percent,
}

/// A ratio; `None` for a blank string. A percent sign overrides the unit.
pub fn checked_progress(value: &Value, unit: ProgressUnit) -> Result<Option<f64>, FieldProblem> {
    if !has_content(value)? {
        return Ok(None);
    }
    if unit == ProgressUnit::Auto {
        return progress(value).map(Some).ok_or(FieldProblem::Unreadable);
    }
    let number = value.as_str().map(|text| text.trim().trim_end_matches('%').trim_end());
    let has_percent_sign = number.is_some() && number != value.as_str().map(str::trim);
    let number = number.map_or_else(|| value.clone(), Value::from);
    let amount = checked_amount(&number, *limit::PERCENT.end())?;
    let whole = if unit == ProgressUnit::Ratio && !has_percent_sign { 1.0 } else { 100.0 };
    Ok(amount.map(|amount| (amount / whole).clamp(0.0, 1.0)))
}

/// A time in any form; UTC without a zone.
pub fn time_or_utc(value: &Value) -> Option<Timestamp> {
    checked_time(value, Zone::UNKNOWN.or_hours(0)).ok().flatten()
}

/// A time as by [`as_time`], or `YYYY-MM-DD HH:mm:ss.SSS` in `zone`; `None` for a blank string, 0 and less.
pub fn checked_time(value: &Value, zone: Zone) -> Result<Option<Timestamp>, FieldProblem> {
    if !has_content(value)? {
        return Ok(None);
    }
    let text = value.as_str().unwrap_or_default().trim();
    let millis = if let Some(number) = as_number(value) {
        unix_millis(number)
    } else if let Ok(time) = text.parse::<jiff::Timestamp>() {
        time.as_millisecond()
    } else {
        let civil = text.parse::<DateTime>().ok().zip(zone.0);
        let zoned = civil.and_then(|(civil, offset)| civil.to_zoned(TimeZone::fixed(offset)).ok());
        zoned.ok_or(FieldProblem::Unreadable)?.timestamp().as_millisecond()
    };
    match millis {
        // 0 and the year 1 are how programs write that there is no time.
        ..=0 => Ok(None),
        millis if limit::TIMES.contains(&millis) => Ok(Some(Timestamp::from_millis(millis))),
        _ => Err(FieldProblem::Unreadable),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, far beyond every time")]
fn unix_millis(number: f64) -> i64 {
    let millis = if number > 1e14 {
        number / 1e3
    } else if number > 1e11 {
        number
    } else {
        number * 1e3
    };
    millis.round() as i64
}

/// Progress as a ratio: `"100%"` is 1, `"50"` is 0.5, `75` is 0.75, `0.4` is 0.4. `1` means 1 %.
pub fn progress(value: &Value) -> Option<f64> {
    let (number, is_percent) = match value {
        Value::String(text) => match text.trim().strip_suffix('%') {
            Some(head) => (head.trim().parse().ok()?, true),
            None => (text.trim().parse().ok()?, false),
        },
        _ => (as_number(value)?, false),
    };
    if !limit::PERCENT.contains(&number) {
        return None;
    }
    let ratio = if is_percent || !(0.0 < number && number < 1.0) { number / 100.0 } else { number };
    Some(ratio.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn offsets_are_parsed_with_their_sign() {
        for (text, seconds) in [("+08:00", 28_800), ("-05:30", -19_800), ("Z", 0), ("+8", 28_800), ("-0:15", -900)] {
            assert_eq!(Zone::parse(text).map(|zone| zone.0.map(Offset::seconds)), Ok(Some(seconds)), "{text}");
        }
        for text in ["", "8", "+", "+15", "+08:60", "+008", "+8:", "CET", "+0x", "é"] {
            assert!(Zone::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn progress_is_decoded_in_every_form() {
        for (value, ratio) in [
            (json!("100%"), Some(1.0)),
            (json!("50"), Some(0.5)),
            (json!(75), Some(0.75)),
            (json!(0.4), Some(0.4)),
            (json!(1), Some(0.01)),
            (json!(" 30 % "), Some(0.3)),
            (json!("0.5%"), Some(0.005)),
            (json!(0), Some(0.0)),
            (json!(250), Some(1.0)),
            (json!(-3), Some(0.0)),
            (json!(1e300), None),
            (json!("-1e9%"), None),
            (json!("NaN"), None),
            (json!("half"), None),
            (json!(true), None),
            (json!(null), None),
        ] {
            assert_eq!(progress(&value), ratio, "{value}");
        }
    }

    #[test]
    fn times_are_decoded_in_every_unit() {
        let zone = Zone::UNKNOWN.or_hours(8);
        let ms = |value: serde_json::Value| checked_time(&value, zone).ok().flatten().map(Timestamp::as_millis);
        assert_eq!(ms(json!(1_795_132_800)), Some(1_795_132_800_000));
        assert_eq!(ms(json!("1795132800")), Some(1_795_132_800_000));
        assert_eq!(ms(json!(1_795_132_800_071_i64)), Some(1_795_132_800_071));
        assert_eq!(ms(json!(1_795_132_800_071_000_i64)), Some(1_795_132_800_071));
        assert_eq!(ms(json!(1_795_132_800.25)), Some(1_795_132_800_250));
        assert_eq!(ms(json!("2026-11-20T00:00:00Z")), Some(1_795_132_800_000));
        assert_eq!(ms(json!("2026-11-20T08:00:00.5+08:00")), Some(1_795_132_800_500));
        assert_eq!(ms(json!("2026-11-20 08:00:00.250")), Some(1_795_132_800_250));
        for nothing in
            [json!(0), json!(-5), json!(null), json!(""), json!("soon"), json!(true), json!(1e300), json!("inf")]
        {
            assert_eq!(ms(nothing.clone()), None, "{nothing}");
        }
        assert_eq!(as_time(&"2026-11-20 08:00:00.250".into()), None, "there is no time without a zone");
        for (value, problem) in [
            (json!("soon"), FieldProblem::Unreadable),
            (json!(1e300), FieldProblem::Unreadable),
            (json!(1_420_070_399), FieldProblem::Unreadable),
            (json!(4_102_444_800_i64), FieldProblem::Unreadable),
            (json!("2014-12-31T23:59:59Z"), FieldProblem::Unreadable),
            (json!("2100-01-01 08:00:00"), FieldProblem::Unreadable),
            (json!(true), FieldProblem::WrongType),
            (json!([1_795_132_800]), FieldProblem::WrongType),
        ] {
            assert_eq!(checked_time(&value, zone), Err(problem), "{value}");
        }
        for nothing in [json!(0), json!(-1), json!("0001-01-01T00:00:00Z")] {
            assert_eq!(checked_time(&nothing, zone), Ok(None), "{nothing} means that there is no time yet");
        }
    }

    #[test]
    fn amounts_that_no_task_can_have_are_unreadable() {
        for (value, most, read) in [
            (json!(1e12), limit::TOKENS, Ok(Some(1e12))),
            (json!("1e12"), limit::TOKENS, Ok(Some(1e12))),
            (json!(1.1e12), limit::TOKENS, Err(FieldProblem::Unreadable)),
            (json!("1e300"), limit::TOKENS, Err(FieldProblem::Unreadable)),
            (json!(-1), limit::CREDITS, Err(FieldProblem::Unreadable)),
            (json!(""), limit::CREDITS, Ok(None)),
        ] {
            assert_eq!(checked_amount(&value, most), read, "{value}");
        }
        assert_eq!(amount(&json!({"frames": 1e300}), "frames"), None);
    }
}
