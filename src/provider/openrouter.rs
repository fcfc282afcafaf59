//! `OpenRouter`'s videos: `{id, status, error, unsigned_urls, usage}`.

use serde_json::Value;

use super::callback_signature::CallbackSignature;
use super::definition::{Provider, RequestSpec};
use super::read::answer;
use super::read::error::{self, by_code};
use super::read::fields::{self, BodySource, Contract, always, optional};
use super::read::lenient::Zone;
use crate::domain::drift::Field;
use crate::domain::{Answer, Reason};

/// The provider (docs/upstreams.md 14).
pub static OPENROUTER: Provider = Provider {
    base_url: Some("https://openrouter.ai"),
    read_callback: Some(|value, zone| {
        let job = value.get("data").unwrap_or(&Value::Null);
        answer::finish_callback(job, read(job, zone), error_kind)
    }),
    webhook_signature: Some(CallbackSignature::OpenRouter),
    requests: &[RequestSpec::get("/api/v1/videos/{task_id}")],
    ..Provider::new("openrouter", |value, zone| answer::finish(value, read(value, zone), error_kind), error_kind)
};

const CONTRACT: Contract = &[
    always(Field::TaskId, &["id"]),
    always(Field::Status, &["status"]),
    optional(Field::ModelOrigin, &["model"]),
    optional(Field::ErrorMessage, &["error"]),
    optional(Field::Cost, &["usage.cost"]),
];

/// Codes repeat the HTTP status.
const ERRORS: &[(&str, Reason)] = &[
    ("401", Reason::Unauthorized),
    ("402", Reason::QuotaExhausted),
    ("403", Reason::Forbidden),
    ("404", Reason::NotFound),
    ("429", Reason::RateLimited),
];

fn error_kind(error: &error::ErrorBody) -> Option<Reason> {
    by_code(ERRORS, error)
}

/// Whether a body is a job: no other video of this form has an address to poll, or proxied URLs.
pub fn is_job(value: &Value) -> bool {
    value.get("object").is_none() && ["polling_url", "unsigned_urls"].iter().any(|key| value.get(key).is_some())
}

/// Decodes a job (docs/upstreams.md 14). Its error is a text without a code.
pub fn read(value: &Value, zone: Zone) -> Answer {
    let mut answer = fields::read(CONTRACT, value, zone, BodySource::Direct);
    fields::read_result_urls(&mut answer, [value.get("urls"), value.get("unsigned_urls")], zone);
    answer
}
