//! Very many ids pass through while about 10,000 tasks are active. Memory must stay flat, the state file bounded, and the next
//! start fast.
//!
//! `cargo bench --bench soak -- 1000000 1h` remembers each of a million ids for an hour: in the end the state has all of them.
//! `cargo bench --bench soak -- 1000000 2m` forgets ids during the run: the file stops growing. Each takes about ten minutes.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock itself")]

mod common;
#[path = "common/page.rs"]
mod page;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{Folder, start, usage};
use page::{mebibytes, sum, text};

/// Active tasks at any time.
const ACTIVE: u32 = 10_000;

/// Listen address of the exporter.
const ADDRESS: &str = "127.0.0.1:10477";

/// Sampling interval of memory and file size.
const SAMPLE: Duration = Duration::from_secs(5);

/// Tables and caches fill until this part of the ids has passed.
const WARM_UP: f64 = 0.2;

/// Allowed deviation of memory after the warm-up.
const FLAT: f64 = 0.1;

/// Longest allowed start with the full state.
const MAX_START: Duration = Duration::from_secs(2);

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let ids_wanted: f64 = args.next().and_then(|arg| arg.parse().ok()).unwrap_or(1_000_000.0);
    let forget_after = args.next().unwrap_or_else(|| "1h".to_owned());
    let folder = Folder::new("soak");
    let ids = folder.0.join("ids.json");
    let config = folder.write(
        "c.yml",
        &format!(
            "polling: {{interval: 2s, min_interval: 1s, max_interval: 2s, requests_per_second: 100000, burst: 1000, max_in_flight: 64}}\n\
             metrics: {{max_task_series: 20000, zero_hold: 1s}}\n\
             tasks: {{retention: 5s, forget_after: {forget_after}}}\n\
             state: {{sqlite: {{path: s.db}}}}\n\
             upstreams: [{{name: sim, provider: new_api, base_url: 'http://127.0.0.1:10487', file_sd_configs: [{{files: [ids.json]}}]}}]\n"
        ),
    );
    let _gateway = start(&[
        "simulate",
        "--listen=127.0.0.1:10487",
        "--speed=30",
        &format!("--tasks={ACTIVE}"),
        &format!("--targets-file={}", ids.display()),
    ]);
    sleep(Duration::from_secs(2));
    let exporter =
        || start(&[&format!("--config.file={}", config.display()), &format!("--web.listen-address={ADDRESS}")]);
    let mut running = exporter();
    let mut warm: Vec<f64> = Vec::new();
    let mut next_report = 0.0;
    println!("{:>10} {:>8} {:>10} {:>10}", "ids", "tracked", "resident", "file");
    let passed = loop {
        sleep(SAMPLE);
        let Some(page) = text(ADDRESS) else { continue };
        let passed = sum(&page, "videogen_tasks_discovered_total{");
        let (_, resident) = usage(running.0.id());
        if passed >= WARM_UP * ids_wanted {
            warm.push(resident);
        }
        if passed >= next_report {
            let tracked = sum(&page, "videogen_tasks{");
            println!("{passed:>10} {tracked:>8} {resident:>6.1} MiB {:>6.1} MiB", state_size(&folder));
            next_report += ids_wanted / 20.0;
        }
        if passed >= ids_wanted {
            break passed;
        }
    };
    let (least, most) = (warm.iter().copied().fold(f64::MAX, f64::min), warm.iter().copied().fold(0.0, f64::max));
    let middle = f64::midpoint(least, most);
    println!(
        "memory after warm-up       {least:.1} to {most:.1} MiB, {:.1} % around the middle",
        50.0 * (most - least) / middle
    );

    let stopped = Command::new("kill").args(["-TERM", &running.0.id().to_string()]).status();
    assert!(stopped.is_ok_and(|status| status.success()), "SIGTERM is sent");
    running.0.wait().expect("the program stops");
    let start_time = Instant::now();
    let _restarted = exporter();
    let page = loop {
        if let Some(page) = text(ADDRESS) {
            break page;
        }
        sleep(Duration::from_millis(2));
    };
    let took = start_time.elapsed();
    let discovered = sum(&page, "videogen_tasks_discovered_total{");
    println!(
        "start on that state        {:.2} s to the first page, {:.1} MiB",
        took.as_secs_f64(),
        state_size(&folder)
    );
    assert!(discovered >= passed, "counters are lost: {discovered} of {passed}");
    assert!(most - least <= 2.0 * FLAT * middle, "memory is not flat");
    assert!(took < MAX_START, "the start is too slow");
}

/// Size of the state files in MiB.
fn state_size(folder: &impl AsRef<Path>) -> f64 {
    let files = ["s.db", "s.db-wal"].map(|name| fs::metadata(folder.as_ref().join(name)));
    files.into_iter().flatten().map(|file| mebibytes(usize::try_from(file.len()).unwrap_or(usize::MAX))).sum()
}
