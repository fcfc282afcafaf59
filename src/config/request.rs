//! `request:` and `response:` — overrides of a provider's requests, and the response format of provider `custom`.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;

use super::problem::Problems;
use super::scalars::Text;
use super::schema_parts::{closed_map, optional_words};
use crate::domain::{FailureClass, Status};
use crate::http::Method;
use crate::provider::Place;
use crate::provider::ProgressUnit;
use crate::provider::custom::{FIELDS, ResponseSpec, TimeUnit, WHEN_ORDER};
use crate::provider::{Overrides, SHAPES, Zone};

/// Overrides of the provider's requests. A missing key is as the provider has it.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RequestConfig {
    /// The HTTP method.
    #[schemars(schema_with = "methods")]
    pub method: Option<Text>,
    /// Path and query below `base_url`, with the placeholder `{task_id}` or, for operation names, `{operation}`.
    pub path: Option<Text>,
    /// A JSON body with the same placeholders.
    pub body: Option<Text>,
    /// Headers; `{credentials}` in a value is replaced by the key. Values are not shown, because they may be secrets.
    pub headers: BTreeMap<String, Text>,
    /// Format of the answers; `auto` recognizes it.
    #[schemars(schema_with = "shapes")]
    pub shape: Option<Text>,
    /// Zone of times without a zone, such as +08:00.
    pub time_offset: Option<Text>,
}

/// A JSON Pointer or a `JSONPath`; or several, each for the JSON in the text that the one before gives.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum PlaceConfig {
    /// One path.
    Path(Text),
    /// Several.
    Paths(Vec<Text>),
}

impl PlaceConfig {
    fn check(&self, key: &str, problems: &mut Problems) -> Option<Place> {
        let (paths, is_list) = match self {
            Self::Path(path) => (std::slice::from_ref(path), false),
            Self::Paths(paths) => (paths.as_slice(), !paths.is_empty()),
        };
        let place = Place::parse(paths.iter().map(|path| path.0.as_str()));
        place
            .map_err(|(n, message)| problems.add(if is_list { format!("{key}.{n}") } else { key.to_owned() }, message))
            .ok()
    }
}

/// How answers are read. Provider `custom` has all keys, others only `failures`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResponseConfig {
    /// Place of each field in the answer.
    #[schemars(schema_with = "fields")]
    pub fields: BTreeMap<String, PlaceConfig>,
    /// The API's status words by the exporter's status, in addition to the usual ones.
    #[schemars(schema_with = "statuses")]
    pub statuses: BTreeMap<String, Vec<Text>>,
    /// Places by status: a value in one of them decides, before the status word.
    #[schemars(schema_with = "when")]
    pub when: BTreeMap<String, Vec<PlaceConfig>>,
    /// The status of an answer with neither such a value nor a status word.
    #[schemars(schema_with = "otherwise")]
    pub otherwise: Option<Text>,
    /// The API's error codes by failure class; for any provider.
    #[schemars(schema_with = "failures")]
    pub failures: BTreeMap<String, Vec<Text>>,
    /// Unit of numeric times; `auto` tells it by the size of the number.
    #[schemars(schema_with = "time_units")]
    pub time_unit: Option<Text>,
    /// Unit of the progress.
    #[schemars(schema_with = "progress_units")]
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

fn names<T>(table: &'static [(&'static str, T)]) -> impl Iterator<Item = &'static str> {
    table.iter().map(|(name, _)| *name)
}

fn methods(_: &mut SchemaGenerator) -> Schema {
    optional_words(names(METHODS))
}

fn shapes(_: &mut SchemaGenerator) -> Schema {
    optional_words(names(SHAPES))
}

fn time_units(_: &mut SchemaGenerator) -> Schema {
    optional_words(names(TIME_UNITS))
}

fn progress_units(_: &mut SchemaGenerator) -> Schema {
    optional_words(names(PROGRESS_UNITS))
}

fn otherwise(_: &mut SchemaGenerator) -> Schema {
    optional_words(WHEN_ORDER.map(Status::as_str))
}

fn fields(generator: &mut SchemaGenerator) -> Schema {
    closed_map::<PlaceConfig>(names(FIELDS), generator)
}

fn statuses(generator: &mut SchemaGenerator) -> Schema {
    closed_map::<Vec<Text>>(told_statuses().map(Status::as_str), generator)
}

fn when(generator: &mut SchemaGenerator) -> Schema {
    closed_map::<Vec<PlaceConfig>>(WHEN_ORDER.map(Status::as_str), generator)
}

fn failures(generator: &mut SchemaGenerator) -> Schema {
    let classes = FailureClass::possible(Status::Failed).iter();
    closed_map::<Vec<Text>>(classes.map(|class| class.as_str()), generator)
}

/// The statuses that an answer can tell.
fn told_statuses() -> impl Iterator<Item = Status> {
    Status::ALL.into_iter().filter(|status| *status != Status::Lost)
}

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
            failures: Vec::new(),
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
            response.fields.extend(place.check(&key, problems).map(|place| (*field, place)));
        }
        let has_other_status = !self.when.is_empty() || self.otherwise.is_some();
        if !self.fields.contains_key("status") && !has_other_status {
            let message = "the key `status` is missing; without it, `when` or `otherwise` must tell the status";
            problems.add(format!("{at}.fields"), message);
        }
        let known = WHEN_ORDER.map(|status| (status.as_str(), status));
        for name in self.when.keys().filter(|name| !known.iter().any(|(word, _)| word == name)) {
            problems.add(format!("{at}.when.{name}"), format!("unknown status; known ones: {}", list_words(&known)));
        }
        for (name, status) in known {
            let Some(places) = self.when.get(name) else { continue };
            let key = format!("{at}.when.{name}");
            if places.is_empty() {
                problems.add(key.clone(), "the list is empty; it needs at least one place");
            }
            let checked =
                places.iter().enumerate().filter_map(|(n, place)| place.check(&format!("{key}.{n}"), problems));
            response.when.push((status, checked.collect()));
        }
        response.otherwise = parse_word(&known, self.otherwise.as_ref(), || format!("{at}.otherwise"), problems);
        let statuses: Vec<_> = told_statuses().map(|status| (status.as_str(), status)).collect();
        response.statuses = invert_table(&self.statuses, &statuses, &format!("{at}.statuses"), problems);
        response
    }

    /// The classes of error codes.
    pub(super) fn check_failures(&self, at: &str, problems: &mut Problems) -> Vec<(String, FailureClass)> {
        let classes: Vec<_> =
            FailureClass::possible(Status::Failed).iter().map(|class| (class.as_str(), *class)).collect();
        invert_table(&self.failures, &classes, &format!("{at}.failures"), problems)
    }

    /// The keys that only provider custom has.
    pub(super) fn custom_keys(&self) -> impl Iterator<Item = &'static str> {
        let set = [
            ("fields", !self.fields.is_empty()),
            ("statuses", !self.statuses.is_empty()),
            ("when", !self.when.is_empty()),
            ("otherwise", self.otherwise.is_some()),
            ("time_unit", self.time_unit.is_some()),
            ("progress_unit", self.progress_unit.is_some()),
        ];
        set.into_iter().filter(|(_, is_set)| *is_set).map(|(key, _)| key)
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
