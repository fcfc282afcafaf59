//! The options that every command shares.

use std::path::PathBuf;

use clap::ValueEnum;
use tracing_subscriber::filter::LevelFilter;

use super::failure::Failure;
use crate::telemetry::{self, LogCounts, LogFormat};

/// The options.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The configuration file.
    #[arg(long = "config.file", value_name = "FILE", default_value = "videogen-exporter.yml", global = true)]
    pub config_file: PathBuf,
    /// An address to listen on; can be given several times.
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = "127.0.0.1:10470")]
    pub listen_addresses: Vec<String>,
    /// The path of the metrics.
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics", value_parser = telemetry_path)]
    pub telemetry_path: String,
    /// The least important messages that are logged.
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info", global = true)]
    log_level: Level,
    /// How log lines look.
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "logfmt", global = true)]
    log_format: Format,
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

impl Options {
    /// Starts the log.
    pub fn start_logging(&self) -> Result<LogCounts, Failure> {
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

/// The path of the metrics, checked.
fn telemetry_path(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte);
    let taken = text == "/config" || ["/-/", "/api/", "/webhooks/"].iter().any(|ours| text.starts_with(ours));
    if !text.starts_with('/') || !text.bytes().all(plain) || taken {
        return Err("it begins with / , has letters, digits and -_. only, and is no path of ours".to_owned());
    }
    Ok(text.to_owned())
}
