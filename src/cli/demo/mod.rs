//! `demo`: runs fake gateways and the exporter in one process, and tells what goes wrong.

mod stack;
mod story;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use tokio::net::TcpListener;

use super::failure::{Failure, print_line};
use super::options::Options;
use super::runtime::{GRACE, block_on, stop_on_signal};
use super::simulate::SimulationArgs;
use crate::app::{self, App};
use crate::config;
use crate::server::{Listener, WebOptions, WebSource};
use crate::simulate::{self, Gateway, Settings};
use crate::supervise::Tasks;
use stack::Stack;
use story::{Gateways, Story};

/// The arguments.
#[derive(Debug, Args)]
pub struct Demo {
    /// Address of the exporter.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:10470")]
    listen: SocketAddr,
    /// Address of the fake gateway `tokenhot`; port 0 chooses a free port.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    gateway_listen: SocketAddr,
    /// Start Prometheus and Alertmanager with the bundled files, too; both have to be on PATH.
    #[arg(long)]
    stack: bool,
    /// Print every step of every task.
    #[arg(long, short)]
    verbose: bool,
    #[command(flatten)]
    simulation: SimulationArgs,
}

/// Which part of the tasks the upstreams besides the gateway have.
const SHARE: usize = 3;

impl Demo {
    /// Runs everything until SIGTERM or SIGINT.
    pub fn run(&self, options: &Options) -> Result<(), Failure> {
        let logging = if self.verbose { options.start_logging()? } else { options.start_quiet_logging()? };
        block_on(async {
            let stop = stop_on_signal()?;
            let bind = |address: SocketAddr| async move {
                let listener = TcpListener::bind(address).await;
                let listener = listener.with_context(|| format!("cannot listen on {address}; try another --listen"))?;
                let address = listener.local_addr().context("cannot read the address of the socket")?;
                anyhow::Ok((listener, address))
            };
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let (exporter, exporter_address) = bind(self.listen).await?;
            let settings = self.simulation.settings();
            let fewer = Settings {
                tasks: settings.tasks.div_ceil(SHARE),
                seed: settings.seed.wrapping_add(1),
                ..settings.clone()
            };
            let mut tasks = Tasks::default();
            let mut addresses = Vec::new();
            let mut gateways = Vec::new();
            for (address, settings) in [(self.gateway_listen, &settings), (any, &fewer), (any, &fewer)] {
                let (listener, address) = bind(address).await?;
                let gateway = Gateway::new(settings);
                tasks.start("a gateway".to_owned(), simulate::serve(listener, gateway.clone(), stop.clone()));
                addresses.push(address);
                gateways.push(gateway);
            }
            let config = config::parse(&demo_config(&addresses), Path::new("demo.yml"))?;
            let base = format!("http://{exporter_address}");
            // Only the stack needs a folder: an image of the program alone has none.
            let folder = self.stack.then(TempFolder::new).transpose()?;
            let stack = match &folder {
                Some(folder) => Some(Stack::start(folder.path(), exporter_address).await?),
                None => None,
            };
            print_line(greeting(&base, stack.as_ref(), addresses[0]))?;
            let story = <[_; 3]>::try_from(gateways).ok();
            let story = story.map(|[tokenhot, ark, sora]| Story::new(Gateways { tokenhot, ark, sora }, &base));
            let serving = app::Options {
                listeners: vec![(Listener::from_tcp(exporter), Arc::new(WebSource::none()))],
                web: WebOptions::default(),
                reload: None,
            };
            let app = App::open(config, logging.counts.clone()).await?;
            tasks.start("the exporter".to_owned(), app.run(serving, stop.clone()));
            if let Some(story) = story {
                tasks.start("the story".to_owned(), story.tell(stop.clone()));
            }
            if let Some(stack) = stack {
                tasks.start("the stack".to_owned(), stack.run(stop.clone()));
            }
            Ok(tasks.run(stop, GRACE).await?)
        })
    }
}

fn greeting(base: &str, stack: Option<&Stack>, gateway: SocketAddr) -> String {
    let stack = match stack {
        Some(Stack { addresses: [prometheus, alertmanager], .. }) => format!(
            "Prometheus    {prometheus}/alerts\nAlertmanager  {alertmanager}/\n\nNotifications are printed here: page, ticket and log are \
             the receivers.\n"
        ),
        None => "\nWith Prometheus and Alertmanager on PATH, demo --stack starts them with the bundled alerts. Grafana shows dashboards/*.json.\n"
            .to_owned(),
    };
    format!(
        "tasks         {base}/\nmetrics       {base}/metrics\nfake gateway  http://{gateway}/-/tasks\n{stack}\
         Within a minute, things go wrong. Stop with Ctrl-C.\n"
    )
}

/// The configuration of the demo.
fn demo_config(gateways: &[SocketAddr]) -> String {
    let [tokenhot, ark, sora] = gateways else { return String::new() };
    format!(
        "polling: {{ interval: 5s, min_interval: 2s, requests_per_second: 50, burst: 50 }}\n\
         tasks: {{ retention: 15m }}\n\
         metrics: {{ zero_hold: 30s, aggregate_labels: [team, channel, group, user] }}\n\
         state: {{ memory: {{}} }}\n\
         {DEMO_PRICES}\
         upstreams:\n\
         - name: tokenhot\n  provider: new_api\n  base_url: http://{tokenhot}\n\
         \x20 quota_per_unit: auto\n  balance: {{ refresh_interval: 10s }}\n  list_configs:\n\
         \x20 - {{ scope: all, user_id: \"1\", requests_per_second: 1, refresh_interval: 10s, lookback: 1h,\n\
         \x20     labels: {{ team: username, user: username, group: group, channel: channel_id }},\n\
         \x20     channel_names: {{ \"1\": ark-main, \"2\": ark-spare, \"3\": sora-main, \"4\": sora-spare }} }}\n\
         - {{ name: ark, provider: ark, base_url: 'http://{ark}/api/v3',\n\
         \x20   http_sd_configs: [{{ url: 'http://{ark}/-/tasks', refresh_interval: 5s }}] }}\n\
         - {{ name: sora, provider: openai_videos, base_url: 'http://{sora}',\n\
         \x20   http_sd_configs: [{{ url: 'http://{sora}/-/tasks', refresh_interval: 5s }}] }}\n"
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
