//! The lower part of the overview: tasks on `/metrics`, alerts, and the exporter itself.

use serde_json::{Value, json};

use super::panel::Panel;
use super::promql::{JOB, KEY, UPSTREAM, alerts, grown, of_model, state};
use super::values::{TASK_PAGE, UPSTREAM_PAGE, by_name, link, status_words, task_ids, thresholds, words};

/// The tasks of the selected models.
pub fn tasks() -> Vec<Panel> {
    let newest = |metric: &str| format!("max by ({KEY}) ({metric}{{{UPSTREAM}}})");
    let tokens = format!("sum by ({KEY}) (max by ({KEY}, token_type) (videogen_task_tokens{{{UPSTREAM}}}))");
    let age = |metric: &str| format!("time() - {}", newest(metric));
    let failures = format!("max by ({KEY}, failure_class) (videogen_task_failure_info{{{UPSTREAM}}})");
    let columns = [
        ("task_id", "Task"),
        ("upstream", "Upstream"),
        ("model", "Model"),
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
            "Tasks on /metrics now",
            "All tasks with per-task series now. Click a task id or an upstream to open its dashboard.",
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

/// Alerts, and the health of the exporter.
pub fn health() -> Vec<Panel> {
    let mut panels = vec![Panel::row("Alerts and exporter"), alert_table()];
    panels.extend(exporter());
    panels
}

fn alert_table() -> Panel {
    let firing = alerts(r#"upstream=~"$upstream|""#);
    let labels = "alertname, severity, upstream, model, task_id";
    let now_or_then = format!(
        "max by ({labels}) ({firing}) \
         or 0 * max by ({labels}) (last_over_time({firing}[$__range]))"
    );
    let columns = [
        ("alertname", "Alert"),
        ("Value", "Now"),
        ("severity", "Severity"),
        ("upstream", "Upstream"),
        ("model", "Model"),
        ("task_id", "Task"),
    ];
    let link_to = |column: &str, title: &str, url: &str| by_name(column, &[("links", json!([link(title, url)]))]);
    let now = [
        ("mappings", words(&[(0, "resolved", "green"), (1, "firing", "red")])),
        ("custom.cellOptions", json!({"type": "color-background", "mode": "basic"})),
        ("custom.width", json!(90)),
    ];
    Panel::table("Alerts", "Alerts that fired in the selected range, including alerts about the exporter itself.")
        .size(24, 7)
        .no_value("no alert fired")
        .joined(&columns, &["Time"])
        .sorted_by(&[("Now", true)])
        .columns(vec![
            by_name("Now", &now),
            task_ids(&[("links", json!([link("Task dashboard", TASK_PAGE)]))]),
            link_to("Upstream", "Upstream dashboard", UPSTREAM_PAGE),
        ])
        .rows(&now_or_then)
}

fn exporter() -> Vec<Panel> {
    // An exporter that cannot be scraped has no build_info. The last known one identifies our targets.
    let known = format!("last_over_time(videogen_exporter_build_info{{{JOB}}}[$__range])");
    let answers = format!(
        "min by (instance) \
         (up{{{JOB}}} * on (job, instance) group_left () max by (job, instance) ({known}))"
    );
    let version = format!("max by (version, revision) (videogen_exporter_build_info{{{JOB}}})");
    let used = format!(
        "max(videogen_exporter_task_series_tasks{{{JOB}}} \
         / videogen_exporter_task_series_limit{{{JOB}}})"
    );
    let refused = format!("videogen_exporter_task_series_refused_total{{{JOB}}}");
    let label_sets = format!(
        "max(videogen_exporter_label_sets{{{JOB}}} \
         / on (job, instance) group_left () videogen_exporter_label_sets_limit{{{JOB}}})"
    );
    let reload = format!("min(videogen_exporter_config_last_reload_successful{{{JOB}}})");
    let state = format!("min(videogen_exporter_store_up{{{JOB}}})");
    let commit = format!(
        "histogram_quantile(0.95, sum by (le) \
         (rate(videogen_exporter_store_commit_duration_seconds_bucket{{{JOB}}}[$__range])))"
    );
    let logged = format!(r#"videogen_exporter_log_messages_total{{{JOB},level=~"(?i)warn(ing)?|error"}}"#);
    let panels = vec![
        Panel::stat("Exporter", "Whether Prometheus can scrape the exporter.")
            .unit("none")
            .mappings(&words(&[(0, "DOWN", "red"), (1, "UP", "green")]))
            .no_value("not seen")
            .instant(&answers, "{{instance}}"),
        Panel::stat("Version", "Version of the exporter.")
            .unit("none")
            .plain()
            .names_only()
            .no_value("not seen")
            .instant(&version, "{{version}} {{revision}}"),
        Panel::stat(
            "Task series in use",
            "Tasks with per-task series, as a share of metrics.max_task_series. At the limit, the tasks that \
             ended first lose their series.",
        )
        .unit("percentunit")
        .decimals(1)
        .thresholds(&[(None, "green"), (Some(0.8), "orange"), (Some(0.95), "red")])
        .instant(&used, ""),
        Panel::stat(
            "Tasks without series",
            "Tasks without per-task series in the selected range, because of metrics.max_task_series. \
             Counters include them.",
        )
        .unit("short")
        .decimals(0)
        .thresholds(&[(None, "green"), (Some(0.5), "red")])
        .instant(&grown("", &refused), ""),
        Panel::stat(
            "Label sets in use",
            "Combinations of model and aggregate labels of the fullest upstream, as a share of \
             metrics.max_label_sets. From 90 %, new ones become \"other\", first in the last aggregate label.",
        )
        .unit("percentunit")
        .decimals(1)
        .thresholds(&[(None, "green"), (Some(0.85), "orange"), (Some(0.9), "red")])
        .instant(&label_sets, ""),
        Panel::stat(
            "Configuration",
            "OK if the last reload succeeded. OLD if it failed; the old configuration stays in force.",
        )
        .unit("none")
        .mappings(&words(&[(0, "OLD", "red"), (1, "OK", "green")]))
        .instant(&reload, ""),
        Panel::stat(
            "State store",
            "OK if the last write to the state store was committed. FAILED if not: polling goes on, counters \
             pause until it recovers.",
        )
        .unit("none")
        .mappings(&words(&[(0, "FAILED", "red"), (1, "OK", "green")]))
        .instant(&state, ""),
        Panel::stat("State commit p95", "95 % of the transactions of the state store took at most this long.")
            .unit("s")
            .thresholds(&[(None, "green"), (Some(0.25), "orange"), (Some(1.0), "red")])
            .instant(&commit, ""),
        Panel::stat(
            "Warnings and errors logged",
            "Log lines of the exporter with these levels, in the selected range.",
        )
        .unit("short")
        .decimals(0)
        .thresholds(&[(None, "green"), (Some(0.5), "orange")])
        .instant(&format!("{} or vector(0)", grown("", &logged)), ""),
    ];
    // Nine panels in one row of 24 columns: those with a short word are narrower.
    let widths = [2, 3, 3, 3, 3, 2, 2, 3, 3];
    panels.into_iter().zip(widths).map(|(panel, width)| panel.size(width, 4)).collect()
}
