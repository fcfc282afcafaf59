//! `request:` and `response:` — overrides of a provider's requests, and the response format of provider `custom`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::problem::Problems;
use super::scalars::Text;
use crate::domain::{FailureClass, Status};
use crate::http::Method;
use crate::provider::custom::{FIELDS, FieldPath, ProgressUnit, ResponseSpec, TimeUnit};
use crate::provider::{Overrides, SHAPES, Zone};

/// `request:`; missing keys keep the provider's values.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RequestConfig {
    /// The method, GET or POST.
    pub method: Option<Text>,
    /// Path and query below `base_url`, with the placeholder `{task_id}` or, for operation names, `{operation}`.
    pub path: Option<Text>,
    /// A JSON body with the same placeholders.
    pub body: Option<Text>,
    /// Headers; `{credentials}` in a value is replaced by the key. Values are not shown, because they may be secrets.
    pub headers: BTreeMap<String, Text>,
    /// Format of the response.
    pub shape: Option<Text>,
    /// Offset of times that have no time zone.
    pub time_offset: Option<Text>,
}

/// `response:`, only for provider `custom`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResponseConfig {
    /// Location of each field: a JSON Pointer or a `JSONPath`.
    pub fields: BTreeMap<String, Text>,
    /// The API's status words by the exporter's status, in addition to common ones.
    pub statuses: BTreeMap<String, Vec<Text>>,
    /// The API's error codes by failure class.
    pub failures: BTreeMap<String, Vec<Text>>,
    /// Unit of numeric times: auto, s, ms or us.
    pub time_unit: Option<Text>,
    /// Unit of the progress: auto, ratio or percent.
    pub progress_unit: Option<Text>,
}

const TIME_UNITS: &[(&str, TimeUnit)] = &[
    ("auto", TimeUnit::Auto),
    ("s", TimeUnit::Seconds),
    ("ms", TimeUnit::Milliseconds),
    ("us", TimeUnit::Microseconds),
];

const PROGRESS_UNITS: &[(&str, ProgressUnit)] =
    &[("auto", ProgressUnit::Auto), ("ratio", ProgressUnit::Ratio), ("percent", ProgressUnit::Percent)];

const METHODS: &[(&str, Method)] = &[("GET", Method::Get), ("POST", Method::Post)];

impl RequestConfig {
    pub(super) fn check(&self, at: &str, problems: &mut Problems) -> Overrides {
        let text = |text: &Option<Text>| text.as_ref().map(|text| text.0.clone());
        Overrides {
            custom_base_url: false,
            method: parse_word(METHODS, self.method.as_ref(), || format!("{at}.method"), problems),
            path: text(&self.path),
            body: text(&self.body),
            headers: self.headers.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect(),
            shape: parse_word(SHAPES, self.shape.as_ref(), || format!("{at}.shape"), problems),
            zone: self.time_offset.as_ref().map_or(Zone::UNKNOWN, |text| {
                Zone::parse(&text.0).unwrap_or_else(|message| {
                    problems.add(format!("{at}.time_offset"), message);
                    Zone::UNKNOWN
                })
            }),
            response: None,
        }
    }
}

impl ResponseConfig {
    pub(super) fn check(&self, at: &str, problems: &mut Problems) -> ResponseSpec {
        let mut response = ResponseSpec {
            time_unit: parse_word(TIME_UNITS, self.time_unit.as_ref(), || format!("{at}.time_unit"), problems)
                .unwrap_or_default(),
            progress_unit: parse_word(
                PROGRESS_UNITS,
                self.progress_unit.as_ref(),
                || format!("{at}.progress_unit"),
                problems,
            )
            .unwrap_or_default(),
            ..ResponseSpec::default()
        };
        for (name, place) in &self.fields {
            let key = format!("{at}.fields.{name}");
            let Some((_, field)) = FIELDS.iter().find(|(known, _)| known == name) else {
                problems.add(key, format!("unknown field; known fields: {}", list_words(FIELDS)));
                continue;
            };
            match FieldPath::parse(&place.0) {
                Ok(place) => response.fields.push((*field, place)),
                Err(message) => problems.add(key, message),
            }
        }
        if !self.fields.contains_key("status") {
            problems.add(format!("{at}.fields"), "the key `status` is missing; it is the only required field");
        }
        let statuses = Status::ALL.into_iter().filter(|status| *status != Status::Lost);
        let statuses: Vec<_> = statuses.map(|status| (status.as_str(), status)).collect();
        response.statuses = invert_table(&self.statuses, &statuses, &format!("{at}.statuses"), problems);
        let classes: Vec<_> =
            FailureClass::possible(Status::Failed).iter().map(|class| (class.as_str(), *class)).collect();
        response.failures = invert_table(&self.failures, &classes, &format!("{at}.failures"), problems);
        response
    }
}

/// Inverts a table from the exporter's words to the API's words.
fn invert_table<T: Copy>(
    configured: &BTreeMap<String, Vec<Text>>,
    known: &[(&str, T)],
    at: &str,
    problems: &mut Problems,
) -> Vec<(String, T)> {
    let mut table: Vec<(String, T)> = Vec::new();
    for (name, words) in configured {
        let Some((_, value)) = known.iter().find(|(word, _)| word == name) else {
            problems.add(format!("{at}.{name}"), format!("unknown key; known keys: {}", list_words(known)));
            continue;
        };
        for (n, Text(word)) in words.iter().enumerate() {
            if table.iter().any(|(known, _)| known.eq_ignore_ascii_case(word)) {
                problems.add(format!("{at}.{name}.{n}"), "this word appears twice");
            }
            table.push((word.clone(), *value));
        }
    }
    table
}

/// The value of a word; adds a problem if it is unknown.
fn parse_word<T: Copy>(
    words: &[(&str, T)],
    written: Option<&Text>,
    key: impl Fn() -> String,
    problems: &mut Problems,
) -> Option<T> {
    let Text(written) = written?;
    let found = words.iter().find(|(word, _)| word == written).map(|(_, value)| *value);
    if found.is_none() {
        problems.add(key(), format!("unknown value; known values: {}", list_words(words)));
    }
    found
}

fn list_words<T>(words: &[(&str, T)]) -> String {
    words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ")
}
