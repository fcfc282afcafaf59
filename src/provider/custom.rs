//! Any other API, described in the configuration: where its fields are, what its status words mean, how its times count.

use serde_json::Value;
use serde_json_path::JsonPath;

use super::definition::Provider;
use super::read::answer::settled;
use super::read::error::{self, unknown_kind};
use super::read::lenient::{self, Zone};
use super::read::{fields, status_words};
use crate::domain::drift::{Field, FieldProblem};
use crate::domain::{Answer, ApiError, FailureClass, Reason, Status, Timestamp};

/// The provider; all that it is stands in the configuration.
pub static CUSTOM: Provider = Provider {
    name: "custom",
    base_url: None,
    requests: &[],
    read: |_, _| Err(ApiError::new(Reason::InvalidBody)),
    error_kind: unknown_kind,
    list: None,
    batch: None,
    read_callback: None,
};

/// The names of the fields in the configuration.
pub const FIELDS: &[(&str, Field)] = &[
    ("task_id", Field::TaskId),
    ("status", Field::Status),
    ("progress", Field::Progress),
    ("submit_time", Field::Submit),
    ("start_time", Field::Start),
    ("finish_time", Field::Finish),
    ("model_upstream", Field::ModelUpstream),
    ("model_origin", Field::ModelOrigin),
    ("duration", Field::Duration),
    ("resolution", Field::Resolution),
    ("tokens_prompt", Field::TokensPrompt),
    ("tokens_completion", Field::TokensCompletion),
    ("tokens_total", Field::TokensTotal),
    ("credits", Field::Credits),
    ("error_code", Field::ErrorCode),
    ("error_message", Field::ErrorMessage),
    ("result_url", Field::ResultUrl),
    ("expires_at", Field::ExpiresAt),
    ("expires_after", Field::Deadline),
    ("service_tier", Field::ServiceTier),
];

/// The unit of times that are numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeUnit {
    /// By their size (docs/upstreams.md 1.2).
    #[default]
    Auto,
    /// Unix seconds.
    Seconds,
    /// Unix milliseconds.
    Milliseconds,
    /// Unix microseconds.
    Microseconds,
}

/// How progress is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProgressUnit {
    /// Between 0 and 1 a ratio, else per cent.
    #[default]
    Auto,
    /// 0 to 1.
    Ratio,
    /// 0 to 100.
    Percent,
}

/// Where a field stands.
#[derive(Debug, Clone)]
pub enum Place {
    /// A JSON Pointer (RFC 6901).
    Pointer(String),
    /// A `JSONPath` (RFC 9535), whose first hit counts.
    Path(JsonPath),
}

/// How answers are read.
#[derive(Debug, Clone, Default)]
pub struct Response {
    /// The fields and where they stand.
    pub fields: Vec<(Field, Place)>,
    /// Status words beside the usual ones, which they override.
    pub statuses: Vec<(String, Status)>,
    /// Codes of failures.
    pub failures: Vec<(String, FailureClass)>,
    /// Of all times.
    pub time_unit: TimeUnit,
    /// Of the progress.
    pub progress_unit: ProgressUnit,
}

impl Place {
    /// Compiles `/a/0/b` or `$.a[0].b`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with('$') {
            if let Some(problem) = path_cost(text) {
                return Err(format!("is too expensive: {problem}"));
            }
            return JsonPath::parse(text)
                .map(Self::Path)
                .map_err(|error| format!("is no JSONPath: {}", error.message()));
        }
        if !text.starts_with('/') {
            return Err(
                "is neither a JSON Pointer, which begins with /, nor a JSONPath, which begins with $".to_owned()
            );
        }
        if text.split('~').skip(1).any(|rest| !rest.starts_with(['0', '1'])) {
            return Err("is no JSON Pointer: ~ is written ~0, and / in a name ~1".to_owned());
        }
        Ok(Self::Pointer(text.to_owned()))
    }

    fn find<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        match self {
            Self::Pointer(pointer) => value.pointer(pointer),
            Self::Path(path) => path.query(value).first(),
        }
    }
}

impl Response {
    /// Reads an answer with this HTTP status, whose JSON may be of any kind.
    ///
    /// # Errors
    /// When there is no status in it. Codes of an API that we do not know mean nothing to us.
    pub fn read_answer(&self, http_status: u16, body: &[u8], zone: Zone) -> Result<Answer, ApiError> {
        if !(200..300).contains(&http_status) {
            // By the HTTP status alone: its codes mean nothing to us.
            return Err(error::http_error(http_status, body, unknown_kind));
        }
        let value = serde_json::from_slice::<Value>(body).map_err(|_| ApiError::new(Reason::InvalidBody))?;
        let answer = self.read(&value, zone);
        if answer.reported_status.is_some() {
            return Ok(settled(answer));
        }
        let mut drift = answer.drift;
        if value.get("error").is_some_and(|error| !error.is_null()) {
            return Err(ApiError { kind: Reason::ApiError, code: error::error_body(&value).code, drift });
        }
        if !drift.iter().any(|(field, _)| field == Field::Status) {
            drift.note(Field::Status, FieldProblem::Missing);
        }
        Err(ApiError { drift, ..ApiError::coded(Reason::InvalidBody, "null_data") })
    }

    /// Reads an answer; only a missing status is reported, for nothing says what else is optional.
    fn read(&self, value: &Value, zone: Zone) -> Answer {
        let mut answer = Answer::default();
        // A deadline is told by the time since the submission.
        let (deadline, others): (Vec<_>, Vec<_>) = self.fields.iter().partition(|(field, _)| *field == Field::Deadline);
        for (field, place) in others.into_iter().chain(deadline) {
            let Some(found) = place.find(value) else { continue };
            if let Err(problem) = self.take(&mut answer, *field, found, zone) {
                answer.drift.note(*field, problem);
            }
        }
        let code = answer.error_code.as_deref();
        answer.failure = code.and_then(|code| same(&self.failures, code)).copied();
        answer
    }

    fn take(&self, answer: &mut Answer, field: Field, value: &Value, zone: Zone) -> Result<bool, FieldProblem> {
        match field {
            Field::Status => {
                // Some APIs report it as a boolean.
                let word = match value {
                    Value::Bool(word) => Some(word.to_string().into()),
                    _ => lenient::checked_text(value)?,
                };
                let Some(word) = word else { return Ok(false) };
                let configured = same(&self.statuses, &word).map(|status| (*status, None));
                if let Some((status, unknown_word)) = configured.or_else(|| status_words::status(&word)) {
                    (answer.reported_status, answer.unknown_word) = (Some(status), unknown_word);
                }
                Ok(true)
            }
            Field::Progress if self.progress_unit != ProgressUnit::Auto => {
                let text = value.as_str().map(|text| text.trim().trim_end_matches('%').trim_end());
                let percent = text.is_some() && text != value.as_str().map(str::trim);
                let bare = text.map_or_else(|| value.clone(), Value::from);
                let Some(amount) = lenient::checked_amount(&bare)? else { return Ok(false) };
                let whole = if self.progress_unit == ProgressUnit::Ratio && !percent { 1.0 } else { 100.0 };
                answer.progress = Some((amount / whole).clamp(0.0, 1.0));
                Ok(true)
            }
            Field::Submit | Field::Start | Field::Finish | Field::ExpiresAt => match self.moment(value) {
                Some(moment) => fields::take(answer, field, &moment_value(moment), zone),
                None => fields::take(answer, field, value, zone),
            },
            _ => fields::take(answer, field, value, zone),
        }
    }

    /// A number as a time of the configured unit; `None` where there is none, or it is for the value to tell.
    fn moment(&self, value: &Value) -> Option<Timestamp> {
        let millis = match self.time_unit {
            TimeUnit::Auto => return None,
            TimeUnit::Seconds => 1e3,
            TimeUnit::Milliseconds => 1.0,
            TimeUnit::Microseconds => 1e-3,
        };
        let number = lenient::checked_amount(value).ok()?? * millis;
        #[expect(clippy::cast_possible_truncation, reason = "below the year 9999")]
        (number < 253_402_300_800_000.0).then(|| Timestamp::from_millis(number.round() as i64))
    }
}

/// A moment as RFC 3339, which has no unit.
fn moment_value(moment: Timestamp) -> Value {
    let moment = jiff::Timestamp::from_millisecond(moment.as_millis());
    moment.map_or(Value::Null, |moment| Value::String(moment.to_string()))
}

/// Why a `JSONPath` may take more time than in proportion to the answer, if it may. Every node is visited a bounded number of
/// times when `..` and filters stand in it once at most, a filter looks at single values, and no brackets select twice.
fn path_cost(path: &str) -> Option<&'static str> {
    let (mut quote, mut is_escaped) = (None, false);
    // Outside of quotes, with a comma for every quoted text: no operator is one.
    let mut plain = String::with_capacity(path.len());
    for c in path.chars() {
        match (quote, c) {
            _ if is_escaped => is_escaped = false,
            (Some(_), '\\') => is_escaped = true,
            (Some(open), c) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, c) => plain.push(c),
        }
    }
    let (before, filter) = plain.split_once('?').unwrap_or((&plain, ""));
    if plain.matches("..").count() > 1 {
        Some("`..` may stand in it once")
    } else if filter.contains("..") || filter.contains(['*', ':', '?']) {
        Some("a filter may not have `..`, `*`, a slice or another filter after its `?`")
    } else if before.split('[').skip(1).any(|brackets| brackets.split(']').next().is_some_and(has_two_wildcards)) {
        Some("brackets may have one `*` or slice")
    } else {
        None
    }
}

fn has_two_wildcards(brackets: &str) -> bool {
    brackets.split(',').filter(|selector| selector.contains(['*', ':'])).count() > 1
}

/// The entry for a word, whatever its case.
fn same<'a, T>(table: &'a [(String, T)], word: &str) -> Option<&'a T> {
    table.iter().find(|(known, _)| known.trim().eq_ignore_ascii_case(word.trim())).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_that_take_time_in_proportion_to_the_answer_are_accepted() {
        for path in [
            "$.a",
            "$..status",
            "$.data[0].status",
            "$['a..b*']..x",
            "$.list[?@.id == 'a..*?'].status",
            "$.a[*]",
            "$[0,1]",
        ] {
            assert!(Place::parse(path).is_ok(), "{path}: {:?}", Place::parse(path).err());
        }
        for path in
            ["$..a..b", "$..*..*", "$[?@..a]", "$.a[?count(@.b[*]) > 1]", "$[?@.a[?@.b]]", "$[*,*][*,*]", "$[0:,1:]"]
        {
            let error = Place::parse(path).unwrap_err();
            assert!(error.starts_with("is too expensive: "), "{path}: {error}");
        }
    }
}
