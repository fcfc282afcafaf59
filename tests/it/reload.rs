//! What a new configuration changes, what it leaves alone, and what must not hold the program up.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::exporter::{Exporter, PATIENCE, QUICK, value};
use crate::upstream::{Reply, Upstream, row, status};

fn entry(name: &str, upstream: &Upstream, more: &str) -> String {
    format!("- {{name: {name}, provider: new_api, base_url: 'http://{}', {more}}}\n", upstream.address)
}

const ONE: &str = "static_configs: [{targets: [t]}]";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_longer_configured_goes_and_what_was_learnt_stays() {
    let (limited, other) = (Upstream::start("127.0.0.1:0").await, Upstream::start("127.0.0.1:0").await);
    limited.script("t", vec![Reply::RetryAfter(429, "60".to_owned()), status("IN_PROGRESS")]);
    other.script("t", vec![status("IN_PROGRESS")]);
    other.script("u", vec![status("QUEUED")]);
    let folder = tempfile::tempdir().unwrap();
    let (config, ids) = (folder.path().join("c.yml"), folder.path().join("ids.yml"));
    fs::write(&ids, "- targets: [u]\n").unwrap();
    let files = "file_sd_configs: [{files: [ids.yml], refresh_interval: 1s}]";
    let head = format!("{QUICK}upstreams:\n");
    let keep = entry("limited", &limited, ONE) + &entry("files", &other, files);
    fs::write(&config, format!("{head}{keep}{}", entry("gone", &other, ONE))).unwrap();
    let exporter = Exporter::start_file(&config).await;
    exporter
        .until(&[
            "videogen_upstream_requests_total{code=\"429\",operation=\"get\",upstream=\"limited\"} 1",
            "videogen_task_status{upstream=\"gone\",task_id=\"t\",status=\"running\"} 1",
            "videogen_task_status{upstream=\"files\",task_id=\"u\",status=\"queued\"} 1",
        ])
        .await;
    fs::write(&ids, "- targets: [u\n").unwrap();
    exporter.until(&["videogen_discovery_errors_total{source=\"file/0\",upstream=\"files\"} 1"]).await;

    fs::write(&config, format!("{head}{keep}")).unwrap();
    exporter.reload().await;
    let deadline = Instant::now() + PATIENCE;
    while exporter.page().await.contains("upstream=\"gone\"") {
        assert!(Instant::now() < deadline, "series of a removed upstream linger");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let page = exporter.page().await;
    assert_eq!(
        value(&page, "videogen_discovery_tasks{source=\"file/0\",upstream=\"files\"}"),
        Some(1.0),
        "the last good list"
    );
    assert!(value(&page, "videogen_upstream_backoff_until_timestamp_seconds{upstream=\"limited\"}").is_some());
    assert_eq!(limited.asked().len(), 1, "Retry-After is obeyed across a new configuration");
    assert_eq!(value(&page, "videogen_tasks_discovered_total{upstream=\"files\",source=\"file/0\"}"), Some(1.0));
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_poll_does_not_keep_a_new_configuration_waiting() {
    let upstream = Upstream::start("127.0.0.1:0").await;
    upstream.script("slow", vec![Reply::Hang(Duration::from_secs(30))]);
    upstream.script("t", vec![status("IN_PROGRESS")]);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.yml");
    let slow = entry("slow", &upstream, "polling: {timeout: 30s}, static_configs: [{targets: [slow]}]");
    fs::write(&config, format!("{QUICK}upstreams:\n{slow}")).unwrap();
    let exporter = Exporter::start_file(&config).await;
    exporter.until(&["videogen_polls_in_flight{upstream=\"slow\"} 1"]).await;
    fs::write(&config, format!("{QUICK}upstreams:\n{slow}{}", entry("new", &upstream, ONE))).unwrap();
    exporter.reload().await;
    let asked = Instant::now();
    exporter.until(&["videogen_task_status{upstream=\"new\",task_id=\"t\",status=\"running\"} 1"]).await;
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_source_brings_after_a_failed_first_read_may_still_be_history() {
    let upstream = Upstream::start("127.0.0.1:0").await;
    upstream.script("old", vec![row(&json!({"status": "FAILURE", "properties": {"origin_model_name": "m"}}))]);
    let folder = tempfile::tempdir().unwrap();
    let ids = folder.path().join("ids.yml");
    fs::write(&ids, "- targets: [old\n").unwrap();
    let text = format!(
        "{QUICK}upstreams:\n{}",
        entry("gw", &upstream, "file_sd_configs: [{files: [ids.yml], refresh_interval: 1s}]")
    );
    let exporter = Exporter::start(&text, folder.path()).await;
    exporter.until(&["videogen_discovery_errors_total{source=\"file/0\",upstream=\"gw\"} 1"]).await;
    fs::write(&ids, "- targets: [old]\n").unwrap();
    let page = exporter.until(&["videogen_task_status{upstream=\"gw\",task_id=\"old\",status=\"failed\"} 1"]).await;
    let finished = "videogen_tasks_finished_total{upstream=\"gw\",provider=\"new_api\",model=\"m\",status=\"failed\"}";
    assert_eq!(value(&page, finished), Some(0.0), "{page}");
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_comes_later_is_noticed() {
    let upstream = Upstream::start("127.0.0.1:0").await;
    upstream.script("t", vec![status("IN_PROGRESS")]);
    let folder = tempfile::tempdir().unwrap();
    let files = "file_sd_configs: [{files: ['deep/tasks/*.yml'], refresh_interval: 10m}]";
    let exporter =
        Exporter::start(&format!("{QUICK}upstreams:\n{}", entry("gw", &upstream, files)), folder.path()).await;
    exporter.until(&["videogen_discovery_tasks{source=\"file/0\",upstream=\"gw\"} 0"]).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    fs::create_dir_all(folder.path().join("deep/tasks")).unwrap();
    fs::write(folder.path().join("deep/tasks/a.yml"), "- targets: [t]\n").unwrap();
    exporter.until(&["videogen_task_status{upstream=\"gw\",task_id=\"t\",status=\"running\"} 1"]).await;
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_source_in_the_file_names_a_task() {
    let upstream = Upstream::start("127.0.0.1:0").await;
    upstream.script("t", vec![status("IN_PROGRESS")]);
    let two = "static_configs: [{targets: [t], labels: {team: first}}, {targets: [t], labels: {team: second}}]";
    for _ in 0..5 {
        let exporter =
            Exporter::start(&format!("{QUICK}upstreams:\n{}", entry("gw", &upstream, two)), Path::new(".")).await;
        exporter
            .until(&[
                "videogen_tasks_discovered_total{upstream=\"gw\",source=\"static/0\"} 1",
                "videogen_tasks_discovered_total{upstream=\"gw\",source=\"static/1\"} 0",
                "videogen_discovery_tasks{source=\"static/1\",upstream=\"gw\"} 1",
            ])
            .await;
        // A page's tasks are a moment older than its counters.
        let page = exporter.page().await;
        assert!(page.contains("label_team=\"first\""), "{page}");
        exporter.stop().await;
    }
}

/// A named pipe that nobody writes into stands for a disk that hangs.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_holds_up_neither_the_page_nor_polls_nor_the_end() {
    let upstream = Upstream::start("127.0.0.1:0").await;
    let targets: Vec<String> = (0..6).map(|n| format!("t{n}")).collect();
    for id in &targets {
        upstream.script(id, vec![status("IN_PROGRESS")]);
    }
    let folder = tempfile::tempdir().unwrap();
    let (key, ids) = (folder.path().join("key"), folder.path().join("ids.json"));
    fs::write(&key, "sk-1").unwrap();
    assert!(Command::new("mkfifo").arg(&ids).status().unwrap().success());
    let more = format!(
        "authorization: {{credentials_file: key}}, static_configs: [{{targets: {targets:?}}}], file_sd_configs: [{{files: [ids.json]}}]"
    );
    let exporter =
        Exporter::start(&format!("{QUICK}upstreams:\n{}", entry("gw", &upstream, &more)), folder.path()).await;
    exporter.until(&["videogen_task_status{upstream=\"gw\",task_id=\"t0\",status=\"running\"} 1"]).await;
    fs::remove_file(&key).unwrap();
    assert!(Command::new("mkfifo").arg(&key).status().unwrap().success());
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let before = upstream.asked().len();
    let deadline = Instant::now() + PATIENCE;
    while upstream.asked().len() < before + 20 {
        assert!(Instant::now() < deadline, "polls have stopped");
        assert_eq!(exporter.get("-/healthy").await.0, 200);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(exporter.get("-/ready").await.0, 503, "a source was not read yet");
    let asked = Instant::now();
    exporter.stop().await;
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
    // The readers still wait in their pipes: let them go, so that this test can end.
    for pipe in [key, ids] {
        drop(fs::OpenOptions::new().read(true).write(true).open(pipe).unwrap());
    }
}
