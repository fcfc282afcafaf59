//! Is it the gateway, our key, or us: requests, errors, limits, schedule and discovery, by upstream.

use serde_json::{Value, json};

use super::grafana::{Dashboard, job, upstream};
use super::panel::Panel;
use super::promql::{UPSTREAM, grown, quantile, rate};
use super::schedule::{self, backoff};
use super::truth::{self, disagreeing, drift};
use super::values::{OVERVIEW_PAGE, by_name, link, thresholds, words};

pub fn dashboard() -> Dashboard {
    let panels = [now(), requests(), truth::truth(), schedule::schedule(), schedule::discovery()];
    Dashboard {
        uid: "videogen-upstream",
        title: "Videogen / Upstream",
        description: "Is an upstream unwell, is it our key, or do we ask too much? Requests, errors, \
        limits and schedule.",
        variables: vec![job(), upstream()],
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
        ("Value #F", "Last good answer"),
        ("Value #G", "Oldest poll"),
        ("Value #H", "Back-off left"),
    ];
    vec![
        Panel::row("Now"),
        Panel::stat("Upstreams down", "Upstreams whose latest request had no usable answer.")
            .size(4, 4)
            .unit("short")
            .thresholds(&[(None, "green"), (Some(1.0), "red")])
            .instant(&format!("sum(1 - min by (job, upstream) (videogen_upstream_up{{{UPSTREAM}}})) or vector(0)"), ""),
        Panel::stat(
            "Errors",
            "Failed requests / requests in the selected range, ids that an upstream does not \
             know left out.",
        )
        .size(4, 4)
        .unit("percentunit")
        .decimals(1)
        .thresholds(&[(None, "green"), (Some(0.02), "orange"), (Some(0.1), "red")])
        .no_value("no request")
        .instant(&share(""), ""),
        Panel::stat("Rate limited", "Answers that told us to slow down, in the selected range.")
            .size(4, 4)
            .unit("short")
            .decimals(0)
            .thresholds(&[(None, "green"), (Some(0.5), "orange"), (Some(99.5), "red")])
            .instant(&grown("", &limited), ""),
        Panel::stat(
            "Oldest poll",
            "Time since the active task that waits longest was last read. From 5 min on an \
             alert fires.",
        )
        .size(4, 4)
        .unit("s")
        .decimals(0)
        .thresholds(&[(None, "green"), (Some(60.0), "orange"), (Some(300.0), "red")])
        .no_value("none active")
        .instant(&format!("max({oldest})"), ""),
        Panel::stat(
            "Gateway disagrees",
            "Tasks that have ended at their provider while the gateway says otherwise. From 10 min \
             on an alert fires.",
        )
        .unit("short")
        .thresholds(&[(None, "green"), (Some(1.0), "orange")])
        .instant(&disagreeing(), ""),
        Panel::stat(
            "Fields not as documented",
            "Fields of answers that were not as their provider documents them, in the selected range.",
        )
        .unit("short")
        .decimals(0)
        .thresholds(&[(None, "green"), (Some(0.5), "orange")])
        .instant(&format!("{} or vector(0)", grown("", &drift())), ""),
        Panel::table(
            "Upstreams",
            "Each upstream: its state now, and its requests in the selected range. A click \
             leads to its tasks.",
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
    let coloured = |name: &str, unit: &str, digits: u8, steps: &[(Option<f64>, &str)]| {
        by_name(
            name,
            &[
                ("unit", json!(unit)),
                ("decimals", json!(digits)),
                ("custom.cellOptions", json!({"type": "color-background", "mode": "basic"})),
                ("color", json!({"mode": "thresholds"})),
                ("thresholds", thresholds(steps)),
            ],
        )
    };
    vec![
        by_name("Upstream", &[("links", json!([link("Its tasks", OVERVIEW_PAGE)]))]),
        by_name(
            "Now",
            &[
                ("mappings", words(&[(0, "DOWN", "red"), (1, "UP", "green")])),
                ("custom.cellOptions", json!({"type": "color-background", "mode": "basic"})),
                ("custom.width", json!(90)),
            ],
        ),
        by_name("Requests", &[("decimals", json!(0))]),
        coloured("Errors", "percentunit", 1, &[(None, "transparent"), (Some(0.02), "orange"), (Some(0.1), "red")]),
        coloured("Rate limited", "short", 0, &[(None, "transparent"), (Some(0.5), "orange"), (Some(99.5), "red")]),
        coloured("Last good answer", "s", 0, &[(None, "transparent"), (Some(60.0), "orange"), (Some(300.0), "red")]),
        coloured("Oldest poll", "s", 0, &[(None, "transparent"), (Some(60.0), "orange"), (Some(300.0), "red")]),
        coloured("Back-off left", "s", 0, &[(None, "transparent"), (Some(0.5), "orange")]),
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
        Panel::stacked("Requests by code", "Requests per second by HTTP status; none means that no answer came.")
            .unit("reqps")
            .no_value("no request")
            .range(
                &rate("upstream, code", &format!("videogen_upstream_requests_total{{{UPSTREAM}}}")),
                "{{upstream}} {{code}}",
            ),
        Panel::stacked(
            "Errors by reason",
            "Failed requests per second. unauthorized, forbidden: our key. rate_limited, \
             quota_exhausted: our use. wrong_path, bad_request: our configuration. The \
             others: the way there, or the upstream.",
        )
        .unit("reqps")
        .no_value("no error")
        .range(
            &rate("upstream, reason", &format!("videogen_upstream_request_errors_total{{{UPSTREAM}}}")),
            "{{upstream}} {{reason}}",
        ),
        Panel::lines(
            "Error ratio",
            "Failed requests / requests over 5 min, ids that the upstream does not know left \
             out. Dashed: 10 %, the alert's limit.",
        )
        .unit("percentunit")
        .limit(0.1)
        .no_value("no request")
        .range(&ratio, "{{upstream}}"),
        Panel::lines("Request duration", "How long one request takes.")
            .unit("s")
            .no_value("no request")
            .range(&quantile("0.50", "upstream", &seconds), "p50 {{upstream}}")
            .range(&quantile("0.99", "upstream", &seconds), "p99 {{upstream}}"),
    ]
}
