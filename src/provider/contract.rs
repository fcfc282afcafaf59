//! A provider's documented fields as a table: by it a body is read, and by it one sees where the body has drifted.

use super::body::Body;
use super::json::Zone;
use super::tree::Value;
use crate::domain::Status;
use crate::domain::drift::{Field, FieldProblem};

/// One documented field.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    field: Field,
    /// Where it may stand, the first place that has it deciding; keys with dots between them, numbers for entries of lists.
    at: &'static [&'static str],
    when: When,
    /// Gateways that hand on a part of a body, and servers that speak the same dialect, are known to leave it out.
    often_cut: bool,
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

/// What one provider documents of one body.
pub type Contract = &'static [Expected];

const fn expected(field: Field, at: &'static [&'static str], when: When) -> Expected {
    Expected { field, at, when, often_cut: false }
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
    /// Only expected of a body that is its provider's own, and whole.
    pub const fn often_cut(self) -> Self {
        Self { often_cut: true, ..self }
    }
}

/// How a body came to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// From its provider, or from something that speaks just as it does.
    Direct,
    /// From a server that speaks much as its provider does.
    Compatible,
    /// In a gateway's row: perhaps cut, and before its first poll no more than the answer to the submission.
    Inside,
}

/// Reads every field of `contract` out of `value`, and notes what is not as documented.
pub fn read(contract: Contract, value: &Value, zone: Zone, origin: Origin) -> Body {
    let mut body = Body::default();
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
                    match body.take(expected.field, value, zone) {
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
            Some(problem) if !found => body.drift.note(expected.field, problem),
            None if !(found || there && expected.when == When::Key) => missing.push(expected),
            _ => {}
        }
    }
    let status = body.status();
    let ended = status.is_some_and(Status::is_end);
    for expected in missing {
        let due = match expected.when {
            When::Optional => false,
            When::Key | When::Always => true,
            When::Ended => ended,
            When::Succeeded => status == Some(Status::Succeeded),
            When::Failed => status == Some(Status::Failed),
        };
        let whole = match origin {
            Origin::Direct => true,
            Origin::Compatible => false,
            // A part of a body has lost its id first of all.
            Origin::Inside => body.task_id.is_some(),
        };
        if due && (whole || !expected.often_cut) && (ended || origin != Origin::Inside) {
            body.drift.note(expected.field, FieldProblem::Missing);
        }
    }
    body
}

/// What is wrong with a value that no text or number could be made of.
pub fn problem_of(value: Option<&Value>) -> FieldProblem {
    match value {
        None | Some(Value::Null) => FieldProblem::Missing,
        Some(Value::String(_) | Value::Number(_)) => FieldProblem::Unreadable,
        Some(_) => FieldProblem::WrongType,
    }
}

/// The value at a place; an error when something on the way is neither missing, null nor to be entered.
fn lookup<'a>(value: &'a Value<'a>, at: &str) -> Result<Option<&'a Value<'a>>, FieldProblem> {
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
