//! The upstream page's part about the answers themselves: do gateway, provider, documents and clocks agree?

use serde_json::{Value, json};

use super::panel::Panel;
use super::promql::{UPSTREAM, grown, per_minute, quantile};
use super::values::{OVERVIEW_PAGE, by_name, link, status_names, thresholds};

/// Every way for a task to end that an upstream can name.
const ENDED: &str = "succeeded|failed|cancelled|expired";

/// Tasks that have ended at their provider and not, or otherwise, at the gateway.
///
/// A gateway that has no other word for a bad end than failed does not contradict cancelled and expired.
pub fn disagreeing() -> String {
    let tasks = |statuses: &str| format!("videogen_status_disagreements{{{UPSTREAM},{statuses}}}");
    let ended = tasks(&format!(r#"gateway_status!="failed",upstream_status=~"{ENDED}""#));
    let made = tasks(r#"gateway_status="failed",upstream_status="succeeded""#);
    format!("sum({ended} or {made}) or vector(0)")
}

/// Fields that were not as documented.
pub fn drift() -> String {
    format!("videogen_schema_drift_total{{{UPSTREAM}}}")
}

/// What speaks against what an upstream says.
pub fn truth() -> Vec<Panel> {
    let mut panels = vec![Panel::row("How far to trust the answers")];
    panels.extend(disagreements());
    panels.extend(times());
    panels.extend(fields());
    panels
}

fn disagreements() -> [Panel; 2] {
    let columns = [
        ("upstream", "Upstream"),
        ("model", "Model"),
        ("gateway_status", "Gateway says"),
        ("upstream_status", "Provider says"),
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
            "Gateway against provider",
            "Tasks on /metrics now whose gateway says one thing while the provider's answer that \
             it holds says another. A provider that has ended a task which its gateway has not is \
             a task that nobody is told of. failed beside cancelled or expired is only a gateway \
             without those words.",
        )
        .size(12, 8)
        .no_value("no disagreement")
        .joined(&columns, &["Time"])
        .sorted_by(&[("Tasks", true)])
        .columns(vec![
            by_name("Upstream", &[("links", json!([link("Its tasks", OVERVIEW_PAGE)]))]),
            status("Gateway says"),
            status("Provider says"),
            by_name("Tasks", &[("decimals", json!(0)), ("custom.width", json!(80))]),
        ])
        .rows(&tasks("upstream, model, gateway_status, upstream_status")),
        Panel::stacked(
            "Disagreements",
            "The same over time: the gateway's status, then the provider's. Peaks that pass are \
             gateways that look only now and then; a floor that stays is tasks that they no \
             longer look at.",
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
            "How much later than the provider's end the gateway's own comes, over 1 h. What is \
             below 0 is among the spans left out.",
        ))
        .unit("s")
        .no_value("no task with both ends")
        .range(&quantile("0.50", "upstream", &lag), "p50 {{upstream}}")
        .range(&quantile("0.95", "upstream", &lag), "p95 {{upstream}}"),
        third(Panel::bars(
            "Ends that changed",
            "Ended tasks that later had another end, in each interval. failed → succeeded is a \
             late success: the video exists, and whoever asked was told that it does not.",
        ))
        .unit("short")
        .decimals(0)
        .every("5m")
        .no_value("no end changed")
        .range(&changed, "{{upstream}} {{from}} → {{to}}"),
        third(Panel::lines(
            "Clock skew",
            "The upstream's clock minus ours, from the Date of its answers; it has whole seconds, \
             so ±1 s says nothing. All upstreams at once: our clock. Dashed: ±30 s, the alert's \
             limits.",
        ))
        .unit("s")
        .limits(30.0)
        .no_value("no Date")
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
            "Fields not as documented",
            "Fields of answers that were missing, of another type or without sense, against the \
             provider's documentation. What hangs on such a field is not known for those tasks. \
             Coloured: still going on.",
        )
        .size(12, 8)
        .no_value("every field as documented")
        .joined(&columns, &["Time"])
        .sorted_by(&[("Last 15 min", true), ("In the range", true)])
        .columns(vec![
            by_name("Upstream", &[("links", json!([link("Its tasks", OVERVIEW_PAGE)]))]),
            by_name("In the range", &[("decimals", json!(0)), ("custom.width", json!(110))]),
            going_on("Last 15 min"),
        ])
        .rows(&format!("{} > 0", grown(by, &drift())))
        .rows(&format!("sum by ({by}) (increase({}[15m]))", drift())),
        Panel::bars(
            "Fields not as documented, per minute",
            "The same over time. It begins when the upstream, or the gateway before it, begins to \
             answer otherwise.",
        )
        .unit("short")
        .every("5m")
        .no_value("every field as documented")
        .range(&per_minute("upstream, field, problem", &drift()), "{{upstream}} {{field}} {{problem}}"),
    ]
}

fn going_on(name: &str) -> Value {
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
