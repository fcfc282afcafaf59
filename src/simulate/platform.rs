//! The bodies of APIs that are not behind a gateway (docs/upstreams.md 13 to 21), with their HTTP statuses.

use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::view::{Phase, TaskView};

/// A response.
pub type Answer = (StatusCode, Value);

const VIDEO: &str = "https://media.example.com/v.mp4";

fn time(millis: i64) -> String {
    Timestamp::from_millisecond(millis).unwrap_or_default().to_string()
}

/// Whether the task ended in any other way than with a video.
fn has_failed(view: &TaskView) -> bool {
    view.phase == Phase::Ended && view.status_word(["", "", "", "f", "f", "f"]) == "f"
}

/// Code and message of a failure, or those of a task that was stopped.
fn failure(view: &TaskView) -> (&'static str, &'static str) {
    view.failure().unwrap_or(("generation_failed", "Provider stopped the task."))
}

/// `OpenRouter`'s job.
pub fn openrouter(id: &str, view: &TaskView) -> Answer {
    let status = view.status_word(["pending", "in_progress", "completed", "failed", "cancelled", "expired"]);
    let mut job = json!({"id": id, "polling_url": format!("/api/v1/videos/{id}"), "status": status});
    if view.has_succeeded() {
        job["unsigned_urls"] = json!([VIDEO]);
        job["usage"] = json!({"cost": 0.42, "is_byok": false});
    } else if status == "failed" {
        job["error"] = failure(view).1.into();
    }
    (StatusCode::OK, job)
}

/// xAI's video: HTTP 202 until it ends. It reports a cancelled task as failed.
pub fn xai(_: &str, view: &TaskView) -> Answer {
    let model = &view.task.model;
    match view.status_word(["queued", "pending", "done", "failed", "failed", "expired"]) {
        "queued" => (StatusCode::ACCEPTED, json!({"status": "pending"})),
        "pending" => {
            let percent = (100.0 * view.progress).floor().max(1.0);
            (StatusCode::ACCEPTED, json!({"status": "pending", "progress": percent, "model": model.upstream}))
        }
        "done" => {
            let video = json!({"url": VIDEO, "duration": model.video_seconds, "respect_moderation": true});
            let usage = json!({"cost_in_usd_ticks": 6_400_000_000_i64});
            let body =
                json!({"status": "done", "progress": 100, "model": model.upstream, "video": video, "usage": usage});
            (StatusCode::OK, body)
        }
        "failed" => {
            let (code, message) = failure(view);
            (StatusCode::OK, json!({"status": "failed", "model": "", "error": {"code": code, "message": message}}))
        }
        _ => (StatusCode::OK, json!({"status": "expired"})),
    }
}

/// The status of fal's queue: a request that failed is completed.
pub fn fal_status(id: &str, view: &TaskView) -> Answer {
    let mut status = json!({"request_id": id});
    let (http_status, word) = match view.phase {
        Phase::Queued => (StatusCode::ACCEPTED, "IN_QUEUE"),
        Phase::Running => (StatusCode::ACCEPTED, "IN_PROGRESS"),
        Phase::Ended => (StatusCode::OK, "COMPLETED"),
    };
    status["status"] = word.into();
    match view.status_word(["", "", "", "", "cancelled", "expired"]) {
        "cancelled" if view.phase == Phase::Ended => {
            status["error"] = "The request was cancelled by its client".into();
            status["error_type"] = "client_cancelled".into();
        }
        "expired" if view.phase == Phase::Ended => {
            status["error"] = "No runner was found in time".into();
            status["error_type"] = "startup_timeout".into();
        }
        _ => {}
    }
    (http_status, status)
}

/// The result of the model, or its refusal.
pub fn fal_result(_: &str, view: &TaskView) -> Answer {
    if view.has_succeeded() {
        return (StatusCode::OK, json!({"video": {"url": VIDEO, "content_type": "video/mp4"}, "seed": 7}));
    }
    if view.failure().is_some() {
        let refusal = json!({"loc": ["body", "prompt"], "msg": failure(view).1, "type": "content_policy_violation"});
        return (StatusCode::UNPROCESSABLE_ENTITY, json!({"detail": [refusal]}));
    }
    (StatusCode::BAD_REQUEST, json!({"detail": "Request is still in progress"}))
}

/// Runway's task. It reports an expired task as failed.
pub fn runway(id: &str, view: &TaskView) -> Answer {
    let status = view.status_word(["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED", "FAILED"]);
    let mut task = json!({"id": id, "status": status, "createdAt": time(view.created_ms)});
    match status {
        "RUNNING" => task["progress"] = view.progress.into(),
        "SUCCEEDED" => task["output"] = json!([VIDEO]),
        "FAILED" => {
            task["failure"] = failure(view).1.into();
            task["failureCode"] = "INTERNAL.BAD_OUTPUT.CODE01".into();
        }
        _ => {}
    }
    (StatusCode::OK, task)
}

/// Replicate's prediction, which is also the entry of a list. It reports an expired task as failed.
pub fn replicate(id: &str, view: &TaskView) -> Value {
    let status = view.status_word(["starting", "processing", "succeeded", "failed", "canceled", "failed"]);
    json!({
        "id": id, "model": format!("simulated/{}", view.task.model.upstream), "status": status, "input": {},
        "output": view.has_succeeded().then_some(VIDEO),
        "error": (status == "failed").then(|| format!("{} (E005)", failure(view).1)),
        "created_at": time(view.created_ms),
        "started_at": (view.phase != Phase::Queued).then(|| time(view.started_ms)),
        "completed_at": (view.phase == Phase::Ended).then(|| time(view.updated_ms)),
    })
}

/// Vidu's task. It reports an expired task as failed.
pub fn vidu(id: &str, view: &TaskView) -> Answer {
    let state = view.status_word(["queueing", "processing", "success", "failed", "failed", "failed"]);
    let err_code = match view.status_word(["", "", "", "policy", "cancelled", "failed"]) {
        "policy" => "TaskPromptPolicyViolation",
        "cancelled" => "UserCancelled",
        "failed" => "InternalServiceFailure",
        _ => "",
    };
    let creations = if view.has_succeeded() { vec![json!({"id": "c", "url": VIDEO})] } else { Vec::new() };
    (StatusCode::OK, json!({"id": id, "state": state, "err_code": err_code, "credits": 20, "creations": creations}))
}

/// Jimeng's answer: HTTP 400 for a task that failed.
pub fn jimeng(_: &str, view: &TaskView) -> Answer {
    let envelope = |code: u32, data: Value, message: &str| json!({"code": code, "data": data, "message": message, "request_id": "simulated", "status": code});
    match view.status_word(["in_queue", "generating", "done", "failed", "failed", "expired"]) {
        "failed" => (StatusCode::BAD_REQUEST, envelope(50_516, Value::Null, "Post Video Risk Not Pass")),
        word => {
            let url = if word == "done" { VIDEO } else { "" };
            (StatusCode::OK, envelope(10_000, json!({"status": word, "video_url": url}), "Success"))
        }
    }
}

/// Luma's generation, which is also the entry of a list. It reports every other end as failed.
pub fn luma(id: &str, view: &TaskView) -> Value {
    json!({
        "id": id, "generation_type": "video", "created_at": time(view.created_ms), "model": view.task.model.upstream,
        "state": view.status_word(["queued", "dreaming", "completed", "failed", "failed", "failed"]),
        "failure_reason": has_failed(view).then(|| failure(view).1),
        "assets": view.has_succeeded().then(|| json!({"video": VIDEO})),
        "request": {"duration": format!("{}s", view.task.model.video_seconds), "resolution": "720p"},
    })
}

/// An interaction of the Gemini API. It reports an expired task as incomplete.
pub fn interaction(id: &str, view: &TaskView) -> Answer {
    let status = view.status_word(["queued", "in_progress", "completed", "failed", "cancelled", "incomplete"]);
    let mut interaction = json!({
        "id": id, "object": "interaction", "status": status, "model": view.task.model.upstream,
        "created": time(view.created_ms), "updated": time(view.updated_ms),
        "steps": [{"type": "user_input", "content": [{"type": "text", "text": "a simulated prompt"}]}],
    });
    if view.has_succeeded() {
        let video = json!({"type": "video", "uri": VIDEO, "mime_type": "video/mp4"});
        interaction["steps"] = json!([interaction["steps"][0], {"type": "model_output", "content": [video]}]);
        let tokens = view.task.usage;
        interaction["usage"] =
            json!({"total_input_tokens": 40, "total_output_tokens": tokens, "total_tokens": tokens + 40});
    } else if status == "failed" {
        let (_, message) = failure(view);
        interaction["errors"] = json!([{"code": "internal", "message": message}]);
    }
    (StatusCode::OK, interaction)
}
