//! The exporter itself, which runs without a subcommand.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::failure::Failure;
use super::options::Options;
use super::runtime::{block_on, stop_on_signal};
use super::web_files::WebFiles;
use crate::app::{self, App, LOAD_TIMEOUT, Reload};
use crate::config;
use crate::files;
use crate::server::{Listener, WebSource};

/// Runs the exporter until SIGTERM or SIGINT.
pub fn run(options: &Options) -> Result<(), Failure> {
    let logging = options.start_logging()?;
    let logs = logging.counts.clone();
    files::raise_descriptor_limit();
    if files::is_root() {
        tracing::warn!(
            "running as root; start the exporter as a user of its own, so that a fault in it can do less harm"
        );
    }
    block_on(async {
        // Signals are obeyed from here on, also while the state is loaded.
        let stop = stop_on_signal()?;
        let mut hangups = signal(SignalKind::hangup()).map_err(anyhow::Error::from)?;
        let file = options.config_file.clone();
        let load = async { files::in_background(LOAD_TIMEOUT, move || config::load(&file)).await };
        let Some(loaded) = stop.run_until_cancelled(load).await else { return Ok(()) };
        let config = loaded.map_err(anyhow::Error::from)??;
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        // Listens only after the state is loaded: a page without it would show counter resets.
        let Some(app) = stop.run_until_cancelled(App::open(config, logs)).await else { return Ok(()) };
        let app = app?;
        let reload = Reload::new(options.config_file.clone());
        let sender = reload.sender.clone();
        #[expect(clippy::disallowed_methods, reason = "it lives as long as the program and is never waited for")]
        tokio::spawn(async move {
            while hangups.recv().await.is_some() {
                // A full channel is fine: the waiting reload will see this change, too.
                let _ = sender.try_send(None);
            }
        });
        let listeners = listen(options).await?;
        let serving = app::Options { listeners, web: options.web(), reload: Some(reload) };
        Ok(app.run(serving, stop).await?)
    })
}

/// The listening sockets, each with its web configuration.
async fn listen(options: &Options) -> Result<Vec<(Listener, Arc<WebSource>)>, Failure> {
    // The files are checked before a socket is made.
    let files = WebFiles::load(&options.web_config_files, options.addresses())?;
    for warning in files.warnings() {
        tracing::warn!("web configuration: {warning}");
    }
    let listeners = if options.systemd_socket {
        Listener::from_systemd()?
    } else {
        let mut listeners = Vec::new();
        for address in &options.listen_addresses {
            listeners.push(Listener::bind(address).await?);
        }
        listeners
    };
    let mut served = Vec::new();
    for listener in listeners {
        let source = files.of(&listener.name);
        let web = source.current();
        tracing::info!(tls = web.tls.is_some(), address = %listener, "listening");
        served.push((listener, source));
    }
    Ok(served)
}
