//! Any other API, described in the configuration: where its fields are, what its status words mean, how its times count.

use serde_json::Value as Json;
use serde_json_path::JsonPath;

use super::body::Body;
use super::error;
use super::json::{self, Zone};
use super::tree::Value;
use super::words::{self, Word};
use super::{Gives, Provider, Shape};
use crate::domain::drift::{Field, FieldProblem};
use crate::domain::{Answer, ApiError, FailureClass, Reason, Status, Timestamp};

/// The provider; all that it is stands in the configuration.
pub static CUSTOM: Provider = Provider {
    name: "custom",
    base_url: None,
    requests: &[],
    shape: Shape::Auto,
    list: None,
    batch: None,
    gives: Gives {
        single: "as configured",
        batch: "–",
        list: "–",
        progress: "as configured",
        times: "as configured",
        tokens: "as configured",
        credits: "as configured",
        errors: "as configured",
    },
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

    fn find<'a>(&self, value: &'a Json) -> Option<Value<'a>> {
        let found = match self {
            Self::Pointer(pointer) => value.pointer(pointer),
            Self::Path(path) => path.query(value).first(),
        };
        found.map(Value::from)
    }
}

impl Response {
    /// Reads an answer with this HTTP status, whose JSON may be of any kind.
    ///
    /// # Errors
    /// When there is no status in it. Codes of an API that we do not know mean nothing to us.
    pub fn read_answer(&self, http_status: u16, body: &[u8], zone: Zone) -> Result<Answer, ApiError> {
        if !(200..300).contains(&http_status) {
            return Err(error::unknown_http_error(http_status, body));
        }
        let value = serde_json::from_slice::<Json>(body).map_err(|_| ApiError::new(Reason::InvalidBody))?;
        let body = self.read(&value, zone);
        let mut drift = body.drift;
        body.into_answer().ok_or_else(|| {
            let found = error::error_body(&(&value).into());
            if value.get("error").is_some_and(|error| !error.is_null()) {
                return ApiError { kind: Reason::ApiError, code: found.code, drift };
            }
            if !drift.iter().any(|(field, _)| field == Field::Status) {
                drift.note(Field::Status, FieldProblem::Missing);
            }
            ApiError { drift, ..ApiError::coded(Reason::InvalidBody, "null_data") }
        })
    }

    /// Reads an answer; only the status is missed when it is not there, for nothing says what else is optional.
    fn read(&self, value: &Json, zone: Zone) -> Body {
        let mut body = Body::default();
        for (field, place) in &self.fields {
            let Some(found) = place.find(value) else { continue };
            if let Err(problem) = self.take(&mut body, *field, &found, zone) {
                body.drift.note(*field, problem);
            }
        }
        let code = body.error_code.as_deref();
        body.failure = code.and_then(|code| same(&self.failures, code)).copied();
        body
    }

    fn take(&self, body: &mut Body, field: Field, value: &Value, zone: Zone) -> Result<bool, FieldProblem> {
        match field {
            Field::Status => {
                // Some say it as a boolean.
                let word = match value {
                    Value::Bool(word) => Some(word.to_string().into()),
                    _ => json::checked_text(value)?,
                };
                let Some(word) = word else { return Ok(false) };
                body.word = match same(&self.statuses, &word) {
                    Some(status) => Some(Word { status: *status, unheard: None }),
                    None => words::word(&word),
                };
                Ok(true)
            }
            Field::Progress if self.progress_unit != ProgressUnit::Auto => {
                let text = value.as_str().map(|text| text.trim().trim_end_matches('%').trim_end());
                let percent = text.is_some() && text != value.as_str().map(str::trim);
                let bare = text.map_or_else(|| value.clone(), Value::from);
                let Some(amount) = json::checked_amount(&bare)? else { return Ok(false) };
                let whole = if self.progress_unit == ProgressUnit::Ratio && !percent { 1.0 } else { 100.0 };
                body.progress = Some((amount / whole).clamp(0.0, 1.0));
                Ok(true)
            }
            Field::Submit | Field::Start | Field::Finish | Field::ExpiresAt => match self.moment(value) {
                Some(moment) => body.take(field, &moment_value(moment), zone),
                None => body.take(field, value, zone),
            },
            _ => body.take(field, value, zone),
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
        let number = json::checked_amount(value).ok()?? * millis;
        #[expect(clippy::cast_possible_truncation, reason = "below the year 9999")]
        (number < 253_402_300_800_000.0).then(|| Timestamp::from_millis(number.round() as i64))
    }
}

/// A moment as RFC 3339, which has no unit.
fn moment_value(moment: Timestamp) -> Value<'static> {
    let moment = jiff::Timestamp::from_millisecond(moment.as_millis());
    moment.map_or(Value::Null, |moment| Value::String(moment.to_string().into()))
}

/// The entry for a word, whatever its case.
fn same<'a, T>(table: &'a [(String, T)], word: &str) -> Option<&'a T> {
    table.iter().find(|(known, _)| known.trim().eq_ignore_ascii_case(word.trim())).map(|(_, value)| value)
}
