//! The triage dashboard, the first one: what is wrong, for whom, since when, and where to look next?

use serde_json::{Value, json};

use super::grafana::{Dashboard, model, team, upstream, variables};
use super::panel::Panel;
use super::promql::{
    ERRORS, JUDGED, KEY, MODEL, UPSTREAM, alerts, exporters_up, grown, of_model_among, partial_outages, per_minute,
    upstream_state,
};
use super::values::{
    TASK_PAGE, UPSTREAM_PAGE, UPSTREAM_PAGE_OF_SERIES, by_name, colored, link, status_names, task_ids, thresholds,
    upstream_states, words,
};

/// The labels of a row of alerts.
const ALERT_LABELS: &str = "alertname, severity, upstream, model, instance, budget";

/// Rows of a table.
const ROWS: u32 = 50;

pub fn dashboard() -> Dashboard {
    let panels = [incident(), attention(), causes()];
    Dashboard {
        uid: "videogen-triage",
        title: "Videogen / Triage",
        description: "What is wrong, for whom, since when, and where to look next? Start here.",
        variables: variables([upstream(), model(), team()]),
        panels: panels.into_iter().flatten().collect(),
    }
}

/// What fires and what does not answer.
fn incident() -> Vec<Panel> {
    let firing = |severity: &str| {
        let groups = alerts(&format!(r#"severity="{severity}",upstream=~"$upstream|""#));
        format!("count(count by ({ALERT_LABELS}) ({groups})) or vector(0)")
    };
    let down = format!("count({} != 1) or vector(0)", upstream_state());
    let away = format!("count({} == 0) or vector(0)", exporters_up());
    let bad = grown("", &format!(r#"videogen_tasks_finished_total{{{MODEL},status=~"{ERRORS}"}}"#));
    let alarm = [(None, "green"), (Some(0.5), "red")];
    let warning = [(None, "green"), (Some(0.5), "orange")];
    let number = |title: &str, text: &str, expr: &str, steps: &[(Option<f64>, &str)]| {
        Panel::stat(title, text).size(4, 3).unit("short").decimals(0).thresholds(steps).instant(expr, "")
    };
    vec![
        Panel::row("What is not well"),
        number("Pages", "Alerts of severity critical that fire: rows of the table below.", &firing("critical"), &alarm),
        number(
            "Tickets",
            "Alerts of severity warning that fire: rows of the table below.",
            &firing("warning"),
            &warning,
        ),
        number("Upstreams not well", "Upstreams that do not answer, refuse requests, or are not known.", &down, &alarm),
        number(
            "Exporters away",
            "Exporters that Prometheus cannot scrape. What they know is not known then.",
            &away,
            &alarm,
        ),
        number(
            "Stuck tasks",
            "Active tasks that are much older than others of their model ever were (tasks.stuck).",
            &format!("sum(videogen_tasks_stuck{{{MODEL}}}) or vector(0)"),
            &warning,
        ),
        number(
            "Failed, expired, lost",
            "Tasks that ended without a result in the selected range.",
            &format!("{bad} or vector(0)"),
            &[],
        )
        .plain(),
        alert_table(),
        Panel::state_timeline(
            "Upstreams and exporters",
            "Whether each upstream answers and each exporter can be scraped. Not known: no exporter could be scraped.",
        )
        .size(10, 8)
        .unit("none")
        .mappings(&upstream_states())
        .no_value("no request yet")
        .link("Upstream dashboard", UPSTREAM_PAGE_OF_SERIES)
        .range(&upstream_state(), "{{upstream}}")
        .range(&partial_outages(), "{{upstream}} from {{instance}}")
        .range(&exporters_up(), "exporter {{instance}}"),
    ]
}

fn alert_table() -> Panel {
    let selected = r#"upstream=~"$upstream|",severity=~"critical|warning""#;
    let firing = alerts(selected);
    let since = firing.replace("ALERTS{", "ALERTS_FOR_STATE{").replace(r#",alertstate="firing""#, "");
    let columns = [
        ("severity", "Severity"),
        ("alertname", "Alert"),
        ("upstream", "Upstream"),
        ("model", "Model"),
        ("instance", "Exporter"),
        ("budget", "Budget"),
        ("Value #B", "Firing for"),
        ("Value #A", "Alerts"),
    ];
    let severities = json!([{"type": "value", "options": {
        "critical": {"text": "page", "color": "red", "index": 0},
        "warning": {"text": "ticket", "color": "orange", "index": 1},
    }}]);
    Panel::table(
        "What fires",
        "Alerts of severity critical and warning that fire now, and for how long. Most conditions were true before: an upstream is down after \
         five minutes. It needs the bundled rules in this Prometheus.",
    )
    .size(14, 8)
    .no_value("nothing fires")
    .joined(&columns, &["Time"])
    .sorted_by(&[("Severity", false), ("Firing for", true)])
    .columns(vec![
        by_name(
            "Severity",
            &[
                ("mappings", severities),
                ("custom.cellOptions", json!({"type": "color-background", "mode": "basic"})),
                ("custom.width", json!(80)),
            ],
        ),
        by_name("Alert", &[("custom.width", json!(225))]),
        by_name("Exporter", &[("custom.width", json!(135))]),
        by_name("Upstream", &[("links", json!([link("Upstream dashboard", UPSTREAM_PAGE)])), ("custom.width", json!(95))]),
        by_name("Firing for", &[("unit", json!("s")), ("decimals", json!(0)), ("custom.width", json!(90))]),
        by_name("Alerts", &[("decimals", json!(0)), ("custom.width", json!(70))]),
    ])
    .rows(&format!("count by ({ALERT_LABELS}) ({firing})"))
    .rows(&format!(
        "time() - min by ({ALERT_LABELS}) ({since}) and on ({ALERT_LABELS}) count by ({ALERT_LABELS}) ({firing})"
    ))
}

/// The tasks that somebody may have to look at.
fn attention() -> Vec<Panel> {
    let newest = |metric: &str| format!("max by ({KEY}) ({metric}{{{UPSTREAM}}})");
    let info = format!(r#"videogen_task_failure_info{{{MODEL},status=~"{ERRORS}"}}"#);
    let labels = "model, label_team, status, failure_class";
    let changed = newest("videogen_task_last_change_timestamp_seconds");
    let failed = format!(
        "time() - topk({ROWS}, {changed} and on ({KEY}) max by ({KEY}) ({info})) \
         * on ({KEY}) group_left ({labels}) topk by ({KEY}) (1, max by ({KEY}, {labels}) ({info}))"
    );
    let begun = format!(
        "({} or {})",
        newest("videogen_task_submit_timestamp_seconds"),
        newest("videogen_task_first_seen_timestamp_seconds")
    );
    let status =
        format!(r#"max by ({KEY}, status) (videogen_task_status{{{UPSTREAM},status=~"queued|running|unknown"}} == 1)"#);
    let selected = format!("max by ({KEY}) (videogen_task_info{{{MODEL}}})");
    let oldest = format!("bottomk({ROWS}, {begun} and on ({KEY}) ({status}) and on ({KEY}) {selected})");
    let of_oldest = |x: &str| of_model_among(x, &oldest);
    let late = format!("time() - {}", newest("videogen_task_expected_finish_timestamp_seconds"));
    let failed_columns = [
        ("task_id", "Task"),
        ("status", "Status"),
        ("failure_class", "Why"),
        ("model", "Model"),
        ("upstream", "Upstream"),
        ("label_team", "Team"),
        ("Value", "Ended ago"),
    ];
    let oldest_columns = [
        ("task_id", "Task"),
        ("status", "Status"),
        ("model", "Model"),
        ("upstream", "Upstream"),
        ("label_team", "Team"),
        ("Value #A", "Age"),
        ("Value #B", "Late by"),
        ("Value #C", "Stuck"),
    ];
    vec![
        Panel::row("Tasks that need attention"),
        Panel::table(
            "Failed, expired, lost",
            "The last 50 tasks that ended without a result, the newest first, while they are on /metrics. Click a task id to open it.",
        )
        .size(12, 10)
        .no_value("no task has ended without a result")
        .joined(&failed_columns, &["Time", "job"])
        .sorted_by(&[("Ended ago", false)])
        .columns(task_columns(&[("Ended ago", "s", 100)]))
        .rows(&failed),
        Panel::table(
            "Oldest active tasks",
            "The 50 oldest active tasks. Stuck: older than tasks.stuck allows. Late by: how long ago the task should have finished, by the 95th percentile of its model.",
        )
        .size(12, 10)
        .no_value("no task is active")
        .joined(&oldest_columns, &["Time", "job"])
        .sorted_by(&[("Age", true)])
        .columns(oldest_task_columns())
        .rows(&of_oldest(&format!("time() - {begun} * on ({KEY}) group_right () ({status})")))
        .rows(&of_oldest(&format!("{late} > 0")))
        .rows(&of_oldest(&newest("videogen_task_stuck"))),
    ]
}

fn task_columns(seconds: &[(&str, &str, u16)]) -> Vec<Value> {
    let colored = json!({"type": "color-background", "mode": "basic"});
    let mut columns = vec![
        task_ids(&[("links", json!([link("Task dashboard", TASK_PAGE)])), ("custom.width", json!(165))]),
        by_name(
            "Upstream",
            &[("links", json!([link("Upstream dashboard", UPSTREAM_PAGE)])), ("custom.width", json!(95))],
        ),
        by_name("Team", &[("custom.width", json!(75))]),
        by_name(
            "Status",
            &[("mappings", status_names()), ("custom.cellOptions", colored), ("custom.width", json!(85))],
        ),
        by_name("Why", &[("custom.width", json!(120))]),
    ];
    columns.extend(seconds.iter().map(|(name, unit, width)| {
        by_name(name, &[("unit", json!(unit)), ("decimals", json!(0)), ("custom.width", json!(width))])
    }));
    columns
}

fn oldest_task_columns() -> Vec<Value> {
    let mut columns = task_columns(&[("Age", "s", 90)]);
    columns.push(by_name(
        "Late by",
        &[
            ("unit", json!("s")),
            ("decimals", json!(0)),
            ("custom.width", json!(90)),
            ("custom.cellOptions", json!({"type": "color-text"})),
            ("color", json!({"mode": "thresholds"})),
            ("thresholds", thresholds(&[(None, "orange"), (Some(900.0), "red")])),
        ],
    ));
    columns.push(by_name(
        "Stuck",
        &[
            ("mappings", words(&[(1, "stuck", "orange")])),
            ("custom.cellOptions", json!({"type": "color-text"})),
            ("custom.width", json!(65)),
        ],
    ));
    columns
}

/// Where the failures come from.
fn causes() -> Vec<Panel> {
    let by = "upstream, model";
    let ended = |statuses: &str, by: &str| {
        grown(by, &format!(r#"videogen_tasks_finished_total{{{MODEL},status=~"{statuses}"}}"#))
    };
    let bad = ended(ERRORS, by);
    let columns = [
        ("model", "Model"),
        ("upstream", "Upstream"),
        ("Value #A", "Failed"),
        ("Value #B", "Of"),
        ("Value #C", "Share"),
        ("Value #D", "Last success"),
    ];
    let refused = format!("videogen_upstream_request_errors_total{{{UPSTREAM},reason!=\"not_found\"}}");
    let by_class =
        per_minute("failure_class", &format!("videogen_task_failures_total{{{MODEL},status!=\"cancelled\"}}"));
    let last_success = format!(
        r#"time() - max by ({by}) (max_over_time((timestamp(changes(videogen_tasks_finished_total{{{MODEL},status="succeeded"}}[2m]) > 0))[$__range:1m]))"#
    );
    vec![
        Panel::row("Where it comes from"),
        Panel::table("Failing models", "Tasks that failed, expired or were lost in the selected range, by model and upstream.")
            .size(11, 8)
            .no_value("no task has failed")
            .joined(&columns, &["Time"])
            .sorted_by(&[("Share", true)])
            .columns(vec![
                by_name("Upstream", &[("links", json!([link("Upstream dashboard", UPSTREAM_PAGE)]))]),
                by_name("Failed", &[("decimals", json!(0)), ("custom.width", json!(70))]),
                by_name("Of", &[("decimals", json!(0)), ("custom.width", json!(70))]),
                colored("Share", "percentunit", 0, &[(None, "transparent"), (Some(0.05), "orange"), (Some(0.5), "red")]),
                by_name("Last success", &[("unit", json!("s")), ("decimals", json!(0)), ("custom.width", json!(105))]),
            ])
            .rows(&format!("topk({ROWS}, {bad} > 0.5)"))
            .rows(&format!("{} and on ({by}) ({bad} > 0.5)", ended(JUDGED, by)))
            .rows(&format!("{bad} / on ({by}) ({} > 0) and on ({by}) ({bad} > 0.5)", ended(JUDGED, by)))
            .rows(&format!("{last_success} and on ({by}) ({bad} > 0.5)")),
        Panel::bars("Failures per minute by class", "Ends without a result, by failure class. The class comes from the upstream's error code.")
            .size(7, 8)
            .unit("short")
            .colored_by_class()
            .every("1m")
            .no_value("no task has failed")
            .range(&by_class, "{{failure_class}}"),
        Panel::bar_gauge("By team", "Tasks that failed, expired or were lost in the selected range, by team. It needs the aggregate label team.")
            .size(6, 8)
            .unit("short")
            .decimals(0)
            .thresholds(&[(None, "orange")])
            .no_value("no task with a team has failed")
            .instant(
                &format!(
                    r#"topk(10, sum by (label_team) (increase(videogen_tasks_finished_total{{{MODEL},status=~"{ERRORS}",label_team!~"|none"}}[$__range])) > 0.5)"#
                ),
                "{{label_team}}",
            ),
        Panel::bars("Failed requests by reason", "Failed requests per second. While the exporter backs off it sends fewer requests.")
            .size(12, 7)
            .in_red()
            .unit("reqps")
            .every("1m")
            .no_value("no request has failed")
            .range(
                &format!(
                    "sum by (upstream, reason) (rate({refused}[$__rate_interval])) \
                     and on (upstream, reason) sum by (upstream, reason) (increase({refused}[$__range] @ end())) > 0"
                ),
                "{{upstream}} {{reason}}",
            ),
        Panel::bars("Ends per minute", "Tasks that ended, per minute, by status.")
            .size(12, 7)
            .unit("short")
            .colored_by_status()
            .every("1m")
            .no_value("no task has ended")
            .range(&per_minute("status", &format!("videogen_tasks_finished_total{{{MODEL}}}")), "{{status}}"),
    ]
}
