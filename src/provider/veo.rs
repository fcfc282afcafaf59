//! Google Veo: a long-running operation `{name, done, metadata, error, response}` of the Gemini API or Vertex AI.

use serde_json::Value;

use super::definition::{KeySpec, Provider, RequestSpec};
use super::read::failures::{EMPTY_RESPONSE, FILTERED, FailurePattern, FailureTable, classify};
use super::read::fields::{self, BodySource, Contract, always, optional};
use super::read::lenient::{self, Zone};
use super::read::{answer, error};
use crate::domain::drift::{Field, FieldProblem};
use crate::domain::{Answer, FailureClass, Reason, Status};
use crate::http::Method;

/// The provider (docs/upstreams.md 8). The id is the full name of the operation, whose prefix selects Gemini or Vertex.
pub static VEO: Provider = Provider {
    base_url: Some("https://generativelanguage.googleapis.com"),
    id_form: "the full name of an operation: models/MODEL/operations/ID, operations/ID, or projects/…/operations/ID with the \
              base_url of Vertex",
    requests: &[
        GET_OPERATION,
        // An operation without its model (docs/upstreams.md 8.1).
        RequestSpec { id_prefix: "operations/", ..GET_OPERATION },
        RequestSpec { id_prefix: "projects/", needs_base_url: true, ..FETCH_OPERATION },
    ],
    ..Provider::new(
        "veo",
        |value, zone| answer::finish_direct(value, read(value, zone, BodySource::Direct), error_kind),
        error_kind,
    )
};

const GET_OPERATION: RequestSpec =
    RequestSpec { id_prefix: "models/", key: KeySpec("x-goog-api-key", ""), ..RequestSpec::get("/v1beta/{operation}") };

/// Vertex requires a POST request below the model (docs/upstreams.md 8.1).
pub const FETCH_OPERATION: RequestSpec = RequestSpec {
    id_prefix: "",
    id_part: "",
    needs_base_url: false,
    method: Method::Post,
    path: "/v1/{parent}:fetchPredictOperation",
    body: Some(r#"{"operationName":"{operation}"}"#),
    key: KeySpec::BEARER,
};

const CONTRACT: Contract = &[
    always(Field::TaskId, &["name"]),
    optional(Field::Submit, &["metadata.createTime"]),
    optional(Field::Finish, &["metadata.updateTime"]),
    optional(Field::ErrorCode, &["error.code"]),
    optional(Field::ErrorMessage, &["error.message"]),
];

/// gRPC codes (google.rpc.Code), and two codes of the exporter for ends without an error.
pub(super) const FAILURES: FailureTable = &[
    (FailurePattern::Code(FILTERED), FailureClass::ContentPolicy),
    (FailurePattern::Code(EMPTY_RESPONSE), FailureClass::NoOutput),
    (FailurePattern::MessageContains("safety"), FailureClass::ContentPolicy),
    (FailurePattern::MessageContains("responsible ai"), FailureClass::ContentPolicy),
    (FailurePattern::MessageContains("usage guidelines"), FailureClass::ContentPolicy),
    (FailurePattern::Code("3"), FailureClass::InvalidInput),
    (FailurePattern::Code("9"), FailureClass::InvalidInput),
    (FailurePattern::Code("11"), FailureClass::InvalidInput),
    (FailurePattern::Code("8"), FailureClass::RateLimit),
    (FailurePattern::Code("7"), FailureClass::Auth),
    (FailurePattern::Code("16"), FailureClass::Auth),
    (FailurePattern::Code("2"), FailureClass::ProviderError),
    (FailurePattern::Code("13"), FailureClass::ProviderError),
    (FailurePattern::Code("14"), FailureClass::ProviderError),
    (FailurePattern::Code("15"), FailureClass::ProviderError),
];

/// gRPC codes that mean a status other than failed: CANCELLED and `DEADLINE_EXCEEDED`.
const GRPC_CANCELLED: f64 = 1.0;
const GRPC_DEADLINE_EXCEEDED: f64 = 4.0;

/// The reason of an error. Gemini responds to an invalid key with 400.
pub fn error_kind(error: &error::ErrorBody) -> Option<Reason> {
    let message = error.message.as_deref().unwrap_or("");
    let is_key = ["API key not valid", "API key expired"].iter().any(|text| message.contains(text));
    is_key.then_some(Reason::Unauthorized)
}

/// Whether a body is an operation.
pub fn is_operation(value: &Value) -> bool {
    value.get("done").is_some_and(Value::is_boolean)
        || value.get("name").and_then(Value::as_str).is_some_and(|name| name.contains("operations/"))
}

/// Decodes an operation (docs/upstreams.md 8.2). Without a name it has no status, unless it has failed.
pub fn read(value: &Value, zone: Zone, source: BodySource) -> Answer {
    let mut answer = fields::read(CONTRACT, value, zone, source);
    let done = value.get("done").filter(|done| !done.is_null());
    if done.is_some_and(|done| !done.is_boolean()) {
        answer.drift.add(Field::Status, FieldProblem::WrongType);
    }
    if done.is_none() && ["response", "error"].iter().any(|key| value.get(key).is_some_and(|end| !end.is_null())) {
        answer.drift.add(Field::Status, FieldProblem::Missing);
    }
    // A failed operation may lack its name.
    let has_failed = done == Some(&Value::Bool(true)) && value.get("error").is_some_and(Value::is_object);
    if answer.task_id.is_none() && !has_failed {
        return answer;
    }
    answer.model_upstream = answer.task_id.as_deref().and_then(model);
    let status = read_status(value, done == Some(&Value::Bool(true)), &mut answer);
    answer.reported_status = Some(status);
    answer.failure = classify(FAILURES, answer.error_code.as_deref(), answer.error_message.as_deref());
    answer
}

/// The status of the operation. For an end it also reads the result or the error.
fn read_status(value: &Value, done: bool, answer: &mut Answer) -> Status {
    if !done {
        return Status::Running;
    }
    if let Some(error) = value.get("error").filter(|error| error.is_object()) {
        for (field, known) in
            [(Field::ErrorCode, answer.error_code.is_some()), (Field::ErrorMessage, answer.error_message.is_some())]
        {
            if !known {
                answer.drift.add(field, FieldProblem::Missing);
            }
        }
        return match lenient::number(error, "code") {
            Some(GRPC_CANCELLED) => Status::Cancelled,
            Some(GRPC_DEADLINE_EXCEEDED) => Status::Expired,
            _ => Status::Failed,
        };
    }
    check_types(value, answer);
    let videos = videos(value);
    if !videos.is_empty() {
        let mut urls = 0;
        for video in
            videos.iter().filter_map(|sample| Some(sample.get("video").unwrap_or(sample)).filter(|v| v.is_object()))
        {
            urls += usize::from(read_url(video, answer));
        }
        if urls == 0 {
            answer.drift.add(Field::ResultUrl, FieldProblem::Missing);
        }
        return Status::Succeeded;
    }
    let counts = results(value).filter_map(|result| result.get("raiMediaFilteredCount"));
    if let Some(Err(problem)) =
        counts.map(|count| lenient::checked_amount(count, lenient::limit::OTHER)).find(Result::is_err)
    {
        answer.drift.add(Field::ErrorCode, problem);
    }
    let filtered =
        results(value).find(|result| lenient::amount(result, "raiMediaFilteredCount").is_some_and(|n| n > 0.0));
    let code = if filtered.is_some() { FILTERED } else { EMPTY_RESPONSE };
    if filtered.is_none() {
        // The response is empty, or has its videos in an unknown field.
        answer.drift.add(Field::ResultUrl, FieldProblem::Missing);
    }
    answer.error_code = Some(code.to_owned());
    let reasons = filtered.and_then(|result| result.get("raiMediaFilteredReasons"));
    let reason = reasons.map(|reasons| reasons.get(0).unwrap_or(reasons));
    if let Some(Err(problem)) =
        reason.map(|reason| fields::read_field(answer, Field::ErrorMessage, reason, Zone::UNKNOWN))
    {
        answer.drift.add(Field::ErrorMessage, problem);
    }
    Status::Failed
}

/// Adds the drift of fields that should contain the videos but have a wrong type.
fn check_types(value: &Value, answer: &mut Answer) {
    let nested = lenient::at(value, "response.generateVideoResponse");
    let objects = [value.get("response"), nested].into_iter().flatten();
    let lists = results(value).flat_map(|result| VIDEOS.map(|key| result.get(key))).flatten();
    let wrong = objects.filter(|object| !object.is_object()).chain(lists.filter(|list| !list.is_array()));
    if wrong.filter(|value| !value.is_null()).count() > 0 {
        answer.drift.add(Field::ResultUrl, FieldProblem::WrongType);
    }
}

/// Names of the list of videos at Vertex, Gemini and gateways.
const VIDEOS: [&str; 3] = ["videos", "generatedSamples", "generatedVideos"];

/// Reads the URL of a video, or its bucket. True for inline bytes, too: they are a result without a URL.
fn read_url(video: &Value, answer: &mut Answer) -> bool {
    let mut found = video.get("bytesBase64Encoded").is_some_and(Value::is_string);
    for url in ["uri", "gcsUri", "url"].iter().filter_map(|key| video.get(key)) {
        let is_bucket = url.as_str().is_some_and(|url| url.starts_with("gs://"));
        answer.has_result_url |= is_bucket;
        found |= is_bucket || fields::read_field(answer, Field::ResultUrl, url, Zone::UNKNOWN) == Ok(true);
    }
    found
}

/// The objects with videos and filter counts: Vertex's `response`, and Gemini's `generateVideoResponse` in it.
fn results(value: &Value) -> impl Iterator<Item = &Value> {
    ["response", "response.generateVideoResponse"].into_iter().filter_map(|at| lenient::at(value, at))
}

fn videos(value: &Value) -> Vec<&Value> {
    results(value)
        .flat_map(|result| VIDEOS.map(|key| result.get(key)))
        .filter_map(|list| list?.as_array())
        .flatten()
        .collect()
}

/// The part between `models/` and `/operations/`.
pub fn model(name: &str) -> Option<String> {
    let (head, _) = name.split_once("/operations/")?;
    let (_, model) = head.rsplit_once("models/")?;
    (!model.is_empty() && !model.contains('/')).then(|| model.to_owned())
}
