//! `check`: checks the configuration and prints what would run.

use std::collections::BTreeSet;

use super::access_report::AccessReport;
use super::failure::{Failure, print_line};
use super::options::Options;
use super::runtime::block_on;
use crate::config::{self, Config, PerTask, State, TaskStatusForm, Upstream};
use crate::domain::label_set::{OTHER, UNKNOWN_MODEL};
use crate::domain::pricing::from_micros;
use crate::source::Source;
use crate::store;

/// Most rules that are shown for a model.
const SHOWN_RULES: usize = 5;

/// Series of a task whose every value is known, without its status.
const SERIES_WITHOUT_STATUS: usize = 18;

/// Which rules the known models of an upstream meet: those that the configuration names, and those that the state has counted.
fn print_prices(config: &Config, upstream: &Upstream) -> Result<(), Failure> {
    let Some(pricing) = &upstream.billing.pricing else { return Ok(()) };
    let mut models: BTreeSet<String> = config.file.metrics.models.iter().map(|model| model.0.clone()).collect();
    models.extend(upstream.model().map(str::to_owned));
    if let State::Sqlite(path) = &config.state
        && path.exists()
    {
        match store::counted_models(path, &upstream.name) {
            Ok(counted) => models.extend(counted.into_iter().filter(|model| model != OTHER && model != UNKNOWN_MODEL)),
            Err(error) => print_line(format_args!("  models that the state knows are not shown: {error}"))?,
        }
    }
    if models.is_empty() {
        print_line("  no model is known yet: name some in metrics.models to see their prices")?;
    }
    for model in models {
        let rules: Vec<&str> = config::rules_of_model(pricing, &model).take(SHOWN_RULES + 1).collect();
        let more = if rules.len() > SHOWN_RULES { ", …" } else { "" };
        let shown = match rules.get(..rules.len().min(SHOWN_RULES)) {
            Some([]) | None => "no rule: its tasks are unpriced".to_owned(),
            Some(rules) => format!("{}{more}", rules.join(", then ")),
        };
        print_line(format_args!("  price of {model}: {shown}"))?;
    }
    Ok(())
}

/// Checks the file and the files it names.
pub fn run(options: &Options) -> Result<(), Failure> {
    let path = &options.config_file;
    let config = config::load_to_check(path)?;
    let access = AccessReport::new(options, &config)?;
    let mut total = 0;
    let mut problems = Vec::new();
    print_line(format_args!("{}: the configuration is valid", path.display()))?;
    for warning in config.warnings.iter().chain(&access.warnings) {
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
        if let Some(balance) = &upstream.billing.balance {
            let interval = config::ConfigDuration(balance.refresh_interval);
            print_line(format_args!("  balance: read every {interval}"))?;
        }
        print_prices(&config, upstream)?;
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
    if let Some(pricing) = &config.pricing {
        let (rules, currency) = (pricing.rules.len(), pricing.currency.code());
        print_line(format_args!("pricing: {rules} rules, costs in {currency}"))?;
        for budget in &pricing.budgets {
            let (name, amount, per) = (&budget.name, from_micros(budget.micros), budget.per.as_str());
            print_line(format_args!("  budget {name}: {amount} {} for each {per}", budget.currency.code()))?;
        }
        for table in &pricing.tables {
            print_line(format_args!("  {table}"))?;
        }
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
    access.print()?;
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure::Input(format!("files that the configuration names are not valid{}", problems.concat())))
}
