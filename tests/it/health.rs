//! Whether an upstream answers, across a restart; and when the counters of new series appear.

use std::fs;
use std::time::{Duration, Instant};

use crate::exporter::{Exporter, PATIENCE, QUICK, value};
use crate::upstream::{Reply, Upstream, status};

const LAST_SUCCESS: &str = "videogen_upstream_last_success_timestamp_seconds{operation=\"get\",upstream=\"gw\"}";

fn refusals(reason: &str) -> String {
    format!("videogen_upstream_consecutive_refusals{{operation=\"get\",reason=\"{reason}\",upstream=\"gw\"}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_success_survives_a_restart_and_refusals_end_with_a_good_answer() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Upstream::start("127.0.0.1:0").await;
    gateway.script("t", vec![status("IN_PROGRESS")]);
    let file = folder.path().join("c.yml");
    let text = format!(
        "{QUICK}state: {{sqlite: {{path: s.db}}}}\n\
         upstreams: [{{name: gw, provider: new_api, base_url: 'http://{}', static_configs: [{{targets: [t]}}]}}]\n",
        gateway.address
    );
    fs::write(&file, text).unwrap();
    let exporter = Exporter::start_file(&file).await;
    let up = "videogen_upstream_up{upstream=\"gw\"}";
    let page = exporter.wait_for(&[&format!("{up} 1"), &format!("{} 0", refusals("unauthorized"))]).await;
    let first = value(&page, LAST_SUCCESS).unwrap();
    exporter.stop().await;

    gateway.script("t", vec![Reply::Body(401, "{}".to_owned())]);
    let exporter = Exporter::start_file(&file).await;
    let after = value(&exporter.page().await, LAST_SUCCESS).unwrap();
    assert!(after >= first, "{after} is before {first}");
    // One refusal is a fault, three make an upstream down.
    let deadline = Instant::now() + PATIENCE;
    let page = loop {
        let page = exporter.page().await;
        let count = value(&page, &refusals("unauthorized")).unwrap();
        let is_up = value(&page, up);
        assert!(count < 3.0 || is_up == Some(0.0), "{count} refusals, and up is {is_up:?}");
        assert!(count > 2.0 || is_up != Some(0.0), "{count} refusals, and up is {is_up:?}");
        if count >= 3.0 {
            break page;
        }
        assert!(Instant::now() < deadline, "{page}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(value(&page, LAST_SUCCESS), Some(after), "nothing has succeeded since");
    assert_eq!(value(&page, &refusals("forbidden")), Some(0.0));
    gateway.script("t", vec![status("IN_PROGRESS")]);
    let lines = [format!("{up} 1"), format!("{} 0", refusals("unauthorized"))];
    let page = exporter.wait_for(&lines.each_ref().map(String::as_str)).await;
    assert!(value(&page, LAST_SUCCESS).unwrap() > after);
    exporter.stop().await;
}

/// Reads `/metrics` as Prometheus does; `address` is the own address of the reader.
async fn scrape(exporter: &Exporter, address: &str) -> String {
    let client = reqwest::Client::builder().local_address(Some(address.parse().unwrap())).build().unwrap();
    let request = client.get(format!("http://{}/metrics", exporter.address));
    let request = request.header("X-Prometheus-Scrape-Timeout-Seconds", "10").header("User-Agent", "Prometheus/3.5.3");
    request.send().await.unwrap().text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_appears_when_every_prometheus_has_read_its_zero() {
    let gateway = Upstream::start("127.0.0.1:0").await;
    gateway.script("t", vec![status("SUCCESS")]);
    let text = format!(
        "{}tasks: {{count_since: always}}\n\
         upstreams: [{{name: gw, provider: new_api, model: m, base_url: 'http://{}', static_configs: [{{targets: [t]}}]}}]\n",
        QUICK.replace("zero_hold: 0s", "zero_hold: 30m"),
        gateway.address
    );
    let exporter = Exporter::start(&text, std::path::Path::new(".")).await;
    let ends = "videogen_tasks_finished_total{upstream=\"gw\",provider=\"new_api\",model=\"m\",status=\"succeeded\"}";
    exporter
        .wait_for(&["videogen_task_status{upstream=\"gw\",task_id=\"t\",status=\"succeeded\"} 1", &format!("{ends} 0")])
        .await;
    // A page that Prometheus did not read ends nothing, and neither does the first one of each.
    for reader in ["127.0.0.1", "127.0.0.2"] {
        assert_eq!(value(&scrape(&exporter, reader).await, ends), Some(0.0));
    }
    assert_eq!(value(&scrape(&exporter, "127.0.0.1").await, ends), Some(0.0));
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(value(&exporter.page().await, ends), Some(0.0), "the second Prometheus has read it once");
    assert!(exporter.get("api/v1/tasks/gw/t").await.1.contains("\"counters_held\":true"));
    assert_eq!(value(&scrape(&exporter, "127.0.0.2").await, ends), Some(0.0));
    exporter.wait_for(&[&format!("{ends} 1")]).await;
    assert!(!exporter.get("api/v1/tasks/gw/t").await.1.contains("counters_held"));
    exporter.stop().await;
}
