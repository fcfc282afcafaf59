//! The dashboards as data; nothing here reads or writes a file.

mod cost;
mod exporter;
mod facts;
mod gateway;
mod glance;
mod grafana;
mod kinds;
mod lists;
mod overview;
mod panel;
mod promql;
mod schedule;
mod slo;
mod task;
mod triage;
mod truth;
mod upstream;
mod values;

/// All dashboards, each with its file name and its JSON.
pub fn all() -> Vec<(String, String)> {
    let boards = [
        triage::dashboard(),
        overview::dashboard(),
        task::dashboard(),
        upstream::dashboard(),
        gateway::dashboard(),
        cost::dashboard(),
        exporter::dashboard(),
    ];
    boards.into_iter().map(grafana::Dashboard::into_file).collect()
}
