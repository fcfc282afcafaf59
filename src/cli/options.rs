//! Options of all commands.

use std::path::PathBuf;

use clap::ValueEnum;
use tracing_subscriber::filter::LevelFilter;

use super::failure::Failure;
use crate::server::{self, ExternalUrl, Network, WebOptions};
use crate::telemetry::{self, LogFormat, Logging};

/// Options of all commands.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The configuration file.
    #[arg(long = "config.file", value_name = "FILE", default_value = "videogen-exporter.yml", global = true)]
    pub config_file: PathBuf,
    /// An address to listen on, or `unix:PATH`; can be repeated.
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = "127.0.0.1:10470", global = true)]
    pub listen_addresses: Vec<String>,
    /// Listen on the sockets that systemd gives, instead of on addresses.
    #[arg(long = "web.systemd-socket")]
    pub systemd_socket: bool,
    /// TLS, logins and headers of the port, in the format of Prometheus's exporter-toolkit; `ADDRESS=FILE` for one address.
    #[arg(long = "web.config.file", value_name = "FILE", global = true)]
    pub web_config_files: Vec<String>,
    /// The path of the metrics.
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics", value_parser = parse_telemetry_path, global = true)]
    pub telemetry_path: String,
    /// Allow `POST /-/reload`; SIGHUP always reloads.
    #[arg(long = "web.enable-lifecycle")]
    enable_lifecycle: bool,
    /// The URL under which people reach the exporter: links begin with its path, and its host may be used to read the pages.
    #[arg(long = "web.external-url", value_name = "URL", value_parser = server::parse_external_url, global = true)]
    external_url: Option<ExternalUrl>,
    /// What the path of every request begins with; by default the path of --web.external-url.
    #[arg(long = "web.route-prefix", value_name = "PATH", value_parser = server::parse_prefix, global = true)]
    route_prefix: Option<String>,
    /// A host name under which the pages may be read, besides IP addresses and private names; can be repeated.
    #[arg(long = "web.allowed-host", value_name = "HOST", value_delimiter = ',', value_parser = server::parse_host)]
    allowed_hosts: Vec<String>,
    /// Address or network of a proxy whose X-Forwarded-For is believed; can be repeated.
    #[arg(long = "web.trusted-proxies", value_name = "ADDRESS", value_delimiter = ',')]
    trusted_proxies: Vec<Network>,
    /// The address of your Grafana with our dashboards: pages link to it.
    #[arg(long = "web.grafana-url", value_name = "URL", value_parser = server::parse_grafana_url)]
    grafana_url: Option<String>,
    /// The minimum level of log messages.
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info", global = true)]
    log_level: Level,
    /// The format of log lines.
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
    /// The addresses to listen on; none with the sockets of systemd, whose addresses only its unit has.
    pub fn addresses(&self) -> &[String] {
        if self.systemd_socket { &[] } else { &self.listen_addresses }
    }

    /// The options of the HTTP server.
    pub fn web(&self) -> WebOptions {
        let external_path = self.external_url.as_ref().map(|url| url.path.clone());
        let external_host = self.external_url.as_ref().map(|url| &url.host);
        let route_prefix = self.route_prefix.clone().or_else(|| external_path.clone()).unwrap_or_default();
        WebOptions {
            telemetry_path: self.telemetry_path.clone(),
            enable_lifecycle: self.enable_lifecycle,
            allowed_hosts: self.allowed_hosts.iter().chain(external_host).cloned().collect(),
            trusted_proxies: self.trusted_proxies.clone(),
            grafana_url: self.grafana_url.clone(),
            link_prefix: external_path.unwrap_or_else(|| route_prefix.clone()),
            route_prefix,
        }
    }

    /// Starts logging of errors only, until the result is dropped.
    pub fn start_quiet_logging(&self) -> Result<Logging, Failure> {
        self.start_logging_at(LevelFilter::ERROR)
    }

    /// Starts logging, until the result is dropped.
    pub fn start_logging(&self) -> Result<Logging, Failure> {
        self.start_logging_at(self.level())
    }

    fn level(&self) -> LevelFilter {
        match self.log_level {
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
            Level::Trace => LevelFilter::TRACE,
        }
    }

    fn start_logging_at(&self, level: LevelFilter) -> Result<Logging, Failure> {
        let format = match self.log_format {
            Format::Logfmt => LogFormat::Logfmt,
            Format::Json => LogFormat::Json,
        };
        Ok(telemetry::start(level, format)?)
    }
}

/// Parses the path of the metrics; rejects paths that the exporter already serves.
fn parse_telemetry_path(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte);
    let is_reserved =
        text == "/config" || ["/-/", "/api/", "/tasks/", "/webhooks/"].iter().any(|prefix| text.starts_with(prefix));
    if !text.starts_with('/') || !text.bytes().all(plain) || is_reserved {
        return Err(
            "must begin with /, use only letters, digits and /-_., and not be a path that the exporter serves already"
                .to_owned(),
        );
    }
    Ok(text.to_owned())
}
