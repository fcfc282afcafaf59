//! The vendors' own bodies, alone or inside a gateway's row (docs/upstreams.md 5 to 10).

use jiff::Timestamp as Moment;
use jiff::tz::{Offset, TimeZone};
use serde_json::{Value, json};

use super::view::{Phase, View};

/// A signed URL, valid for a day from now on.
fn url(view: &View) -> Value {
    let signed = at(view.updated_ms).strftime("%Y%m%dT%H%M%SZ");
    format!("https://media.example.com/v.mp4?X-Tos-Date={signed}&X-Tos-Expires=86400&X-Tos-Signature=simulated").into()
}

fn at(millis: i64) -> Moment {
    Moment::from_millisecond(millis).unwrap_or_default()
}

/// Ark's task.
pub fn ark(id: &str, view: &View) -> Value {
    let model = &view.life.model;
    let mut body = json!({
        "id": id, "model": model.upstream, "service_tier": "default", "execution_expires_after": 172_800, "error": null,
        "status": view.word(["queued", "running", "succeeded", "failed", "cancelled", "expired"]),
        "created_at": view.created_ms / 1000, "updated_at": view.updated_ms / 1000,
    });
    if let Some((code, message)) = view.failure() {
        body["error"] = json!({"code": code, "message": message});
    }
    if view.succeeded() {
        let tokens = view.life.usage;
        body["content"] = json!({"video_url": url(view)});
        body["duration"] = json!(model.video_seconds);
        body["resolution"] = json!("720p");
        body["usage"] = json!({"completion_tokens": tokens, "total_tokens": tokens});
    }
    body
}

/// `OpenAI`'s video object; it has no word for a task that was called off.
pub fn openai(id: &str, view: &View) -> Value {
    let model = &view.life.model;
    let error = view.failure().map(|(code, message)| json!({"code": code, "message": message}));
    let status = view.word(["queued", "in_progress", "completed", "failed", "failed", "failed"]);
    let error =
        error.or_else(|| (status == "failed").then(|| json!({"code": "generation_failed", "message": "stopped"})));
    json!({
        "id": id, "object": "video", "model": model.upstream, "created_at": view.created_ms / 1000, "status": status,
        "progress": if view.succeeded() { 100.0 } else { (100.0 * view.done).floor() },
        "completed_at": view.succeeded().then_some(view.updated_ms / 1000),
        "expires_at": view.succeeded().then_some(view.updated_ms / 1000 + 86_400),
        "seconds": model.video_seconds.to_string(), "size": "1280x720", "error": error, "remixed_from_video_id": null,
    })
}

/// The `data` of Kling's answer; it has no word for a task that was called off.
pub fn kling(id: &str, view: &View) -> Value {
    let model = &view.life.model;
    let status = view.word(["submitted", "processing", "succeed", "failed", "failed", "failed"]);
    let message = view.failure().map_or("Generation failed", |(_, message)| message);
    let video = json!({"id": "v", "url": url(view), "duration": model.video_seconds.to_string()});
    json!({
        "task_id": id, "created_at": view.created_ms, "updated_at": view.updated_ms, "task_status": status,
        "task_status_msg": if status == "failed" { message } else { "" }, "task_info": {},
        "task_result": {"videos": if view.succeeded() { vec![video] } else { vec![] }},
        "final_unit_deduction": if view.succeeded() { "3.5" } else { "0" },
    })
}

/// `DashScope`'s answer, whose times have no zone and are UTC+8.
pub fn dashscope(id: &str, view: &View) -> Value {
    let zone = TimeZone::fixed(Offset::constant(8));
    let time = |millis| at(millis).to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string();
    let status = view.word(["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELED", "FAILED"]);
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
    if !view.succeeded() {
        return json!({"request_id": "simulated", "output": output});
    }
    output["video_url"] = url(view);
    let usage = json!({"output_video_duration": view.life.model.video_seconds, "SR": 720, "video_count": 1});
    json!({"request_id": "simulated", "output": output, "usage": usage})
}

/// A row of `DashScope`'s list, whose times are milliseconds.
pub fn dashscope_row(id: &str, view: &View) -> Value {
    let answer = dashscope(id, view);
    let started = (view.phase != Phase::Queued).then_some(view.started_ms);
    let ended = (view.phase == Phase::Ended).then_some(view.updated_ms);
    json!({
        "task_id": id, "status": answer["output"]["task_status"], "model_name": view.life.model.upstream,
        "gmt_create": view.created_ms, "start_time": started, "end_time": ended, "region": "simulated",
    })
}

/// `MiniMax`'s v1 answer, which has neither times nor a word for a task that was called off.
pub fn minimax_v1(id: &str, view: &View) -> Value {
    let status = view.word(["Queueing", "Processing", "Success", "Fail", "Fail", "Fail"]);
    let (code, message) = if status == "Fail" { (1027, "output new_sensitive") } else { (0, "success") };
    let (width, height) = if view.succeeded() { (1920, 1080) } else { (0, 0) };
    json!({
        "task_id": id, "status": status, "file_id": if view.succeeded() { "280000000000001" } else { "" },
        "video_width": width, "video_height": height, "base_resp": {"status_code": code, "status_msg": message},
    })
}

/// The `task` of `MiniMax`'s v2 answer.
pub fn minimax_v2(id: &str, view: &View) -> Value {
    let mut task = ark(id, view);
    task["resolution"] = "2K".into();
    task["duration"] = view.life.model.video_seconds.into();
    if view.succeeded() {
        task["content"] = json!({"url": url(view)});
        task["usage"] = json!({"total_seconds": view.life.model.video_seconds});
    }
    task
}

/// Google's operation of that name.
pub fn veo(name: &str, view: &View) -> Value {
    let time = |millis| at(millis).to_string();
    let mut operation = json!({
        "name": name, "metadata": {"createTime": time(view.created_ms), "updateTime": time(view.updated_ms)},
    });
    if view.phase != Phase::Ended {
        return operation;
    }
    operation["done"] = true.into();
    match view.word(["", "expired", "succeeded", "failed", "cancelled", "expired"]) {
        "succeeded" => {
            let sample = json!({"video": {"uri": "https://media.example.com/veo.mp4"}});
            operation["response"] = json!({"generateVideoResponse": {"generatedSamples": [sample]}});
        }
        "cancelled" => operation["error"] = json!({"code": 1, "message": "Operation was cancelled."}),
        "expired" => operation["error"] = json!({"code": 4, "message": "Deadline exceeded."}),
        // Every other failure is a video that was filtered: no error, and no video.
        _ if view.life.usage.is_multiple_of(2) => {
            let filtered = json!({"raiMediaFilteredCount": 1, "raiMediaFilteredReasons": ["The video was filtered."]});
            operation["response"] = json!({"generateVideoResponse": filtered});
        }
        _ => operation["error"] = json!({"code": 3, "message": view.failure().map_or("", |(_, message)| message)}),
    }
    operation
}
