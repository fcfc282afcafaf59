//! The upstream page's lower half: limits and schedule, and where tasks come from.

use serde_json::json;

use super::panel::Panel;
use super::promql::{UPSTREAM, grown, per_minute, quantile};
use super::values::{OVERVIEW_PAGE, by_name, link, thresholds};

/// How long we still keep away; an upstream that asked for nothing is 0, or the panel would be empty on a good day.
pub fn backoff() -> String {
    format!(
        "clamp_min(max by (upstream) (videogen_upstream_backoff_until_timestamp_seconds{{{UPSTREAM}}}) - time(), 0) \
         or 0 * max by (upstream) (videogen_upstream_up{{{UPSTREAM}}})"
    )
}

/// What holds polls back: limits, ours and theirs.
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
            "Time since the active task that waits longest was last read. Dashed: 5 min, the \
             alert's limit.",
        )
        .unit("s")
        .limit(300.0)
        .no_value("none active")
        .range(&oldest, "{{upstream}}"),
        third("Poll lag", "How late polls begin against their schedule, p95: our own backlog. Dashed: 60 s.")
            .unit("s")
            .no_value("no poll")
            .limit(60.0)
            .range(&quantile("0.95", "upstream", &lag), "{{upstream}}"),
        third(
            "Polls in flight",
            "Requests that are open. A line at the configured max_in_flight is one that holds \
             polls back.",
        )
        .unit("short")
        .soft_max(5.0)
        .no_value("none")
        .range(&format!("sum by (upstream) (videogen_polls_in_flight{{{UPSTREAM}}})"), "{{upstream}}"),
        third(
            "Waiting for our own rate limit",
            "Seconds that polls waited for requests_per_second, for each second that passed; \
             1 is one poll always waiting.",
        )
        .unit("short")
        .range(
            &format!(
                "sum by (upstream) \
                 (rate(videogen_upstream_throttle_wait_seconds_total{{{UPSTREAM}}}[$__rate_interval]))"
            ),
            "{{upstream}}",
        ),
        third("Back-off in force", "How long we still keep away, because of Retry-After or after repeated failures.")
            .unit("s")
            .range(&backoff(), "{{upstream}}"),
        third(
            "Answers that make no sense",
            "Statuses that we do not know, and spans that were left out because they are \
             negative or too long, in each interval. They should not occur.",
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
            "{{upstream}} span left out",
        ),
    ]
}

/// The sources of task ids.
pub fn discovery() -> Vec<Panel> {
    let source = |what: &str| format!("{what}{{{UPSTREAM}}}");
    let columns = [
        ("upstream", "Upstream"),
        ("source", "Source"),
        ("Value #A", "Tasks named"),
        ("Value #B", "Last success ago"),
        ("Value #C", "Errors"),
        ("Value #D", "Cut short"),
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
        Panel::row("Where tasks come from"),
        Panel::table(
            "Sources",
            "What each source names now, when it last answered, and how often in the selected \
             range it failed or gave only a part.",
        )
        .size(12, 8)
        .no_value("no source")
        .joined(&columns, &["Time"])
        .columns(vec![
            by_name("Upstream", &[("links", json!([link("Its tasks", OVERVIEW_PAGE)]))]),
            by_name("Last success ago", &[("unit", json!("s"))]),
            trouble("Errors"),
            trouble("Cut short"),
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
            "Tasks seen for the first time, by the source that brought them. Nothing new \
             while work is submitted means that the list is stale.",
        )
        .unit("short")
        .every("5m")
        .no_value("none new")
        .range(&per_minute("upstream, source", &source("videogen_tasks_discovered_total")), "{{upstream}} {{source}}"),
    ]
}
