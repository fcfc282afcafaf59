//! The command line: one file a subcommand.

mod check;
mod decode;
mod demo;
mod probe;
mod redact;
mod serve;
mod simulate;

use std::fmt;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::LevelFilter;

pub use decode::{shown, shown_list};

use crate::config::{Config, ConfigError, Upstream};
use crate::telemetry::{self, LogCounts, LogFormat};

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
    /// The configuration file.
    #[arg(long = "config.file", value_name = "FILE", default_value = "videogen-exporter.yml", global = true)]
    config_file: PathBuf,
    /// An address to listen on; can be given several times.
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = "127.0.0.1:10470")]
    listen_addresses: Vec<String>,
    /// The path of the metrics.
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics", value_parser = serve::telemetry_path)]
    telemetry_path: String,
    /// The least important messages that are logged.
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info", global = true)]
    log_level: Level,
    /// How log lines look.
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "logfmt", global = true)]
    log_format: Format,
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

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Logfmt,
    Json,
}

/// How long the parts of a command may take to stop.
const GRACE: Duration = Duration::from_secs(25);

/// How a command ends badly.
#[derive(Debug)]
pub enum Failure {
    /// The configuration or the input is wrong.
    Input(String),
    /// Something else.
    Other(anyhow::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(message) => f.write_str(message),
            Self::Other(error) => write!(f, "{error:#}"),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Input(error.to_string())
    }
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// With what to tell the user.
    pub fn run(self) -> Result<(), Failure> {
        match &self.command {
            None => serve::run(&self),
            Some(Command::Check) => check::run(&self.config_file),
            Some(Command::Probe(probe)) => probe.run(&self.config_file),
            Some(Command::Decode(decode)) => decode.run(&self.config_file),
            Some(Command::Simulate(simulate)) => simulate.run(&self),
            Some(Command::Demo(demo)) => demo.run(&self),
        }
    }

    fn start_logging(&self) -> Result<LogCounts, Failure> {
        let level = match self.log_level {
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
            Level::Trace => LevelFilter::TRACE,
        };
        let format = match self.log_format {
            Format::Logfmt => LogFormat::Logfmt,
            Format::Json => LogFormat::Json,
        };
        Ok(telemetry::start(level, format)?)
    }
}

/// Prints a line of what a command has to say. A reader that has seen enough, such as `head`, is no failure.
fn say(line: impl fmt::Display) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Other(anyhow::Error::new(error).context("cannot write to standard output")))
        }
        _ => Ok(()),
    }
}

/// The upstream of that name.
fn upstream_of<'a>(config: &'a Config, name: &str) -> Result<&'a Upstream, Failure> {
    config.upstreams.iter().find(|upstream| *upstream.name == *name).ok_or_else(|| {
        let names: Vec<_> = config.upstreams.iter().map(|upstream| &*upstream.name).collect();
        Failure::Input(format!("there is no upstream of that name; there are {}", names.join(", ")))
    })
}

/// Runs a command that waits, on a runtime of its own.
fn wait_for<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    // However many cores there are: polls have a thread of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Other(error.into()))?;
    let outcome = runtime.block_on(future);
    runtime.shutdown_background();
    outcome
}

/// Cancels the token it gives at the first SIGTERM or SIGINT; the second one ends the program at once.
fn stop_on_signal() -> Result<CancellationToken, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    let mut term = signal(SignalKind::terminate()).map_err(anyhow::Error::from)?;
    let mut int = signal(SignalKind::interrupt()).map_err(anyhow::Error::from)?;
    let asked = stop.clone();
    #[expect(clippy::disallowed_methods, reason = "it lives as long as the program and is never waited for")]
    tokio::spawn(async move {
        for times in 1.. {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            if times > 1 {
                std::process::exit(130);
            }
            tracing::info!("stopping; a second signal stops at once");
            asked.cancel();
        }
    });
    Ok(stop)
}
