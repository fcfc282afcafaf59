//! A video job of Azure `OpenAI`, one of the shapes of `openai_videos` (docs/upstreams.md 22).

use serde_json::Value;

use super::read::answer::format_size;
use super::read::failures::{FailurePattern, FailureTable, classify_answer};
use super::read::fields::{self, BodySource, Contract, always, ended, failed, value_problem};
use super::read::lenient::Zone;
use crate::domain::drift::Field;
use crate::domain::{Answer, FailureClass};

const CONTRACT: Contract = &[
    always(Field::TaskId, &["id"]),
    always(Field::Status, &["status"]),
    always(Field::Submit, &["created_at"]),
    ended(Field::Finish, &["finished_at"]),
    always(Field::ModelUpstream, &["model"]).optional_behind_gateway(),
    always(Field::Duration, &["n_seconds"]).optional_behind_gateway(),
    failed(Field::ErrorCode, &["failure_reason"]),
    fields::optional(Field::ExpiresAt, &["expires_at"]),
];

/// `failure_reason`.
pub(super) const FAILURES: FailureTable = &[
    (FailurePattern::CodeContains("moderation"), FailureClass::ContentPolicy),
    (FailurePattern::Code("internal_error"), FailureClass::ProviderError),
];

/// Whether a body is a job.
pub fn is_job(value: &Value) -> bool {
    value.get("object").and_then(Value::as_str) == Some("video.generation.job")
}

/// Decodes a job. Its videos are at their own addresses, without a URL.
pub fn read(value: &Value, zone: Zone, source: BodySource) -> Answer {
    let mut answer = fields::read(CONTRACT, value, zone, source);
    answer.resolution = format_size(value, "width", "height");
    if answer.resolution.is_none() && source == BodySource::Direct {
        let worse = value_problem(value.get("width")).max(value_problem(value.get("height")));
        answer.drift.add(Field::Resolution, worse);
    }
    answer.failure = classify_answer(&[FAILURES], &answer);
    answer
}
