//! The command line; one file for each subcommand.

mod access_report;
mod backup;
mod check;
mod config;
mod decode;
mod demo;
mod failure;
mod health;
mod manual;
mod options;
mod price;
mod probe;
mod redact;
mod rules;
mod runtime;
mod saved_response;
mod serve;
mod simulate;
mod web_files;

use clap::{CommandFactory as _, Parser, Subcommand};

pub use decode::{answer_json, list_json};
pub use failure::Failure;
use options::Options;

/// Exports asynchronous AI video-generation tasks as Prometheus metrics.
///
/// Without a subcommand it runs the exporter: it polls the configured tasks at their gateways and serves their status,
/// progress, latency, token usage and errors on /metrics.
///
/// To try it without a configuration or a key, run: videogen-exporter demo
#[derive(Debug, Parser)]
#[command(name = "videogen-exporter", version = VERSION, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 success, 1 invalid configuration or input, 2 invalid usage, 3 any other failure."
)]
pub struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

const VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (revision ", env!("VGX_REVISION"), ", rust ", env!("VGX_RUST_VERSION"), ")");

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the configuration and the files it names, and print what would run.
    Check,
    /// Print the JSON Schema of the configuration file.
    Config(config::ConfigCommand),
    /// Poll one task once, and print the request, the response, its interpretation and the resulting metrics.
    Probe(probe::Probe),
    /// Read a saved response and print its interpretation as one line of JSON.
    Decode(decode::Decode),
    /// Read a saved response and print what its task costs, and by which rule.
    Price(price::Price),
    /// Print the alerts and recording rules with your addresses: for Prometheus, its Operator, or Grafana.
    Rules(rules::Rules),
    /// Ask the exporter on this machine whether it is healthy; exit code 0 or 1.
    ///
    /// It asks the address of --web.listen-address over HTTP, or HTTPS if --web.config.file has TLS. An address that wants a client
    /// certificate cannot be asked: name one that does not, such as a loopback address or unix:PATH.
    Health,
    /// Copy the state to a file, also while the exporter runs.
    Backup(backup::Backup),
    /// Print completions for a shell.
    Completions(manual::Completions),
    /// Write man pages to a folder.
    Man(manual::Man),
    /// Run a fake gateway whose tasks queue, run and end in every way.
    Simulate(simulate::Simulate),
    /// Run a fake gateway and the exporter together; needs no configuration, key or network.
    Demo(demo::Demo),
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// When the command fails; the error is for the user.
    pub fn run(self) -> Result<(), Failure> {
        match &self.command {
            None => serve::run(&self.options),
            Some(Command::Check) => check::run(&self.options),
            Some(Command::Config(config)) => config.run(),
            Some(Command::Probe(probe)) => probe.run(&self.options.config_file),
            Some(Command::Decode(decode)) => decode.run(&self.options.config_file),
            Some(Command::Price(price)) => price.run(&self.options.config_file),
            Some(Command::Rules(rules)) => rules.run(),
            Some(Command::Health) => health::run(&self.options),
            Some(Command::Backup(backup)) => backup.run(&self.options.config_file),
            Some(Command::Completions(completions)) => completions.run(Self::command()),
            Some(Command::Man(man)) => man.run(Self::command()),
            Some(Command::Simulate(simulate)) => simulate.run(&self.options),
            Some(Command::Demo(demo)) => demo.run(&self.options),
        }
    }
}
