//! Very large answers beside small ones: `cargo bench --bench large [-- ANSWERS]`.
//!
//! Runs the program against a gateway in this process with 1,000 tasks, alone and beside an upstream with 8 tasks whose answers
//! repeat inputs of 20 MB (Gemini Interactions). Prints the memory of the program, and how late the gateway's polls were. The variants alternate.

#![expect(clippy::disallowed_methods, reason = "spawned tasks end with the benchmark")]

mod common;
#[path = "common/gateway.rs"]
mod gateway;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use common::{Folder, start, usage};
use gateway::{gateway, targets};
use tokio::time::sleep;

/// Tasks of the gateway, each polled every 2 seconds.
const TASKS: usize = 1000;

/// Tasks with large answers, all asked for at once, every minute: `max_interval`.
const ANSWERS: usize = 8;

/// Size of such an answer.
const MEGABYTES: usize = 20;

/// Length of a measurement: two rounds of large answers.
const WINDOW: Duration = Duration::from_secs(75);

/// Measurements per variant.
const ROUNDS: usize = 2;

/// An interaction that repeats a large input.
fn interaction() -> Bytes {
    let data = "A".repeat(MEGABYTES << 20);
    let body = format!(
        r#"{{"id":"v1_t","status":"in_progress","model":"gemini-omni-flash-preview","created":"2026-11-20T00:00:00Z","updated":"2026-11-20T00:00:21Z","steps":[{{"type":"user_input","content":[{{"type":"video","data":"{data}"}}]}}]}}"#
    );
    body.into()
}

/// The sum and the number of a histogram without other labels than the upstream.
async fn histogram(client: &reqwest::Client, name: &str) -> (f64, f64) {
    let page = client.get("http://127.0.0.1:10479/metrics").send().await.expect("a page").text().await.expect("a page");
    let value = |part: &str| {
        let start = format!("{name}_{part}{{upstream=\"sim\"}} ");
        let line = page.lines().find_map(|line| line.strip_prefix(&start)).expect("the histogram");
        line.parse::<f64>().expect("a number")
    };
    (value("sum"), value("count"))
}

#[tokio::main]
async fn main() {
    let answers = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(ANSWERS);
    let folder = Folder::new("large");
    folder.write("ids.json", &targets(TASKS));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let large_url = format!("http://{}", listener.local_addr().expect("an address"));
    let body = interaction();
    let large = Router::new().route("/v1beta/interactions/{id}", get(move || async move { Body::from(body) }));
    tokio::spawn(async move { axum::serve(listener, large).await });
    let url = format!("http://{}", gateway(None, || {}).await);
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::new();
    for round in 1..=ROUNDS {
        for large in [false, true] {
            let ids: Vec<String> = (0..answers).map(|n| format!("v1_{n}")).collect();
            let interactions = format!(
                "- {{name: omni, provider: gemini_interactions, base_url: '{large_url}', static_configs: [{{targets: [{}]}}]}}\n",
                ids.join(", ")
            );
            let config = format!(
                "state: {{memory: {{}}}}\nupstreams:\n\
                 - {{name: sim, provider: new_api, base_url: '{url}', polling: {{interval: 2s, min_interval: 1s, max_interval: 2s, \
                 requests_per_second: 100000}}, file_sd_configs: [{{files: [ids.json]}}]}}\n{}",
                if large { &interactions } else { "" }
            );
            let config = format!("--config.file={}", folder.write("c.yml", &config).display());
            let process = start(&[&config, "--web.listen-address=127.0.0.1:10479"]);
            let mut peak = 0.0_f64;
            for _ in 0..WINDOW.as_millis() / 100 {
                sleep(Duration::from_millis(100)).await;
                peak = peak.max(usage(process.0.id()).1);
            }
            let (cpu, resident) = usage(process.0.id());
            let (lag, polls) = histogram(&client, "videogen_poll_lag_seconds").await;
            let name = if large { format!("beside {answers} answers of {MEGABYTES} MB") } else { "alone".to_owned() };
            println!(
                "round {round}, {name}: {polls} polls, lag {:.2} ms, {cpu:.2} s CPU, {resident:.1} MiB, at most {peak:.1}",
                1e3 * lag / polls
            );
        }
    }
}
