//! `simulate`: a fake gateway.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use tokio::net::TcpListener;

use super::failure::{Failure, say};
use super::options::Options;
use super::runtime::{GRACE, stop_on_signal, wait_for};
use crate::simulate::{self, Faults, Gateway, Settings};
use crate::supervise::Tasks;

/// The arguments.
#[derive(Debug, Args)]
pub struct Simulate {
    /// Where it listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:10480")]
    listen: SocketAddr,
    #[command(flatten)]
    world: WorldArgs,
    /// Write the task ids to this file, in Prometheus's `file_sd` format, whenever they change.
    #[arg(long, value_name = "FILE")]
    targets_file: Option<PathBuf>,
}

/// How the gateway's world is; `demo` has the same flags.
#[derive(Debug, Clone, Args)]
pub struct WorldArgs {
    /// Tasks alive at once; when one ends, another is born.
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = tasks)]
    tasks: usize,
    /// The same seed gives the same tasks.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How many times faster than real tasks these live.
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// Share of requests that go wrong: none, some, or a list such as
    /// 429=0.05,500=0.01,503=0.01,html=0.01,slow=0.02,reset=0.01.
    #[arg(long, value_name = "MIX", default_value = "none")]
    faults: Faults,
}

fn tasks(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|tasks| *tasks <= 1_000_000).ok_or_else(|| "expected 0 to 1000000".to_owned())
}

fn speed(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|speed| (0.001..=1000.0).contains(speed))
        .ok_or_else(|| "expected 0.001 to 1000".to_owned())
}

impl WorldArgs {
    /// As the gateway wants them.
    pub fn settings(&self) -> Settings {
        Settings { tasks: self.tasks, seed: self.seed, speed: self.speed, faults: self.faults.clone() }
    }
}

impl Simulate {
    /// Runs it until a signal.
    pub fn run(&self, options: &Options) -> Result<(), Failure> {
        options.start_logging()?;
        wait_for(async {
            let stop = stop_on_signal()?;
            let gateway = Gateway::new(&self.world.settings());
            let listener =
                TcpListener::bind(self.listen).await.with_context(|| format!("cannot listen on {}", self.listen))?;
            say(format_args!("{}", simulate::greeting(listener.local_addr().context("a socket without an address")?)))?;
            let mut tasks = Tasks::default();
            tasks.start("the gateway".to_owned(), simulate::serve(listener, gateway.clone(), stop.clone()));
            if let Some(file) = self.targets_file.clone() {
                let stop = stop.clone();
                tasks.start("the targets file".to_owned(), async move { gateway.write_targets(&file, stop).await });
            }
            Ok(tasks.run(stop, GRACE).await?)
        })
    }
}
