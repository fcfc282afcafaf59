//! Scalar types of prices: exact amounts, days, and one text or many.

use std::borrow::Cow;
use std::fmt;

use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::scalars::{TIME_PATTERN, Text};
use crate::domain::Timestamp;
use crate::domain::pricing::{CURRENCIES, Glob};

/// One text or a list of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts(pub Vec<String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextsVisitor;
        impl<'de> de::Visitor<'de> for TextsVisitor {
            type Value = Texts;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }
            fn visit_str<E>(self, text: &str) -> Result<Texts, E> {
                Ok(Texts(vec![text.to_owned()]))
            }
            fn visit_i64<E>(self, text: i64) -> Result<Texts, E> {
                Ok(Texts(vec![text.to_string()]))
            }
            fn visit_u64<E>(self, text: u64) -> Result<Texts, E> {
                Ok(Texts(vec![text.to_string()]))
            }
            fn visit_f64<E>(self, text: f64) -> Result<Texts, E> {
                Ok(Texts(vec![format!("{text:?}")]))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut texts: A) -> Result<Texts, A::Error> {
                let mut found = Vec::new();
                while let Some(Text(text)) = texts.next_element()? {
                    found.push(text);
                }
                Ok(Texts(found))
            }
        }
        deserializer.deserialize_any(TextsVisitor)
    }
}

impl JsonSchema for Texts {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Texts".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "array"], "items": generator.subschema_for::<Text>() })
    }
}

impl Texts {
    /// As patterns.
    pub fn globs(&self) -> Vec<Glob> {
        self.0.iter().map(|text| Glob::new(text)).collect()
    }
}

/// An amount that is not negative, as exact as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigDecimal(pub Decimal);

impl ConfigDecimal {
    /// Of a text such as `0.28` or `1e-7`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let found = Decimal::from_str_exact(text).ok().or_else(|| Decimal::from_scientific(text).ok());
        found.filter(|found| !found.is_sign_negative()).map(Self)
    }
}

impl<'de> Deserialize<'de> for ConfigDecimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("expected an amount that is not negative, such as 0.28"))
    }
}

impl JsonSchema for ConfigDecimal {
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An amount that is not negative, such as 0.28; as exact as it is written.",
            "type": ["number", "string"],
            "minimum": 0,
            "pattern": r"^\s*(\+?([0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)|-[0_.]*0[0_.]*)([Ee][-+]?[0-9]+)?\s*$",
            "examples": [0.28],
        })
    }
}

/// A day or a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigTime(pub Timestamp);

impl<'de> Deserialize<'de> for ConfigTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        let day = |day: jiff::civil::Date| day.to_zoned(jiff::tz::TimeZone::UTC).map(|midnight| midnight.timestamp());
        // The parser of days ignores a time that follows.
        let is_day = text.len() == "2026-04-02".len();
        let time = text
            .parse::<jiff::Timestamp>()
            .or_else(|error| if is_day { text.parse().and_then(day) } else { Err(error) });
        time.map(|time| Self(Timestamp::from_millis(time.as_millisecond()))).map_err(|_| {
            de::Error::custom("expected a day such as 2026-04-02 (UTC) or a time such as 2026-04-02T08:00:00Z")
        })
    }
}

impl JsonSchema for ConfigTime {
    fn schema_name() -> Cow<'static, str> {
        "DayOrTime".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A day (UTC) such as 2026-04-02, or a time such as 2026-04-02T08:00:00Z.",
            "type": "string",
            "pattern": format!("^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}$|{TIME_PATTERN}"),
            "examples": ["2026-04-02", "2026-04-02T08:00:00Z"],
        })
    }
}

/// The code of a currency; in the schema only.
pub struct CurrencyCode;

impl JsonSchema for CurrencyCode {
    fn schema_name() -> Cow<'static, str> {
        "Currency".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // Editors complete the codes; the loader accepts them in any case.
        let any_case =
            |letter: char| ["[".to_owned(), letter.into(), letter.to_ascii_lowercase().into(), "]".to_owned()];
        let any_case = |code: &&str| code.chars().flat_map(any_case).collect::<String>();
        let codes: Vec<String> = CURRENCIES.iter().map(any_case).collect();
        json_schema!({
            "description": "The code of a currency (ISO 4217), such as USD.",
            "type": "string",
            "anyOf": [{ "enum": CURRENCIES }, { "pattern": format!("^({})$", codes.join("|")) }],
            "examples": ["USD"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_without_a_zone_is_no_day() {
        let parse = |text: &str| serde_json::from_value::<ConfigTime>(text.into()).ok().map(|time| time.0.as_millis());
        assert_eq!(parse("2026-04-02"), Some(1_775_088_000_000));
        assert_eq!(parse("2026-04-02T08:00:00+08:00"), Some(1_775_088_000_000));
        for text in
            ["2026-04-02T16:00:00", "2026-04-02 16:00", "2026-04-02T16:00[Asia/Shanghai]", "20260402", "2026-13-01"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn amounts_are_exact_in_every_notation() {
        for (text, value) in [("0.28", "0.28"), (" 46 ", "46"), ("1e-7", "0.0000001"), ("0.141942857", "0.141942857")] {
            assert_eq!(ConfigDecimal::parse(text).map(|amount| amount.0.to_string()).as_deref(), Some(value));
        }
        for text in ["-1", "", "x", "NaN", "1e99"] {
            assert_eq!(ConfigDecimal::parse(text), None, "{text}");
        }
    }
}
