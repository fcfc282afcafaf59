//! A restart when very many tasks are due at once: `cargo bench --bench restart [-- TASKS]`.
//!
//! How evenly they are asked, how soon the page has all of them, and what they take of memory, before and after.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock itself, and ends what it has started")]

mod common;
#[path = "common/gateway.rs"]
mod gateway;
#[path = "common/page.rs"]
mod page;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Folder, Killed, start, usage};
use gateway::{gateway, targets};
use page::{mebibytes, sum, text};
use tokio::time::sleep;

/// How often each task is asked.
const INTERVAL: Duration = Duration::from_secs(30);

/// Requests are counted by slots of this length.
const SLOT: Duration = Duration::from_millis(100);

const ADDRESS: &str = "127.0.0.1:10476";

/// Starts it, and waits for a page with all tasks; how long that took, and how large that is.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
async fn started(config: &str, tasks: usize) -> (Killed, Duration, f64) {
    let begun = Instant::now();
    let running = start(&[config, &format!("--web.listen-address={ADDRESS}")]);
    loop {
        match text(ADDRESS).filter(|page| sum(page, "videogen_exporter_task_series_tasks") as usize >= tasks) {
            Some(page) => return (running, begun.elapsed(), mebibytes(page.len())),
            None => sleep(Duration::from_millis(5)).await,
        }
    }
}

#[tokio::main]
async fn main() {
    let tasks = std::env::args().find_map(|arg| arg.parse::<usize>().ok()).unwrap_or(100_000);
    let folder = Folder::new("restart");
    let slots: Arc<Vec<AtomicUsize>> = Arc::new((0..6000).map(|_| AtomicUsize::new(0)).collect());
    let (counted, epoch) = (slots.clone(), Instant::now());
    let slot = move || usize::try_from(epoch.elapsed().as_millis() / SLOT.as_millis()).expect("not so long");
    let address = gateway(None, move || _ = counted[slot()].fetch_add(1, Ordering::Relaxed)).await;
    let asked = |from: usize| slots[from..].iter().map(|slot| slot.load(Ordering::Relaxed)).sum::<usize>();
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
    let (mut running, took, size) = started(&config, tasks).await;
    println!("first start: all {tasks} tasks on a page of {size:.1} MiB after {} ms", took.as_millis());
    sleep(INTERVAL + Duration::from_secs(10)).await;
    println!("resident: {:.1} MiB, {} polls so far", usage(running.0.id()).1, asked(0));
    let pid = running.0.id().to_string();
    Command::new("kill").args(["-TERM", &pid]).status().expect("a signal");
    running.0.wait().expect("an end");
    // By then every one of them is overdue.
    sleep(INTERVAL + Duration::from_secs(5)).await;

    let first = slot();
    let (running, took, _) = started(&config, tasks).await;
    println!("restart: all on a page after {} ms", took.as_millis());
    sleep(2 * INTERVAL).await;
    let begun = (first..slots.len()).find(|slot| slots[*slot].load(Ordering::Relaxed) > 0).expect("polls");
    let interval = usize::try_from(INTERVAL.as_millis() / SLOT.as_millis()).expect("not so long");
    for round in 0..2 {
        let slots = &slots[begun + round * interval..][..interval];
        let most = slots.iter().map(|slot| slot.load(Ordering::Relaxed)).max().unwrap_or_default();
        let all: usize = slots.iter().map(|slot| slot.load(Ordering::Relaxed)).sum();
        println!(
            "interval {}: {all} polls, at most {most} in {} ms, which is {:.2} times what they would be if every interval had {tasks}",
            round + 1,
            SLOT.as_millis(),
            ratio(most * interval, tasks)
        );
    }
    println!("resident: {:.1} MiB", usage(running.0.id()).1);
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn ratio(a: usize, b: usize) -> f64 {
    a as f64 / b as f64
}
