//! `LiteLLM`'s proxy: an `OpenAI` video whose id names the provider behind it.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use super::definition::{AnswerHeader, Provider, RequestSpec};
use super::read::answer;
use super::read::error::{ErrorBody, by_code};
use super::read::failures::{FailureTable, classify_answer};
use super::read::fields::{self, BodySource, Contract, always, optional};
use super::read::lenient::{self, Zone};
use super::{ark, dashscope, fal, luma, minimax_hailuo, openai_videos, replicate, runway, veo, vidu, xai};
use crate::domain::drift::Field;
use crate::domain::labels;
use crate::domain::{Answer, Reason, Status};

/// The provider (docs/upstreams.md 24). Its base URL must be configured.
pub static LITELLM: Provider = Provider {
    repeats_http_status: true,
    answer_header: Some(AnswerHeader { name: "x-litellm-model-name", read: read_model }),
    requests: &[RequestSpec::get("/v1/videos/{task_id}")],
    runs_any_model: true,
    ..Provider::new("litellm", |value, zone| answer::finish_direct(value, read(value, zone), error_kind), error_kind)
};

/// Only these five fields are always there: the rest is what the provider behind tells.
const CONTRACT: Contract = &[
    always(Field::TaskId, &["id"]),
    always(Field::Status, &["status"]),
    always(Field::ModelOrigin, &["model"]),
    optional(Field::Submit, &["created_at"]),
    optional(Field::Finish, &["completed_at"]),
    optional(Field::Progress, &["progress"]),
    optional(Field::Duration, &["seconds", "usage.duration_seconds", "usage.total_seconds", "usage.output_seconds"]),
    optional(Field::Resolution, &["size", "usage.video_resolution"]),
    optional(Field::ErrorCode, &["error.code", "error.type"]),
    optional(Field::ErrorMessage, &["error.message"]),
    optional(Field::ExpiresAt, &["expires_at"]),
];

/// `error.type`, which says more than the code: that is the HTTP status.
const ERRORS: &[(&str, Reason)] = &[
    ("no_db_connection", Reason::Unauthorized),
    ("auth_error", Reason::Unauthorized),
    ("token_not_found_in_db", Reason::Unauthorized),
    ("key_model_access_denied", Reason::Forbidden),
    ("budget_exceeded", Reason::QuotaExhausted),
];

/// The reason of an error. That a provider does not know the task becomes an internal error whose message says so.
fn error_kind(error: &ErrorBody) -> Option<Reason> {
    let kind = ErrorBody { code: error.kind.clone(), ..ErrorBody::default() };
    let message = error.message.as_deref().unwrap_or_default().to_ascii_lowercase();
    let says = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
    // Credentials, hosts and models may not be found, either.
    let says_unknown = says(&["notfounderror", "not found", "not_found", "does not exist", "no such"])
        && says(&["video", "task", "operation", "job", "generation", "prediction", "interaction"]);
    // Google's, HTTP libraries' and MiniMax's words for it.
    let is_known_text = says(&["entity was not found", "resource not found", "404 not found", "invalid task_id"]);
    let is_unknown = (says_unknown || is_known_text) && !says(&["credential", "host", "model"]);
    by_code(ERRORS, &kind).or_else(|| is_unknown.then_some(Reason::NotFound))
}

/// Decodes a video (docs/upstreams.md 24).
fn read(value: &Value, zone: Zone) -> Answer {
    let mut answer = fields::read(CONTRACT, value, zone, BodySource::Direct);
    answer.billing.input_images = value.get("usage").and_then(|usage| lenient::amount(usage, "input_image_count"));
    answer::read_error_text(&mut answer, value);
    answer.model_upstream.clone_from(&answer.model_origin);
    let vendor = answer.task_id.as_deref().and_then(vendor_of);
    let known = VENDORS.iter().find(|(name, _)| vendor.as_deref() == Some(name));
    answer.billing.litellm_provider = known.map(|(name, _)| *name);
    if answer.reported_status == Some(Status::Failed) {
        let table = known.map_or(openai_videos::FAILURES, |(_, table)| *table);
        answer.failure = classify_answer(&[table, openai_videos::FAILURES], &answer);
    }
    answer
}

/// Providers by `LiteLLM`'s names, with their failures.
const VENDORS: [(&str, FailureTable); 16] = [
    ("openai", openai_videos::FAILURES),
    ("azure", openai_videos::FAILURES),
    ("gemini", veo::FAILURES),
    ("vertex_ai", veo::FAILURES),
    ("vertex_ai_beta", veo::FAILURES),
    ("dashscope", dashscope::FAILURES),
    ("qwencloud", dashscope::FAILURES),
    ("qwen_ai_platform", dashscope::FAILURES),
    ("minimax", minimax_hailuo::FAILURES),
    ("runwayml", runway::FAILURES),
    ("fal_ai", fal::FAILURES),
    ("volcengine", ark::FAILURES),
    ("vidu", vidu::FAILURES),
    ("luma", luma::FAILURES),
    ("replicate", replicate::FAILURES),
    ("xai", xai::FAILURES),
];

/// The model that ran: the header without its first part, which is the provider.
fn read_model(answer: &mut Answer, header: Option<&str>) {
    let model = header.and_then(|header| header.split_once('/')).map(|(_, model)| model);
    if let Some(model) = model.and_then(labels::storable_text) {
        answer.model_upstream = Some(model);
    }
}

/// The padding of ids is kept or cut.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The provider in an id: `video_` and base64 of `litellm:custom_llm_provider:PROVIDER;model_id:…`.
fn vendor_of(id: &str) -> Option<String> {
    let encoded = id.strip_prefix("video_")?.replace('+', "-").replace('/', "_");
    let decoded = String::from_utf8(BASE64.decode(encoded).ok()?).ok()?;
    let (_, rest) = decoded.split_once("custom_llm_provider:")?;
    rest.split(';').next().map(str::to_owned)
}
