//! Runway: `{id, status, createdAt, progress, output, failure, failureCode}`.

use serde_json::Value;

use super::definition::{Provider, RequestSpec};
use super::read::answer;
use super::read::error::unknown_kind;
use super::read::failures::{FailurePattern, FailureTable, classify_answer};
use super::read::fields::{self, BodySource, Contract, always, failed, optional};
use super::read::lenient::{ProgressUnit, Zone};
use crate::domain::drift::Field;
use crate::domain::{Answer, FailureClass};

/// The provider (docs/upstreams.md 17). It rejects requests without a version.
pub static RUNWAY: Provider = Provider {
    base_url: Some("https://api.dev.runwayml.com"),
    headers: &[("X-Runway-Version", "2024-11-06")],
    requests: &[RequestSpec::get("/v1/tasks/{task_id}")],
    ..Provider::new("runway", |value, zone| answer::finish(value, read(value, zone), unknown_kind), unknown_kind)
};

const CONTRACT: Contract = &[
    always(Field::TaskId, &["id"]),
    always(Field::Status, &["status"]),
    always(Field::Submit, &["createdAt"]),
    optional(Field::ErrorCode, &["failureCode"]),
    failed(Field::ErrorMessage, &["failure"]),
];

/// Dotted codes. That of a safety system may begin with the name of another step.
pub(super) const FAILURES: FailureTable = &[
    (FailurePattern::CodeContains("SAFETY"), FailureClass::ContentPolicy),
    (FailurePattern::CodeStart("ASSET.INVALID"), FailureClass::InvalidInput),
    (FailurePattern::CodeStart("THIRD_PARTY.INPUT_VALIDATION"), FailureClass::InvalidInput),
    (FailurePattern::CodeStart("INTERNAL"), FailureClass::ProviderError),
    (FailurePattern::CodeStart("INPUT_PREPROCESSING.INTERNAL"), FailureClass::ProviderError),
    (FailurePattern::CodeStart("THIRD_PARTY.UNAVAILABLE"), FailureClass::ProviderError),
];

/// Decodes a task (docs/upstreams.md 17). Its progress is a ratio.
fn read(value: &Value, zone: Zone) -> Answer {
    let mut answer = fields::read(CONTRACT, value, zone, BodySource::Direct);
    let progress = value.get("progress").map(|at| fields::read_progress(&mut answer, at, ProgressUnit::Ratio));
    if let Some(Err(problem)) = progress {
        answer.drift.add(Field::Progress, problem);
    }
    fields::read_result_urls(&mut answer, [value.get("output")], zone);
    answer.failure = classify_answer(&[FAILURES], &answer);
    answer
}
