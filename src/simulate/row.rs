//! The row of a new-api gateway, which contains the vendor's body.

use serde_json::{Value, json};

use super::task::{Outcome, Vendor};
use super::vendor;
use super::view::{Phase, TaskView};

/// The row of `id`.
pub fn row(id: &str, view: &TaskView) -> Value {
    let (task, phase) = (view.task, view.phase);
    // Old gateways do not know the vendor's words for cancelled and expired: their row stays as it was.
    let (status, progress) = match (phase, task.outcome) {
        (Phase::Queued, _) => ("QUEUED", "20%".to_owned()),
        (Phase::Running, _) if task.model.vendor == Vendor::OpenAi => {
            ("IN_PROGRESS", format!("{:.0}%", 100.0 * view.progress))
        }
        (Phase::Running, _) => ("IN_PROGRESS", "50%".to_owned()),
        (Phase::Ended, Outcome::Cancelled | Outcome::Expired) => ("IN_PROGRESS", "30%".to_owned()),
        (Phase::Ended, Outcome::Succeeded) => ("SUCCESS", "100%".to_owned()),
        (Phase::Ended, _) => ("FAILURE", "100%".to_owned()),
    };
    let has_ended = matches!(status, "SUCCESS" | "FAILURE");
    let reason = match (has_ended, task.outcome) {
        (true, Outcome::Failed(_, message)) => message,
        (true, Outcome::Swept) => "任务超时（1440分钟）",
        _ => "",
    };
    let secs = |millis: i64| millis / 1000;
    let mut row = json!({
        "id": 1, "task_id": id, "platform": task.model.platform, "user_id": 1, "group": "default", "channel_id": 7,
        "created_at": secs(view.created_ms), "updated_at": secs(view.updated_ms), "action": "generate",
        "quota": task.usage, "status": status, "progress": progress, "fail_reason": reason,
        "submit_time": secs(view.created_ms),
        "start_time": if phase == Phase::Queued { 0 } else { secs(view.started_ms) },
        "finish_time": if has_ended { secs(view.updated_ms) } else { 0 },
        "properties": {"input": "", "upstream_model_name": task.model.upstream, "origin_model_name": task.model.origin},
        "data": vendor_body(&view.as_nested()),
    });
    if status == "SUCCESS" {
        row["result_url"] = json!("https://media.example.com/video.mp4?sig=simulated");
    } else if !reason.is_empty() {
        row["result_url"] = json!(reason);
    }
    row
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
    }
}
