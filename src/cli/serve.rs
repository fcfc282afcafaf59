//! Without a subcommand: the exporter.

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::failure::Failure;
use super::options::Options;
use super::runtime::{stop_on_signal, wait_for};
use crate::app::{self, App, Reload};
use crate::config;

/// Runs it until a signal.
pub fn run(options: &Options) -> Result<(), Failure> {
    let config = config::load(&options.config_file)?;
    let logs = options.start_logging()?;
    wait_for(async {
        let stop = stop_on_signal()?;
        // Nobody is served before the state is loaded: a page without it would show counters that have fallen.
        let app = App::open(config, logs).await?;
        let mut hangups = signal(SignalKind::hangup()).map_err(anyhow::Error::from)?;
        let reload = Reload::new(options.config_file.clone());
        let sender = reload.sender.clone();
        #[expect(clippy::disallowed_methods, reason = "it lives as long as the program and is never waited for")]
        tokio::spawn(async move {
            while hangups.recv().await.is_some() {
                // One reload that is waiting already will see this change too.
                let _ = sender.try_send(None);
            }
        });
        let listeners = listen(&options.listen_addresses).await?;
        let serving = app::Options { listeners, telemetry_path: options.telemetry_path.clone(), reload: Some(reload) };
        Ok(app.run(serving, stop).await?)
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
