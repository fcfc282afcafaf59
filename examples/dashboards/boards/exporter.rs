//! The exporter dashboard, for whoever runs it: is it well, what does it need, and what does it leave out?

use super::grafana::{Dashboard, variables};
use super::panel::Panel;
use super::promql::{JOB, exporters_up, grown, quantile};
use super::values::words;

pub fn dashboard() -> Dashboard {
    let panels = [now(), process(), scrapes(), state(), work()];
    Dashboard {
        uid: "videogen-exporter",
        title: "Videogen / Exporter",
        description: "Is the exporter well, what does it need, and what does it leave out?",
        variables: variables([]),
        panels: panels.into_iter().flatten().collect(),
    }
}

fn gauge(metric: &str) -> String {
    format!("max by (instance) ({metric}{{{JOB}}})")
}

fn per_second(metric: &str, by: &str) -> String {
    format!("sum by ({by}) (rate({metric}{{{JOB}}}[$__rate_interval]))")
}

/// The share of a limit.
fn used(metric: &str, limit: &str) -> String {
    format!("max by (instance) ({metric}{{{JOB}}} / on (job, instance) group_left () ({limit}{{{JOB}}} > 0))")
}

const SERIES: [&str; 2] = ["videogen_exporter_task_series_tasks", "videogen_exporter_task_series_limit"];
const LABEL_SETS: [&str; 2] = ["videogen_exporter_label_sets", "videogen_exporter_label_sets_limit"];

fn now() -> Vec<Panel> {
    let version = format!("max by (instance, version, revision) (videogen_exporter_build_info{{{JOB}}})");
    let share = |title: &str, text: &str, [metric, limit]: [&str; 2]| {
        Panel::stat(title, text)
            .size(3, 4)
            .unit("percentunit")
            .decimals(1)
            .thresholds(&[(None, "green"), (Some(0.85), "orange"), (Some(0.9), "red")])
            .no_value("not told")
            .instant(&used(metric, limit), "{{instance}}")
    };
    let lost = |metric: &str| format!("{} or vector(0)", grown("", &format!("{metric}{{{JOB}}}")));
    let none = [(None, "green"), (Some(0.5), "red")];
    vec![
        Panel::row("Now"),
        Panel::stat("Exporters", "Whether Prometheus can scrape each exporter.")
            .unit("none")
            .mappings(&words(&[(0, "away", "red"), (1, "up", "green")]))
            .no_value("not seen")
            .instant(&exporters_up(), "{{instance}}"),
        Panel::stat("Version", "Versions of the exporters.")
            .unit("none")
            .plain()
            .names_only()
            .no_value("not seen")
            .instant(&version, "{{version}} {{revision}}"),
        share("Task series in use", "Tasks with series of their own, as a share of metrics.max_task_series.", SERIES),
        share(
            "Label sets in use",
            "Combinations of model and aggregate labels of the fullest upstream, as a share of metrics.max_label_sets. From 90 % on, \
             new ones become \"other\".",
            LABEL_SETS,
        ),
        Panel::stat("Configuration", "OK if the last reload succeeded. OLD if it failed; the old configuration stays in force.")
            .size(2, 4)
            .unit("none")
            .mappings(&words(&[(0, "OLD", "red"), (1, "OK", "green")]))
            .no_value("not told")
            .instant(&format!("min(videogen_exporter_config_last_reload_successful{{{JOB}}})"), ""),
        Panel::stat(
            "State store",
            "OK if the last write to the state store was committed. FAILED if not: polling goes on, counters pause until it recovers.",
        )
        .size(2, 4)
        .unit("none")
        .mappings(&words(&[(0, "FAILED", "red"), (1, "OK", "green")]))
        .no_value("not told")
        .instant(&format!("min(videogen_exporter_store_up{{{JOB}}})"), ""),
        Panel::stat("Left out", "Tasks refused series, label sets folded, and log lines dropped in the selected range.")
            .size(3, 4)
            .unit("short")
            .decimals(0)
            .thresholds(&none)
            .instant(
                &format!(
                    "({}) + ({}) + ({})",
                    lost("videogen_exporter_task_series_refused_total"),
                    lost("videogen_exporter_label_sets_folded_total"),
                    lost("videogen_exporter_log_lines_dropped_total")
                ),
                "",
            ),
        Panel::stat("Restarts", "How often the process of an exporter was started again in the selected range, under the same instance.")
            .size(3, 4)
            .unit("short")
            .decimals(0)
            .plain()
            .no_value("not told")
            .instant(&format!("sum(changes(process_start_time_seconds{{{JOB}}}[$__range]))"), ""),
    ]
}

fn process() -> Vec<Panel> {
    vec![
        Panel::row("Process"),
        Panel::lines("CPU", "CPU time per second of each exporter; 100 % is one core.")
            .size(8, 7)
            .unit("percentunit")
            .no_value("not told")
            .range(&per_second("process_cpu_seconds_total", "instance"), "{{instance}}"),
        Panel::lines("Memory", "Resident memory of each exporter.")
            .size(8, 7)
            .unit("bytes")
            .no_value("not told")
            .range(&gauge("process_resident_memory_bytes"), "{{instance}}"),
        Panel::lines(
            "Open files",
            "Open file descriptors. Requests in flight take at most three eighths of the limit.",
        )
        .size(8, 7)
        .unit("short")
        .no_value("not told")
        .range(&gauge("process_open_fds"), "{{instance}}"),
    ]
}

fn scrapes() -> Vec<Panel> {
    let samples = format!(
        "max by (instance) (scrape_samples_scraped{{{JOB}}} and on (job, instance) videogen_exporter_build_info)"
    );
    let took = format!(
        "max by (instance) (scrape_duration_seconds{{{JOB}}} and on (job, instance) videogen_exporter_build_info)"
    );
    vec![
        Panel::row("Scrapes"),
        Panel::lines(
            "Duration",
            "How long Prometheus takes to read a page, and how long the exporter takes to render it.",
        )
        .size(8, 7)
        .unit("s")
        .no_value("not told")
        .range(&took, "{{instance}} scrape")
        .range(&gauge("videogen_exporter_render_duration_seconds"), "{{instance}} render"),
        Panel::lines("Page size", "Size of the last page in each format, before compression.")
            .size(8, 7)
            .unit("bytes")
            .no_value("not told")
            .range(
                &format!("max by (instance, format) (videogen_exporter_exposition_bytes{{{JOB}}})"),
                "{{instance}} {{format}}",
            ),
        Panel::lines("Samples", "Samples of a page; the series that an exporter costs Prometheus.")
            .size(8, 7)
            .unit("short")
            .no_value("not told")
            .range(&samples, "{{instance}}"),
        Panel::lines("Tasks with series", "Tasks with series of their own, and their limit, metrics.max_task_series.")
            .size(8, 7)
            .unit("short")
            .no_value("not told")
            .range(&gauge(SERIES[0]), "{{instance}}")
            .range(&gauge(SERIES[1]), "{{instance}} limit"),
        Panel::lines("Label sets", "Combinations of model and aggregate labels that have counters, by upstream.")
            .size(8, 7)
            .unit("short")
            .no_value("not told")
            .range(&format!("max by (instance, upstream) (videogen_exporter_label_sets{{{JOB}}})"), "{{upstream}}"),
        Panel::bars("Left out", "Tasks refused series, label sets folded and log lines dropped, per minute.")
            .size(8, 7)
            .unit("short")
            .every("1m")
            .no_value("nothing")
            .range(
                &format!("60 * ({}) > 0", per_second("videogen_exporter_task_series_refused_total", "instance")),
                "tasks {{instance}}",
            )
            .range(
                &format!("60 * ({}) > 0", per_second("videogen_exporter_label_sets_folded_total", "instance")),
                "label sets {{instance}}",
            )
            .range(
                &format!("60 * ({}) > 0", per_second("videogen_exporter_log_lines_dropped_total", "instance")),
                "log lines {{instance}}",
            ),
    ]
}

fn state() -> Vec<Panel> {
    let commits = format!("videogen_exporter_store_commit_duration_seconds_bucket{{{JOB}}}[$__rate_interval]");
    vec![
        Panel::row("State"),
        Panel::lines("Commits per second", "Transactions of the state store, and those that failed.")
            .size(8, 7)
            .unit("ops")
            .no_value("not told")
            .range(&per_second("videogen_exporter_store_commit_duration_seconds_count", "instance"), "{{instance}}")
            .range(
                &format!("{} > 0", per_second("videogen_exporter_store_errors_total", "instance")),
                "{{instance}} failed",
            ),
        Panel::lines("Commit p95", "95 % of the transactions took at most this long.")
            .size(8, 7)
            .unit("s")
            .no_value("not told")
            .range(&format!("{} >= 0", quantile("0.95", "instance", &commits)), "{{instance}}"),
        Panel::lines("Size", "Size of the state's database and its log.")
            .size(4, 7)
            .unit("bytes")
            .no_value("in memory")
            .range(&gauge("videogen_exporter_state_bytes"), "{{instance}}"),
        Panel::lines("Pending commits", "Ends of tasks that wait until the state store can be written.")
            .size(4, 7)
            .unit("short")
            .no_value("not told")
            .range(&gauge("videogen_exporter_store_pending_commits"), "{{instance}}"),
    ]
}

fn work() -> Vec<Panel> {
    let lag = format!("videogen_poll_lag_seconds_bucket{{{JOB}}}[$__rate_interval]");
    vec![
        Panel::row("Work"),
        Panel::lines("Requests per second", "Requests to upstreams, by what they read.")
            .size(8, 7)
            .unit("reqps")
            .no_value("no request yet")
            .range(&per_second("videogen_upstream_requests_total", "instance, operation"), "{{instance}} {{operation}}"),
        Panel::lines("Readings per second", "Good readings of tasks, by how they came.")
            .size(8, 7)
            .unit("ops")
            .no_value("no reading yet")
            .range(&per_second("videogen_readings_total", "instance, via"), "{{instance}} {{via}}"),
        Panel::lines("Poll lag p95", "How much later than due 95 % of the polls were sent: our own backlog.")
            .size(8, 7)
            .unit("s")
            .no_value("no poll yet")
            .range(&format!("{} >= 0", quantile("0.95", "instance", &lag)), "{{instance}}"),
        Panel::bars("Log messages per minute", "Warnings and errors in the log.")
            .size(12, 7)
            .unit("short")
            .every("1m")
            .no_value("no warning")
            .range(
                &format!(r#"60 * sum by (instance, level) (rate(videogen_exporter_log_messages_total{{{JOB},level=~"(?i)warn(ing)?|error"}}[$__rate_interval])) > 0"#),
                "{{instance}} {{level}}",
            ),
        Panel::bars("Refused clients per minute", "Requests to the API and to webhooks that were refused, by reason.")
            .size(12, 7)
            .unit("short")
            .every("1m")
            .no_value("none refused")
            .range(&format!("60 * ({}) > 0", per_second("videogen_exporter_auth_failures_total", "instance, reason")), "{{instance}} {{reason}}"),
    ]
}
