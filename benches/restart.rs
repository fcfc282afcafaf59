//! A restart with all polls overdue: `cargo bench --bench restart [-- TASKS]`, with 100,000 tasks by default.
//!
//! Measures how evenly the polls are spread, when `/metrics` has all tasks, and memory before and after the restart.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock itself, and spawned tasks end with it")]

mod common;
#[path = "common/gateway.rs"]
mod gateway;
#[path = "common/page.rs"]
mod page;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Folder, Process, start, usage};
use gateway::{gateway, targets};
use page::{mebibytes, sum, text};
use tokio::time::sleep;

/// Poll interval of each task.
const INTERVAL: Duration = Duration::from_secs(30);

/// Requests are counted in periods of this length.
const PERIOD: Duration = Duration::from_millis(100);

const ADDRESS: &str = "127.0.0.1:10476";

/// Starts the program and waits for a page with all tasks. Returns the wait and the size of the page in MiB.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
async fn start_and_wait(config: &str, tasks: usize) -> (Process, Duration, f64) {
    let start_time = Instant::now();
    let running = start(&[config, &format!("--web.listen-address={ADDRESS}")]);
    loop {
        match text(ADDRESS).filter(|page| sum(page, "videogen_exporter_task_series_tasks") as usize >= tasks) {
            Some(page) => return (running, start_time.elapsed(), mebibytes(page.len())),
            None => sleep(Duration::from_millis(5)).await,
        }
    }
}

#[tokio::main]
async fn main() {
    let tasks = std::env::args().find_map(|arg| arg.parse::<usize>().ok()).unwrap_or(100_000);
    let folder = Folder::new("restart");
    let periods: Arc<Vec<AtomicUsize>> = Arc::new((0..6000).map(|_| AtomicUsize::new(0)).collect());
    let (counts, epoch) = (periods.clone(), Instant::now());
    let now = move || usize::try_from(epoch.elapsed().as_millis() / PERIOD.as_millis()).expect("a small number");
    let address = gateway(None, move || _ = counts[now()].fetch_add(1, Ordering::Relaxed)).await;
    let polls = |period: usize| periods[period].load(Ordering::Relaxed);
    folder.write("ids.json", &targets(tasks));
    let config = folder.write(
        "c.yml",
        &format!(
            "polling: {{interval: {0}s, min_interval: 10s, max_interval: {0}s, requests_per_second: 100000, burst: 1000, max_in_flight: 256}}\n\
             metrics: {{max_task_series: {tasks}}}\n\
             upstreams: [{{name: sim, provider: new_api, base_url: 'http://{address}', file_sd_configs: [{{files: [ids.json]}}]}}]\n",
            INTERVAL.as_secs()
        ),
    );
    let config = format!("--config.file={}", config.display());
    let (mut running, took, size) = start_and_wait(&config, tasks).await;
    println!("first start: all {tasks} tasks on a page of {size:.1} MiB after {} ms", took.as_millis());
    sleep(INTERVAL + Duration::from_secs(10)).await;
    let total: usize = (0..periods.len()).map(polls).sum();
    println!("resident: {:.1} MiB, {total} polls so far", usage(running.0.id()).1);
    let pid = running.0.id().to_string();
    Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
    running.0.wait().expect("the program stops");
    // Let every poll become overdue.
    sleep(INTERVAL + Duration::from_secs(5)).await;

    let restarted = now();
    let (running, took, _) = start_and_wait(&config, tasks).await;
    println!("restart: all tasks on a page after {} ms", took.as_millis());
    sleep(2 * INTERVAL).await;
    let first = (restarted..periods.len()).find(|period| polls(*period) > 0).expect("polls after the restart");
    let length = usize::try_from(INTERVAL.as_millis() / PERIOD.as_millis()).expect("a small number");
    for n in 0..2 {
        let interval = first + n * length..first + (n + 1) * length;
        let most = interval.clone().map(polls).max().unwrap_or_default();
        let total: usize = interval.map(polls).sum();
        println!(
            "interval {}: {total} polls, at most {most} in {} ms, {:.2} times an even spread of {tasks} polls",
            n + 1,
            PERIOD.as_millis(),
            ratio(most * length, tasks)
        );
    }
    println!("resident: {:.1} MiB", usage(running.0.id()).1);
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn ratio(a: usize, b: usize) -> f64 {
    a as f64 / b as f64
}
