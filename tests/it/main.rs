//! The exporter as its users meet it: its page, its files, its programs and the servers it talks to.

mod config;
mod documents;
mod domain;
mod exporter;
mod flow;
mod layers;
mod program;
mod prometheus;
mod providers;
mod reasons;
mod upstream;
