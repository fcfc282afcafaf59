//! The lower part of the overview: the newest tasks.

use serde_json::{Value, json};

use super::panel::Panel;
use super::promql::{KEY, MODEL, UPSTREAM, of_model_among, state};
use super::values::{TASK_PAGE, UPSTREAM_PAGE, by_name, link, status_words, task_ids, thresholds};

/// Rows of the table: a browser must not load thousands of tasks with each refresh.
const ROWS: u32 = 100;

/// The newest tasks of the selected models.
pub fn tasks() -> Vec<Panel> {
    let newest = |metric: &str| format!("max by ({KEY}) ({metric}{{{UPSTREAM}}})");
    let tokens = format!("sum by ({KEY}) (max by ({KEY}, token_type) (videogen_task_tokens{{{UPSTREAM}}}))");
    let age = |metric: &str| format!("time() - {}", newest(metric));
    let seen = newest("videogen_task_first_seen_timestamp_seconds");
    let shown = format!("topk({ROWS}, {seen} and on ({KEY}) max by ({KEY}) (videogen_task_info{{{MODEL}}}))");
    let of_model = |x: &str| of_model_among(x, &shown);
    let failures = format!("max by ({KEY}, failure_class) (videogen_task_failure_info{{{UPSTREAM}}})");
    let columns = [
        ("task_id", "Task"),
        ("upstream", "Upstream"),
        ("model", "Model"),
        ("label_team", "Team"),
        ("Value #A", "Status"),
        ("failure_class", "Failure"),
        ("Value #B", "Progress"),
        ("Value #C", "Submitted ago"),
        ("Value #D", "Latency"),
        ("Value #E", "Tokens"),
        ("Value #F", "Last change ago"),
        ("Value #G", "Failed polls"),
    ];
    vec![
        Panel::row("Tasks"),
        Panel::table(
            "Newest tasks",
            "The 100 tasks that were discovered last, active ones first. Click a task id or an upstream to open its dashboard.",
        )
        .size(24, 11)
        .no_value("no task")
        .joined(&columns, &["Time", "job", "Value #H"])
        .sorted_by(&[("Status", false), ("Submitted ago", true)])
        .columns(task_columns())
        .rows(&of_model(&state(UPSTREAM)))
        .rows(&of_model(&newest("videogen_task_progress_ratio")))
        .rows(&of_model(&age("videogen_task_submit_timestamp_seconds")))
        .rows(&of_model(&newest("videogen_task_duration_seconds")))
        .rows(&of_model(&tokens))
        .rows(&of_model(&age("videogen_task_last_change_timestamp_seconds")))
        .rows(&of_model(&newest("videogen_task_consecutive_poll_failures")))
        .rows(&of_model(&failures)),
    ]
}

fn task_columns() -> Vec<Value> {
    let colored = json!({"type": "color-background", "mode": "basic"});
    let seconds = |name: &str, width: u16| by_name(name, &[("unit", json!("s")), ("custom.width", json!(width))]);
    vec![
        task_ids(&[("links", json!([link("Task dashboard", TASK_PAGE)])), ("custom.minWidth", json!(200))]),
        by_name("Upstream", &[("links", json!([link("Upstream dashboard", UPSTREAM_PAGE)]))]),
        by_name(
            "Status",
            &[
                ("mappings", status_words()),
                ("custom.cellOptions", colored.clone()),
                ("custom.width", json!(110)),
                ("color", json!({"mode": "thresholds"})),
                ("thresholds", thresholds(&[(None, "text")])),
            ],
        ),
        by_name(
            "Progress",
            &[
                ("unit", json!("percentunit")),
                ("min", json!(0)),
                ("max", json!(1)),
                ("custom.cellOptions", json!({"type": "gauge", "mode": "basic", "valueDisplayMode": "text"})),
                ("color", json!({"mode": "fixed", "fixedColor": "blue"})),
                ("custom.width", json!(140)),
            ],
        ),
        seconds("Submitted ago", 130),
        seconds("Latency", 90),
        seconds("Last change ago", 130),
        by_name("Failure", &[("custom.width", json!(120))]),
        by_name("Tokens", &[("custom.width", json!(90))]),
        by_name(
            "Failed polls",
            &[
                ("custom.width", json!(100)),
                ("custom.cellOptions", colored),
                ("color", json!({"mode": "thresholds"})),
                ("thresholds", thresholds(&[(None, "transparent"), (Some(1.0), "orange"), (Some(5.0), "red")])),
            ],
        ),
    ]
}
