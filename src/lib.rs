//! A Prometheus exporter for asynchronous AI video-generation tasks.
//!
//! The data flow of a task:
//!
//! ```text
//!  config ─▶ source ──NewTask──▶ store (row) ─▶ agent::Tracker               agent/discovery.rs
//!                                                 │ due
//!      Dialect::request ─▶ http::Client ─▶ Dialect::read ─▶ Reading           agent/poller.rs
//!          (pure)              (I/O)            (pure)          │
//!                                                               ▼
//!                      domain::advance(&task, reading, &policy, now) ─▶ Transition    (pure)
//!                                                               │
//!                      Command::Commit ─▶ Tracker::on_committed               commit, then count
//!
//!  GET /metrics ─▶ metrics::Page       aggregates, then the lines of each task, in chunks
//! ```
//!
//! A module imports only from lower layers; `docs/architecture.md` lists the layers, and a test checks them.

#![warn(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "they panic when the output is closed; use cli::print_line"
)]

pub mod agent;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod counters;
pub mod domain;
pub mod files;
pub mod http;
pub mod liveness;
pub mod metrics;
pub mod provider;
pub mod secret;
pub mod server;
pub mod simulate;
pub mod source;
pub mod store;
pub mod supervise;
pub mod systemd;
pub mod telemetry;
pub mod view;
