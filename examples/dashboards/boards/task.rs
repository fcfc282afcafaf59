//! The life of one task, for whoever holds its id: what happened, when, how long, and what it used.

use super::facts;
use super::grafana::{Dashboard, job, model, task, upstream};
use super::panel::Panel;
use super::promql::{KEY, MODEL, TASK, TASK_INFO, UPSTREAM, of_task, quantile, rate, state};
use super::values::{UPSTREAM_PAGE_OF_SERIES, status_words};

pub fn dashboard() -> Dashboard {
    let panels = [facts::numbers(), facts::limits(), facts::identity(), life(), freshness(), context()];
    Dashboard {
        uid: "videogen-task",
        title: "Videogen / Task",
        description: "The life of a task. Its facts stay readable after it has left /metrics, as long \
        as the time range covers it.",
        variables: vec![job(), upstream(), model(), task()],
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
        Panel::row("Life"),
        Panel::state_timeline(
            "Status",
            "A stripe for each task. A gap means that Prometheus had no sample; after its end \
             a task stays for the exporter's retention.",
        )
        .size(24, 6)
        .unit("none")
        .mappings(&status_words())
        .no_value("not on /metrics in this range")
        .range(&of_task(&state(TASK)), "{{task_id}}"),
        Panel::lines("Progress", "Progress over time. A flat line while the task runs is one that does not move.")
            .legend_below()
            .unit("percentunit")
            .max(1.0)
            .no_value("none reported")
            .range(&of_task(&format!("max by ({KEY}) (videogen_task_progress_ratio{{{TASK}}})")), "{{task_id}}"),
        Panel::lines(
            "Time in flight",
            "Time since submission while the task has not ended. Dashed: 15 min, where a task \
             that is still queued raises an alert.",
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
        Panel::row("How far to trust it"),
        Panel::lines(
            "Age of what we know",
            "Time since the last good answer, and since status or progress last changed. An \
             ended task is no longer asked, so there both climb.",
        )
        .legend_below()
        .unit("s")
        .no_value("not on /metrics in this range")
        .range(&since("videogen_task_last_poll_timestamp_seconds"), "answer {{task_id}}")
        .range(&since("videogen_task_last_change_timestamp_seconds"), "change {{task_id}}"),
        Panel::lines(
            "Polls failed in a row",
            "Questions about this task without a good answer; the next good one sets it to 0.",
        )
        .legend_below()
        .unit("short")
        .soft_max(5.0)
        .no_value("not on /metrics in this range")
        .range(&of_task(&format!("max by ({KEY}) (videogen_task_consecutive_poll_failures{{{TASK}}})")), "{{task_id}}"),
    ]
}

fn context() -> Vec<Panel> {
    // The models and upstreams of the chosen tasks, whenever in the range those were on /metrics.
    let chosen = |by: &str| {
        format!(
            "and on ({by}) max by ({by}) \
             (last_over_time(videogen_task_info{{{TASK_INFO}}}[$__range] @ end()))"
        )
    };
    let bucket = format!(r#"videogen_task_latency_seconds_bucket{{{MODEL},status="succeeded"}}[1h]"#);
    let latency =
        |q: &str| format!("{} {}", quantile(q, "job, upstream, model", &bucket), chosen("job, upstream, model"));
    let errors = rate("job, upstream, reason", &format!("videogen_upstream_request_errors_total{{{UPSTREAM}}}"));
    let errors = format!("{errors} {}", chosen("job, upstream"));
    vec![
        Panel::row("In context"),
        Panel::lines(
            "Latency of the same model",
            "Latency of succeeded tasks of this model at this upstream, over 1 h: is the task \
             slow, or are all of them?",
        )
        .legend_below()
        .unit("s")
        .no_value("none succeeded")
        .range(&latency("0.50"), "p50 {{model}} at {{upstream}}")
        .range(&latency("0.95"), "p95 {{model}} at {{upstream}}"),
        Panel::lines(
            "Errors of the same upstream",
            "Failed requests to this task's upstream per second, by reason. A click leads to \
             the upstream's page.",
        )
        .legend_below()
        .unit("reqps")
        .link("Upstream page", UPSTREAM_PAGE_OF_SERIES)
        .no_value("no error")
        .range(&errors, "{{upstream}} {{reason}}"),
    ]
}
