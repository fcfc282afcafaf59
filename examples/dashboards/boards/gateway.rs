//! The gateway dashboard: a whole gateway by channel and by user. It needs the aggregate labels `channel` and `user`, which the list
//! of an administrator brings.

use serde_json::json;

use super::grafana::{Dashboard, upstream, variables};
use super::panel::Panel;
use super::promql::{ERRORS, JUDGED, UPSTREAM, grown, per_minute, quantile, rate};
use super::values::{by_name, colored};

/// Series of tasks whose row told their channel.
const CHANNEL: &str = r#"job=~"$job",instance=~"$instance",upstream=~"$upstream",label_channel!~"|none""#;
/// Series of tasks whose row told their user.
const USER: &str = r#"job=~"$job",instance=~"$instance",upstream=~"$upstream",label_user!~"|none""#;

/// The text of panels without series.
const NO_CHANNEL: &str = "no label channel";
const NO_USER: &str = "no label user";

pub fn dashboard() -> Dashboard {
    let panels = [now(), channels(), users(), reading()];
    Dashboard {
        uid: "videogen-gateway",
        title: "Videogen / Gateway",
        description: "Which channel fails, which user causes it, and what does the gateway make of it? Needs the labels channel and user: \
                      see \"Whole gateways\" in docs/configuration.md.",
        variables: variables([upstream()]),
        panels: panels.into_iter().flatten().collect(),
    }
}

fn finished(labels: &str, statuses: &str) -> String {
    format!(r#"videogen_tasks_finished_total{{{labels},status=~"{statuses}"}}"#)
}

/// The share of tasks that succeeded in the selected range.
fn success(by: &str, labels: &str) -> String {
    let (good, all) = (grown(by, &finished(labels, "succeeded")), grown(by, &finished(labels, JUDGED)));
    format!("({good} or 0 * {all}) / ({all} > 0)")
}

fn made_up(labels: &str) -> String {
    format!(r#"videogen_task_failures_total{{{labels},failure_class="gateway_error"}}"#)
}

fn now() -> Vec<Panel> {
    vec![
        Panel::row("In the selected range"),
        Panel::stat("Success ratio", "Succeeded tasks / tasks that ended without being cancelled.")
            .size(6, 4)
            .unit("percentunit")
            .decimals(1)
            .thresholds(&[(None, "red"), (Some(0.5), "orange"), (Some(0.8), "green")])
            .no_value("no task ended")
            .instant(&success("", CHANNEL), ""),
        Panel::stat("Tasks", "Tasks that ended.")
            .size(6, 4)
            .unit("short")
            .decimals(0)
            .plain()
            .no_value(NO_CHANNEL)
            .instant(&grown("", &finished(CHANNEL, ".+")), ""),
        Panel::stat(
            "Made-up failures",
            "Failures that the gateway made up: one error of the vendor ended a task although the vendor went on.",
        )
        .size(6, 4)
        .unit("short")
        .decimals(0)
        .thresholds(&[(None, "green"), (Some(0.5), "orange")])
        .instant(&format!("{} or vector(0)", grown("", &made_up(CHANNEL))), ""),
        Panel::stat("Quota", "Settled quota of succeeded tasks, in the gateway's units.")
            .size(6, 4)
            .unit("short")
            .plain()
            .no_value("none")
            .instant(&grown("", &format!("videogen_quota_total{{{CHANNEL}}}")), ""),
    ]
}

const GOOD: [(Option<f64>, &str); 3] = [(None, "red"), (Some(0.5), "orange"), (Some(0.8), "transparent")];

fn channels() -> Vec<Panel> {
    let by = "upstream, label_channel";
    let latency = format!(r#"videogen_task_latency_seconds_bucket{{{CHANNEL},status="succeeded"}}[$__range]"#);
    let lag = format!("videogen_gateway_finish_lag_seconds_bucket{{{CHANNEL}}}[$__range]");
    let columns = [
        ("upstream", "Upstream"),
        ("label_channel", "Channel"),
        ("Value #A", "Tasks"),
        ("Value #B", "Success"),
        ("Value #C", "Made up"),
        ("Value #D", "Latency p50"),
        ("Value #E", "Latency p95"),
        ("Value #F", "Finish lag p95"),
        ("Value #G", "Quota"),
    ];
    let series = "{{upstream}} {{label_channel}}";
    vec![
        Panel::row("Channels"),
        Panel::table(
            "Channels",
            "Made up: failures that the gateway made up. Finish lag: from the vendor's finish to the gateway's. Quota: of succeeded \
             tasks, settled.",
        )
        .size(24, 8)
        .no_value(NO_CHANNEL)
        .joined(&columns, &["Time"])
        .columns(vec![
            by_name("Tasks", &[("decimals", json!(0))]),
            colored("Success", "percentunit", 1, &GOOD),
            colored("Made up", "short", 0, &[(None, "transparent"), (Some(0.5), "orange")]),
            by_name("Latency p50", &[("unit", json!("s")), ("decimals", json!(0))]),
            by_name("Latency p95", &[("unit", json!("s")), ("decimals", json!(0))]),
            colored("Finish lag p95", "s", 0, &[(None, "transparent"), (Some(60.0), "orange")]),
        ])
        .sorted_by(&[("Tasks", true)])
        .rows(&grown(by, &finished(CHANNEL, ".+")))
        .rows(&success(by, CHANNEL))
        .rows(&grown(by, &made_up(CHANNEL)))
        .rows(&format!("{} >= 0", quantile("0.50", by, &latency)))
        .rows(&format!("{} >= 0", quantile("0.95", by, &latency)))
        .rows(&format!("{} >= 0", quantile("0.95", by, &lag)))
        .rows(&grown(by, &format!("videogen_quota_total{{{CHANNEL}}}"))),
        Panel::stacked("Failures by channel", "Failed, expired and lost tasks per minute.")
            .unit("short")
            .no_value("no failure")
            .range(&per_minute(by, &finished(CHANNEL, ERRORS)), series),
        Panel::lines(
            "Failure ratio by channel",
            "Failed, expired and lost tasks / tasks that ended without being cancelled, over 15 min. Dashed: 50 %, the alert limit for a \
             model of a channel.",
        )
        .unit("percentunit")
        .limit(0.5)
        .no_value(NO_CHANNEL)
        .range(
            &format!(
                "sum by ({by}) (increase({}[15m])) / (sum by ({by}) (increase({}[15m])) > 0)",
                finished(CHANNEL, ERRORS),
                finished(CHANNEL, JUDGED)
            ),
            series,
        ),
    ]
}

fn users() -> Vec<Panel> {
    let by = "upstream, label_user";
    let columns = [
        ("upstream", "Upstream"),
        ("label_user", "User"),
        ("Value #A", "Tasks"),
        ("Value #B", "Success"),
        ("Value #C", "Failures"),
        ("Value #D", "Quota"),
    ];
    let series = "{{upstream}} {{label_user}}";
    vec![
        Panel::row("Users"),
        Panel::table("Users", "What each user's tasks came to.")
            .size(12, 8)
            .no_value(NO_USER)
            .joined(&columns, &["Time"])
            .columns(vec![
                by_name("Tasks", &[("decimals", json!(0))]),
                colored("Success", "percentunit", 1, &GOOD),
                by_name("Failures", &[("decimals", json!(0))]),
            ])
            .sorted_by(&[("Failures", true)])
            .rows(&grown(by, &finished(USER, ".+")))
            .rows(&success(by, USER))
            .rows(&grown(by, &finished(USER, ERRORS)))
            .rows(&grown(by, &format!("videogen_quota_total{{{USER}}}"))),
        Panel::stacked("Tasks by user", "Ended tasks per minute.")
            .unit("short")
            .no_value(NO_USER)
            .range(&per_minute(by, &finished(USER, ".+")), series),
    ]
}

fn reading() -> Vec<Panel> {
    let readings = format!("videogen_readings_total{{{UPSTREAM}}}");
    let requests = format!("videogen_upstream_requests_total{{{UPSTREAM}}}");
    vec![
        Panel::row("How the gateway is read"),
        Panel::stacked(
            "Readings",
            "Readings of tasks per second: alone (get), as rows of the list, in batches, by callbacks.",
        )
        .unit("ops")
        .no_value("no reading")
        .range(&rate("upstream, via", &readings), "{{upstream}} {{via}}"),
        Panel::stacked(
            "Requests",
            "Requests per second. A page of the list is one request for up to a hundred readings.",
        )
        .unit("reqps")
        .no_value("no request")
        .range(&rate("upstream, operation", &requests), "{{upstream}} {{operation}}"),
    ]
}
