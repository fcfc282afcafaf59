//! `demo`: runs a fake gateway and the exporter in one process.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use clap::Args;
use tokio::net::TcpListener;

use super::failure::{Failure, print_line};
use super::options::Options;
use super::runtime::{GRACE, block_on, stop_on_signal};
use super::simulate::SimulationArgs;
use crate::app::{self, App};
use crate::config;
use crate::server::WebOptions;
use crate::simulate::{self, Gateway};
use crate::supervise::Tasks;

/// The arguments.
#[derive(Debug, Args)]
pub struct Demo {
    /// Address of the exporter.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:10470")]
    listen: SocketAddr,
    /// Address of the fake gateway; port 0 chooses a free port.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    gateway_listen: SocketAddr,
    #[command(flatten)]
    simulation: SimulationArgs,
}

impl Demo {
    /// Runs both until SIGTERM or SIGINT.
    pub fn run(&self, options: &Options) -> Result<(), Failure> {
        let logging = options.start_logging()?;
        block_on(async {
            let stop = stop_on_signal()?;
            let bind = |address: SocketAddr| async move {
                TcpListener::bind(address)
                    .await
                    .with_context(|| format!("cannot listen on {address}; try another --listen"))
            };
            let (gateway_listener, listener) = (bind(self.gateway_listen).await?, bind(self.listen).await?);
            let address =
                |listener: &TcpListener| listener.local_addr().context("cannot read the address of the socket");
            let (gateway_address, exporter_address) = (address(&gateway_listener)?, address(&listener)?);
            let folder = TempFolder::new()?;
            let config = config::parse(&demo_config(gateway_address), &folder.path().join("demo.yml"))?;
            print_line(format_args!(
                "the exporter shows its tasks on   http://{exporter_address}/\nand their metrics on              http://{exporter_address}/metrics\n\n{}\n\n\
                 Scrape it with Prometheus (config/prometheus.yml) and load dashboards/*.json into Grafana.\nStop with Ctrl-C.",
                simulate::greeting(gateway_address)
            ))?;
            let gateway = Gateway::new(&self.simulation.settings());
            let mut tasks = Tasks::default();
            tasks.start("the gateway".to_owned(), simulate::serve(gateway_listener, gateway, stop.clone()));
            let runs = stop.clone();
            let serving = app::Options { listeners: vec![listener], web: WebOptions::default(), reload: None };
            let app = App::open(config, logging.counts.clone()).await?;
            tasks.start("the exporter".to_owned(), app.run(serving, runs));
            Ok(tasks.run(stop, GRACE).await?)
        })
    }
}

/// The configuration of the demo.
fn demo_config(gateway: SocketAddr) -> String {
    format!(
        "polling: {{ interval: 5s, min_interval: 2s, requests_per_second: 50, burst: 50 }}\n\
         tasks: {{ retention: 15m }}\n\
         metrics: {{ zero_hold: 30s, aggregate_labels: [channel, group, user] }}\n\
         state: {{ memory: {{}} }}\n\
         {DEMO_PRICES}\
         upstreams:\n\
         - name: demo\n  provider: new_api\n  base_url: http://{gateway}\n\
         \x20 quota_per_unit: auto\n  balance: {{ refresh_interval: 10s }}\n  list_configs:\n\
         \x20 - {{ scope: all, user_id: \"1\", requests_per_second: 1, refresh_interval: 10s, lookback: 1h,\n\
         \x20     labels: {{ user: username, group: group, channel: channel_id }},\n\
         \x20     channel_names: {{ \"1\": ark-main, \"2\": ark-spare, \"3\": sora-main, \"4\": sora-spare }} }}\n"
    )
}

/// Prices for the models of the demo, as the vendors' pages had them on 2026-11-20; the exporter brings none of its own. Veo's rows
/// do not tell how long the video is.
const DEMO_PRICES: &str = "pricing:
  rates: { CNY: 0.14 }
  budgets:
    - { name: growth, match: { labels: { user: growth } }, per: day, amount: 500 }
    - { name: everybody, per: month, amount: 20000 }
  rules:
    - { match: { model: '*seedance*' }, currency: CNY, price: { per: token, amount: 46, each: 1000000 } }
    - { match: { model: 'sora-2' }, price: { per: second, amount: 0.1 } }
    - { match: { model: 'kling-*' }, price: { per: second, amount: 0.07 } }
    - { match: { model: 'happyhorse-*' }, price: { per: second, amount: 0.123769 } }
    - { match: { model: 'MiniMax-Hailuo-02' }, price: { per: clip, amount: 0.28 } }
    - { match: { model: 'veo-*' }, price: { per: second, amount: 0.4 } }
";

/// A temporary folder, deleted when dropped.
struct TempFolder(std::path::PathBuf);

impl TempFolder {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("videogen-exporter-demo-{}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
