//! `check`: is the configuration right, and what would run?

use std::collections::BTreeSet;
use std::path::Path;

use super::failure::{Failure, say};
use super::runtime::wait_for;
use crate::config::{self, PerTask, State, TaskStatusForm};
use crate::source::Source;

/// Lines of a task beside its status, where everything is known.
const LINES_BESIDE_STATUS: usize = 15;

/// Checks the file and what it refers to.
pub fn run(path: &Path) -> Result<(), Failure> {
    let config = config::load(path)?;
    let mut total = 0;
    let mut problems = Vec::new();
    say(format_args!("{}: the configuration is valid", path.display()))?;
    for upstream in &config.upstreams {
        let auth = if upstream.key.is_some() { "with a key" } else { "without a key" };
        say(format_args!(
            "upstream {}: provider {}, {}, {auth}",
            upstream.name,
            upstream.dialect.name(),
            upstream.http.base_url
        ))?;
        let polling = &upstream.polling;
        say(format_args!(
            "  polled every {}, at most {} requests per second and {} at once",
            config::Span(polling.pace.interval),
            polling.requests_per_second,
            polling.max_in_flight
        ))?;
        let mut distinct = BTreeSet::new();
        for (label, mut source) in Source::of(upstream) {
            if source.is_remote() {
                say(format_args!("  source {label}: asked when it runs"))?;
                continue;
            }
            let mut listing = wait_for(async { Ok(source.read().await) })?;
            _ = listing.keep_askable(&upstream.dialect, |_| false);
            let ids: BTreeSet<_> = listing.tasks.iter().map(|task| task.id.clone()).collect();
            say(format_args!("  source {label}: {} tasks", ids.len()))?;
            distinct.extend(ids);
            let place = format!("upstream {}, source {label}", upstream.name);
            problems.extend(listing.messages.iter().map(|message| format!("\n  {place}: {message}")));
        }
        if Source::of(upstream).is_empty() {
            let is_told = config.api.iter().any(|key| key.is_for(&upstream.name));
            let why = if is_told { "only registered tasks are asked for" } else { "it is never asked" };
            say(format_args!("  no source of task ids: {why}"))?;
        }
        total += distinct.len();
    }
    match &config.state {
        State::Sqlite(path) => say(format_args!("state: {}", path.display())),
        State::Memory => say("state: in memory, lost with the process"),
    }?;
    let metrics = &config.file.metrics;
    let status = if metrics.task_status == TaskStatusForm::Set { 8 } else { 1 };
    let shown = if metrics.per_task == PerTask::Off { 0 } else { total.min(metrics.max_task_series) };
    say(format_args!("{total} tasks; up to {} series of their own", shown * (status + LINES_BESIDE_STATUS)))?;
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure::Input(format!("files that the configuration refers to are not valid{}", problems.concat())))
}
