//! The upper part of the task dashboard: facts of a task, also after it has left `/metrics`.

use serde_json::json;

use super::panel::Panel;
use super::promql::{KEY, TASK, TASK_INFO, fact, of_past_task, of_task, past_state};
use super::values::{UPSTREAM_PAGE, below_zero, by_name, link, status_words, task_ids};

const SUBMIT: &str = "videogen_task_submit_timestamp_seconds";
const START: &str = "videogen_task_start_timestamp_seconds";
const FINISH: &str = "videogen_task_finish_timestamp_seconds";
const DEADLINE: &str = "videogen_task_deadline_timestamp_seconds";
const EXPIRY: &str = "videogen_task_result_expiry_timestamp_seconds";

/// One stat panel per fact.
pub fn numbers() -> Vec<Panel> {
    let number = |title: &str, description: &str, metric: &str, unit: &str, none: &str| {
        Panel::stat(title, description)
            .unit(unit)
            .thresholds(&[(None, "blue")])
            .no_value(none)
            .instant(&fact(metric), "{{task_id}}")
    };
    let time = |title: &str, description: &str, metric: &str, none: &str| {
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
    let cost = of_past_task(&format!(
        "max by ({KEY}, currency, cost_source) (last_over_time(videogen_task_cost{{{TASK}}}[$__range]))"
    ));
    vec![
        Panel::row("Facts"),
        Panel::stat("Status", "Last status in the selected range.")
            .unit("none")
            .thresholds(&[(None, "text")])
            .mappings(&status_words())
            .no_value("not seen in this range")
            .instant(&of_past_task(&past_state(TASK)), "{{task_id}}"),
        number(
            "Progress",
            "Last known progress. A failed task keeps its last value.",
            "videogen_task_progress_ratio",
            "percentunit",
            "none reported",
        ),
        Panel::stat("Latency", "Finish time minus submit time, both from the same clock.")
            .unit("s")
            .decimals(1)
            .thresholds(&[(None, "green"), (Some(600.0), "orange"), (Some(1200.0), "red")])
            .no_value("not finished")
            .instant(&fact("videogen_task_duration_seconds"), "{{task_id}}"),
        Panel::stat("Tokens", "All tokens that the upstream reported.")
            .unit("short")
            .thresholds(&[(None, "blue")])
            .no_value("none reported")
            .instant(&of_past_task(&tokens), "{{task_id}}"),
        number("Video length", "Length of the video.", "videogen_task_video_seconds", "s", "none reported"),
        number(
            "Quota",
            "Quota that the gateway charged, in its own units.",
            "videogen_task_quota",
            "short",
            "none charged",
        ),
        Panel::stat(
            "Cost",
            "What the task cost at its provider: reported, metered by a price, or derived from a formula.",
        )
        .unit("short")
        .decimals(3)
        .thresholds(&[(None, "blue")])
        .no_value("not known")
        .instant(&cost, "{{currency}} {{cost_source}} {{task_id}}"),
        time(
            "Expected finish",
            "Submission plus the 95th percentile of the model's last 500 tasks, while the task is active.",
            "videogen_task_expected_finish_timestamp_seconds",
            "not known",
        ),
        time("Submitted", "Submit time of the task.", SUBMIT, "not known"),
        time("Started", "Time when the upstream started the task.", START, "not started"),
        time("Finished", "Finish time of the task, by the upstream's clock.", FINISH, "not finished"),
        span("Queue time", "Start time minus submit time.", SUBMIT, START),
        span("Run time", "Finish time minus start time.", START, FINISH),
        time(
            "Last successful poll",
            "Time of the last successful poll of this task.",
            "videogen_task_last_poll_timestamp_seconds",
            "never",
        ),
    ]
}

/// The deadline of an active task, and the expiry of a result.
pub fn limits() -> Vec<Panel> {
    let wide = |panel: Panel| panel.size(4, 4);
    let time = |title: &str, description: &str, metric: &str, none: &str| {
        wide(Panel::stat(title, description))
            .unit("dateTimeAsIso")
            .plain()
            .no_value(none)
            .instant(&format!("1000 * ({})", fact(metric)), "{{task_id}}")
    };
    // Only active tasks have a deadline: no look-back over the range.
    let deadline = format!("max by ({KEY}) ({DEADLINE}{{{TASK}}}) - time()");
    vec![
        time("Deadline", "Time when the provider gives up the task if it has not ended.", DEADLINE, "none reported"),
        wide(Panel::stat(
            "Time to the deadline",
            "Time left until the deadline. An alert fires below a tenth of the total time.",
        ))
        .unit("s")
        .decimals(1)
        .thresholds(&[(None, "blue")])
        .mappings(&below_zero("past"))
        .no_value("not active, or none reported")
        .instant(&of_task(&deadline), "{{task_id}}"),
        time("Result expires", "Time when the result of the succeeded task expires.", EXPIRY, "not reported"),
        wide(Panel::stat("Time to fetch the result", "Time left to fetch the result. An alert fires below 30 min."))
            .unit("s")
            .decimals(1)
            .thresholds(&[(None, "red"), (Some(1800.0), "orange"), (Some(7200.0), "green")])
            .mappings(&below_zero("expired"))
            .no_value("no result, or not reported")
            .instant(&format!("({}) - time()", fact(EXPIRY)), "{{task_id}}"),
    ]
}

/// Provider, models and other details of a task.
pub fn identity() -> Vec<Panel> {
    let labels = "provider, model, upstream_model, resolution, service_tier, progress_source";
    // The newest series wins: the first one of a task may have the model "unknown".
    let newest = format!(
        "topk by ({KEY}) (1, max by ({KEY}, {labels}) \
         (max_over_time(timestamp(videogen_task_info{{{TASK_INFO}}})[$__range:1m])))"
    );
    let columns = [
        ("task_id", "Task"),
        ("upstream", "Upstream"),
        ("provider", "Provider"),
        ("model", "Model"),
        ("upstream_model", "Upstream model"),
        ("resolution", "Resolution"),
        ("service_tier", "Tier"),
        ("progress_source", "Progress"),
        ("failure_class", "Failure"),
        ("Value #A", "Last seen"),
    ];
    vec![
        Panel::table(
            "Task details",
            "Provider, models, why it failed, and other details. Progress is reported by the upstream (reported), or \
             derived from the status by a gateway (synthetic). Click an upstream to open its dashboard.",
        )
        .size(24, 5)
        .no_value("not seen in this range")
        .joined(&columns, &["Time", "job", "Value #B"])
        .columns(vec![
            task_ids(&[("custom.minWidth", json!(240))]),
            by_name("Upstream", &[("links", json!([link("Upstream dashboard", UPSTREAM_PAGE)]))]),
            by_name("Last seen", &[("unit", json!("dateTimeAsIso")), ("custom.width", json!(170))]),
            by_name("Provider", &[("custom.width", json!(130))]),
            by_name("Resolution", &[("custom.width", json!(100))]),
            by_name("Tier", &[("custom.width", json!(90))]),
            by_name("Progress", &[("custom.width", json!(110))]),
            by_name("Failure", &[("custom.width", json!(130))]),
            by_name("Upstream model", &[("custom.minWidth", json!(200))]),
        ])
        .rows(&format!("1000 * {newest}"))
        .rows(&format!(
            "max by ({KEY}, failure_class) (last_over_time(videogen_task_failure_info{{{TASK}}}[$__range]))"
        )),
    ]
}
