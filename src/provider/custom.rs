//! Any other API: the configuration describes its fields, status words and units.

use serde_json::Value;

use super::definition::Provider;
use super::place::{Place, has_value};
use super::read::answer::normalize;
use super::read::error::{self, unknown_kind};
use super::read::lenient::{self, ProgressUnit, Zone};
use super::read::{fields, json, status_words};
use crate::domain::drift::{Field, FieldProblem};
use crate::domain::{Answer, ApiError, Reason, Status, Timestamp};

/// The provider. Its requests and fields come from the configuration.
pub static CUSTOM: Provider = Provider::new("custom", |_, _| Err(ApiError::new(Reason::InvalidBody)), unknown_kind);

/// The fields by their names in the configuration.
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

/// The unit of numeric times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeUnit {
    /// Recognized by the size of the number (docs/upstreams.md 1.2).
    #[default]
    Auto,
    /// Unix seconds.
    Seconds,
    /// Unix milliseconds.
    Milliseconds,
    /// Unix microseconds.
    Microseconds,
}

/// How responses are decoded.
#[derive(Debug, Clone, Default)]
pub struct ResponseSpec {
    /// The fields and their places.
    pub fields: Vec<(Field, Place)>,
    /// Additional status words; they override the common ones.
    pub statuses: Vec<(String, Status)>,
    /// Statuses that a value in one of these places means, in the order of [`WHEN_ORDER`]. They override the status word.
    pub when: Vec<(Status, Vec<Place>)>,
    /// The status of an answer without a status word and without an error.
    pub otherwise: Option<Status>,
    /// The unit of all times.
    pub time_unit: TimeUnit,
    /// The unit of progress.
    pub progress_unit: ProgressUnit,
}

/// The statuses that a place can mean, in the order in which they are tried.
pub const WHEN_ORDER: [Status; 6] =
    [Status::Failed, Status::Cancelled, Status::Expired, Status::Succeeded, Status::Running, Status::Queued];

impl ResponseSpec {
    /// Decodes a response with this HTTP status. Its JSON may have any type.
    ///
    /// # Errors
    /// When the response is an error or has no status.
    pub fn read_answer(&self, http_status: u16, body: &[u8], zone: Zone) -> Result<Answer, ApiError> {
        if !(200..300).contains(&http_status) {
            // Only the HTTP status is used: the API's error codes are unknown.
            return Err(error::http_error(http_status, body, unknown_kind));
        }
        let value = json::parse(body)?;
        let mut answer = self.read(&value, zone);
        let hit = self.when.iter().find(|(_, places)| places.iter().any(|place| place.has_value(&value)));
        if let Some((status, _)) = hit {
            (answer.reported_status, answer.unknown_word) = (Some(*status), None);
        } else if answer.reported_status.is_none() && value.is_object() && !self.has_error(&value) {
            answer.reported_status = self.otherwise;
        }
        if answer.reported_status.is_some() {
            return Ok(normalize(answer));
        }
        let mut drift = answer.drift;
        if self.has_error(&value) || value.get("error").is_some_and(|error| !error.is_null()) {
            let found = error::ok_error(&value, unknown_kind);
            let (code, message) = (answer.error_code.or(found.code), answer.error_message.or(found.message));
            return Err(ApiError { kind: Reason::ApiError, code, message, drift, cause: None });
        }
        if !drift.iter().any(|(field, _)| field == Field::Status) {
            drift.add(Field::Status, FieldProblem::Missing);
        }
        Err(ApiError { drift, ..ApiError::with_code(Reason::InvalidBody, "null_data") })
    }

    /// Reads the fields. A missing one is no drift, because any field may be optional.
    fn read(&self, value: &Value, zone: Zone) -> Answer {
        let mut answer = Answer::default();
        // The deadline is relative to the submit time, which is read first.
        let (deadline, others): (Vec<_>, Vec<_>) = self.fields.iter().partition(|(field, _)| *field == Field::Deadline);
        for (field, path) in others.into_iter().chain(deadline) {
            let found = path.find_in(value).and_then(|found| match found {
                Some(found) => self.read_field(&mut answer, *field, &found, zone),
                None => Ok(false),
            });
            if let Err(problem) = found {
                answer.drift.add(*field, problem);
            }
        }
        answer
    }

    /// Whether there is an error: `error` at the top, or a value where an error is configured.
    fn has_error(&self, value: &Value) -> bool {
        let is_error = |field: &Field| matches!(field, Field::ErrorCode | Field::ErrorMessage);
        let mut places = self.fields.iter().filter(|(field, _)| is_error(field));
        places.any(|(_, place)| place.has_value(value)) || has_value(value.get("error"))
    }

    fn read_field(&self, answer: &mut Answer, field: Field, value: &Value, zone: Zone) -> Result<bool, FieldProblem> {
        match field {
            Field::Status => {
                // Some APIs report the status as a boolean.
                let word = match value {
                    Value::Bool(word) => Some(word.to_string().into()),
                    _ => lenient::checked_text(value)?,
                };
                let Some(word) = word else { return Ok(false) };
                let configured = find_word(&self.statuses, &word).map(|status| (*status, None));
                if let Some((status, unknown_word)) = configured.or_else(|| status_words::status(&word)) {
                    (answer.reported_status, answer.unknown_word) = (Some(status), unknown_word);
                }
                Ok(true)
            }
            Field::Progress => fields::read_progress(answer, value, self.progress_unit),
            Field::Submit | Field::Start | Field::Finish | Field::ExpiresAt => match self.time_in_unit(value) {
                Some(time) => fields::read_field(answer, field, &rfc3339(time), zone),
                None => fields::read_field(answer, field, value, zone),
            },
            _ => fields::read_field(answer, field, value, zone),
        }
    }

    /// A number as a time in the configured unit; `None` without a configured unit.
    fn time_in_unit(&self, value: &Value) -> Option<Timestamp> {
        let millis = match self.time_unit {
            TimeUnit::Auto => return None,
            TimeUnit::Seconds => 1e3,
            TimeUnit::Milliseconds => 1.0,
            TimeUnit::Microseconds => 1e-3,
        };
        let number = lenient::checked_amount(value, f64::MAX).ok()?? * millis;
        #[expect(clippy::cast_possible_truncation, reason = "below the year 9999")]
        (number < 253_402_300_800_000.0).then(|| Timestamp::from_millis(number.round() as i64))
    }
}

/// A time as RFC 3339, which does not depend on a unit.
fn rfc3339(time: Timestamp) -> Value {
    let time = jiff::Timestamp::from_millisecond(time.as_millis());
    time.map_or(Value::Null, |time| Value::String(time.to_string()))
}

/// Looks a word up, ignoring case.
pub fn find_word<'a, T>(table: &'a [(String, T)], word: &str) -> Option<&'a T> {
    table.iter().find(|(known, _)| known.trim().eq_ignore_ascii_case(word.trim())).map(|(_, value)| value)
}
