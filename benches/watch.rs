//! What watching costs Prometheus: every query of every dashboard, and every group of the bundled rules, with this many active tasks.
//!
//! `cargo bench --bench watch [-- TASKS [MINUTES]]`, 5,000 tasks for six minutes by default. `docs/dashboards.md` and
//! `docs/performance.md` quote the figures. It needs Prometheus in `.peers` (`./tests/peers`) or on PATH.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock itself")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{Folder, run, start, usage};
use serde_json::Value;

const GATEWAY: &str = "127.0.0.1:10486";
const EXPORTER: &str = "127.0.0.1:10485";
const PROMETHEUS: &str = "127.0.0.1:10484";

/// The range and the step of a graph: an hour on a wide screen.
const RANGE: u64 = 3600;
const STEP: u64 = 15;

/// The answer of Prometheus without its headers, in this coding, and how long it took.
fn get(path: &str, query: &[(&str, &str)], coding: &str) -> (Vec<u8>, Duration) {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    let begun = Instant::now();
    let mut socket = TcpStream::connect(PROMETHEUS).expect("Prometheus listens");
    write!(socket, "GET /api/v1/{path}?{query} HTTP/1.0\r\nAccept-Encoding: {coding}\r\n\r\n")
        .expect("the request is sent");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).expect("an answer");
    let took = begun.elapsed();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("headers") + 4;
    assert!(answer.starts_with(b"HTTP/1.0 200"), "{query}: {}", String::from_utf8_lossy(&answer[..end]));
    (answer.split_off(end), took)
}

/// A query as Grafana sends it with every variable at "All".
fn filled_in(expr: &str) -> String {
    let filled = [("$__rate_interval", "1m"), ("$__range", "1h"), ("$__interval", "15s"), ("\"$team\"", "\".*\"")];
    let expr = filled.iter().fold(expr.to_owned(), |expr, (name, value)| expr.replace(name, value));
    ["$job", "$instance", "$upstream", "$model"].iter().fold(expr, |expr, name| expr.replace(name, ".+"))
}

fn main() {
    let numbers: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let (tasks, minutes) = (numbers.first().copied().unwrap_or(5000), numbers.get(1).copied().unwrap_or(6));
    let folder = Folder::new("watch");
    let targets = format!("--targets-file={}", folder.0.join("ids.json").display());
    let _gateway =
        start(&["simulate", &format!("--tasks={tasks}"), "--speed=0.1", &format!("--listen={GATEWAY}"), &targets]);
    let config = folder.write(
        "vgx.yml",
        &format!(
            "polling: {{interval: 15s, min_interval: 10s, requests_per_second: 2000, burst: 2000}}\nstate: {{memory: {{}}}}\n\
             metrics: {{max_task_series: 100000, zero_hold: 10s, aggregate_labels: [team]}}\n\
             upstreams: [{{name: sim, provider: new_api, base_url: 'http://{GATEWAY}', file_sd_configs: [{{files: [ids.json], max_targets: 100000}}]}}]\n"
        ),
    );
    let _exporter =
        start(&[&format!("--config.file={}", config.display()), &format!("--web.listen-address={EXPORTER}")]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let prometheus_config = folder.write(
        "prometheus.yml",
        &format!(
            "global: {{scrape_interval: 15s, evaluation_interval: 30s}}\nrule_files: ['{}/config/rules/*.yml']\n\
             scrape_configs: [{{job_name: videogen-exporter, static_configs: [{{targets: ['{EXPORTER}']}}]}}]\n",
            root.display()
        ),
    );
    let fetched = root.join(".peers/usr/bin/prometheus");
    let program = if fetched.exists() { fetched } else { "prometheus".into() };
    let prometheus = run(Command::new(program).args([
        format!("--config.file={}", prometheus_config.display()),
        format!("--storage.tsdb.path={}", folder.0.join("data").display()),
        format!("--web.listen-address={PROMETHEUS}"),
    ]));
    println!("{tasks} active tasks, {minutes} minutes");
    sleep(Duration::from_secs(60 * minutes));

    let (cpu, memory) = usage(prometheus.0.id());
    let seconds = Duration::from_secs(60 * minutes).as_secs_f64();
    println!("Prometheus: {memory:.0} MiB, {:.1} % of a core", 100.0 * cpu / seconds);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    println!(
        "| Dashboard | queries | time, all one after the other | the longest | answers, gzip |\n|---|---|---|---|---|"
    );
    let (begin, end, step) = ((now - RANGE).to_string(), now.to_string(), STEP.to_string());
    let mut boards: Vec<_> = std::fs::read_dir(root.join("dashboards")).expect("dashboards").flatten().collect();
    boards.sort_by_key(std::fs::DirEntry::path);
    for board in boards {
        let text = std::fs::read_to_string(board.path()).expect("a dashboard");
        let board: Value = serde_json::from_str(&text).expect("a dashboard is JSON");
        let (mut count, mut total, mut longest, mut bytes) = (0, Duration::ZERO, Duration::ZERO, 0);
        let panels = board["panels"].as_array().into_iter().flatten();
        for target in panels.filter_map(|panel| panel["targets"].as_array()).flatten() {
            let expr = filled_in(target["expr"].as_str().unwrap_or_default());
            // A task has to be chosen.
            let expr = expr.replace("$task", "task_sim00000001");
            let (answer, took) = if target["instant"] == true {
                get("query", &[("query", &expr), ("time", &end)], "gzip")
            } else {
                get("query_range", &[("query", &expr), ("start", &begin), ("end", &end), ("step", &step)], "gzip")
            };
            (count, total, longest, bytes) = (count + 1, total + took, longest.max(took), bytes + answer.len());
        }
        println!(
            "| {} | {count} | {:.0} ms | {:.0} ms | {} KiB |",
            board["title"].as_str().unwrap_or_default(),
            total.as_secs_f64() * 1000.0,
            longest.as_secs_f64() * 1000.0,
            bytes / 1024
        );
    }

    let (rules, _) = get("rules", &[], "identity");
    let rules: Value = serde_json::from_slice(&rules).expect("JSON");
    let mut groups: Vec<(f64, &str)> = rules["data"]["groups"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|group| (group["evaluationTime"].as_f64().unwrap_or_default(), group["name"].as_str().unwrap_or_default()))
        .collect();
    groups.sort_by(|a, b| b.0.total_cmp(&a.0));
    println!("\nevaluation of rule groups, every 30 s:");
    for (seconds, name) in groups.iter().take(5) {
        println!("{name}: {:.0} ms", seconds * 1000.0);
    }
}
