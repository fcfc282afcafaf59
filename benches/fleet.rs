//! The exporter polls a fleet of tasks of the simulated gateway. CPU and memory come from `/proc`, the rest from `/metrics`.
//!
//! `cargo bench --bench fleet [-- TASKS]`, with 10,000 active tasks by default. The README quotes the figures.

mod common;
#[path = "common/page.rs"]
mod page;

use std::thread::sleep;
use std::time::Duration;

use common::{Folder, start, usage};
use page::{mebibytes, scrape, sum, text};

/// Polls are counted for this long.
const WINDOW: Duration = Duration::from_secs(20);

/// Scrapes of each content coding.
const SCRAPES: usize = 15;

fn main() {
    let tasks = std::env::args().find_map(|arg| arg.parse::<u32>().ok()).unwrap_or(10_000);
    let folder = Folder::new("fleet");
    let ids = folder.0.join("ids.json");
    let config = folder.write(
        "c.yml",
        &format!(
            "polling: {{interval: 5s, min_interval: 1s, max_interval: 5s, requests_per_second: 100000, burst: 1000, max_in_flight: 64}}\n\
             metrics: {{max_task_series: {tasks}}}\n\
             upstreams: [{{name: sim, provider: new_api, base_url: 'http://127.0.0.1:10488', file_sd_configs: [{{files: [ids.json]}}]}}]\n"
        ),
    );
    let _gateway = start(&[
        "simulate",
        "--listen=127.0.0.1:10488",
        "--speed=0.01",
        &format!("--tasks={tasks}"),
        &format!("--targets-file={}", ids.display()),
    ]);
    sleep(Duration::from_secs(2));
    let address = "127.0.0.1:10478";
    let exporter = start(&[&format!("--config.file={}", config.display()), &format!("--web.listen-address={address}")]);
    sleep(Duration::from_secs(12));

    let pid = exporter.0.id();
    let polls = |page: &str| sum(page, "videogen_upstream_requests_total{");
    let before = text(address).expect("/metrics answers");
    let (cpu_before, _) = usage(pid);
    sleep(WINDOW);
    let (cpu_after, _) = usage(pid);
    let after = text(address).expect("/metrics answers");
    let made = polls(&after) - polls(&before);
    let series = after.lines().filter(|line| !line.starts_with('#')).count();
    println!("active tasks               {:.0}", sum(&after, "videogen_exporter_task_series_tasks"));
    println!("polls a second             {:.0}", made / WINDOW.as_secs_f64());
    println!("CPU for 1,000 polls        {:.1} ms", 1e6 * (cpu_after - cpu_before) / made);
    println!("series                     {series}");
    let codings = ["identity", "gzip"];
    let mut scrapes = codings.map(|_| Vec::new());
    let mut sizes = codings.map(|_| 0);
    for _ in 0..SCRAPES {
        for (n, coding) in codings.iter().enumerate() {
            let (page, took) = scrape(address, coding).expect("/metrics answers");
            sizes[n] = page.len();
            scrapes[n].push(took);
        }
    }
    for ((coding, size), times) in codings.iter().zip(sizes).zip(&mut scrapes) {
        times.sort();
        let took = 1e3 * times[times.len() / 2].as_secs_f64();
        println!("one scrape, {coding:<14} {took:.1} ms median of {SCRAPES}, {:.1} MiB", mebibytes(size));
    }
    println!("resident memory            {:.1} MiB after the scrapes", usage(pid).1);
}
