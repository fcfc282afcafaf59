//! What the fake gateway answers for a task at a moment: new-api's row with the vendor's own body in it.

use serde_json::{Value, json};

use super::life::{End, Vendor};
use super::vendor;
use super::view::{Phase, View};

/// The row of `id`.
pub fn row(id: &str, view: &View) -> Value {
    let (life, phase) = (view.life, view.phase);
    // Old gateways never learn that a task was called off or expired: their row stays as it was.
    let (status, progress) = match (phase, life.end) {
        (Phase::Queued, _) => ("QUEUED", "20%".to_owned()),
        (Phase::Running, _) if life.model.vendor == Vendor::OpenAi => {
            ("IN_PROGRESS", format!("{:.0}%", 100.0 * view.done))
        }
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
    let secs = |millis: i64| millis / 1000;
    let mut row = json!({
        "id": 1, "task_id": id, "platform": life.model.platform, "user_id": 1, "group": "default", "channel_id": 7,
        "created_at": secs(view.created_ms), "updated_at": secs(view.updated_ms), "action": "generate",
        "quota": life.usage, "status": status, "progress": progress, "fail_reason": reason,
        "submit_time": secs(view.created_ms),
        "start_time": if phase == Phase::Queued { 0 } else { secs(view.started_ms) },
        "finish_time": if ended_here { secs(view.updated_ms) } else { 0 },
        "properties": {"input": "", "upstream_model_name": life.model.upstream, "origin_model_name": life.model.origin},
        "data": inner(&view.inside()),
    });
    if status == "SUCCESS" {
        row["result_url"] = json!("https://media.example.com/video.mp4?sig=simulated");
    } else if !reason.is_empty() {
        row["result_url"] = json!(reason);
    }
    row
}

fn inner(view: &View) -> Value {
    match view.life.model.vendor {
        // Whoever has no word of its own for an end speaks as Ark does: so every end is seen.
        _ if view.phase == Phase::Ended && matches!(view.life.end, End::Cancelled | End::Expired) => {
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
