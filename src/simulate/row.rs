//! What the fake gateway answers for a task at a moment: new-api's row with the vendor's own body in it.

use serde_json::{Value, json};

use super::life::{End, Life, Vendor};
use crate::domain::Timestamp;

/// What a reader sees.
pub enum Seen {
    /// The row.
    Row(Value),
    /// Nothing: the id is unknown.
    Unknown,
}

/// Where a life stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Queued,
    Running,
    Ended,
}

/// The row of `id` as it is at `now`.
pub fn seen(id: &str, life: &Life, now: Timestamp) -> Seen {
    let phase = if now >= life.finish {
        Phase::Ended
    } else if now >= life.start {
        Phase::Running
    } else {
        Phase::Queued
    };
    if now < life.submit || (phase == Phase::Ended && life.end == End::Forgotten) {
        return Seen::Unknown;
    }
    let secs = |at: Timestamp| at.as_millis() / 1000;
    let done = share_done(life, now);
    // Old gateways never learn that a task was called off or expired: their row stays as it was.
    let (status, progress) = match (phase, life.end) {
        (Phase::Queued, _) => ("QUEUED", "20%".to_owned()),
        (Phase::Running, _) if life.model.vendor == Vendor::OpenAi => ("IN_PROGRESS", format!("{:.0}%", 100.0 * done)),
        (Phase::Running, _) => ("IN_PROGRESS", "50%".to_owned()),
        (Phase::Ended, End::Cancelled | End::Expired) => ("IN_PROGRESS", "30%".to_owned()),
        (Phase::Ended, End::Succeeded) => ("SUCCESS", "100%".to_owned()),
        (Phase::Ended, _) => ("FAILURE", "100%".to_owned()),
    };
    let ended_here = matches!(status, "SUCCESS" | "FAILURE");
    let reason = match (ended_here, life.end) {
        (true, End::Failed(_, message)) => message,
        (true, End::Swept) => "任务超时（1440分钟）",
        _ => "",
    };
    let mut row = json!({
        "id": 1, "task_id": id, "platform": life.model.platform, "user_id": 1, "group": "default", "channel_id": 7,
        "created_at": secs(life.submit), "updated_at": secs(now.min(life.finish)), "action": "generate",
        "quota": life.usage, "status": status, "progress": progress, "fail_reason": reason,
        "submit_time": secs(life.submit),
        "start_time": if phase == Phase::Queued { 0 } else { secs(life.start) },
        "finish_time": if ended_here { secs(life.finish) } else { 0 },
        "properties": {"input": "", "upstream_model_name": life.model.upstream, "origin_model_name": life.model.origin},
        "data": vendor_body(life, phase, done, now),
    });
    if status == "SUCCESS" {
        row["result_url"] = json!("https://media.example.com/video.mp4?sig=simulated");
    } else if !reason.is_empty() {
        row["result_url"] = json!(reason);
    }
    Seen::Row(row)
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of a life")]
fn share_done(life: &Life, now: Timestamp) -> f64 {
    let whole = (life.finish.as_millis() - life.start.as_millis()).max(1) as f64;
    ((now.as_millis() - life.start.as_millis()) as f64 / whole).clamp(0.0, 0.99)
}

/// The vendor's word for where the task stands: queued, running, succeeded, failed, cancelled, expired.
fn word(life: &Life, phase: Phase, words: [&'static str; 6]) -> &'static str {
    match (phase, life.end) {
        (Phase::Queued, _) => words[0],
        (Phase::Running, _) | (Phase::Ended, End::Swept | End::Forgotten) => words[1],
        (Phase::Ended, End::Succeeded) => words[2],
        (Phase::Ended, End::Failed(..)) => words[3],
        (Phase::Ended, End::Cancelled) => words[4],
        (Phase::Ended, End::Expired) => words[5],
    }
}

fn vendor_body(life: &Life, phase: Phase, done: f64, now: Timestamp) -> Value {
    let succeeded = phase == Phase::Ended && life.end == End::Succeeded;
    let failure = match (phase, life.end) {
        (Phase::Ended, End::Failed(code, message)) => Some(json!({"code": code, "message": message})),
        _ => None,
    };
    let updated = if phase == Phase::Ended { life.finish } else { now };
    let (created_ms, updated_ms) = (life.submit.as_millis() - 2000, updated.as_millis() - 1000);
    match life.model.vendor {
        // Whoever has no word of its own for an end speaks as Ark does: so every end is seen.
        _ if phase == Phase::Ended && matches!(life.end, End::Cancelled | End::Expired) => {
            ark(life, phase, succeeded, failure, updated_ms)
        }
        Vendor::Ark => ark(life, phase, succeeded, failure, updated_ms),
        Vendor::OpenAi => json!({
            "id": "video_simulated", "object": "video", "model": life.model.upstream, "created_at": created_ms / 1000,
            "status": word(life, phase, ["queued", "in_progress", "completed", "failed", "failed", "failed"]),
            "progress": if succeeded { 100.0 } else { (100.0 * done).floor() },
            "completed_at": succeeded.then_some(updated_ms / 1000),
            "seconds": life.model.video_seconds.to_string(), "size": "1280x720", "error": failure,
        }),
        Vendor::Kling => json!({"code": 0, "message": "SUCCEED", "request_id": "simulated", "data": {
            "task_id": "866900000000000001", "created_at": created_ms, "updated_at": updated_ms,
            "task_status": word(life, phase, ["submitted", "processing", "succeed", "failed", "failed", "failed"]),
            "task_status_msg": failure.as_ref().map_or(Value::from(""), |failure| failure["message"].clone()),
            "task_result": {"videos": if succeeded { vec![json!({"id": "v", "url": "https://media.example.com/k.mp4", "duration": life.model.video_seconds.to_string()})] } else { vec![] }},
        }}),
        Vendor::DashScope => json!({"request_id": "simulated", "output": {
            "task_id": "c0ffee00-0000-4000-8000-000000000001",
            "task_status": word(life, phase, ["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELED", "FAILED"]),
            "code": failure.as_ref().map(|failure| failure["code"].clone()),
            "message": failure.as_ref().map(|failure| failure["message"].clone()),
        }, "usage": succeeded.then(|| json!({"output_video_duration": life.model.video_seconds, "SR": 720, "video_count": 1}))}),
        Vendor::MiniMax => json!({
            "task_id": "270000000000001", "file_id": if succeeded { "280000000000001" } else { "" },
            "status": word(life, phase, ["Queueing", "Processing", "Success", "Fail", "Fail", "Fail"]),
            "video_width": if succeeded { 1920 } else { 0 }, "video_height": if succeeded { 1080 } else { 0 },
            "base_resp": {"status_code": if failure.is_some() { 1027 } else { 0 }, "status_msg": if failure.is_some() { "output new_sensitive" } else { "success" }},
        }),
    }
}

fn ark(life: &Life, phase: Phase, succeeded: bool, failure: Option<Value>, updated_ms: i64) -> Value {
    let mut body = json!({
        "id": "cgt-simulated", "model": life.model.upstream, "service_tier": "default", "execution_expires_after": 172_800,
        "status": word(life, phase, ["queued", "running", "succeeded", "failed", "cancelled", "expired"]),
        "created_at": life.submit.as_millis() / 1000 - 2, "updated_at": updated_ms / 1000,
    });
    if let Some(failure) = failure {
        body["error"] = failure;
    }
    if succeeded {
        body["content"] = json!({"video_url": "https://media.example.com/ark.mp4?sig=simulated"});
        body["duration"] = json!(life.model.video_seconds);
        body["resolution"] = json!("720p");
        body["usage"] = json!({"completion_tokens": life.usage, "total_tokens": life.usage});
    }
    body
}
