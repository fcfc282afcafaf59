//! `simulate`: runs a fake gateway.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use tokio::net::TcpListener;

use super::failure::{Failure, print_line};
use super::options::Options;
use super::runtime::{GRACE, block_on, stop_on_signal};
use crate::simulate::{self, Faults, Gateway, Settings};
use crate::supervise::Tasks;

/// The arguments.
#[derive(Debug, Args)]
pub struct Simulate {
    /// Address to listen on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:10480")]
    listen: SocketAddr,
    #[command(flatten)]
    simulation: SimulationArgs,
    /// Write the task ids to this file in Prometheus's `file_sd` format, whenever they change.
    #[arg(long, value_name = "FILE")]
    targets_file: Option<PathBuf>,
}

/// Settings of the simulation, shared with `demo`.
#[derive(Debug, Clone, Args)]
pub struct SimulationArgs {
    /// Number of active tasks; each one that ends is replaced by a new one.
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = parse_tasks)]
    tasks: usize,
    /// Seed of the random numbers; the same seed gives the same tasks.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Speed of the tasks, as a multiple of real time.
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = parse_speed)]
    speed: f64,
    /// Share of requests that fail: none, some, or a list such as
    /// 429=0.05,500=0.01,503=0.01,html=0.01,slow=0.02,reset=0.01.
    #[arg(long, value_name = "MIX", default_value = "none")]
    faults: Faults,
    /// Requests for the gateway's list that are answered in three minutes, as by new-api; 0 for any number.
    #[arg(long, value_name = "N", default_value_t = 360)]
    list_limit: usize,
    /// Rows of the gateway's list have no vendor's body, as at gateways with plugins.
    #[arg(long)]
    list_without_bodies: bool,
    /// What the gateway's account was granted, in dollars.
    #[arg(long, value_name = "DOLLARS", default_value_t = 50_000)]
    balance: u32,
}

fn parse_tasks(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|tasks| *tasks <= 1_000_000).ok_or_else(|| "expected 0 to 1000000".to_owned())
}

fn parse_speed(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|speed| (0.001..=1000.0).contains(speed))
        .ok_or_else(|| "expected 0.001 to 1000".to_owned())
}

impl SimulationArgs {
    /// The gateway's settings.
    pub fn settings(&self) -> Settings {
        Settings {
            tasks: self.tasks,
            seed: self.seed,
            speed: self.speed,
            faults: self.faults.clone(),
            list_limit: self.list_limit,
            hides_bodies: self.list_without_bodies,
            balance: self.balance,
        }
    }
}

impl Simulate {
    /// Runs the gateway until SIGTERM or SIGINT.
    pub fn run(&self, options: &Options) -> Result<(), Failure> {
        let _logging = options.start_logging()?;
        block_on(async {
            let stop = stop_on_signal()?;
            let gateway = Gateway::new(&self.simulation.settings());
            let listener =
                TcpListener::bind(self.listen).await.with_context(|| format!("cannot listen on {}", self.listen))?;
            print_line(format_args!(
                "{}",
                simulate::greeting(listener.local_addr().context("cannot read the address of the socket")?)
            ))?;
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
