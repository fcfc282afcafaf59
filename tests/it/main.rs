//! Integration tests: the page, the files, the program and the servers it talks to.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::format_collect,
    reason = "tests fail by panics and run in real time"
)]

mod access;
mod aimock;
mod allocations;
mod api;
mod batch;
mod certificates;
mod client_auth;
mod clients;
mod config;
mod config_schema;
mod costs;
mod custom;
mod demo;
mod dialects;
mod documents;
mod domain;
mod expectations;
mod exporter;
mod faults;
mod flow;
mod formats;
mod golden;
mod health;
mod hostile;
mod inbox;
mod incident;
mod kill;
mod known;
mod layers;
mod links;
mod lists;
mod operating;
mod pages;
mod port;
mod prices;
mod program;
mod prometheus;
mod providers;
mod readers;
mod reasons;
mod receivers;
mod recipes;
mod reload;
mod restart;
mod results;
mod robust;
mod sane;
mod schemas;
mod series;
mod server;
mod simulation;
mod sources;
mod state;
mod tenants;
mod tokens;
mod toolkit;
mod transport;
mod truth;
mod upstream;
mod variants;
mod webhooks;
mod why;
