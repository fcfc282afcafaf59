//! `demo`: the fake gateway and the exporter in one process.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use clap::Args;
use tokio::net::TcpListener;

use super::failure::{Failure, say};
use super::options::Options;
use super::runtime::{GRACE, stop_on_signal, wait_for};
use super::simulate::WorldArgs;
use crate::app::{self, App};
use crate::config;
use crate::simulate::{self, Gateway};
use crate::supervise::Tasks;

/// The arguments.
#[derive(Debug, Args)]
pub struct Demo {
    /// Where the exporter listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:10470")]
    listen: SocketAddr,
    /// Where the fake gateway listens; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    gateway_listen: SocketAddr,
    #[command(flatten)]
    world: WorldArgs,
}

impl Demo {
    /// Runs both until a signal.
    pub fn run(&self, options: &Options) -> Result<(), Failure> {
        let logs = options.start_logging()?;
        wait_for(async {
            let stop = stop_on_signal()?;
            let bind = |address: SocketAddr| async move {
                TcpListener::bind(address)
                    .await
                    .with_context(|| format!("cannot listen on {address}; try another --listen"))
            };
            let (gateway_listener, listener) = (bind(self.gateway_listen).await?, bind(self.listen).await?);
            let address = |listener: &TcpListener| listener.local_addr().context("a socket without an address");
            let (gateway_at, at) = (address(&gateway_listener)?, address(&listener)?);
            let folder = Folder::new()?;
            let config = config::parse(&configuration(gateway_at), &folder.path().join("demo.yml"))?;
            say(format_args!(
                "the exporter shows its tasks on   http://{at}/\nand their metrics on              http://{at}/metrics\n\n{}\n\n\
                 Scrape it with Prometheus (config/prometheus.yml) and load dashboards/*.json into Grafana.\nStop with Ctrl-C.",
                simulate::greeting(gateway_at)
            ))?;
            let gateway = Gateway::new(&self.world.settings());
            let targets = folder.path().join("tasks.json");
            let mut tasks = Tasks::default();
            tasks.start("the gateway".to_owned(), simulate::serve(gateway_listener, gateway.clone(), stop.clone()));
            let (writes, runs) = (stop.clone(), stop.clone());
            tasks.start("the targets file".to_owned(), async move { gateway.write_targets(&targets, writes).await });
            let serving =
                app::Options { listeners: vec![listener], telemetry_path: "/metrics".to_owned(), reload: None };
            let app = App::open(config, logs).await?;
            tasks.start("the exporter".to_owned(), app.run(serving, runs));
            Ok(tasks.run(stop, GRACE).await?)
        })
    }
}

/// What the demo runs under; also a small example of a configuration.
fn configuration(gateway: SocketAddr) -> String {
    format!(
        "polling: {{ interval: 5s, min_interval: 2s, requests_per_second: 50, burst: 50 }}\n\
         tasks: {{ retention: 15m }}\n\
         metrics: {{ zero_hold: 30s, aggregate_labels: [team] }}\n\
         state: {{ memory: {{}} }}\n\
         upstreams:\n\
         - name: demo\n  provider: new_api\n  base_url: http://{gateway}\n  file_sd_configs: [ {{ files: [tasks.json] }} ]\n"
    )
}

/// A folder that goes when the demo goes.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("videogen-exporter-demo-{}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
