//! `request:` and `response:` — what an upstream's requests and answers are, where its provider does not know or is wrong.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use super::problem::Problems;
use super::value::Text;
use crate::domain::{FailureClass, Status};
use crate::http::Method;
use crate::provider::custom::{FIELDS, Place, ProgressUnit, Response, TimeUnit};
use crate::provider::{Overrides, SHAPES, Zone};

/// `request:` — what is left out stays as the provider has it.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RequestConfig {
    /// GET or POST.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Text>,
    /// Path and query below `base_url`, with `{task_id}` or, for names of operations, `{operation}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Text>,
    /// A JSON body, with the same places.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Text>,
    /// Headers; `{credentials}` in a value stands for the key. Not shown: who knows what stands there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", serialize_with = "names_alone")]
    pub headers: BTreeMap<String, Text>,
    /// How an answer is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shape: Option<Text>,
    /// Where times without a zone are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_offset: Option<Text>,
}

/// `response:` — for provider custom.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResponseConfig {
    /// Where each field stands: a JSON Pointer or a `JSONPath`.
    pub fields: BTreeMap<String, Text>,
    /// What status words mean, by our word; beside the usual ones.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub statuses: BTreeMap<String, Vec<Text>>,
    /// Which codes are failures of which class.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub failures: BTreeMap<String, Vec<Text>>,
    /// auto, s, ms or us.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_unit: Option<Text>,
    /// auto, ratio or percent.
    #[serde(skip_serializing_if = "Option::is_none")]
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

fn names_alone<S: Serializer>(headers: &BTreeMap<String, Text>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(headers.keys().map(|name| (name, "<redacted>")))
}

impl RequestConfig {
    pub(super) fn check(&self, at: &str, problems: &mut Problems) -> Overrides {
        let text = |text: &Option<Text>| text.as_ref().map(|text| text.0.clone());
        Overrides {
            custom_base_url: false,
            method: word(METHODS, self.method.as_ref(), || format!("{at}.method"), problems),
            path: text(&self.path),
            body: text(&self.body),
            headers: self.headers.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect(),
            shape: word(SHAPES, self.shape.as_ref(), || format!("{at}.shape"), problems),
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
    pub(super) fn check(&self, at: &str, problems: &mut Problems) -> Response {
        let mut response = Response {
            time_unit: word(TIME_UNITS, self.time_unit.as_ref(), || format!("{at}.time_unit"), problems)
                .unwrap_or_default(),
            progress_unit: word(
                PROGRESS_UNITS,
                self.progress_unit.as_ref(),
                || format!("{at}.progress_unit"),
                problems,
            )
            .unwrap_or_default(),
            ..Response::default()
        };
        for (name, place) in &self.fields {
            let key = format!("{at}.fields.{name}");
            let Some((_, field)) = FIELDS.iter().find(|(known, _)| known == name) else {
                problems.add(key, format!("unknown field; known are {}", known(FIELDS)));
                continue;
            };
            match Place::parse(&place.0) {
                Ok(place) => response.fields.push((*field, place)),
                Err(message) => problems.add(key, message),
            }
        }
        if !self.fields.contains_key("status") {
            problems.add(format!("{at}.fields"), "the key `status` is missing: nothing else says where a task stands");
        }
        let statuses = Status::ALL.into_iter().filter(|status| *status != Status::Lost);
        let statuses: Vec<_> = statuses.map(|status| (status.as_str(), status)).collect();
        response.statuses = table(&self.statuses, &statuses, &format!("{at}.statuses"), problems);
        let classes: Vec<_> =
            FailureClass::possible(Status::Failed).iter().map(|class| (class.as_str(), *class)).collect();
        response.failures = table(&self.failures, &classes, &format!("{at}.failures"), problems);
        response
    }
}

/// A table by our words, turned round to be one by theirs.
fn table<T: Copy>(
    given: &BTreeMap<String, Vec<Text>>,
    ours: &[(&str, T)],
    at: &str,
    problems: &mut Problems,
) -> Vec<(String, T)> {
    let mut table: Vec<(String, T)> = Vec::new();
    for (name, theirs) in given {
        let Some((_, value)) = ours.iter().find(|(known, _)| known == name) else {
            problems.add(format!("{at}.{name}"), format!("unknown word; known are {}", known(ours)));
            continue;
        };
        for (n, Text(word)) in theirs.iter().enumerate() {
            if table.iter().any(|(known, _)| known.eq_ignore_ascii_case(word)) {
                problems.add(format!("{at}.{name}.{n}"), "this word stands in the table twice");
            }
            table.push((word.clone(), *value));
        }
    }
    table
}

/// The value of one of a few words.
fn word<T: Copy>(
    words: &[(&str, T)],
    given: Option<&Text>,
    key: impl Fn() -> String,
    problems: &mut Problems,
) -> Option<T> {
    let Text(given) = given?;
    let found = words.iter().find(|(word, _)| word == given).map(|(_, value)| *value);
    if found.is_none() {
        problems.add(key(), format!("unknown word; known are {}", known(words)));
    }
    found
}

fn known<T>(words: &[(&str, T)]) -> String {
    words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ")
}
