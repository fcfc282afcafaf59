//! The `PromQL` that several panels share: matchers, the join with a task's model, the state as a number.

/// Everything of the chosen exporters.
pub const JOB: &str = r#"job=~"$job""#;
/// Everything of the chosen upstreams.
pub const UPSTREAM: &str = r#"job=~"$job",upstream=~"$upstream""#;
/// Everything of the chosen models, and for `videogen_task_info` the tasks that belong to them.
pub const MODEL: &str = r#"job=~"$job",upstream=~"$upstream",model=~"$model""#;
/// The chosen tasks of a per-task family; the model is in `videogen_task_info` alone.
pub const TASK: &str = r#"job=~"$job",upstream=~"$upstream",task_id=~"$task""#;
/// The chosen tasks in `videogen_task_info`.
pub const TASK_INFO: &str = r#"job=~"$job",upstream=~"$upstream",model=~"$model",task_id=~"$task""#;

/// What makes a task's series one task's, whichever agent shows them.
pub const KEY: &str = "job, upstream, task_id";

/// The statuses that an error ratio counts as errors.
pub const ERRORS: &str = "failed|expired|lost";
/// The statuses that an error ratio counts at all: a cancelled task is nobody's error.
pub const JUDGED: &str = "succeeded|failed|expired|lost";

/// The order in which `state` looks for a status.
///
/// Ends come first: after a handover the agent that gave a task away has shown an earlier status last.
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

/// `x`, which has one series a task, kept where the model is chosen and labelled with it.
pub fn of_model(x: &str) -> String {
    let info = format!("max by ({KEY}, model) (videogen_task_info{{{MODEL}}})");
    format!("({x}) * on ({KEY}) group_left (model) topk by ({KEY}) (1, {info})")
}

/// `x`, which has one series a task, kept where the task is chosen.
pub fn of_task(x: &str) -> String {
    format!("({x}) and on ({KEY}) max by ({KEY}) (videogen_task_info{{{TASK_INFO}}})")
}

/// The same for what was so within the range, also when the task has left `/metrics` since.
pub fn of_past_task(x: &str) -> String {
    let info = format!("last_over_time(videogen_task_info{{{TASK_INFO}}}[$__range])");
    format!("({x}) and on ({KEY}) max by ({KEY}) ({info})")
}

/// The last value of a family with one series a task.
pub fn fact(metric: &str) -> String {
    of_past_task(&format!("max by ({KEY}) (last_over_time({metric}{{{TASK}}}[$__range]))"))
}

/// Each task's status as a number: 1 queued, 2 running, 3 succeeded, 4 failed, 5 cancelled, 6 expired, 7 lost, 8 unknown.
pub fn state(matchers: &str) -> String {
    state_of(|status| format!(r#"videogen_task_status{{{matchers},status="{status}"}}"#))
}

/// The last status within the range as a number.
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

/// Our alerts that fire; those about the exporter itself have no upstream.
pub fn alerts(matchers: &str) -> String {
    let comma = if matchers.is_empty() { "" } else { "," };
    format!(r#"ALERTS{{job=~"$job",alertname=~"Videogen.*",alertstate="firing"{comma}{matchers}}}"#)
}

/// A quantile of a histogram's buckets, `by` the labels that stay.
pub fn quantile(quantile: &str, by: &str, bucket: &str) -> String {
    let by = if by.is_empty() { "le".to_owned() } else { format!("le, {by}") };
    format!("histogram_quantile({quantile}, sum by ({by}) (rate({bucket})))")
}

/// How much a counter grew over the range, `by` the labels that stay.
pub fn grown(by: &str, selector: &str) -> String {
    let by = if by.is_empty() { String::new() } else { format!(" by ({by})") };
    format!("sum{by} (increase({selector}[$__range]))")
}

/// How fast a counter grows, without the series that did not grow in the whole range.
pub fn rate(by: &str, selector: &str) -> String {
    format!(
        "sum by ({by}) (rate({selector}[$__rate_interval])) \
         and on ({by}) sum by ({by}) (increase({selector}[$__range] @ end())) > 0"
    )
}

/// The same per minute.
pub fn per_minute(by: &str, selector: &str) -> String {
    format!("60 * ({})", rate(by, selector))
}
