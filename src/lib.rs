//! A Prometheus exporter for asynchronous AI video-generation tasks.
//!
//! One task's way through:
//!
//! ```text
//!  config ─▶ source ──NewTask──▶ store (row) ─▶ agent::Tracker               agent/discover.rs
//!                                                 │ due
//!      Provider::request ─▶ http::Client ─▶ Provider::read ─▶ Reading         agent/poll.rs
//!          (pure)              (I/O)            (pure)          │
//!                                                               ▼
//!                      domain::advance(&task, reading, &policy, now) ─▶ Transition    (pure)
//!                                                               │
//!                      store.commit ─▶ Tracker.apply ─▶ Metrics.observe       commit, then count
//!
//!  GET /metrics ─▶ metrics::Page       aggregates, then every task's lines from its record, in pieces
//! ```
//!
//! A module imports only from layers below its own; `docs/architecture.md` names them, and a test holds them.

#![warn(clippy::print_stdout, clippy::print_stderr, reason = "they panic when nobody reads: cli::say")]

pub mod agent;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod counters;
pub mod domain;
pub mod http;
pub mod metrics;
pub mod provider;
pub mod secret;
pub mod server;
pub mod simulate;
pub mod source;
pub mod store;
pub mod supervise;
pub mod telemetry;
pub mod view;
