//! Without a subcommand: the exporter.

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::{Cli, Failure, stop_on_signal, wait_for};
use crate::app::{App, Options, Reload};
use crate::config;

/// The path of the metrics, checked.
pub fn telemetry_path(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte);
    let taken = text == "/config" || ["/-/", "/api/", "/webhooks/"].iter().any(|ours| text.starts_with(ours));
    if !text.starts_with('/') || !text.bytes().all(plain) || taken {
        return Err("it begins with / , has letters, digits and -_. only, and is no path of ours".to_owned());
    }
    Ok(text.to_owned())
}

/// Runs it until a signal.
pub fn run(cli: &Cli) -> Result<(), Failure> {
    let config = config::load(&cli.config_file)?;
    let logs = cli.start_logging()?;
    wait_for(async {
        let stop = stop_on_signal()?;
        // Nobody is served before the state is loaded: a page without it would show counters that have fallen.
        let app = App::open(config, logs).await?;
        let mut hangups = signal(SignalKind::hangup()).map_err(anyhow::Error::from)?;
        let reload = Reload::new(cli.config_file.clone());
        let sender = reload.sender.clone();
        #[expect(clippy::disallowed_methods, reason = "it lives as long as the program and is never waited for")]
        tokio::spawn(async move {
            while hangups.recv().await.is_some() {
                // One reload that is waiting already will see this change too.
                let _ = sender.try_send(None);
            }
        });
        let listeners = listen(&cli.listen_addresses).await?;
        let options = Options { listeners, telemetry_path: cli.telemetry_path.clone(), reload: Some(reload) };
        Ok(app.run(options, stop).await?)
    })
}

async fn listen(addresses: &[String]) -> Result<Vec<TcpListener>, Failure> {
    let mut listeners = Vec::new();
    for address in addresses {
        // Prometheus's own short form, `:10470`, means every address of the machine.
        let full = if address.starts_with(':') { format!("0.0.0.0{address}") } else { address.clone() };
        let listener = TcpListener::bind(&full).await.with_context(|| format!("cannot listen on {address}"))?;
        let bound = listener.local_addr().context("a socket without an address")?;
        tracing::info!(address = %bound, "listening");
        if !bound.ip().is_loopback() {
            tracing::warn!(address = %bound, "anybody who can reach this address can read the metrics");
        }
        listeners.push(listener);
    }
    Ok(listeners)
}
