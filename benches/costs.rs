//! What prices cost the exporter: programs without and with prices poll the same tasks of one simulated gateway side by side,
//! two of each.
//!
//! `cargo bench --bench costs [-- MINUTES]`, five by default. With `BEFORE=PATH`, another build of the program runs beside them.
//! `docs/performance.md` quotes the figures.

mod common;
#[path = "common/page.rs"]
mod page;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use common::{Folder, PROGRAM, Process, run, start, usage};
use page::{mebibytes, sum, text};

const TASKS: u32 = 5_000;
const GATEWAY: &str = "127.0.0.1:10487";

/// So long the programs find the tasks and poll them before anything is measured.
const WARM_UP: Duration = Duration::from_mins(1);

/// CPU and memory are compared once in this time.
const WINDOW: Duration = Duration::from_secs(20);

/// The prices of one rule a model, as a team would write them; `LiteLLM`'s table follows them.
const PRICES: &str = "pricing:
  rates: {CNY: 0.14}
  files: [litellm.json]
  rules:
    - {match: {model: '*seedance*', resolution: [1080p]}, currency: CNY, price: {per: token, amount: 51, each: 1000000}}
    - {match: {model: '*seedance*'}, currency: CNY, price: {per: token, amount: 46, each: 1000000}}
    - {match: {model: 'sora-*'}, price: {per: second, amount: 0.1}}
    - {match: {model: 'kling-*'}, price: {per: second, amount: 0.07}}
    - {match: {model: 'veo-*'}, price: {per: second, amount: 0.4}}
  budgets: [{name: all, per: month, amount: 100000}]
";

/// A program that is measured.
struct Measured {
    name: &'static str,
    address: String,
    process: Process,
    before: (f64, f64),
    /// CPU time of a poll in each window, in µs.
    cpu: Vec<f64>,
    /// Resident memory of a task at the end of each window, in bytes.
    memory: Vec<f64>,
}

impl Measured {
    fn start(name: &'static str, program: &Path, pricing: &str, port: u16, folder: &Folder) -> Self {
        let address = format!("127.0.0.1:{port}");
        let config = folder.write(
            &format!("{port}.yml"),
            &format!(
                "state: {{memory: {{}}}}\ntasks: {{retention: 1m}}\nmetrics: {{max_task_series: 100000}}\n\
                 polling: {{interval: 5s, min_interval: 1s, max_interval: 5s, requests_per_second: 100000, burst: 1000, by_list: never}}\n\
                 upstreams: [{{name: sim, provider: new_api, base_url: 'http://{GATEWAY}',\n\
                 list_configs: [{{requests_per_second: 2, lookback: 5m}}]}}]\n{pricing}"
            ),
        );
        let arguments = [format!("--config.file={}", config.display()), format!("--web.listen-address={address}")];
        let process = run(Command::new(program).args(arguments));
        Self { name, address, process, before: (0.0, 0.0), cpu: Vec::new(), memory: Vec::new() }
    }

    /// Polls, tasks, CPU seconds and memory in MiB now.
    fn totals(&self) -> (f64, f64, f64, f64) {
        let page = text(&self.address).expect("/metrics answers");
        let (cpu, memory) = usage(self.process.0.id());
        let polls = sum(&page, "videogen_upstream_requests_total{");
        (polls, sum(&page, "videogen_exporter_task_series_tasks"), cpu, memory)
    }

    fn look(&mut self) {
        let (polls, tasks, cpu, memory) = self.totals();
        self.cpu.push(1e6 * (cpu - self.before.1) / (polls - self.before.0));
        self.memory.push(memory * f64::from(1 << 20) / tasks);
        self.before = (polls, cpu);
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn main() {
    let minutes = std::env::args().find_map(|arg| arg.parse::<u32>().ok()).unwrap_or(5);
    let folder = Folder::new("costs");
    folder.write("litellm.json", include_str!("../tests/fixtures/prices/litellm-video.json"));
    let _gateway = start(&[
        "simulate",
        &format!("--listen={GATEWAY}"),
        &format!("--tasks={TASKS}"),
        "--speed=1.2",
        "--list-limit=0",
    ]);
    sleep(Duration::from_secs(2));
    let program = Path::new(PROGRAM);
    let before = std::env::var_os("BEFORE").map(PathBuf::from);
    // Each variant runs twice: what the two differ by is noise.
    let mut all = Vec::new();
    for port in [10_470, 10_473] {
        all.push(Measured::start("no prices", program, "", port, &folder));
        all.push(Measured::start("prices", program, PRICES, port + 1, &folder));
        let other = before.iter().map(|path| Measured::start("the other build", path, "", port + 2, &folder));
        all.extend(other);
    }
    sleep(WARM_UP);
    for measured in &mut all {
        let (polls, _, cpu, _) = measured.totals();
        measured.before = (polls, cpu);
    }
    for _ in 0..u64::from(minutes) * 60 / WINDOW.as_secs() {
        sleep(WINDOW);
        all.iter_mut().for_each(Measured::look);
    }
    let first = &all[0];
    println!(
        "{:<16} {:>14} {:>8} {:>14} {:>8} {:>8} {:>10}",
        "", "CPU of a poll", "ratio", "of a task", "ratio", "tasks", "page"
    );
    for measured in &all {
        let ratio =
            |of: fn(&Measured) -> &Vec<f64>| median(of(measured).iter().zip(of(first)).map(|(now, base)| now / base));
        println!(
            "{:<16} {:>11.1} µs {:>8.3} {:>10.0} B {:>8.3} {:>8.0} {:>6.1} MiB",
            measured.name,
            median(measured.cpu.iter().copied()),
            ratio(|one| &one.cpu),
            median(measured.memory.iter().copied()),
            ratio(|one| &one.memory),
            measured.totals().1,
            mebibytes(text(&measured.address).map_or(0, |page| page.len())),
        );
    }
}
