//! The bodies of the vendors, alone or inside a gateway's row (docs/upstreams.md 5 to 10).

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use serde_json::{Value, json};

use super::view::{Phase, TaskView};

/// A signed URL that is valid for a day.
fn signed_url(view: &TaskView) -> Value {
    let signed = timestamp(view.updated_ms).strftime("%Y%m%dT%H%M%SZ");
    format!("https://media.example.com/v.mp4?X-Tos-Date={signed}&X-Tos-Expires=86400&X-Tos-Signature=simulated").into()
}

fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or_default()
}

/// Ark's task.
pub fn ark(id: &str, view: &TaskView) -> Value {
    let model = &view.task.model;
    let mut body = json!({
        "id": id, "model": model.upstream, "service_tier": "default", "execution_expires_after": 172_800, "error": null,
        "status": view.status_word(["queued", "running", "succeeded", "failed", "cancelled", "expired"]),
        "created_at": view.created_ms / 1000, "updated_at": view.updated_ms / 1000,
    });
    if let Some((code, message)) = view.failure() {
        body["error"] = json!({"code": code, "message": message});
    }
    if view.has_succeeded() {
        let tokens = view.task.usage;
        body["content"] = json!({"video_url": signed_url(view)});
        body["duration"] = json!(model.video_seconds);
        body["resolution"] = json!("720p");
        (body["ratio"], body["framespersecond"], body["generate_audio"]) = (json!("16:9"), json!(24), json!(true));
        body["usage"] = json!({"completion_tokens": tokens, "total_tokens": tokens});
    }
    body
}

/// `OpenAI`'s video object. It reports a cancelled task as failed.
pub fn openai(id: &str, view: &TaskView) -> Value {
    let model = &view.task.model;
    let error = view.failure().map(|(code, message)| json!({"code": code, "message": message}));
    let status = view.status_word(["queued", "in_progress", "completed", "failed", "failed", "failed"]);
    let error =
        error.or_else(|| (status == "failed").then(|| json!({"code": "generation_failed", "message": "stopped"})));
    json!({
        "id": id, "object": "video", "model": model.upstream, "created_at": view.created_ms / 1000, "status": status,
        "progress": if view.has_succeeded() { 100.0 } else { (100.0 * view.progress).floor() },
        "completed_at": view.has_succeeded().then_some(view.updated_ms / 1000),
        "expires_at": view.has_succeeded().then_some(view.updated_ms / 1000 + 86_400),
        "seconds": model.video_seconds.to_string(), "size": "1280x720", "error": error, "remixed_from_video_id": null,
    })
}

/// The `data` of Kling's response. It reports a cancelled task as failed.
pub fn kling(id: &str, view: &TaskView) -> Value {
    let model = &view.task.model;
    let status = view.status_word(["submitted", "processing", "succeed", "failed", "failed", "failed"]);
    let message = view.failure().map_or("Generation failed", |(_, message)| message);
    let video = json!({"id": "v", "url": signed_url(view), "duration": model.video_seconds.to_string()});
    json!({
        "task_id": id, "created_at": view.created_ms, "updated_at": view.updated_ms, "task_status": status,
        "task_status_msg": if status == "failed" { message } else { "" }, "task_info": {},
        "task_result": {"videos": if view.has_succeeded() { vec![video] } else { vec![] }},
        "final_unit_deduction": if view.has_succeeded() { "3.5" } else { "0" },
    })
}

/// `DashScope`'s response. Its times are in UTC+8, without a zone.
pub fn dashscope(id: &str, view: &TaskView) -> Value {
    let zone = TimeZone::fixed(Offset::constant(8));
    let time = |millis| timestamp(millis).to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string();
    let status = view.status_word(["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELED", "FAILED"]);
    let mut output = json!({"task_id": id, "task_status": status, "submit_time": time(view.created_ms)});
    if view.phase != Phase::Queued {
        output["scheduled_time"] = time(view.started_ms).into();
    }
    if view.phase == Phase::Ended {
        output["end_time"] = time(view.updated_ms).into();
    }
    if status == "FAILED" {
        let (code, message) = view.failure().unwrap_or(("RequestTimeOut", "Request timed out."));
        output["code"] = code.into();
        output["message"] = message.into();
    }
    if !view.has_succeeded() {
        return json!({"request_id": "simulated", "output": output});
    }
    output["video_url"] = signed_url(view);
    let usage = json!({"output_video_duration": view.task.model.video_seconds, "SR": 720, "video_count": 1});
    json!({"request_id": "simulated", "output": output, "usage": usage})
}

/// A row of `DashScope`'s list. Its times are milliseconds.
pub fn dashscope_row(id: &str, view: &TaskView) -> Value {
    let answer = dashscope(id, view);
    let started = (view.phase != Phase::Queued).then_some(view.started_ms);
    let ended = (view.phase == Phase::Ended).then_some(view.updated_ms);
    json!({
        "task_id": id, "status": answer["output"]["task_status"], "model_name": view.task.model.upstream,
        "gmt_create": view.created_ms, "start_time": started, "end_time": ended, "region": "simulated",
    })
}

/// `MiniMax`'s v1 response. It has no times, and reports a cancelled task as failed.
pub fn minimax_v1(id: &str, view: &TaskView) -> Value {
    let status = view.status_word(["Queueing", "Processing", "Success", "Fail", "Fail", "Fail"]);
    let (code, message) = if status == "Fail" { (1027, "output new_sensitive") } else { (0, "success") };
    let (width, height) = if view.has_succeeded() { (1920, 1080) } else { (0, 0) };
    json!({
        "task_id": id, "status": status, "file_id": if view.has_succeeded() { "280000000000001" } else { "" },
        "video_width": width, "video_height": height, "base_resp": {"status_code": code, "status_msg": message},
    })
}

/// The `task` of `MiniMax`'s v2 response.
pub fn minimax_v2(id: &str, view: &TaskView) -> Value {
    let mut task = ark(id, view);
    task["resolution"] = "2K".into();
    task["duration"] = view.task.model.video_seconds.into();
    if view.has_succeeded() {
        task["content"] = json!({"url": signed_url(view)});
        task["usage"] = json!({"total_seconds": view.task.model.video_seconds});
    }
    task
}

/// A Google operation with this name.
pub fn veo(name: &str, view: &TaskView) -> Value {
    let time = |millis| timestamp(millis).to_string();
    let mut operation = json!({
        "name": name, "metadata": {"createTime": time(view.created_ms), "updateTime": time(view.updated_ms)},
    });
    if view.phase != Phase::Ended {
        return operation;
    }
    operation["done"] = true.into();
    match view.status_word(["", "expired", "succeeded", "failed", "cancelled", "expired"]) {
        "succeeded" => {
            let sample = json!({"video": {"uri": "https://media.example.com/veo.mp4"}});
            operation["response"] = json!({"generateVideoResponse": {"generatedSamples": [sample]}});
        }
        "cancelled" => operation["error"] = json!({"code": 1, "message": "Operation was cancelled."}),
        "expired" => operation["error"] = json!({"code": 4, "message": "Deadline exceeded."}),
        // Half of the failures are filtered videos: the operation has neither an error nor a video.
        _ if view.task.usage.is_multiple_of(2) => {
            let filtered = json!({"raiMediaFilteredCount": 1, "raiMediaFilteredReasons": ["The video was filtered."]});
            operation["response"] = json!({"generateVideoResponse": filtered});
        }
        _ => operation["error"] = json!({"code": 3, "message": view.failure().map_or("", |(_, message)| message)}),
    }
    operation
}
