//! The overview dashboard, for whoever is on call: do tasks finish, how fast, and which do not?

use super::glance;
use super::grafana::{Dashboard, model, team, upstream, variables};
use super::lists;
use super::panel::Panel;
use super::promql::{ERRORS, JUDGED, MODEL, grown, latency, per_minute, quantile};
use super::values::UPSTREAM_PAGE_OF_SERIES;

pub fn dashboard() -> Dashboard {
    let panels = [glance::numbers(), flow(), speed(), failures(), usage(), lists::tasks()];
    Dashboard {
        uid: "videogen-overview",
        title: "Videogen / Overview",
        description: "Do tasks finish, how fast, and which do not? For what is wrong now, start at Triage.",
        variables: variables([upstream(), model(), team()]),
        panels: panels.into_iter().flatten().collect(),
    }
}

fn flow() -> Vec<Panel> {
    let finished = format!("videogen_tasks_finished_total{{{MODEL}}}");
    let transitions = format!("videogen_status_transitions_total{{{MODEL}}}");
    let oldest = format!(
        "time() - min by (upstream, status) \
         (videogen_oldest_active_task_submit_timestamp_seconds{{{MODEL}}})"
    );
    vec![
        Panel::row("Flow"),
        Panel::stacked("Tasks by status", "Tasks that are active, or that ended within tasks.retention.")
            .unit("short")
            .colored_by_status()
            .no_value("no task")
            .range(&format!("sum by (status) (videogen_tasks{{{MODEL}}}) > 0"), "{{status}}"),
        Panel::bars("Ends per minute", "Tasks that ended, per minute, by status.")
            .unit("short")
            .colored_by_status()
            .every("5m")
            .no_value("none ended")
            .range(&per_minute("status", &finished), "{{status}}"),
        Panel::lines(
            "Oldest active task",
            "Time since the oldest task in each status was submitted. A line that only rises \
             means a stuck task. Dashed: 15 min, the alert limit for queued tasks.",
        )
        .unit("s")
        .limit(900.0)
        .no_value("none active")
        .range(&oldest, "{{upstream}} {{status}}"),
        Panel::bars(
            "Status changes per minute",
            "Changes of status, per minute. If queued → running stops while submissions go on, \
             the upstream lacks capacity.",
        )
        .unit("short")
        .every("5m")
        .no_value("no change")
        .range(&per_minute("from, to", &transitions), "{{from}} → {{to}}"),
    ]
}

fn speed() -> Vec<Panel> {
    let queue = format!("videogen_task_queue_seconds_bucket{{{MODEL}}}[15m]");
    let run = format!("videogen_task_run_seconds_bucket{{{MODEL}}}[15m]");
    vec![
        Panel::row("Durations"),
        Panel::lines(
            "Latency",
            "Submit to finish of succeeded tasks, over 15 min: as told, or for models whose upstream tells no times, as the exporter \
             observed it. Dashed: 20 min, the alert limit.",
        )
        .size(8, 9)
        .no_value("none ended")
        .unit("s")
        .limit(1200.0)
        .exemplars(&latency("0.50", "", MODEL, "15m"), "p50 {{latency_source}}", "time_series")
        .exemplars(&latency("0.95", "", MODEL, "15m"), "p95 {{latency_source}}", "time_series")
        .exemplars(&latency("0.99", "", MODEL, "15m"), "p99 {{latency_source}}", "time_series"),
        Panel::lines(
            "Queue and run time",
            "Submit to start, and start to finish, over 15 min. A long queue time means missing \
             capacity; a long run time means a slow model.",
        )
        .size(8, 9)
        .no_value("none ended")
        .unit("s")
        .range(&quantile("0.50", "", &queue), "queue p50")
        .range(&quantile("0.95", "", &queue), "queue p95")
        .range(&quantile("0.50", "", &run), "run p50")
        .range(&quantile("0.95", "", &run), "run p95"),
        Panel::heatmap(
            "Latency distribution",
            "Latencies of ended tasks over time, all statuses. If Prometheus stores exemplars, \
             each names a task.",
        )
        .size(8, 9)
        .every("5m")
        .no_value("none ended")
        .unit("s")
        .exemplars(
            &format!(
                "sum by (le) \
                 (increase(videogen_task_latency_seconds_bucket{{{MODEL}}}[$__rate_interval]))"
            ),
            "{{le}}",
            "heatmap",
        ),
    ]
}

fn failures() -> Vec<Panel> {
    let ends = |statuses: &str| {
        format!(r#"sum by (upstream) (rate(videogen_tasks_finished_total{{{MODEL},status=~"{statuses}"}}[1h]))"#)
    };
    let by_class = per_minute("failure_class", &format!("videogen_task_failures_total{{{MODEL}}}"));
    let by_model = grown("model, status", &format!(r#"videogen_tasks_finished_total{{{MODEL},status=~"{ERRORS}"}}"#));
    vec![
        Panel::row("Failures"),
        Panel::lines(
            "Error ratio",
            "(failed + expired + lost) / (these + succeeded), over 1 h. Dashed: 5 %, the error budget.",
        )
        .size(8, 9)
        .unit("percentunit")
        .limit(0.05)
        .link("Upstream dashboard", UPSTREAM_PAGE_OF_SERIES)
        .no_value("none ended")
        .range(&format!("{} / ({} > 0)", ends(ERRORS), ends(JUDGED)), "{{upstream}}"),
        Panel::bars(
            "Failures per minute by class",
            "Ends other than succeeded, by failure class. The class comes from the upstream's error code.",
        )
        .size(8, 9)
        .unit("short")
        .colored_by_class()
        .no_value("no failure")
        .every("5m")
        .range(&by_class, "{{failure_class}}"),
        Panel::bar_gauge("Failures by model", "Failed, expired and lost tasks in the selected range.")
            .size(8, 9)
            .unit("short")
            .decimals(0)
            .thresholds(&[(None, "green"), (Some(0.5), "orange"), (Some(9.5), "red")])
            .no_value("no failure")
            .instant(&format!("sort_desc({by_model} > 0)"), "{{model}} {{status}}"),
    ]
}

fn usage() -> Vec<Panel> {
    vec![
        Panel::row("Usage"),
        Panel::bars("Tokens per minute", "Tokens of ended tasks, by model and token type.")
            .size(8, 9)
            .every("5m")
            .unit("short")
            .no_value("none reported")
            .range(
                &per_minute("model, token_type", &format!("videogen_tokens_total{{{MODEL}}}")),
                "{{model}} {{token_type}}",
            ),
        Panel::bars("Video seconds per minute", "Seconds of video of succeeded tasks, by resolution.")
            .size(8, 9)
            .every("5m")
            .unit("s")
            .no_value("none reported")
            .range(&per_minute("resolution", &format!("videogen_video_seconds_total{{{MODEL}}}")), "{{resolution}}"),
        Panel::lines(
            "Quota per minute",
            "Quota that each gateway charged. Each gateway has its own units: do not compare two lines.",
        )
        .size(8, 9)
        .every("5m")
        .unit("short")
        .no_value("none reported")
        .range(&per_minute("upstream", &format!("videogen_quota_total{{{MODEL}}}")), "{{upstream}}"),
    ]
}
