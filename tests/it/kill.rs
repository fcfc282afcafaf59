//! Repeated `kill -9` while thousands of tasks end and a real Prometheus scrapes: no count is lost or doubled.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use videogen_exporter::http::Request;

use crate::exporter::{PATIENCE, client, get, value};
use crate::known::{PRICES, PlannedGateway, mismatches};
use crate::program::Running;
use crate::prometheus::{free_port, peer, start};

/// How often the exporter is killed.
const KILLS: u32 = 60;

/// How many tasks end meanwhile.
const TASKS: u64 = 3000;

/// Replaces the target file of a source.
fn write_ids(file: &Path, ids: &[String]) {
    let text = serde_json::json!([{"targets": ids}]).to_string();
    fs::write(file.with_extension("new"), text).unwrap();
    fs::rename(file.with_extension("new"), file).unwrap();
}

/// The result of an instant query; empty while Prometheus is not ready.
async fn query(port: u16, promql: &str) -> Vec<(Value, f64)> {
    let request =
        Request { query: vec![("query".to_owned(), promql.to_owned())], ..Request::get(["api", "v1", "query"]) };
    let Ok(response) = client(([127, 0, 0, 1], port).into()).send(&request, None).await else { return Vec::new() };
    if response.status == 503 {
        return Vec::new();
    }
    let answer: Value = serde_json::from_slice(&response.body.unwrap()).unwrap();
    let result = answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{promql}: {answer}"));
    let number = |row: &Value| row["value"][1].as_str().unwrap().parse().unwrap();
    result.iter().map(|row| (row["metric"].clone(), number(row))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn real_prometheus_counts_every_end_once_while_the_exporter_is_killed_repeatedly() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (exporter_port, prometheus_port) = (free_port(), free_port());
    let address = format!("127.0.0.1:{exporter_port}");
    fs::write(
        at("prometheus.yml"),
        format!("global: {{scrape_interval: 500ms}}\nscrape_configs: [{{job_name: v, static_configs: [{{targets: ['{address}']}}]}}]\n"),
    )
    .unwrap();
    let _prometheus = start(
        peer("prometheus")
            .arg(format!("--web.listen-address=127.0.0.1:{prometheus_port}"))
            .arg(format!("--config.file={}", at("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", at("data").display())),
        &at("prometheus.log"),
    );
    // Wait for Prometheus: it cannot see increases before its first scrape.
    let deadline = Instant::now() + PATIENCE;
    while query(prometheus_port, "up").await.is_empty() {
        assert!(Instant::now() < deadline, "{}", fs::read_to_string(at("prometheus.log")).unwrap());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    let gateway = PlannedGateway::start(TASKS, Duration::from_secs(4), Duration::from_secs(40)).await;
    let (early, late) = (gateway.ids(false), gateway.ids(true));
    assert!(late.len() > 100);
    write_ids(&at("ids.json"), &early);
    fs::write(
        at("c.yml"),
        format!(
            "polling: {{interval: 1s, min_interval: 500ms, max_interval: 2s, requests_per_second: 4000, burst: 400, max_in_flight: 32}}\n\
             tasks: {{recheck_ended: 0s}}\nmetrics: {{zero_hold: 4s, per_task: 'off'}}\n{PRICES}\
             upstreams: [{{name: gw, provider: new_api, base_url: 'http://{}', file_sd_configs: [{{files: [ids.json]}}],\n\
             quota_per_unit: {{value: 1000, currency: USD}}}}]\n",
            gateway.address
        ),
    )
    .unwrap();

    let mut chance = fastrand::Rng::with_seed(4);
    for kill in 0..KILLS {
        let mut running = Running::start_at(&at("c.yml"), &address);
        tokio::time::sleep(Duration::from_millis(chance.u64(20..700))).await;
        if kill == KILLS / 2 {
            write_ids(&at("ids.json"), &[early.clone(), late.clone()].concat());
        }
        running.child.kill().unwrap();
        running.child.wait().unwrap();
    }

    let mut running = Running::start_at(&at("c.yml"), &address);
    let deadline = Instant::now() + PATIENCE;
    let page = loop {
        let page = get(running.address, "metrics").await.1;
        let mismatches = [gateway.mismatches(&page), mismatches(&page, gateway.expected_costs())].concat();
        if mismatches.is_empty() {
            break page;
        }
        assert!(Instant::now() < deadline, "{mismatches:#?}\n{page}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    };
    let discovered = "videogen_tasks_discovered_total{upstream=\"gw\",source=\"file/0\"}";
    assert_eq!(value(&page, discovered), Some(3000.0), "{page}");
    // Unless the month has changed meanwhile, all of it was spent of the budget.
    let costs = gateway.expected_costs().into_iter().filter(|(series, _)| series.starts_with("videogen_cost"));
    let spent = value(&page, "videogen_budget_spent{budget=\"all\",currency=\"USD\"}").unwrap();
    assert!((spent - costs.map(|(_, cost)| cost).sum::<f64>()).abs() < 1e-6, "{spent}");
    // The counters stay the same.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(gateway.mismatches(&get(running.address, "metrics").await.1), Vec::<String>::new());

    // At the time of the last sample and with a first sample of 0, `increase()` does not extrapolate: it is exact.
    let last = query(prometheus_port, "max(timestamp(videogen_tasks_submitted_total))").await[0].1;
    for family in [
        "videogen_tasks_submitted_total",
        "videogen_tasks_finished_total",
        "videogen_task_failures_total",
        "videogen_task_latency_seconds_count",
        "videogen_task_latency_seconds_sum",
        "videogen_task_latency_seconds_bucket",
        "videogen_task_queue_seconds_sum",
        "videogen_task_run_seconds_sum",
        "videogen_status_transitions_total",
        "videogen_tokens_total",
        "videogen_quota_total",
        "videogen_video_seconds_total",
        "videogen_cost_total",
        "videogen_charged_total",
        "videogen_unpriced_tasks_total",
        "videogen_tasks_discovered_total",
    ] {
        let resets = query(prometheus_port, &format!("max(resets({family}[10m]))")).await;
        assert!(resets.len() == 1 && resets[0].1 == 0.0, "{family} fell: {resets:?}");
    }
    let mut compared = 0;
    for (sample, expected) in gateway.expected_samples().into_iter().chain(gateway.expected_costs()) {
        let found = query(prometheus_port, &format!("increase({sample}[10m] @ {last:.3})")).await;
        compared += found.len();
        assert!(
            found.len() == 1 && (found[0].1 - expected).abs() <= 1e-6 * expected,
            "{sample}: {found:?}, expected {expected}"
        );
    }
    let first_failure = "sum(increase(videogen_task_failures_total{model=\"late\"}[10m]))";
    assert!(query(prometheus_port, first_failure).await[0].1 > 1.0);
    assert!(compared > 50, "{compared}");
    running.signal("TERM");
    assert_eq!(running.wait_for_exit(PATIENCE), Some(0));
}
