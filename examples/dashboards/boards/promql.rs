//! `PromQL` that several panels share: matchers, the join with the model of a task, the status as a number.

/// Series of the selected exporters.
pub const JOB: &str = r#"job=~"$job",instance=~"$instance""#;
/// Series of the selected upstreams.
pub const UPSTREAM: &str = r#"job=~"$job",instance=~"$instance",upstream=~"$upstream""#;
/// Series of the selected models and teams; for `videogen_task_info`, their tasks.
pub const MODEL: &str =
    r#"job=~"$job",instance=~"$instance",upstream=~"$upstream",model=~"$model",label_team=~"$team""#;
/// Per-task series of the selected tasks. Only `videogen_task_info` has the model.
pub const TASK: &str = r#"job=~"$job",instance=~"$instance",upstream=~"$upstream",task_id=~"$task""#;
/// The selected tasks in `videogen_task_info`.
pub const TASK_INFO: &str =
    r#"job=~"$job",instance=~"$instance",upstream=~"$upstream",model=~"$model",label_team=~"$team",task_id=~"$task""#;

/// The labels that identify a task, whichever exporter instance exposes it.
pub const KEY: &str = "job, upstream, task_id";

/// The statuses that count as errors.
pub const ERRORS: &str = "failed|expired|lost";
/// The statuses in the denominator of an error ratio. Cancelled tasks do not count.
pub const JUDGED: &str = "succeeded|failed|expired|lost";

/// The codes of the statuses, in the order in which `state` checks them.
///
/// Ends come first: two exporter instances may expose the same task, one of them with an older status.
const STATES: [(u8, &str); 8] = [
    (3, "succeeded"),
    (4, "failed"),
    (5, "cancelled"),
    (6, "expired"),
    (7, "lost"),
    (2, "running"),
    (1, "queued"),
    (8, "unknown"),
];

/// `x` (one series per task) of those of `tasks` whose model and team are selected, with both as labels.
pub fn of_model_among(x: &str, tasks: &str) -> String {
    let info = format!("max by ({KEY}, model, label_team) (videogen_task_info{{{MODEL}}})");
    format!("({x}) * on ({KEY}) group_left (model, label_team) topk by ({KEY}) (1, {info} and on ({KEY}) ({tasks}))")
}

/// `x` (one series per task) of the selected tasks.
pub fn of_task(x: &str) -> String {
    format!("({x}) and on ({KEY}) max by ({KEY}) (videogen_task_info{{{TASK_INFO}}})")
}

/// Like [`of_task`], including tasks that left `/metrics` within the range.
pub fn of_past_task(x: &str) -> String {
    let info = format!("last_over_time(videogen_task_info{{{TASK_INFO}}}[$__range])");
    format!("({x}) and on ({KEY}) max by ({KEY}) ({info})")
}

/// The last value of a per-task metric within the range.
pub fn fact(metric: &str) -> String {
    of_past_task(&format!("max by ({KEY}) (last_over_time({metric}{{{TASK}}}[$__range]))"))
}

/// The status of each task as a number: 1 queued, 2 running, 3 succeeded, 4 failed, 5 cancelled, 6 expired, 7 lost, 8 unknown.
pub fn state(matchers: &str) -> String {
    state_of(|status| format!(r#"videogen_task_status{{{matchers},status="{status}"}}"#))
}

/// The last status within the range, as a number.
pub fn past_state(matchers: &str) -> String {
    state_of(|status| format!(r#"last_over_time(videogen_task_status{{{matchers},status="{status}"}}[$__range])"#))
}

fn state_of(selector: impl Fn(&str) -> String) -> String {
    STATES
        .iter()
        .map(|(code, status)| format!("{code} * max by ({KEY}) ({} == 1)", selector(status)))
        .collect::<Vec<_>>()
        .join(" or ")
}

/// Firing alerts of ours. Alerts about the exporter have no upstream; that there is none has no job.
pub fn alerts(matchers: &str) -> String {
    let comma = if matchers.is_empty() { "" } else { "," };
    format!(r#"ALERTS{{job=~"$job|",alertname=~"Videogen.*",alertstate="firing"{comma}{matchers}}}"#)
}

/// Whether each known exporter can be scraped, by instance. One that cannot has no `build_info`: the last known one counts.
pub fn exporters_up() -> String {
    format!(
        "min by (instance) (up{{{JOB}}} * on (job, instance) group_left () \
         max by (job, instance) (last_over_time(videogen_exporter_build_info{{{JOB}}}[1d])))"
    )
}

/// The state of each upstream: 0 does not answer, 1 answers, 2 is not known because an exporter cannot be scraped, 3 refuses, 4 answers
/// some exporters only.
pub fn upstream_state() -> String {
    let refuses = format!(
        r#"max by (upstream) (videogen_upstream_consecutive_refusals{{{UPSTREAM},operation!~"balance|quota_per_unit"}}) >= 3"#
    );
    let up = format!("videogen_upstream_up{{{UPSTREAM}}}");
    // An upstream that is gone from an exporter that answers is not unknown.
    let away = format!("(up{{{JOB}}} == 0 or last_over_time(up{{{JOB}}}[6h]) unless on (job, instance) up{{{JOB}}})");
    format!(
        "(0 * ({refuses}) + 3 or 0 * (min by (upstream) ({up}) < max by (upstream) ({up})) + 4 or min by (upstream) ({up}) \
         or 0 * min by (upstream) (last_over_time({up}[6h]) and on (job, instance) {away}) + 2)"
    )
}

/// The exporters that do not reach an upstream that others reach: 0.
pub fn partial_outages() -> String {
    let up = format!("videogen_upstream_up{{{UPSTREAM}}}");
    format!(
        "min by (upstream, instance) ({up} == 0 and on (upstream) (min by (upstream) ({up}) < max by (upstream) ({up})))"
    )
}

/// A quantile of histogram buckets; `by` is the labels to keep.
pub fn quantile(quantile: &str, by: &str, bucket: &str) -> String {
    let by = if by.is_empty() { "le".to_owned() } else { format!("le, {by}") };
    format!("histogram_quantile({quantile}, sum by ({by}) (rate({bucket})))")
}

/// A quantile of the latency of succeeded tasks, by these labels and `latency_source`: told, or where fewer than half of a
/// model's tasks tell it, observed.
pub fn latency(quantile: &str, by: &str, matchers: &str, range: &str) -> String {
    const KEY: &str = "job, upstream, model";
    let more = by.split(", ").filter(|label| !label.is_empty() && !KEY.split(", ").any(|key| key == *label));
    let keys = std::iter::once(KEY).chain(more).collect::<Vec<_>>().join(", ");
    let family = |name: &str, part: &str| {
        format!(r#"videogen_task_{name}_seconds_{part}{{{matchers},status="succeeded"}}[{range}]"#)
    };
    let of = |name: &str, source: &str| {
        let buckets = format!("sum by (le, {keys}) (rate({}))", family(name, "bucket"));
        format!(r#"label_replace({buckets}, "latency_source", "{source}", "", "")"#)
    };
    let (told, observed) = (of("latency", "told"), of("observed_latency", "observed"));
    let count = |name: &str| format!("sum by ({keys}) (increase({}))", family(name, "count"));
    let (told_count, observed_count) = (count("latency"), count("observed_latency"));
    let by = if by.is_empty() { String::new() } else { format!("{by}, ") };
    format!(
        "histogram_quantile({quantile}, sum by (le, {by}latency_source) \
         (({told} and on ({keys}) {told_count} > 0 unless on ({keys}) 2 * {told_count} < {observed_count}) \
         or on (le, {keys}) {observed})) >= 0"
    )
}

/// The increase of a counter over the range; `by` is the labels to keep.
pub fn grown(by: &str, selector: &str) -> String {
    let by = if by.is_empty() { String::new() } else { format!(" by ({by})") };
    format!("sum{by} (increase({selector}[$__range]))")
}

/// The rate of a counter, without series that did not increase in the whole range.
pub fn rate(by: &str, selector: &str) -> String {
    format!(
        "sum by ({by}) (rate({selector}[$__rate_interval])) \
         and on ({by}) sum by ({by}) (increase({selector}[$__range] @ end())) > 0"
    )
}

/// Like [`rate`], per minute.
pub fn per_minute(by: &str, selector: &str) -> String {
    format!("60 * ({})", rate(by, selector))
}
