//! The lower part of the upstream dashboard: limits, schedule and task sources.

use serde_json::json;

use super::panel::Panel;
use super::promql::{UPSTREAM, grown, per_minute, quantile};
use super::values::{OVERVIEW_PAGE, by_name, link, thresholds};

/// Time left of the back-off; 0 for an upstream without one, so that the panel is never empty.
pub fn backoff() -> String {
    format!(
        "clamp_min(max by (upstream) (videogen_upstream_backoff_until_timestamp_seconds{{{UPSTREAM}}}) - time(), 0) \
         or 0 * max by (upstream) (videogen_upstream_up{{{UPSTREAM}}})"
    )
}

/// Why polls are late: our limits, or the upstream's.
pub fn schedule() -> Vec<Panel> {
    let lag = format!("videogen_poll_lag_seconds_bucket{{{UPSTREAM}}}[$__rate_interval]");
    let oldest = format!(
        "time() - min by (upstream) \
         (videogen_oldest_active_task_poll_timestamp_seconds{{{UPSTREAM}}})"
    );
    let third = |title: &str, description: &str| Panel::lines(title, description).size(8, 9);
    vec![
        Panel::row("Limits and schedule"),
        third(
            "Oldest poll of an active task",
            "Longest time since the last successful poll of an active task. Dashed: 5 min, the \
             alert limit.",
        )
        .unit("s")
        .limit(300.0)
        .no_value("none active")
        .range(&oldest, "{{upstream}}"),
        third("Poll lag", "Time from when a poll is due until it is sent, p95. Dashed: 60 s.")
            .unit("s")
            .no_value("no poll")
            .limit(60.0)
            .range(&quantile("0.95", "upstream", &lag), "{{upstream}}"),
        third(
            "Polls in flight",
            "Requests without a response yet. At the configured max_in_flight, further polls wait.",
        )
        .unit("short")
        .soft_max(5.0)
        .no_value("none")
        .range(&format!("sum by (upstream) (videogen_polls_in_flight{{{UPSTREAM}}})"), "{{upstream}}"),
        third(
            "Waiting for our own rate limit",
            "Seconds that due polls waited for requests_per_second, per second. \
             1 means that one poll is always waiting.",
        )
        .unit("short")
        .range(
            &format!(
                "sum by (upstream) \
                 (rate(videogen_upstream_throttle_wait_seconds_total{{{UPSTREAM}}}[$__rate_interval]))"
            ),
            "{{upstream}}",
        ),
        third("Back-off", "Time left of the current back-off, after Retry-After or repeated errors.")
            .unit("s")
            .range(&backoff(), "{{upstream}}"),
        third(
            "Unknown statuses, invalid durations",
            "Answers with an unknown status word, and durations excluded because they are \
             negative or too long, per interval. Expected: none.",
        )
        .unit("short")
        .soft_max(5.0)
        .no_value("none")
        .range(
            &format!(
                "sum by (upstream) \
                 (increase(videogen_unknown_statuses_total{{{UPSTREAM}}}[$__rate_interval]))"
            ),
            "{{upstream}} unknown status",
        )
        .range(
            &format!(
                "sum by (upstream) \
                 (increase(videogen_invalid_durations_total{{{UPSTREAM}}}[$__rate_interval]))"
            ),
            "{{upstream}} invalid duration",
        ),
    ]
}

/// The sources of task ids.
pub fn discovery() -> Vec<Panel> {
    let source = |what: &str| format!("{what}{{{UPSTREAM}}}");
    let columns = [
        ("upstream", "Upstream"),
        ("source", "Source"),
        ("Value #A", "Task ids"),
        ("Value #B", "Last success ago"),
        ("Value #C", "Errors"),
        ("Value #D", "Truncated"),
    ];
    let trouble = |name: &str| {
        by_name(
            name,
            &[
                ("decimals", json!(0)),
                ("custom.cellOptions", json!({"type": "color-background", "mode": "basic"})),
                ("color", json!({"mode": "thresholds"})),
                ("thresholds", thresholds(&[(None, "transparent"), (Some(0.5), "orange")])),
            ],
        )
    };
    vec![
        Panel::row("Task sources"),
        Panel::table(
            "Sources",
            "Task ids in each source now, time since its last successful read; failed and truncated \
             reads in the selected range.",
        )
        .size(12, 8)
        .no_value("no source")
        .joined(&columns, &["Time"])
        .columns(vec![
            by_name("Upstream", &[("links", json!([link("Overview", OVERVIEW_PAGE)]))]),
            by_name("Last success ago", &[("unit", json!("s"))]),
            trouble("Errors"),
            trouble("Truncated"),
        ])
        .rows(&format!("max by (upstream, source) ({})", source("videogen_discovery_tasks")))
        .rows(&format!(
            "time() - max by (upstream, source) ({})",
            source("videogen_discovery_last_success_timestamp_seconds")
        ))
        .rows(&grown("upstream, source", &source("videogen_discovery_errors_total")))
        .rows(&grown("upstream, source", &source("videogen_discovery_truncated_total"))),
        Panel::bars(
            "New tasks per minute",
            "Newly discovered tasks, by source. If new work is submitted but no task appears, the \
             source is stale.",
        )
        .unit("short")
        .every("5m")
        .no_value("no new task")
        .range(&per_minute("upstream, source", &source("videogen_tasks_discovered_total")), "{{upstream}} {{source}}"),
    ]
}
