//! The row of a new-api gateway, which contains the vendor's body.

use serde_json::{Value, json};

use super::task::{Outcome, USERS, Vendor};
use super::vendor;
use super::view::{Phase, TaskView};

/// Whose list a row is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// The task's user, who does not see its channel.
    User,
    /// An administrator.
    Administrator,
}

/// The words of gateways for the status of a row.
pub fn status_word(view: &TaskView) -> &'static str {
    // Old gateways do not know the vendor's words for cancelled and expired: their row stays as it was.
    match (view.phase, view.task.outcome) {
        (Phase::Queued, _) => "QUEUED",
        (Phase::Running, _) | (Phase::Ended, Outcome::Cancelled | Outcome::Expired) => "IN_PROGRESS",
        (Phase::Ended, Outcome::Succeeded) => "SUCCESS",
        // A filtered video is a success to the gateway.
        (Phase::Ended, Outcome::Failed(..)) if is_filtered(view) => "SUCCESS",
        (Phase::Ended, _) => "FAILURE",
    }
}

/// Whether Gemini has filtered the video: its answer has neither an error nor a video.
fn is_filtered(view: &TaskView) -> bool {
    view.task.model.vendor == Vendor::Gemini && view.failure().is_some() && view.task.usage.is_multiple_of(2)
}

/// The row of `id`.
pub fn row(id: &str, view: &TaskView) -> Value {
    row_for(id, view, Audience::User, true)
}

/// The row of `id` in a list. Gateways with plugins leave out the vendor's body.
pub fn row_for(id: &str, view: &TaskView, audience: Audience, has_body: bool) -> Value {
    let task = view.task;
    let status = status_word(view);
    let has_ended = matches!(status, "SUCCESS" | "FAILURE");
    let progress = match (status, view.phase) {
        ("QUEUED", _) => "20%".to_owned(),
        ("IN_PROGRESS", Phase::Ended) => "30%".to_owned(),
        ("IN_PROGRESS", _) if task.model.vendor == Vendor::OpenAi => format!("{:.0}%", 100.0 * view.progress),
        ("IN_PROGRESS", _) => "50%".to_owned(),
        _ => "100%".to_owned(),
    };
    let reason = match task.outcome {
        _ if task.is_spoiled || status != "FAILURE" => "",
        Outcome::Failed(_, message) => message,
        Outcome::Swept => "任务超时（1440分钟）",
        _ => "",
    };
    let secs = |millis: i64| millis / 1000;
    let (user, is_administrator) = (USERS[task.user], audience == Audience::Administrator);
    let mut row = json!({
        "id": 1, "task_id": id, "platform": task.model.platform, "user_id": task.user + 1,
        "group": if task.user == 0 { "default" } else { "vip" }, "channel_id": if is_administrator { task.channel } else { 0 },
        "created_at": secs(view.created_ms), "updated_at": secs(view.updated_ms), "action": "generate",
        "quota": task.quota(has_ended, view.is_settled), "status": status, "progress": progress, "fail_reason": reason,
        "submit_time": secs(view.created_ms),
        "start_time": if view.phase == Phase::Queued { 0 } else { secs(view.started_ms) },
        "finish_time": if has_ended && !task.is_spoiled { secs(view.updated_ms) } else { 0 },
        "properties": {"input": "", "upstream_model_name": task.model.upstream, "origin_model_name": task.model.origin},
    });
    if is_administrator {
        row["username"] = user.into();
    }
    if has_body {
        row["data"] = if task.is_spoiled { Value::Null } else { vendor_body(&view.as_nested()) };
    }
    if status == "SUCCESS" {
        row["result_url"] = json!("https://media.example.com/video.mp4?sig=simulated");
    } else if !reason.is_empty() {
        row["result_url"] = json!(reason);
    }
    row
}

/// What the gateway answers about a task at Gemini alone: it asks Gemini, and reduces the answer.
pub fn reduced(id: &str, view: &TaskView) -> Value {
    let (status, url) = match status_word(view) {
        "QUEUED" => ("queued", ""),
        "SUCCESS" => ("succeeded", "https://media.example.com/video.mp4?sig=simulated"),
        "FAILURE" => ("failed", ""),
        _ => ("processing", ""),
    };
    json!({"task_id": id, "status": status, "url": url, "format": "mp4", "metadata": null, "error": null})
}

fn vendor_body(view: &TaskView) -> Value {
    match view.task.model.vendor {
        // Some vendors have no status word for these ends, so Ark's body is used.
        _ if view.phase == Phase::Ended && matches!(view.task.outcome, Outcome::Cancelled | Outcome::Expired) => {
            vendor::ark("cgt-simulated", view)
        }
        Vendor::Ark => vendor::ark("cgt-simulated", view),
        Vendor::OpenAi => vendor::openai("video_simulated", view),
        Vendor::Kling => json!({
            "code": 0, "message": "SUCCEED", "request_id": "simulated", "data": vendor::kling("866900000000000001", view),
        }),
        Vendor::DashScope => vendor::dashscope("c0ffee00-0000-4000-8000-000000000001", view),
        Vendor::MiniMax => vendor::minimax_v1("270000000000001", view),
        Vendor::Gemini => vendor::veo("models/veo-3.0-generate-001/operations/simulated", view),
    }
}
