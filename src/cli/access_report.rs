//! What `check` says of the port: who may read, and how Prometheus scrapes it then.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::failure::{Failure, print_line};
use super::options::Options;
use super::web_files::{READABLE_BY_ALL, WebFiles, is_readable_by_all};
use crate::config::{ApiKey, Config, Scope};
use crate::server::WebConfig;

/// The report.
pub struct AccessReport {
    /// Each with the option it is about.
    pub warnings: Vec<String>,
    lines: Vec<String>,
}

impl AccessReport {
    /// Reads the files of `--web.config.file`.
    pub fn new(options: &Options, config: &Config) -> Result<Self, Failure> {
        let files = WebFiles::load(&options.web_config_files, &options.listen_addresses)?;
        let mut warnings: Vec<String> =
            files.warnings().into_iter().map(|warning| format!("--web.config.file: {warning}")).collect();
        let mut lines = Vec::new();
        let mut scrapes = String::new();
        for address in &options.listen_addresses {
            let web = files.of(address).current();
            let is_open = is_readable_by_all(&web, &config.api);
            if is_open && !is_local(address) {
                warnings.push(format!("--web.listen-address: {address}: {READABLE_BY_ALL}"));
            }
            let protocol = if web.tls.is_some() { "HTTPS" } else { "HTTP" };
            let readers = if is_open { "read by everybody" } else { "read with credentials" };
            lines.push(format!("listens on {address}: {protocol}, {readers}"));
            if !(is_open || address.starts_with("unix:")) {
                let path = format!("{}{}", options.web().route_prefix, options.telemetry_path);
                write_scrape_configs(&mut scrapes, (address, &path), &web, &config.api);
            }
        }
        if !scrapes.is_empty() {
            lines.push(format!("to scrape it, add to prometheus.yml, with paths on the machine of Prometheus:\nscrape_configs:\n{scrapes}"));
        }
        Ok(Self { warnings, lines })
    }

    /// Prints it, without the warnings.
    pub fn print(&self) -> Result<(), Failure> {
        self.lines.iter().try_for_each(|line| print_line_by_line(line))
    }
}

/// A line break in one text would be printed as an escape.
fn print_line_by_line(text: &str) -> Result<(), Failure> {
    text.lines().try_for_each(print_line)
}

/// Whether only programs of this machine reach an address.
fn is_local(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    address.starts_with("unix:") || host == "localhost" || host.parse().is_ok_and(|host: IpAddr| host.is_loopback())
}

fn write_scrape_configs(out: &mut String, (address, path): (&str, &str), web: &WebConfig, keys: &[ApiKey]) {
    let readers: Vec<Option<&ApiKey>> = if web.users.is_empty() {
        let readers: Vec<_> = keys.iter().filter(|key| key.may(Scope::Read)).map(Some).collect();
        if readers.is_empty() { vec![None] } else { readers }
    } else {
        vec![None]
    };
    for key in readers {
        let number = out.matches("job_name").count();
        let suffix = if number == 0 { String::new() } else { format!("-{}", number + 1) };
        let _ = writeln!(out, "  - job_name: videogen-exporter{suffix}");
        if path != "/metrics" {
            let _ = writeln!(out, "    metrics_path: {path}");
        }
        if web.tls.is_some() {
            let own = if web.requires_client_certs { ", cert_file: client.crt, key_file: client.key" } else { "" };
            let _ = writeln!(out, "    scheme: https\n    tls_config: {{ ca_file: ca.crt{own} }}");
        }
        if let Some(name) = web.users.first_name() {
            let name = serde_json::Value::from(name);
            let _ = writeln!(out, "    basic_auth: {{ username: {name}, password_file: videogen-password }}");
        }
        if let Some(key) = key {
            let labels: Vec<String> = key.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let of =
                if labels.is_empty() { String::new() } else { format!("  # only tasks with {}", labels.join(", ")) };
            let _ =
                writeln!(out, "    authorization: {{ credentials_file: {} }}{of}", serde_json::Value::from(&*key.name));
        }
        // All addresses of the machine are written without a host.
        let target = if address.starts_with(':') { format!("localhost{address}") } else { address.to_owned() };
        let _ = writeln!(out, "    static_configs: [{{ targets: ['{target}'] }}]");
    }
}
