//! The command line: one file a subcommand.

mod check;
mod decode;
mod demo;
mod failure;
mod options;
mod probe;
mod redact;
mod runtime;
mod serve;
mod simulate;

use clap::{Parser, Subcommand};

pub use decode::{shown, shown_list};
pub use failure::Failure;
use options::Options;

/// Watches asynchronous AI video-generation tasks and exports them as Prometheus metrics.
///
/// Without a subcommand it runs the exporter: it polls the task ids that the configuration names at their gateways and
/// serves status, progress, latency, token usage and errors on /metrics.
///
/// A first look, without any file or key:   videogen-exporter demo
#[derive(Debug, Parser)]
#[command(name = "videogen-exporter", version = VERSION, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 fine, 1 configuration or input wrong, 2 wrong usage, 3 something else failed.")]
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
    /// Check the configuration and everything it refers to, and say what would run.
    Check,
    /// Ask an upstream for one task, and show the request, the answer, how it was read and the metrics it gives.
    Probe(probe::Probe),
    /// Read a saved answer and print what it says as one line of JSON.
    Decode(decode::Decode),
    /// Run a fake gateway whose tasks are born, queue, run and end in every way.
    Simulate(simulate::Simulate),
    /// Run a fake gateway and the exporter together, and say what to open; needs no file, no key and no network.
    Demo(demo::Demo),
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// With what to tell the user.
    pub fn run(self) -> Result<(), Failure> {
        match &self.command {
            None => serve::run(&self.options),
            Some(Command::Check) => check::run(&self.options.config_file),
            Some(Command::Probe(probe)) => probe.run(&self.options.config_file),
            Some(Command::Decode(decode)) => decode.run(&self.options.config_file),
            Some(Command::Simulate(simulate)) => simulate.run(&self.options),
            Some(Command::Demo(demo)) => demo.run(&self.options),
        }
    }
}
