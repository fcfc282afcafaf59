//! What `check` says of the port: who may read, and how Prometheus scrapes it then.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::failure::{Failure, print_line};
use super::options::Options;
use super::web_files::WebFiles;
use crate::config::{ApiKey, Config, Scope};
use crate::secret::hidden_credentials_directory;
use crate::server::{WebConfig, is_readable_by_all, warnings_of_address};

/// The report.
pub struct AccessReport {
    /// Each with the option it is about.
    pub warnings: Vec<String>,
    lines: Vec<String>,
}

impl AccessReport {
    /// Reads the files of `--web.config.file`.
    pub fn new(options: &Options, config: &Config) -> Result<Self, Failure> {
        let files = match WebFiles::load(&options.web_config_files, options.addresses()) {
            Err(Failure::Input(error)) if is_about_hidden_credentials(&error) => {
                let warning = format!(
                    "--web.config.file: not checked, for systemd hides a credential from this command: {error}"
                );
                return Ok(Self { warnings: vec![warning], lines: Vec::new() });
            }
            loaded => loaded?,
        };
        let mut warnings: Vec<String> =
            files.warnings().into_iter().map(|warning| format!("--web.config.file: {warning}")).collect();
        let mut lines = Vec::new();
        let mut scrapes = String::new();
        if options.systemd_socket {
            let web = files.of("").current();
            let protocol = if web.tls.is_some() { "HTTPS" } else { "HTTP" };
            lines
                .push(format!("listens on the sockets of systemd: {protocol}, read by {}", readers(&web, &config.api)));
        }
        for address in options.addresses() {
            let web = files.of(address).current();
            let found = warnings_of_address(&web, &config.api).filter(|_| !is_local(address));
            warnings.extend(found.map(|warning| format!("--web.listen-address: {address}: {warning}")));
            let protocol = if web.tls.is_some() { "HTTPS" } else { "HTTP" };
            lines.push(format!("listens on {address}: {protocol}, read by {}", readers(&web, &config.api)));
            if !(is_readable_by_all(&web, &config.api) || address.starts_with("unix:")) {
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

/// Whether every problem is about a file in the folder of systemd's credentials, which this process may not see.
fn is_about_hidden_credentials(error: &str) -> bool {
    let folder = hidden_credentials_directory();
    // The first line is a heading.
    folder.is_some_and(|folder| error.lines().skip(1).all(|problem| problem.contains(&*folder.to_string_lossy())))
}

/// Whether only programs of this machine reach an address.
fn is_local(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    address.starts_with("unix:") || host == "localhost" || host.parse().is_ok_and(|host: IpAddr| host.is_loopback())
}

/// Who may read.
fn readers(web: &WebConfig, keys: &[ApiKey]) -> String {
    let keys = keys.iter().filter(|key| key.may(Scope::Read)).count();
    let count =
        |count: usize, name: &str| (count > 0).then(|| format!("{count} {name}{}", if count == 1 { "" } else { "s" }));
    let who = [count(web.users.count(), "user"), count(keys, "key")];
    let who: Vec<String> = who.into_iter().flatten().collect();
    let who = if who.is_empty() { "everybody".to_owned() } else { who.join(" and ") };
    if web.client_certs.are_required { format!("{who} with a client certificate") } else { who }
}

/// A job for a login, and one for each key that may read.
fn write_scrape_configs(out: &mut String, (address, path): (&str, &str), web: &WebConfig, keys: &[ApiKey]) {
    let mut credentials: Vec<String> = Vec::new();
    if let Some(name) = web.users.first_name() {
        let name = serde_json::Value::from(name);
        credentials.push(format!("    basic_auth: {{ username: {name}, password_file: videogen-password }}\n"));
    }
    for key in keys.iter().filter(|key| key.may(Scope::Read)) {
        let labels: Vec<String> = key.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let of = if labels.is_empty() { String::new() } else { format!("  # only tasks with {}", labels.join(", ")) };
        let file = serde_json::Value::from(&*key.name);
        credentials.push(format!("    authorization: {{ credentials_file: {file} }}{of}\n"));
    }
    if credentials.is_empty() {
        credentials.push(String::new());
    }
    for credentials in credentials {
        let number = out.matches("job_name").count();
        let suffix = if number == 0 { String::new() } else { format!("-{}", number + 1) };
        let _ = writeln!(out, "  - job_name: videogen-exporter{suffix}");
        if path != "/metrics" {
            let _ = writeln!(out, "    metrics_path: {path}");
        }
        if web.tls.is_some() {
            let own = if web.client_certs.are_required { ", cert_file: client.crt, key_file: client.key" } else { "" };
            let _ = writeln!(out, "    scheme: https\n    tls_config: {{ ca_file: ca.crt{own} }}");
        }
        let _ = writeln!(out, "{credentials}    static_configs: [{{ targets: ['{}'] }}]", target(address));
    }
}

/// What Prometheus scrapes. Of all addresses of the machine, it has to know one.
fn target(address: &str) -> String {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let is_every =
        host.is_empty() || host.trim_matches(['[', ']']).parse().is_ok_and(|host: IpAddr| host.is_unspecified());
    if is_every { format!("HOST_OF_THE_EXPORTER:{port}") } else { address.to_owned() }
}
