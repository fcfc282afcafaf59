//! Ten thousand running tasks at one gateway: two exporters read them by the list, with two and three requests a second, and alone; another
//! one only alone. Each sends ten polls a second.
//!
//! `cargo bench --bench by_list [-- MINUTES]`, ten by default. `docs/performance.md` quotes the figures.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock itself")]

mod common;
#[path = "common/page.rs"]
mod page;

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{Folder, Process, start, usage};
use page::{mebibytes, sum, text};
use serde_json::Value;

const TASKS: u32 = 10_000;
const GATEWAY: &str = "127.0.0.1:10489";

/// So many seconds of the tasks pass before anything is measured: every task is known by then.
const WARM_UP: Duration = Duration::from_mins(4);

/// How often the ages of the readings are looked at.
const INTERVAL: Duration = Duration::from_secs(30);

/// An exporter that is measured.
struct Measured {
    name: &'static str,
    address: String,
    process: Process,
    ages: Vec<f64>,
    before: (f64, f64, f64),
}

impl Measured {
    fn start(name: &'static str, by_list: &str, rate: u32, port: u16, folder: &Folder) -> Self {
        let address = format!("127.0.0.1:{port}");
        let config = folder.write(
            &format!("{name}.yml"),
            &format!(
                "state: {{memory: {{}}}}\ntasks: {{retention: 2m}}\nmetrics: {{max_task_series: 100000}}\n\
                 polling: {{requests_per_second: 10, by_list: {by_list}}}\n\
                 upstreams: [{{name: sim, provider: new_api, base_url: 'http://{GATEWAY}',\n\
                 list_configs: [{{requests_per_second: {rate}, lookback: 5m}}]}}]\n"
            ),
        );
        let arguments = [&format!("--config.file={}", config.display()), &format!("--web.listen-address={address}")];
        let process = start(&arguments.map(String::as_str));
        Self { name, address, process, ages: Vec::new(), before: (0.0, 0.0, 0.0) }
    }

    fn page(&self) -> String {
        text(&self.address).expect("/metrics answers")
    }

    /// Requests, readings and CPU seconds so far.
    fn totals(&self) -> (f64, f64, f64) {
        let page = self.page();
        let requests = sum(&page, "videogen_upstream_requests_total{");
        (requests, sum(&page, "videogen_readings_total{"), usage(self.process.0.id()).0)
    }

    /// Looks at the ages of the last readings of all active tasks.
    fn look(&mut self) {
        let page = self.page();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
        let statuses = statuses(&page);
        for line in page.lines() {
            let Some(rest) = line.strip_prefix("videogen_task_last_poll_timestamp_seconds{") else { continue };
            let Some((id, at)) = task_and_value(rest) else { continue };
            if statuses.get(id).is_some_and(|status| matches!(*status, "queued" | "running" | "unknown")) {
                self.ages.push(now - at);
            }
        }
    }

    /// How many ended tasks have another status than at the gateway, and how many were compared.
    fn compare(&self, truth: &HashMap<String, String>) -> (usize, usize) {
        let page = self.page();
        let ended = statuses(&page)
            .into_iter()
            .filter(|(_, status)| matches!(*status, "succeeded" | "failed" | "cancelled" | "expired"));
        let known: Vec<bool> = ended.filter_map(|(id, status)| Some(truth.get(id)? == status)).collect();
        (known.iter().filter(|is_right| !**is_right).count(), known.len())
    }
}

/// The task id and the value of a series without its name.
fn task_and_value(rest: &str) -> Option<(&str, f64)> {
    let (_, rest) = rest.split_once("task_id=\"")?;
    let (id, _) = rest.split_once('"')?;
    Some((id, rest.rsplit(' ').next()?.parse().ok()?))
}

/// The status of each task on a page.
fn statuses(page: &str) -> HashMap<&str, &str> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("videogen_task_status{")?.strip_suffix(" 1"));
    rows.filter_map(|row| {
        let (_, rest) = row.split_once("task_id=\"")?;
        let (id, rest) = rest.split_once('"')?;
        let (_, rest) = rest.split_once("status=\"")?;
        Some((id, rest.split_once('"')?.0))
    })
    .collect()
}

/// The status of every task by the gateway's own rows: the vendor's word where the gateway does not know it.
fn truth() -> HashMap<String, String> {
    let mut truth = HashMap::new();
    for number in 1..=300 {
        let page = gateway_page(number);
        let rows = page["data"]["items"].as_array().expect("a page has rows");
        if rows.is_empty() {
            break;
        }
        for row in rows {
            let vendor = row["data"]["status"].as_str().filter(|word| matches!(*word, "cancelled" | "expired"));
            let is_swept = row["fail_reason"].as_str().is_some_and(|reason| reason.starts_with("任务超时"));
            let operation = &row["data"]["response"]["generateVideoResponse"];
            let is_filtered = operation["raiMediaFilteredCount"].is_u64();
            let status = match (row["status"].as_str(), vendor) {
                (_, Some(word)) => word,
                (Some("SUCCESS"), _) if !is_filtered => "succeeded",
                (Some("FAILURE"), _) if is_swept => "expired",
                (Some("SUCCESS" | "FAILURE"), _) => "failed",
                _ => continue,
            };
            truth.insert(row["task_id"].as_str().expect("an id").to_owned(), status.to_owned());
        }
    }
    truth
}

fn gateway_page(number: usize) -> Value {
    let mut socket = TcpStream::connect(GATEWAY).expect("the gateway runs");
    write!(socket, "GET /api/task/?p={number}&page_size=100 HTTP/1.0\r\n\r\n").expect("the gateway reads");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).expect("the gateway answers");
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head") + 4;
    serde_json::from_slice(&answer[end..]).expect("JSON")
}

fn main() {
    let minutes = std::env::args().find_map(|arg| arg.parse::<u32>().ok()).unwrap_or(10);
    let folder = Folder::new("by-list");
    let _gateway = start(&[
        "simulate",
        &format!("--listen={GATEWAY}"),
        &format!("--tasks={TASKS}"),
        "--speed=1.2",
        "--list-limit=0",
    ]);
    sleep(Duration::from_secs(2));
    let mut all = [
        Measured::start("auto, 2", "auto", 2, 10_477, &folder),
        Measured::start("auto, 3", "auto", 3, 10_479, &folder),
        Measured::start("never, 2", "never", 2, 10_478, &folder),
    ];
    sleep(WARM_UP);
    for measured in &mut all {
        measured.before = measured.totals();
    }
    let rounds = Duration::from_mins(minutes.into()).as_secs() / INTERVAL.as_secs();
    for _ in 0..rounds {
        sleep(INTERVAL);
        all.iter_mut().for_each(Measured::look);
    }
    let truth = truth();
    println!(
        "by_list, list requests a second\n          last reading p50   p99      requests a task and minute   CPU a task and minute   wrong ends"
    );
    for measured in &mut all {
        let (requests, readings, cpu) = measured.totals();
        let per = |now: f64, before: f64| (now - before) / (f64::from(TASKS) * f64::from(minutes));
        let (wrong, compared) = measured.compare(&truth);
        measured.ages.sort_by(f64::total_cmp);
        let at = |share: usize| measured.ages.get(measured.ages.len() * share / 100).copied().unwrap_or(f64::NAN);
        println!(
            "{:<8}  {:>10.0} s  {:>8.0} s  {:>12.4}  {:>28.1} µs  {:>12} of {compared}   ({:.1} readings a task and minute; page {:.1} MiB)",
            measured.name,
            at(50),
            at(99),
            per(requests, measured.before.0),
            1e6 * per(cpu, measured.before.2),
            wrong,
            per(readings, measured.before.1),
            mebibytes(measured.page().len()),
        );
    }
}
