//! Decodes a body by a table of its documented fields, and finds schema drift.

use std::time::Duration;

use serde_json::Value;

use super::error::{is_success_code, short_code};
use super::lenient::{self, ProgressUnit, Zone, limit};
use super::{signed_url, status_words};
use crate::domain::drift::{Field, FieldProblem};
use crate::domain::pricing::Currency;
use crate::domain::reading::Cost;
use crate::domain::{Answer, Status, labels};

/// One documented field.
#[derive(Debug, Clone, Copy)]
pub struct FieldSpec {
    field: Field,
    /// Its paths; the first one with a value is used. A path is keys separated by dots, with numbers for list entries.
    at: &'static [&'static str],
    when: Presence,
    /// Gateways and compatible servers are known to omit it.
    is_optional_behind_gateway: bool,
}

/// When a field is documented to be present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    /// It may be missing.
    Optional,
    /// Its key is always present, possibly with 0 or an empty string.
    Key,
    /// Always.
    Always,
    /// For ended tasks.
    Ended,
    /// For succeeded tasks.
    Succeeded,
    /// For failed tasks.
    Failed,
}

/// The documented fields of a body.
pub type Contract = &'static [FieldSpec];

const fn expected(field: Field, at: &'static [&'static str], when: Presence) -> FieldSpec {
    FieldSpec { field, at, when, is_optional_behind_gateway: false }
}

/// A field that may be missing.
pub const fn optional(field: Field, at: &'static [&'static str]) -> FieldSpec {
    expected(field, at, Presence::Optional)
}

/// A field whose key is always present, possibly with 0 or an empty string.
pub const fn key(field: Field, at: &'static [&'static str]) -> FieldSpec {
    expected(field, at, Presence::Key)
}

/// A field that is always present.
pub const fn always(field: Field, at: &'static [&'static str]) -> FieldSpec {
    expected(field, at, Presence::Always)
}

/// A field of ended tasks.
pub const fn ended(field: Field, at: &'static [&'static str]) -> FieldSpec {
    expected(field, at, Presence::Ended)
}

/// A field of succeeded tasks.
pub const fn succeeded(field: Field, at: &'static [&'static str]) -> FieldSpec {
    expected(field, at, Presence::Succeeded)
}

/// A field of failed tasks.
pub const fn failed(field: Field, at: &'static [&'static str]) -> FieldSpec {
    expected(field, at, Presence::Failed)
}

impl FieldSpec {
    /// The field is required only in a complete body from the provider itself.
    pub const fn optional_behind_gateway(self) -> Self {
        Self { is_optional_behind_gateway: true, ..self }
    }
}

/// Where a body comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodySource {
    /// From the provider itself.
    Direct,
    /// From a server that is compatible with the provider.
    Compatible,
    /// From a gateway's row: possibly incomplete, and before the gateway's first poll only the response to the submission.
    Inside,
}

/// Decodes every field of a contract, and adds what is not as documented to the drift.
pub fn read(contract: Contract, value: &Value, zone: Zone, source: BodySource) -> Answer {
    let mut answer = Answer::default();
    let mut missing = Vec::new();
    for expected in contract {
        let mut found = false;
        let mut is_present = false;
        let mut problem = None;
        for at in expected.at {
            match find_value(value, at) {
                Ok(None) => {}
                Ok(Some(value)) => {
                    is_present |= !value.is_null();
                    match read_field(&mut answer, expected.field, value, zone) {
                        Ok(has_value) => found |= has_value,
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
            Some(problem) if !found => answer.drift.add(expected.field, problem),
            None if !(found || is_present && expected.when == Presence::Key) => missing.push(expected),
            _ => {}
        }
    }
    let status = answer.reported_status;
    let ended = status.is_some_and(Status::is_end);
    for expected in missing {
        let is_required = match expected.when {
            Presence::Optional => false,
            Presence::Key | Presence::Always => true,
            Presence::Ended => ended,
            Presence::Succeeded => status == Some(Status::Succeeded),
            Presence::Failed => status == Some(Status::Failed),
        };
        let is_complete = match source {
            BodySource::Direct => true,
            BodySource::Compatible => false,
            // An incomplete body lacks at least its id.
            BodySource::Inside => answer.task_id.is_some(),
        };
        if is_required
            && (is_complete || !expected.is_optional_behind_gateway)
            && (ended || source != BodySource::Inside)
        {
            answer.drift.add(expected.field, FieldProblem::Missing);
        }
    }
    answer
}

/// The problem of a value that is neither a valid string nor a number.
pub fn value_problem(value: Option<&Value>) -> FieldProblem {
    match value {
        None | Some(Value::Null) => FieldProblem::Missing,
        Some(Value::String(_) | Value::Number(_)) => FieldProblem::Unreadable,
        Some(_) => FieldProblem::WrongType,
    }
}

/// The value at a path; an error when an element of the path has a wrong type.
pub fn find_value<'a>(value: &'a Value, at: &str) -> Result<Option<&'a Value>, FieldProblem> {
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

/// Decodes progress in a unit.
///
/// # Errors
/// When the value cannot be read.
pub fn read_progress(answer: &mut Answer, value: &Value, unit: ProgressUnit) -> Result<bool, FieldProblem> {
    let progress = lenient::checked_progress(value, unit)?;
    answer.progress = answer.progress.or(progress);
    Ok(progress.is_some())
}

/// Reads the URL of a result from the first of these values that has one; a value may be a list. That none has one is drift of a
/// task that has succeeded.
pub fn read_result_urls<const N: usize>(answer: &mut Answer, places: [Option<&Value>; N], zone: Zone) {
    let mut problem = FieldProblem::Missing;
    for place in places.into_iter().flatten() {
        for url in place.as_array().map_or(std::slice::from_ref(place), Vec::as_slice) {
            match read_field(answer, Field::ResultUrl, url, zone) {
                Ok(true) => return,
                Ok(false) => {}
                Err(found) => problem = found,
            }
        }
    }
    if answer.reported_status == Some(Status::Succeeded) {
        answer.drift.add(Field::ResultUrl, problem);
    }
}

/// Decodes the value of a field; false when it is empty, such as null, a blank string or a time of 0.
///
/// It does not replace a value from an earlier path.
///
/// # Errors
/// When the value cannot be read.
pub fn read_field(answer: &mut Answer, field: Field, value: &Value, zone: Zone) -> Result<bool, FieldProblem> {
    fn put<T>(target: &mut Option<T>, value: Option<T>) -> bool {
        let is_found = value.is_some();
        if target.is_none() {
            *target = value;
        }
        is_found
    }
    if value.is_null() {
        return Ok(false);
    }
    let text = || Ok(lenient::checked_text(value)?.and_then(|text| labels::storable_text(&text)));
    // A number in place of a string is used, but reported as drift.
    let is_wrong_type = value.is_number()
        && matches!(
            field,
            Field::Status | Field::ModelUpstream | Field::ModelOrigin | Field::Resolution | Field::ServiceTier
        );
    let amount = |most| lenient::checked_amount(value, most);
    let time = || lenient::checked_time(value, zone);
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
        Field::Progress => put(&mut answer.progress, lenient::checked_progress(value, ProgressUnit::Auto)?),
        Field::Submit => put(&mut answer.times.submit, time()?),
        Field::Start => put(&mut answer.times.start, time()?),
        Field::Finish => put(&mut answer.times.finish, time()?),
        Field::ModelUpstream => put(&mut answer.model_upstream, text()?),
        Field::ModelOrigin => put(&mut answer.model_origin, text()?),
        Field::Duration => put(&mut answer.video_seconds, lenient::checked_seconds(value)?),
        Field::Resolution => put(&mut answer.resolution, text()?),
        Field::TokensPrompt => put(&mut answer.tokens.prompt, amount(limit::TOKENS)?),
        Field::TokensCompletion => put(&mut answer.tokens.completion, amount(limit::TOKENS)?),
        Field::TokensTotal => put(&mut answer.tokens.total, amount(limit::TOKENS)?),
        Field::Credits => put(&mut answer.credits, amount(limit::CREDITS)?),
        Field::ErrorCode => {
            let code = lenient::checked_text(value)?.and_then(|code| short_code(&code));
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
        Field::ExpiresAt => put(&mut answer.expires_at, time()?),
        // It is in seconds after the submit time, which precedes it in every table.
        Field::Deadline => {
            let after = amount(limit::DEADLINE_SECONDS)?;
            let span = after.map(Duration::from_secs_f64);
            put(&mut answer.deadline, answer.times.submit.zip(span).map(|(submit, span)| submit + span));
            after.is_some()
        }
        Field::ServiceTier => put(&mut answer.service_tier, text()?),
        // Every provider that reports it uses this currency.
        Field::Cost => {
            let cost = amount(limit::COST)?.map(|amount| Cost { amount, currency: Currency::USD });
            put(&mut answer.cost, cost)
        }
    };
    if is_wrong_type { Err(FieldProblem::WrongType) } else { Ok(is_found) }
}
