//! The agent: one actor per upstream finds tasks, polls them, moves them and counts them; a supervisor starts, reconfigures
//! and stops the actors.

mod account;
mod actor;
mod amnesia;
mod backoff;
mod baselines;
mod batching;
mod budgets;
mod by_list;
mod command;
mod commits;
mod discovery;
mod drift_report;
mod failure_log;
mod handles;
mod held_ends;
mod members;
mod pending_changes;
mod polled_list;
mod poller;
mod publisher;
mod queue;
mod rate_limit;
mod request;
mod responses;
mod rows;
mod scheduling;
mod services;
mod settings;
mod settlement;
mod source_registry;
mod supervisor;
mod sweep;
mod table;
mod task_counters;
mod threads;
mod tracker;

#[cfg(test)]
mod actor_tests;
#[cfg(test)]
mod clock_tests;
#[cfg(test)]
mod cost_tests;
#[cfg(test)]
mod interleaving;
#[cfg(test)]
mod label_set_tests;
#[cfg(test)]
mod list_tests;
#[cfg(test)]
mod reading_order_tests;
#[cfg(test)]
mod test_actor;

pub use command::{CallbackOutcome, CommandError, Registration};
pub use handles::Agent;
pub use supervisor::Supervisor;

/// The `source` label of tasks that were registered by the API.
pub const API_SOURCE: &str = "api";
