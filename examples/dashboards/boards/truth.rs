//! The answer quality part of the upstream dashboard: disagreements, changed ends, clock skew and drift.

use serde_json::{Value, json};

use super::panel::Panel;
use super::promql::{UPSTREAM, grown, per_minute, quantile};
use super::values::{OVERVIEW_PAGE, by_name, link, status_names, thresholds};

/// The ends that an upstream can report.
const ENDED: &str = "succeeded|failed|cancelled|expired";

/// Tasks that ended at the provider, while the gateway reports no end or another one.
///
/// Some gateways use failed for every bad end, so failed does not contradict cancelled and expired.
pub fn disagreeing() -> String {
    let tasks = |statuses: &str| format!("videogen_status_disagreements{{{UPSTREAM},{statuses}}}");
    let ended = tasks(&format!(r#"gateway_status!="failed",upstream_status=~"{ENDED}""#));
    let made = tasks(r#"gateway_status="failed",upstream_status="succeeded""#);
    format!("sum({ended} or {made}) or vector(0)")
}

/// Schema drift.
pub fn drift() -> String {
    format!("videogen_schema_drift_total{{{UPSTREAM}}}")
}

/// Whether the answers of an upstream are consistent.
pub fn truth() -> Vec<Panel> {
    let mut panels = vec![Panel::row("Answer quality")];
    panels.extend(disagreements());
    panels.extend(times());
    panels.extend(fields());
    panels
}

fn disagreements() -> [Panel; 2] {
    let columns = [
        ("upstream", "Upstream"),
        ("model", "Model"),
        ("gateway_status", "Gateway status"),
        ("upstream_status", "Provider status"),
        ("Value", "Tasks"),
    ];
    let status = |name: &str| {
        by_name(
            name,
            &[
                ("mappings", status_names()),
                ("custom.cellOptions", json!({"type": "color-background", "mode": "basic"})),
                ("custom.width", json!(130)),
            ],
        )
    };
    let tasks = |by: &str| format!("sum by ({by}) (videogen_status_disagreements{{{UPSTREAM}}}) > 0");
    [
        Panel::table(
            "Status disagreements",
            "Tasks on /metrics now whose gateway and provider report different statuses. If only the \
             provider reports an end, clients of the gateway do not see it. failed with cancelled or \
             expired is normal: some gateways have no other word.",
        )
        .size(12, 8)
        .no_value("no disagreement")
        .joined(&columns, &["Time"])
        .sorted_by(&[("Tasks", true)])
        .columns(vec![
            by_name("Upstream", &[("links", json!([link("Overview", OVERVIEW_PAGE)]))]),
            status("Gateway status"),
            status("Provider status"),
            by_name("Tasks", &[("decimals", json!(0)), ("custom.width", json!(80))]),
        ])
        .rows(&tasks("upstream, model, gateway_status, upstream_status")),
        Panel::stacked(
            "Status disagreements over time",
            "Gateway status / provider status. Short peaks mean that the gateway polls seldom. A \
             constant level means that it no longer polls these tasks.",
        )
        .unit("short")
        .soft_max(5.0)
        .no_value("no disagreement")
        .range(
            &tasks("upstream, gateway_status, upstream_status"),
            "{{upstream}} {{gateway_status}} / {{upstream_status}}",
        ),
    ]
}

fn times() -> [Panel; 3] {
    let lag = format!("videogen_gateway_finish_lag_seconds_bucket{{{UPSTREAM}}}[1h]");
    let changed = format!(r#"videogen_status_transitions_total{{{UPSTREAM},from=~"{ENDED}|lost"}}"#);
    let changed = format!("sum by (upstream, from, to) (increase({changed}[$__rate_interval])) > 0");
    let third = |panel: Panel| panel.size(8, 9);
    [
        third(Panel::lines(
            "Gateway finish lag",
            "The gateway's finish time minus the provider's, over 1 h. Negative lags are excluded and \
             counted as invalid durations.",
        ))
        .unit("s")
        .no_value("no task with both times")
        .range(&quantile("0.50", "upstream", &lag), "p50 {{upstream}}")
        .range(&quantile("0.95", "upstream", &lag), "p95 {{upstream}}"),
        third(Panel::bars(
            "Changed ends",
            "Ended tasks that later had another status, per interval. failed → succeeded is a late \
             success: the video exists, although the first end reported a failure.",
        ))
        .unit("short")
        .decimals(0)
        .every("5m")
        .no_value("no changed end")
        .range(&changed, "{{upstream}} {{from}} → {{to}}"),
        third(Panel::lines(
            "Clock skew",
            "The upstream's clock (the Date header, in whole seconds) minus ours. ±1 s is noise. The same \
             skew for all upstreams means that our clock is wrong. Dashed: ±30 s, the alert limits.",
        ))
        .unit("s")
        .limits(30.0)
        .no_value("no Date header")
        .range(&format!("max by (upstream) (videogen_upstream_clock_skew_seconds{{{UPSTREAM}}})"), "{{upstream}}"),
    ]
}

fn fields() -> [Panel; 2] {
    let by = "upstream, provider, field, problem";
    let columns = [
        ("upstream", "Upstream"),
        ("provider", "Provider"),
        ("field", "Field"),
        ("problem", "Problem"),
        ("Value #A", "In the range"),
        ("Value #B", "Last 15 min"),
    ];
    [
        Panel::table(
            "Schema drift",
            "Fields that differ from the provider's documentation: missing, of the wrong type, or \
             unreadable. The data of such a field is absent for the affected tasks. Colored: within \
             the last 15 min.",
        )
        .size(12, 8)
        .no_value("no drift")
        .joined(&columns, &["Time"])
        .sorted_by(&[("Last 15 min", true), ("In the range", true)])
        .columns(vec![
            by_name("Upstream", &[("links", json!([link("Overview", OVERVIEW_PAGE)]))]),
            by_name("In the range", &[("decimals", json!(0)), ("custom.width", json!(110))]),
            recent("Last 15 min"),
        ])
        .rows(&format!("{} > 0", grown(by, &drift())))
        .rows(&format!("sum by ({by}) (increase({}[15m]))", drift())),
        Panel::bars(
            "Schema drift per minute",
            "Fields that differ from the provider's documentation. The start shows when the upstream \
             or its gateway changed its answers.",
        )
        .unit("short")
        .every("5m")
        .no_value("no drift")
        .range(&per_minute("upstream, field, problem", &drift()), "{{upstream}} {{field}} {{problem}}"),
    ]
}

fn recent(name: &str) -> Value {
    by_name(
        name,
        &[
            ("decimals", json!(0)),
            ("custom.width", json!(110)),
            ("custom.cellOptions", json!({"type": "color-background", "mode": "basic"})),
            ("color", json!({"mode": "thresholds"})),
            ("thresholds", thresholds(&[(None, "transparent"), (Some(0.5), "orange")])),
        ],
    )
}
