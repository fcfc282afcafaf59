//! The task page's upper part: what is known about a task, also after it has left `/metrics`.

use serde_json::json;

use super::panel::Panel;
use super::promql::{KEY, TASK, TASK_INFO, fact, of_past_task, of_task, past_state};
use super::values::{UPSTREAM_PAGE, below_zero, by_name, link, status_words};

const SUBMIT: &str = "videogen_task_submit_timestamp_seconds";
const START: &str = "videogen_task_start_timestamp_seconds";
const FINISH: &str = "videogen_task_finish_timestamp_seconds";
const DEADLINE: &str = "videogen_task_deadline_timestamp_seconds";
const EXPIRY: &str = "videogen_task_result_expiry_timestamp_seconds";

/// One fact a tile.
pub fn numbers() -> Vec<Panel> {
    let number = |title: &str, description: &str, metric: &str, unit: &str, none: &str| {
        Panel::stat(title, description)
            .unit(unit)
            .thresholds(&[(None, "blue")])
            .no_value(none)
            .instant(&fact(metric), "{{task_id}}")
    };
    let moment = |title: &str, description: &str, metric: &str, none: &str| {
        Panel::stat(title, description)
            .unit("dateTimeAsIso")
            .plain()
            .no_value(none)
            .instant(&format!("1000 * ({})", fact(metric)), "{{task_id}}")
    };
    let span = |title: &str, description: &str, from: &str, to: &str| {
        Panel::stat(title, description)
            .unit("s")
            .decimals(1)
            .plain()
            .no_value("not known")
            .instant(&format!("({}) - ({})", fact(to), fact(from)), "{{task_id}}")
    };
    let tokens = format!(
        "sum by ({KEY}) (max by ({KEY}, token_type) \
         (last_over_time(videogen_task_tokens{{{TASK}}}[$__range])))"
    );
    vec![
        Panel::row("Facts"),
        Panel::stat("Status", "The last status in the selected range.")
            .unit("none")
            .thresholds(&[(None, "text")])
            .mappings(&status_words())
            .no_value("not seen in this range")
            .instant(&of_past_task(&past_state(TASK)), "{{task_id}}"),
        number(
            "Progress",
            "The last progress known; a task that failed keeps what it had reached.",
            "videogen_task_progress_ratio",
            "percentunit",
            "none reported",
        ),
        Panel::stat("Latency", "Submission to finish, both from one clock.")
            .unit("s")
            .decimals(1)
            .thresholds(&[(None, "green"), (Some(600.0), "orange"), (Some(1200.0), "red")])
            .no_value("not finished")
            .instant(&fact("videogen_task_duration_seconds"), "{{task_id}}"),
        Panel::stat("Tokens", "Tokens of every kind that the upstream reported.")
            .unit("short")
            .thresholds(&[(None, "blue")])
            .no_value("none reported")
            .instant(&of_past_task(&tokens), "{{task_id}}"),
        number("Video length", "Length of the video.", "videogen_task_video_seconds", "s", "none reported"),
        number("Quota", "What the gateway charged, in its own units.", "videogen_task_quota", "short", "none charged"),
        moment("Submitted", "When the task was submitted.", SUBMIT, "not known"),
        moment("Started", "When the upstream began to work on it.", START, "not started"),
        moment("Finished", "When it ended, by the upstream's clock.", FINISH, "not finished"),
        span("Queue time", "Submission to start.", SUBMIT, START),
        span("Run time", "Start to finish.", START, FINISH),
        moment(
            "Last good answer",
            "When the exporter last read this task.",
            "videogen_task_last_poll_timestamp_seconds",
            "never",
        ),
    ]
}

/// How long there is still something to wait for, or to fetch.
pub fn limits() -> Vec<Panel> {
    let wide = |panel: Panel| panel.size(6, 4);
    let moment = |title: &str, description: &str, metric: &str, none: &str| {
        wide(Panel::stat(title, description))
            .unit("dateTimeAsIso")
            .plain()
            .no_value(none)
            .instant(&format!("1000 * ({})", fact(metric)), "{{task_id}}")
    };
    // Only an active task has one, so nothing is left of it when the task has ended.
    let deadline = format!("max by ({KEY}) ({DEADLINE}{{{TASK}}}) - time()");
    vec![
        moment("Deadline", "When the provider gives the task up if it has not ended.", DEADLINE, "none told"),
        wide(Panel::stat("Time to the deadline", "What is left of the active task's time. An alert fires at a tenth."))
            .unit("s")
            .decimals(1)
            .thresholds(&[(None, "blue")])
            .mappings(&below_zero("past"))
            .no_value("not active, or none told")
            .instant(&of_task(&deadline), "{{task_id}}"),
        moment("Result expires", "When the succeeded task's result can no longer be fetched.", EXPIRY, "not told"),
        wide(Panel::stat("Time to fetch the result", "What is left to fetch it. An alert fires at 30 min."))
            .unit("s")
            .decimals(1)
            .thresholds(&[(None, "red"), (Some(1800.0), "orange"), (Some(7200.0), "green")])
            .mappings(&below_zero("gone"))
            .no_value("no result, or not told")
            .instant(&format!("({}) - time()", fact(EXPIRY)), "{{task_id}}"),
    ]
}

/// What was asked of whom.
pub fn identity() -> Vec<Panel> {
    let labels = "provider, model, upstream_model, resolution, service_tier, progress_source";
    // The series that was shown last wins: a task may have begun with the model "unknown".
    let newest = format!(
        "topk by ({KEY}) (1, max by ({KEY}, {labels}) \
         (max_over_time(timestamp(videogen_task_info{{{TASK_INFO}}})[$__range:1m])))"
    );
    let columns = [
        ("task_id", "Task"),
        ("upstream", "Upstream"),
        ("provider", "Provider"),
        ("model", "Model"),
        ("upstream_model", "Model at the upstream"),
        ("resolution", "Resolution"),
        ("service_tier", "Tier"),
        ("progress_source", "Progress"),
        ("Value", "Last seen"),
    ];
    vec![
        Panel::table(
            "What it is",
            "What was asked of whom. Progress is reported by the upstream or made up from its \
             status (synthetic). A click leads to the upstream's page.",
        )
        .size(24, 5)
        .no_value("not seen in this range")
        .joined(&columns, &["Time", "job"])
        .columns(vec![
            by_name("Task", &[("custom.minWidth", json!(240))]),
            by_name("Upstream", &[("links", json!([link("Upstream page", UPSTREAM_PAGE)]))]),
            by_name("Last seen", &[("unit", json!("dateTimeAsIso")), ("custom.width", json!(170))]),
            by_name("Provider", &[("custom.width", json!(130))]),
            by_name("Resolution", &[("custom.width", json!(100))]),
            by_name("Tier", &[("custom.width", json!(90))]),
            by_name("Progress", &[("custom.width", json!(110))]),
            by_name("Model at the upstream", &[("custom.minWidth", json!(200))]),
        ])
        .rows(&format!("1000 * {newest}")),
    ]
}
