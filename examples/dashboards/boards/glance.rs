//! The first row of the overview: the most important numbers.

use super::panel::Panel;
use super::promql::{JUDGED, MODEL, grown, latency, upstream_state};
use super::values::{UPSTREAM_PAGE_OF_SERIES, upstream_states};

/// Active tasks, ended tasks, and whether each upstream answers.
pub fn numbers() -> Vec<Panel> {
    let mut panels = active();
    panels.extend(ended());
    panels.push(upstreams());
    panels
}

fn active() -> Vec<Panel> {
    let count = |status: &str| format!(r#"sum(videogen_tasks{{{MODEL},status="{status}"}}) or vector(0)"#);
    let oldest = format!("time() - min(videogen_oldest_active_task_submit_timestamp_seconds{{{MODEL}}})");
    vec![
        Panel::row("Now"),
        Panel::stat("Running", "Tasks that run now.").size(2, 4).unit("short").plain().instant(&count("running"), ""),
        Panel::stat("Queued", "Tasks that an upstream accepted but has not started.")
            .size(2, 4)
            .unit("short")
            .plain()
            .instant(&count("queued"), ""),
        Panel::stat("Oldest active task", "Time since the oldest active task was submitted.")
            .size(3, 4)
            .unit("s")
            .decimals(0)
            .thresholds(&[(None, "green"), (Some(900.0), "orange"), (Some(3600.0), "red")])
            .no_value("none active")
            .instant(&oldest, ""),
        Panel::stat("Stuck", "Active tasks that are much older than others of their model ever were (tasks.stuck).")
            .size(2, 4)
            .unit("short")
            .thresholds(&[(None, "green"), (Some(0.5), "orange"), (Some(9.5), "red")])
            .instant(&format!("sum(videogen_tasks_stuck{{{MODEL}}}) or vector(0)"), ""),
    ]
}

fn ended() -> Vec<Panel> {
    let ended =
        |statuses: &str| grown("", &format!(r#"videogen_tasks_finished_total{{{MODEL},status=~"{statuses}"}}"#));
    let slowest = format!("max({})", latency("0.95", "", MODEL, "$__range"));
    vec![
        Panel::stat(
            "Success ratio",
            "Succeeded / (succeeded + failed + expired + lost) in the selected range. \
             Cancelled tasks do not count.",
        )
        .size(3, 4)
        .unit("percentunit")
        .decimals(1)
        .thresholds(&[(None, "red"), (Some(0.9), "orange"), (Some(0.95), "green")])
        .no_value("none ended")
        .instant(&format!("{} / ({} > 0)", ended("succeeded"), ended(JUDGED)), ""),
        Panel::stat("Failed", "Tasks that failed in the selected range.")
            .size(2, 4)
            .unit("short")
            .decimals(0)
            .plain()
            .instant(&format!("{} or vector(0)", ended("failed")), ""),
        Panel::stat(
            "Expired or lost",
            "Tasks that expired at their deadline, or whose id the upstream no longer knows, in the \
             selected range.",
        )
        .size(3, 4)
        .unit("short")
        .decimals(0)
        .plain()
        .instant(&format!("{} or vector(0)", ended("expired|lost")), ""),
        Panel::stat(
            "Latency p95",
            "95 % of the tasks that succeeded in the selected range took at most this long, \
             from submit to finish, as told or else as observed.",
        )
        .size(3, 4)
        .unit("s")
        .decimals(1)
        .thresholds(&[(None, "green"), (Some(600.0), "orange"), (Some(1200.0), "red")])
        .no_value("none ended")
        .instant(&slowest, ""),
    ]
}

fn upstreams() -> Panel {
    Panel::stat("Upstreams", "Whether each upstream answers. Click an upstream to open its dashboard.")
        .size(4, 4)
        .unit("none")
        .mappings(&upstream_states())
        .no_value("no request yet")
        .link("Upstream dashboard", UPSTREAM_PAGE_OF_SERIES)
        .instant(&upstream_state(), "{{upstream}}")
}
