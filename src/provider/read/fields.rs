//! A provider's documented fields as a table: by it a body is read, and compared with what is documented.

use std::time::Duration;

use serde_json::Value;

use super::error::is_success_code;
use super::lenient::{self, Zone};
use super::{signed_url, status_words};
use crate::domain::drift::{Field, FieldProblem};
use crate::domain::{Answer, Status, labels};

/// One documented field.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    field: Field,
    /// Where it may stand, the first place that has it deciding; keys with dots between them, numbers for entries of lists.
    at: &'static [&'static str],
    when: When,
    /// Gateways that pass on a part of a body, and compatible servers, are known to leave it out.
    is_optional_behind_gateway: bool,
}

/// When a field is documented to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// It may always be missing.
    Optional,
    /// Its key is there, be it 0 or empty.
    Key,
    /// From the first answer on.
    Always,
    /// In every end.
    Ended,
    /// In a success.
    Succeeded,
    /// In a failure.
    Failed,
}

/// The documented fields of one body.
pub type Contract = &'static [Expected];

const fn expected(field: Field, at: &'static [&'static str], when: When) -> Expected {
    Expected { field, at, when, is_optional_behind_gateway: false }
}

/// May be missing.
pub const fn optional(field: Field, at: &'static [&'static str]) -> Expected {
    expected(field, at, When::Optional)
}

/// The key is always there; it may hold 0 or an empty text.
pub const fn key(field: Field, at: &'static [&'static str]) -> Expected {
    expected(field, at, When::Key)
}

/// Always there.
pub const fn always(field: Field, at: &'static [&'static str]) -> Expected {
    expected(field, at, When::Always)
}

/// There in every end.
pub const fn ended(field: Field, at: &'static [&'static str]) -> Expected {
    expected(field, at, When::Ended)
}

/// There in a success.
pub const fn succeeded(field: Field, at: &'static [&'static str]) -> Expected {
    expected(field, at, When::Succeeded)
}

/// There in a failure.
pub const fn failed(field: Field, at: &'static [&'static str]) -> Expected {
    expected(field, at, When::Failed)
}

impl Expected {
    /// Only expected of a body that comes from its provider, and whole.
    pub const fn optional_behind_gateway(self) -> Self {
        Self { is_optional_behind_gateway: true, ..self }
    }
}

/// Where a body comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodySource {
    /// From its provider, or from something that behaves just like it.
    Direct,
    /// From a server that is compatible with its provider.
    Compatible,
    /// From a gateway's row: possibly incomplete, and before its first poll only the answer to the submission.
    Inside,
}

/// Reads every field of `contract` out of `value`, and notes what is not as documented.
pub fn read(contract: Contract, value: &Value, zone: Zone, source: BodySource) -> Answer {
    let mut answer = Answer::default();
    let mut missing = Vec::new();
    for expected in contract {
        let mut found = false;
        let mut there = false;
        let mut problem = None;
        for at in expected.at {
            match lookup(value, at) {
                Ok(None) => {}
                Ok(Some(value)) => {
                    there |= !value.is_null();
                    match take(&mut answer, expected.field, value, zone) {
                        Ok(said) => found |= said,
                        Err(unreadable) => problem = problem.or(Some(unreadable)),
                    }
                }
                Err(blocked) => problem = problem.or(Some(blocked)),
            }
            if found {
                break;
            }
        }
        match problem {
            Some(problem) if !found => answer.drift.note(expected.field, problem),
            None if !(found || there && expected.when == When::Key) => missing.push(expected),
            _ => {}
        }
    }
    let status = answer.reported_status;
    let ended = status.is_some_and(Status::is_end);
    for expected in missing {
        let due = match expected.when {
            When::Optional => false,
            When::Key | When::Always => true,
            When::Ended => ended,
            When::Succeeded => status == Some(Status::Succeeded),
            When::Failed => status == Some(Status::Failed),
        };
        let whole = match source {
            BodySource::Direct => true,
            BodySource::Compatible => false,
            // An incomplete body has lost its id first of all.
            BodySource::Inside => answer.task_id.is_some(),
        };
        if due && (whole || !expected.is_optional_behind_gateway) && (ended || source != BodySource::Inside) {
            answer.drift.note(expected.field, FieldProblem::Missing);
        }
    }
    answer
}

/// What is wrong with a value that is neither a readable text nor a number.
pub fn problem_of(value: Option<&Value>) -> FieldProblem {
    match value {
        None | Some(Value::Null) => FieldProblem::Missing,
        Some(Value::String(_) | Value::Number(_)) => FieldProblem::Unreadable,
        Some(_) => FieldProblem::WrongType,
    }
}

/// The value at a place; an error when something on the way is neither missing, null nor to be entered.
fn lookup<'a>(value: &'a Value, at: &str) -> Result<Option<&'a Value>, FieldProblem> {
    let mut value = value;
    for part in at.split('.') {
        value = match value {
            Value::Object(fields) => match fields.get(part) {
                Some(inner) => inner,
                None => return Ok(None),
            },
            Value::Array(items) => match part.parse::<usize>() {
                Ok(n) => match items.get(n) {
                    Some(inner) => inner,
                    None => return Ok(None),
                },
                Err(_) => return Err(FieldProblem::WrongType),
            },
            Value::Null => return Ok(None),
            _ => return Err(FieldProblem::WrongType),
        };
    }
    Ok(Some(value))
}

/// Reads the value of one field; false when it says nothing, such as null, a blank text or a time of 0.
///
/// What was read before stays: places are looked at in their order.
///
/// # Errors
/// When the value cannot be read.
pub fn take(answer: &mut Answer, field: Field, value: &Value, zone: Zone) -> Result<bool, FieldProblem> {
    fn put<T>(place: &mut Option<T>, value: Option<T>) -> bool {
        let is_found = value.is_some();
        if place.is_none() {
            *place = value;
        }
        is_found
    }
    if value.is_null() {
        return Ok(false);
    }
    let text = || Ok(lenient::checked_text(value)?.and_then(|text| labels::kept_text(&text)));
    // A number where a word or a name is documented is read, and reported.
    let is_odd = value.is_number()
        && matches!(
            field,
            Field::Status | Field::ModelUpstream | Field::ModelOrigin | Field::Resolution | Field::ServiceTier
        );
    let amount = || lenient::checked_amount(value);
    let moment = || lenient::checked_moment(value, zone);
    let is_found = match field {
        Field::TaskId => put(&mut answer.task_id, text()?),
        Field::Status => match lenient::checked_text(value)?.and_then(|word| status_words::status(&word)) {
            Some((status, unknown_word)) => {
                if answer.reported_status.is_none() {
                    (answer.reported_status, answer.unknown_word) = (Some(status), unknown_word);
                }
                true
            }
            None => false,
        },
        Field::UpstreamStatus => false,
        Field::Progress => put(&mut answer.progress, lenient::checked_progress(value)?),
        Field::Submit => put(&mut answer.times.submit, moment()?),
        Field::Start => put(&mut answer.times.start, moment()?),
        Field::Finish => put(&mut answer.times.finish, moment()?),
        Field::ModelUpstream => put(&mut answer.model_upstream, text()?),
        Field::ModelOrigin => put(&mut answer.model_origin, text()?),
        Field::Duration => put(&mut answer.video_seconds, amount()?),
        Field::Resolution => put(&mut answer.resolution, text()?),
        Field::TokensPrompt => put(&mut answer.tokens.prompt, amount()?),
        Field::TokensCompletion => put(&mut answer.tokens.completion, amount()?),
        Field::TokensTotal => put(&mut answer.tokens.total, amount()?),
        Field::Credits => put(&mut answer.credits, amount()?),
        Field::ErrorCode => {
            let code = text()?;
            let is_found = code.is_some();
            put(&mut answer.error_code, code.filter(|code| !is_success_code(code)));
            is_found
        }
        Field::ErrorMessage => put(&mut answer.error_message, text()?),
        Field::ResultUrl => match lenient::checked_text(value)? {
            None => false,
            Some(url) if labels::is_url(&url) => {
                answer.has_result_url = true;
                put(&mut answer.expires_at, signed_url::expiry(&url));
                true
            }
            Some(_) => return Err(FieldProblem::Unreadable),
        },
        Field::ExpiresAt => put(&mut answer.expires_at, moment()?),
        // Seconds after submission, which tables list first.
        Field::Deadline => {
            let after = amount()?;
            let span = after.filter(|seconds| *seconds <= 1e9).map(Duration::from_secs_f64);
            put(&mut answer.deadline, answer.times.submit.zip(span).map(|(submit, span)| submit + span));
            after.is_some()
        }
        Field::ServiceTier => put(&mut answer.service_tier, text()?),
    };
    if is_odd { Err(FieldProblem::WrongType) } else { Ok(is_found) }
}
