//! `check`: checks the configuration and prints what would run.

use std::collections::BTreeSet;
use std::path::Path;

use super::failure::{Failure, print_line};
use super::runtime::block_on;
use crate::config::{self, PerTask, State, TaskStatusForm};
use crate::source::Source;

/// Series of a task whose every value is known, without its status.
const SERIES_WITHOUT_STATUS: usize = 15;

/// Checks the file and the files it names.
pub fn run(path: &Path) -> Result<(), Failure> {
    let config = config::load(path)?;
    let mut total = 0;
    let mut problems = Vec::new();
    print_line(format_args!("{}: the configuration is valid", path.display()))?;
    for warning in &config.warnings {
        print_line(format_args!("warning: {warning}"))?;
    }
    for upstream in &config.upstreams {
        let auth = if upstream.key.is_some() { "with a key" } else { "without a key" };
        print_line(format_args!(
            "upstream {}: provider {}, {}, {auth}",
            upstream.name,
            upstream.dialect.name(),
            upstream.client.options().base_url
        ))?;
        let polling = &upstream.polling;
        print_line(format_args!(
            "  polled every {}, at most {} requests per second and {} in flight",
            config::ConfigDuration(polling.pace.interval),
            polling.requests_per_second,
            polling.max_in_flight
        ))?;
        let mut ids_of_upstream = BTreeSet::new();
        for (label, mut source) in Source::from_upstream(upstream) {
            if source.is_remote() {
                print_line(format_args!("  source {label}: read only when the exporter runs"))?;
                continue;
            }
            let mut listing = block_on(async { Ok(source.read().await) })?;
            listing.reject_ids(&upstream.dialect, |_| false);
            let ids: BTreeSet<_> = listing.tasks.iter().map(|task| task.id.clone()).collect();
            print_line(format_args!("  source {label}: {} tasks", ids.len()))?;
            ids_of_upstream.extend(ids);
            let origin = format!("upstream {}, source {label}", upstream.name);
            problems.extend(listing.messages.iter().map(|message| format!("\n  {origin}: {message}")));
        }
        if Source::from_upstream(upstream).is_empty() {
            let has_api_key = config.api.iter().any(|key| key.is_for(&upstream.name));
            let why = if has_api_key {
                "only tasks that are registered through the API are polled"
            } else {
                "it is never polled"
            };
            print_line(format_args!("  no source of task ids: {why}"))?;
        }
        total += ids_of_upstream.len();
    }
    match &config.state {
        State::Sqlite(path) => print_line(format_args!("state: {}", path.display())),
        State::Memory => print_line("state: in memory, lost with the process"),
    }?;
    let metrics = &config.file.metrics;
    let status = if metrics.task_status == TaskStatusForm::Set { 8 } else { 1 };
    let with_series = if metrics.per_task == PerTask::Off { 0 } else { total.min(metrics.max_task_series) };
    print_line(format_args!(
        "{total} tasks; up to {} series of their own",
        with_series * (status + SERIES_WITHOUT_STATUS)
    ))?;
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure::Input(format!("files that the configuration names are not valid{}", problems.concat())))
}
