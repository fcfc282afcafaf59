//! The task dashboard, for whoever has a task id: what happened, when, how long did it take, and what did it use?

use super::facts;
use super::grafana::{Dashboard, model, task, team, upstream, variables};
use super::panel::Panel;
use super::promql::{KEY, MODEL, TASK, TASK_INFO, UPSTREAM, latency, of_task, rate, state};
use super::values::{UPSTREAM_PAGE_OF_SERIES, status_words};

pub fn dashboard() -> Dashboard {
    let panels = [facts::numbers(), facts::limits(), facts::identity(), life(), freshness(), context()];
    Dashboard {
        uid: "videogen-task",
        title: "Videogen / Task",
        description: "Everything about one task. Facts stay visible after the task has left /metrics, if the \
        time range includes that time.",
        variables: variables([upstream(), model(), team(), task()]),
        panels: panels.into_iter().flatten().collect(),
    }
}

fn life() -> Vec<Panel> {
    let submitted = format!(
        "(max by ({KEY}) (videogen_task_submit_timestamp_seconds{{{TASK}}}) or max by \
         ({KEY}) (videogen_task_first_seen_timestamp_seconds{{{TASK}}}))"
    );
    let active = format!(r#"max by ({KEY}) (videogen_task_status{{{TASK},status=~"queued|running|unknown"}}) == 1"#);
    vec![
        Panel::row("History"),
        Panel::state_timeline(
            "Status",
            "One stripe per task. A gap means that Prometheus has no sample. An ended task stays \
             on /metrics for tasks.retention.",
        )
        .size(24, 6)
        .unit("none")
        .mappings(&status_words())
        .no_value("not on /metrics in this range")
        .range(&of_task(&state(TASK)), "{{task_id}}"),
        Panel::lines("Progress", "Progress over time. A flat line of a running task means that it does not advance.")
            .legend_below()
            .unit("percentunit")
            .max(1.0)
            .no_value("none reported")
            .range(&of_task(&format!("max by ({KEY}) (videogen_task_progress_ratio{{{TASK}}})")), "{{task_id}}"),
        Panel::lines(
            "Age while active",
            "Time since the submit time of an active task. Dashed: 15 min, the alert limit for \
             queued tasks.",
        )
        .legend_below()
        .unit("s")
        .limit(900.0)
        .no_value("not active in this range")
        .range(&of_task(&format!("(time() - {submitted}) and on ({KEY}) ({active})")), "{{task_id}}"),
    ]
}

fn freshness() -> Vec<Panel> {
    let since = |metric: &str| of_task(&format!("time() - max by ({KEY}) ({metric}{{{TASK}}})"));
    vec![
        Panel::row("Data freshness"),
        Panel::lines(
            "Data age",
            "Time since the last successful poll, and since the last change of status or progress. \
             Both rise after the last poll of an ended task.",
        )
        .legend_below()
        .unit("s")
        .no_value("not on /metrics in this range")
        .range(&since("videogen_task_last_poll_timestamp_seconds"), "poll {{task_id}}")
        .range(&since("videogen_task_last_change_timestamp_seconds"), "change {{task_id}}"),
        Panel::lines(
            "Consecutive failed polls",
            "Failed polls of this task in a row. The next successful poll resets it to 0.",
        )
        .legend_below()
        .unit("short")
        .soft_max(5.0)
        .no_value("not on /metrics in this range")
        .range(&of_task(&format!("max by ({KEY}) (videogen_task_consecutive_poll_failures{{{TASK}}})")), "{{task_id}}"),
    ]
}

fn context() -> Vec<Panel> {
    // The models and upstreams of the selected tasks, if these were on /metrics at any time in the range.
    let chosen = |by: &str| {
        format!(
            "and on ({by}) max by ({by}) \
             (last_over_time(videogen_task_info{{{TASK_INFO}}}[$__range] @ end()))"
        )
    };
    let latency =
        |q: &str| format!("{} {}", latency(q, "job, upstream, model", MODEL, "1h"), chosen("job, upstream, model"));
    let errors = rate("job, upstream, reason", &format!("videogen_upstream_request_errors_total{{{UPSTREAM}}}"));
    let errors = format!("{errors} {}", chosen("job, upstream"));
    vec![
        Panel::row("Comparison"),
        Panel::lines(
            "Latency of the same model",
            "Latency of succeeded tasks of this model at this upstream, over 1 h. It shows whether \
             only this task is slow.",
        )
        .legend_below()
        .unit("s")
        .no_value("none succeeded")
        .range(&latency("0.50"), "p50 {{model}} at {{upstream}}, {{latency_source}}")
        .range(&latency("0.95"), "p95 {{model}} at {{upstream}}, {{latency_source}}"),
        Panel::lines(
            "Errors of the same upstream",
            "Failed requests per second to the upstream of this task, by reason. Click a series to \
             open the upstream dashboard.",
        )
        .legend_below()
        .unit("reqps")
        .link("Upstream dashboard", UPSTREAM_PAGE_OF_SERIES)
        .no_value("no error")
        .range(&errors, "{{upstream}} {{reason}}"),
    ]
}
