//! Lenient reading of JSON: numbers that are texts, times in three units, nulls and empty texts that mean nothing.

use std::borrow::Cow;

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use serde_json::Value;

use crate::domain::Timestamp;
use crate::domain::labels;

/// A text that is there: trimmed, not empty; a number counts as its digits.
pub fn text<'a>(object: &'a Value, key: &str) -> Option<Cow<'a, str>> {
    as_text(object.get(key)?)
}

/// The same for a value.
pub fn as_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.trim()).filter(|text| !text.is_empty()).map(Cow::Borrowed),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}

/// The same, to be kept: without any URL, for URLs are signed secrets; a text that is one is not there.
pub fn owned(object: &Value, key: &str) -> Option<String> {
    text(object, key).and_then(|text| labels::kept_text(&text))
}

/// A finite number, or a text of one; a boolean is none.
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

/// A number that counts something: not negative.
pub fn amount(object: &Value, key: &str) -> Option<f64> {
    number(object, key).filter(|amount| *amount >= 0.0)
}

/// The first of `keys` that holds a moment.
pub fn moment(object: &Value, keys: &[&str]) -> Option<Timestamp> {
    keys.iter().find_map(|key| as_moment(object.get(key)?))
}

/// Unix seconds, milliseconds (over 1e11) or microseconds (over 1e14), or RFC 3339; 0 and less are no moment.
pub fn as_moment(value: &Value) -> Option<Timestamp> {
    if let Some(number) = as_number(value) {
        return unix(number);
    }
    let moment: jiff::Timestamp = value.as_str()?.trim().parse().ok()?;
    after_epoch(moment.as_millisecond())
}

/// As [`as_moment`], and `YYYY-MM-DD HH:mm:ss.SSS` without a zone, `offset` hours east of Greenwich (`DashScope`: 8).
pub fn as_moment_at(value: &Value, offset: i8) -> Option<Timestamp> {
    as_moment(value).or_else(|| {
        let civil: DateTime = value.as_str()?.trim().parse().ok()?;
        let moment = civil.to_zoned(TimeZone::fixed(Offset::constant(offset))).ok()?;
        after_epoch(moment.timestamp().as_millisecond())
    })
}

fn unix(number: f64) -> Option<Timestamp> {
    let millis = if number > 1e14 {
        number / 1e3
    } else if number > 1e11 {
        number
    } else {
        number * 1e3
    };
    // Beyond the year 9999 it is no time of a task, whatever it is.
    if millis >= 253_402_300_800_000.0 {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "bounded just above")]
    after_epoch(millis.round() as i64)
}

fn after_epoch(millis: i64) -> Option<Timestamp> {
    (millis > 0).then(|| Timestamp::from_millis(millis))
}

/// A progress as a ratio: `"100%"`, `"50"`, `75` and `0.4` give 1, 0.5, 0.75 and 0.4, and 1 gives 0.01.
pub fn progress(value: &Value) -> Option<f64> {
    let (number, percent) = match value {
        Value::String(text) => match text.trim().strip_suffix('%') {
            Some(head) => (head.trim().parse().ok()?, true),
            None => (text.trim().parse().ok()?, false),
        },
        _ => (as_number(value)?, false),
    };
    if !f64::is_finite(number) {
        return None;
    }
    let ratio = if percent || !(0.0 < number && number < 1.0) { number / 100.0 } else { number };
    Some(ratio.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn progress_is_read_in_every_spelling() {
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
            (json!("NaN"), None),
            (json!("half"), None),
            (json!(true), None),
            (json!(null), None),
        ] {
            assert_eq!(progress(&value), ratio, "{value}");
        }
    }

    #[test]
    fn times_are_read_in_every_unit() {
        let ms = |value| as_moment_at(&value, 8).map(Timestamp::as_millis);
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
        assert_eq!(as_moment(&json!("2026-11-20 08:00:00.250")), None, "no zone, no moment");
    }
}
