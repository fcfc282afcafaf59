//! The upstream dashboard: requests, errors, limits, schedule and task sources, by upstream.

use serde_json::{Value, json};

use super::grafana::{Dashboard, upstream, variables};
use super::panel::Panel;
use super::promql::{UPSTREAM, grown, quantile, rate};
use super::schedule::{self, backoff};
use super::truth::{self, disagreeing, drift};
use super::values::{OVERVIEW_PAGE, by_name, colored, link, words};

pub fn dashboard() -> Dashboard {
    let panels = [now(), requests(), truth::truth(), schedule::schedule(), schedule::discovery()];
    Dashboard {
        uid: "videogen-upstream",
        title: "Videogen / Upstream",
        description: "Is it the upstream, our key, or our own limits? Requests, errors, limits and schedule.",
        variables: variables([upstream()]),
        panels: panels.into_iter().flatten().collect(),
    }
}

fn now() -> Vec<Panel> {
    let requests = format!("videogen_upstream_requests_total{{{UPSTREAM}}}");
    let errors = format!(r#"videogen_upstream_request_errors_total{{{UPSTREAM},reason!="not_found"}}"#);
    let limited = format!(r#"videogen_upstream_request_errors_total{{{UPSTREAM},reason="rate_limited"}}"#);
    let share = |by: &str| format!("{} / ({} > 0)", grown(by, &errors), grown(by, &requests));
    let answered = format!(
        "time() - max by (upstream) \
         (videogen_upstream_last_success_timestamp_seconds{{{UPSTREAM}}})"
    );
    let oldest = format!(
        "time() - min by (upstream) \
         (videogen_oldest_active_task_poll_timestamp_seconds{{{UPSTREAM}}})"
    );
    let columns = [
        ("upstream", "Upstream"),
        ("Value #A", "Now"),
        ("Value #B", "Active tasks"),
        ("Value #C", "Requests"),
        ("Value #D", "Errors"),
        ("Value #E", "Rate limited"),
        ("Value #F", "Last success ago"),
        ("Value #G", "Oldest poll"),
        ("Value #H", "Back-off left"),
    ];
    vec![
        Panel::row("Now"),
        Panel::stat("Upstreams down", "Upstreams whose latest request failed.")
            .size(4, 4)
            .unit("short")
            .thresholds(&[(None, "green"), (Some(1.0), "red")])
            .instant(&format!("sum(1 - min by (job, upstream) (videogen_upstream_up{{{UPSTREAM}}})) or vector(0)"), ""),
        Panel::stat(
            "Errors",
            "Failed requests / requests in the selected range. Answers that an id is unknown are not \
             errors here.",
        )
        .size(4, 4)
        .unit("percentunit")
        .decimals(1)
        .thresholds(&[(None, "green"), (Some(0.02), "orange"), (Some(0.1), "red")])
        .no_value("no request")
        .instant(&share(""), ""),
        Panel::stat("Rate limited", "Rate-limited requests in the selected range.")
            .size(4, 4)
            .unit("short")
            .decimals(0)
            .thresholds(&[(None, "green"), (Some(0.5), "orange"), (Some(99.5), "red")])
            .instant(&grown("", &limited), ""),
        Panel::stat(
            "Oldest poll",
            "Longest time since the last successful poll of an active task. An alert fires above \
             5 min.",
        )
        .size(4, 4)
        .unit("s")
        .decimals(0)
        .thresholds(&[(None, "green"), (Some(60.0), "orange"), (Some(300.0), "red")])
        .no_value("none active")
        .instant(&format!("max({oldest})"), ""),
        Panel::stat(
            "Status disagreements",
            "Tasks that ended at the provider while the gateway reports another status. An alert \
             fires after 10 min.",
        )
        .unit("short")
        .thresholds(&[(None, "green"), (Some(1.0), "orange")])
        .instant(&disagreeing(), ""),
        Panel::stat(
            "Schema drift",
            "Fields of answers that differ from the provider's documentation, in the selected range.",
        )
        .unit("short")
        .decimals(0)
        .thresholds(&[(None, "green"), (Some(0.5), "orange")])
        .instant(&format!("{} or vector(0)", grown("", &drift())), ""),
        Panel::table(
            "Upstreams",
            "State of each upstream now, and its requests in the selected range. Click an upstream to \
             open its tasks.",
        )
        .size(24, 6)
        .no_value("no upstream")
        .joined(&columns, &["Time"])
        .columns(upstream_columns())
        .rows(&format!("min by (upstream) (videogen_upstream_up{{{UPSTREAM}}})"))
        .rows(&format!(r#"sum by (upstream) (videogen_tasks{{{UPSTREAM},status=~"queued|running|unknown"}})"#))
        .rows(&grown("upstream", &requests))
        .rows(&share("upstream"))
        .rows(&grown("upstream", &limited))
        .rows(&answered)
        .rows(&oldest)
        .rows(&backoff()),
    ]
}

fn upstream_columns() -> Vec<Value> {
    vec![
        by_name("Upstream", &[("links", json!([link("Overview", OVERVIEW_PAGE)]))]),
        by_name(
            "Now",
            &[
                ("mappings", words(&[(0, "DOWN", "red"), (1, "UP", "green")])),
                ("custom.cellOptions", json!({"type": "color-background", "mode": "basic"})),
                ("custom.width", json!(90)),
            ],
        ),
        by_name("Requests", &[("decimals", json!(0))]),
        colored("Errors", "percentunit", 1, &[(None, "transparent"), (Some(0.02), "orange"), (Some(0.1), "red")]),
        colored("Rate limited", "short", 0, &[(None, "transparent"), (Some(0.5), "orange"), (Some(99.5), "red")]),
        colored("Last success ago", "s", 0, &[(None, "transparent"), (Some(60.0), "orange"), (Some(300.0), "red")]),
        colored("Oldest poll", "s", 0, &[(None, "transparent"), (Some(60.0), "orange"), (Some(300.0), "red")]),
        colored("Back-off left", "s", 0, &[(None, "transparent"), (Some(0.5), "orange")]),
    ]
}

fn requests() -> Vec<Panel> {
    let seconds = format!("videogen_upstream_request_duration_seconds_bucket{{{UPSTREAM}}}[$__rate_interval]");
    let errors = format!(r#"videogen_upstream_request_errors_total{{{UPSTREAM},reason!="not_found"}}"#);
    let ratio = format!(
        "sum by (upstream) (rate({errors}[5m])) \
         / (sum by (upstream) (rate(videogen_upstream_requests_total{{{UPSTREAM}}}[5m])) > 0)"
    );
    vec![
        Panel::row("Requests and errors"),
        Panel::stacked("Requests by code", "Requests per second by HTTP status. none: no response.")
            .unit("reqps")
            .no_value("no request")
            .range(
                &rate("upstream, code", &format!("videogen_upstream_requests_total{{{UPSTREAM}}}")),
                "{{upstream}} {{code}}",
            ),
        Panel::stacked(
            "Errors by reason",
            "Failed requests per second. unauthorized, forbidden: our key. rate_limited, \
             quota_exhausted: our account. wrong_path, bad_request: our configuration. All \
             others: the network or the upstream.",
        )
        .unit("reqps")
        .no_value("no error")
        .range(
            &rate("upstream, reason", &format!("videogen_upstream_request_errors_total{{{UPSTREAM}}}")),
            "{{upstream}} {{reason}}",
        ),
        Panel::lines(
            "Error ratio",
            "Failed requests / requests over 5 min. Answers that an id is unknown are not errors here. \
             Dashed: 10 %, the alert limit.",
        )
        .unit("percentunit")
        .limit(0.1)
        .no_value("no request")
        .range(&ratio, "{{upstream}}"),
        Panel::lines("Request duration", "Time from sending a request to having read its response.")
            .unit("s")
            .no_value("no request")
            .range(&quantile("0.50", "upstream", &seconds), "p50 {{upstream}}")
            .range(&quantile("0.99", "upstream", &seconds), "p99 {{upstream}}"),
    ]
}
