//! The dashboards as data; nothing here reads or writes a file.

mod cost;
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
mod task;
mod truth;
mod upstream;
mod values;

/// All dashboards, each with its file name and its JSON.
pub fn all() -> Vec<(String, String)> {
    [overview::dashboard(), task::dashboard(), upstream::dashboard(), gateway::dashboard(), cost::dashboard()]
        .into_iter()
        .map(grafana::Dashboard::into_file)
        .collect()
}
