//! Reloads of the configuration, and slow disks and upstreams that must not block them.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::exporter::{Exporter, PATIENCE, QUICK, get, post, value};
use crate::known::PlannedGateway;
use crate::program::Running;
use crate::upstream::{Reply, Upstream, row, status};

fn entry(name: &str, upstream: &Upstream, more: &str) -> String {
    format!("- {{name: {name}, provider: new_api, base_url: 'http://{}', {more}}}\n", upstream.address)
}

const ONE: &str = "static_configs: [{targets: [t]}]";

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_removes_deleted_upstreams_and_keeps_runtime_state() {
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
        .wait_for(&[
            "videogen_upstream_requests_total{code=\"429\",operation=\"get\",upstream=\"limited\"} 1",
            "videogen_task_status{upstream=\"gone\",task_id=\"t\",status=\"running\"} 1",
            "videogen_task_status{upstream=\"files\",task_id=\"u\",status=\"queued\"} 1",
        ])
        .await;
    fs::write(&ids, "- targets: [u\n").unwrap();
    exporter.wait_for(&["videogen_discovery_errors_total{source=\"file/0\",upstream=\"files\"} 1"]).await;

    fs::write(&config, format!("{head}{keep}")).unwrap();
    exporter.reload().await;
    let deadline = Instant::now() + PATIENCE;
    while exporter.page().await.contains("upstream=\"gone\"") {
        assert!(Instant::now() < deadline, "series of a removed upstream stay on the page");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let page = exporter.page().await;
    assert_eq!(
        value(&page, "videogen_discovery_tasks{source=\"file/0\",upstream=\"files\"}"),
        Some(1.0),
        "the last valid list is kept"
    );
    assert!(value(&page, "videogen_upstream_backoff_until_timestamp_seconds{upstream=\"limited\"}").is_some());
    assert_eq!(limited.requests().len(), 1, "Retry-After applies after a reload");
    assert_eq!(value(&page, "videogen_tasks_discovered_total{upstream=\"files\",source=\"file/0\"}"), Some(1.0));
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_provider_keeps_the_tasks_and_replaces_the_series() {
    let gateway = Upstream::start("127.0.0.1:0").await;
    let ended = row(&json!({"task_id": "t", "status": "FAILURE", "properties": {"origin_model_name": "m"}}));
    gateway.script("first", vec![status("IN_PROGRESS"), ended.clone()]);
    gateway.script("second", vec![status("IN_PROGRESS")]);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.yml");
    let text = |provider: &str| {
        let upstream = entry("gw", &gateway, "static_configs: [{targets: [first, second]}]");
        let head = format!("{QUICK}tasks: {{recheck_ended: 0s}}\nstate: {{sqlite: {{path: s.db}}}}\nupstreams:\n");
        head + &upstream.replace("provider: new_api", &format!("provider: {provider}"))
    };
    let finished = |provider: &str, count: u32| {
        format!(
            "videogen_tasks_finished_total{{upstream=\"gw\",provider=\"{provider}\",model=\"m\",status=\"failed\"}} {count}"
        )
    };
    let is = |id: &str, status: &str| {
        format!("videogen_task_status{{upstream=\"gw\",task_id=\"{id}\",status=\"{status}\"}} 1")
    };
    fs::write(&config, text("new_api")).unwrap();
    let exporter = Exporter::start_file(&config).await;
    exporter.wait_for(&[&finished("new_api", 1), &is("first", "failed"), &is("second", "running")]).await;

    fs::write(&config, text("tokenhot")).unwrap();
    exporter.reload_and_wait().await;
    let page = exporter.wait_for(&[&is("first", "failed"), &is("second", "running")]).await;
    assert!(!page.contains("provider=\"new_api\""), "a series of the old provider stays: {page}");
    assert!(!page.contains(&finished("tokenhot", 1)), "an end is counted again for the new provider: {page}");
    assert!(
        page.contains("videogen_tasks{upstream=\"gw\",provider=\"tokenhot\",model=\"m\",status=\"running\"} 1"),
        "{page}"
    );
    let polls = gateway.requests().len();
    gateway.script("second", vec![ended]);
    let page = exporter.wait_for(&[&finished("tokenhot", 1), &is("second", "failed")]).await;
    assert!(gateway.requests().len() > polls && !page.contains("provider=\"new_api\""), "{page}");
    exporter.stop().await;

    let exporter = Exporter::start_file(&config).await;
    let page = exporter.wait_for(&[&finished("tokenhot", 1), &is("first", "failed"), &is("second", "failed")]).await;
    assert!(!page.contains("provider=\"new_api\""), "{page}");
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_provider_continues_with_the_latest_readings() {
    let gateway = Upstream::start("127.0.0.1:0").await;
    let running = |progress: &str| {
        row(&json!({"status": "IN_PROGRESS", "progress": progress, "properties": {"origin_model_name": "m"}}))
    };
    // Progress alone is not committed: it is saved when the actor of the old provider stops.
    gateway.script("t", vec![running("20%"), running("47%")]);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.yml");
    let text = |provider: &str| {
        let upstream = entry("gw", &gateway, ONE).replace("provider: new_api", &format!("provider: {provider}"));
        format!("{QUICK}state: {{sqlite: {{path: s.db}}}}\nupstreams:\n{upstream}")
    };
    let (old, new) = (text("new_api"), text("tokenhot"));
    fs::write(&config, old).unwrap();
    let exporter = Exporter::start_file(&config).await;
    let progress = "videogen_task_progress_ratio{upstream=\"gw\",task_id=\"t\"} 0.47";
    exporter.wait_for(&[progress]).await;
    // No poll of the new actor can repair what it was started with.
    drop(gateway);
    fs::write(&config, new).unwrap();
    exporter.reload_and_wait().await;
    let page = exporter.page().await;
    assert!(page.contains(progress) && page.contains("provider=\"tokenhot\""), "{page}");
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_poll_does_not_delay_a_reload() {
    let upstream = Upstream::start("127.0.0.1:0").await;
    upstream.script("slow", vec![Reply::Hang(PATIENCE * 2)]);
    upstream.script("t", vec![status("IN_PROGRESS")]);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.yml");
    let slow = entry("slow", &upstream, "polling: {timeout: 4m}, static_configs: [{targets: [slow]}]");
    fs::write(&config, format!("{QUICK}upstreams:\n{slow}")).unwrap();
    let exporter = Exporter::start_file(&config).await;
    exporter.wait_for(&["videogen_polls_in_flight{upstream=\"slow\"} 1"]).await;
    fs::write(&config, format!("{QUICK}upstreams:\n{slow}{}", entry("new", &upstream, ONE))).unwrap();
    exporter.reload().await;
    exporter.wait_for(&["videogen_task_status{upstream=\"new\",task_id=\"t\",status=\"running\"} 1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_the_first_successful_load_are_history_after_a_failed_load() {
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
    exporter.wait_for(&["videogen_discovery_errors_total{source=\"file/0\",upstream=\"gw\"} 1"]).await;
    fs::write(&ids, "- targets: [old]\n").unwrap();
    let page = exporter.wait_for(&["videogen_task_status{upstream=\"gw\",task_id=\"old\",status=\"failed\"} 1"]).await;
    let finished = "videogen_tasks_finished_total{upstream=\"gw\",provider=\"new_api\",model=\"m\",status=\"failed\"}";
    assert_eq!(value(&page, finished), Some(0.0), "{page}");
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_created_later_is_watched() {
    let upstream = Upstream::start("127.0.0.1:0").await;
    upstream.script("t", vec![status("IN_PROGRESS")]);
    let folder = tempfile::tempdir().unwrap();
    let files = "file_sd_configs: [{files: ['deep/tasks/*.yml'], refresh_interval: 10m}]";
    let exporter =
        Exporter::start(&format!("{QUICK}upstreams:\n{}", entry("gw", &upstream, files)), folder.path()).await;
    exporter.wait_for(&["videogen_discovery_tasks{source=\"file/0\",upstream=\"gw\"} 0"]).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    fs::create_dir_all(folder.path().join("deep/tasks")).unwrap();
    fs::write(folder.path().join("deep/tasks/a.yml"), "- targets: [t]\n").unwrap();
    exporter.wait_for(&["videogen_task_status{upstream=\"gw\",task_id=\"t\",status=\"running\"} 1"]).await;
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_belongs_to_the_first_source_in_the_file() {
    let upstream = Upstream::start("127.0.0.1:0").await;
    upstream.script("t", vec![status("IN_PROGRESS")]);
    let two = "static_configs: [{targets: [t], labels: {team: first}}, {targets: [t], labels: {team: second}}]";
    for _ in 0..5 {
        let exporter =
            Exporter::start(&format!("{QUICK}upstreams:\n{}", entry("gw", &upstream, two)), Path::new(".")).await;
        exporter
            .wait_for(&[
                "videogen_tasks_discovered_total{upstream=\"gw\",source=\"static/0\"} 1",
                "videogen_tasks_discovered_total{upstream=\"gw\",source=\"static/1\"} 0",
                "videogen_discovery_tasks{source=\"static/1\",upstream=\"gw\"} 1",
            ])
            .await;
        let page = exporter.page().await;
        assert!(page.contains("label_team=\"first\""), "{page}");
        exporter.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_become_pipes_do_not_block_the_page_polls_or_shutdown() {
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
    exporter.wait_for(&["videogen_task_status{upstream=\"gw\",task_id=\"t0\",status=\"running\"} 1"]).await;
    fs::remove_file(&key).unwrap();
    assert!(Command::new("mkfifo").arg(&key).status().unwrap().success());
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let before = upstream.requests().len();
    let deadline = Instant::now() + PATIENCE;
    while upstream.requests().len() < before + 20 {
        assert!(Instant::now() < deadline, "polls stopped");
        assert_eq!(exporter.get("-/healthy").await.0, 200);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let errors = "videogen_discovery_errors_total{source=\"file/0\",upstream=\"gw\"}";
    assert!(value(&exporter.page().await, errors) >= Some(1.0), "the file is reported");
    tokio::time::timeout(PATIENCE, exporter.stop()).await.expect("the shutdown hangs");
}

/// Requests a reload over HTTP.
async fn post_reload(exporter: &Exporter) -> (u16, String) {
    post(exporter.address, "-/reload", "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_file_is_rejected_with_all_problems_and_the_old_configuration_stays_active() {
    let gateway = Upstream::start("127.0.0.1:0").await;
    gateway.script("t", vec![status("IN_PROGRESS")]);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.yml");
    let good = format!("{QUICK}state: {{sqlite: {{path: s.db}}}}\nupstreams:\n{}", entry("gw", &gateway, ONE));
    fs::write(&config, &good).unwrap();
    let exporter = Exporter::start_file(&config).await;
    let running = "videogen_task_status{upstream=\"gw\",task_id=\"t\",status=\"running\"} 1";
    exporter.wait_for(&[running]).await;
    let in_force = exporter.get("config").await;
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config");
    let files: Vec<_> = fs::read_dir(fixtures).unwrap().map(|entry| entry.unwrap().path()).collect();
    for path in &files {
        fs::copy(path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let bad: Vec<_> = files.iter().filter(|path| path.to_str().unwrap().ends_with(".bad.yml")).collect();
    assert!(bad.len() >= 40);
    for path in bad {
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(path).unwrap();
        fs::write(&config, &text).unwrap();
        let (code, response) = post_reload(&exporter).await;
        assert_eq!(code, 500, "{name}: {response}");
        for message in text.lines().filter_map(|line| line.strip_prefix("# expect: ")) {
            assert!(response.contains(&message.replace(name, "c.yml")), "{name}: no {message:?} in {response}");
        }
        assert!(
            response.ends_with("the previous configuration stays active\n") && !response.contains("S3CRET"),
            "{response}"
        );
    }
    assert_eq!(exporter.get("config").await, in_force);
    exporter.wait_for(&[running, "videogen_exporter_config_last_reload_successful 0"]).await;

    fs::write(&config, good.replace("s.db", "other.db").replace("interval: 100ms", "interval: 120ms")).unwrap();
    let (code, response) = post_reload(&exporter).await;
    assert_eq!((code, response.lines().next()), (200, Some("configuration reloaded")), "{response}");
    assert!(response.contains("`state` needs a restart"), "{response}");
    assert!(
        exporter.get("config").await.1.contains("\"interval\": \"120ms\""),
        "the configuration is active before the response"
    );
    exporter.wait_for(&[running, "videogen_exporter_config_last_reload_successful 1"]).await;
    assert!(!folder.path().join("other.db").exists());
    assert_eq!(get(exporter.address, "-/reload").await.0, 405, "a GET does not reload");
    exporter.stop().await;
}

/// How often the configuration is reloaded while tasks end.
const RELOADS: usize = 1000;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_reloads_lose_no_count_and_leak_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.yml");
    let gateway = PlannedGateway::start(1500, Duration::from_secs(2), Duration::from_secs(15)).await;
    let ids = [gateway.ids(false), gateway.ids(true)].concat();
    let ids = json!([{"targets": ids}]);
    fs::write(folder.path().join("ids.json"), ids.to_string()).unwrap();
    let write = |round: usize| {
        // Every second configuration has another interval and one more upstream.
        let (interval, more) = match round % 2 {
            0 => ("500ms", String::new()),
            _ => ("600ms", format!("- {{name: other, provider: new_api, base_url: 'http://{}'}}\n", gateway.address)),
        };
        let text = format!(
            "polling: {{interval: {interval}, min_interval: 250ms, max_interval: 1s, requests_per_second: 4000, burst: 400, max_in_flight: 32}}\n\
             tasks: {{recheck_ended: 0s}}\nmetrics: {{zero_hold: 0s}}\n\
             upstreams:\n- {{name: gw, provider: new_api, base_url: 'http://{}', file_sd_configs: [{{files: [ids.json]}}]}}\n{more}",
            gateway.address
        );
        fs::write(&config, text).unwrap();
    };
    write(0);
    let mut running = Running::start(&config);
    let resident = || {
        let status = fs::read_to_string(format!("/proc/{}/status", running.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap().trim().to_owned();
        line.trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    };
    let mut warm = 0.0;
    for round in 1..=RELOADS {
        write(round);
        let (code, response) = post(running.address, "-/reload", "").await;
        assert_eq!(code, 200, "round {round}: {response}");
        if round == RELOADS / 2 {
            warm = resident();
        }
    }
    let after = resident();
    assert!(after < 1.25 * warm + 4.0, "memory grew from {warm} MiB to {after} MiB");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let page = get(running.address, "metrics").await.1;
        let mismatches = gateway.mismatches(&page);
        if mismatches.is_empty() {
            assert_eq!(
                value(&page, "videogen_tasks_discovered_total{upstream=\"gw\",source=\"file/0\"}"),
                Some(1500.0)
            );
            break;
        }
        assert!(Instant::now() < deadline, "{mismatches:#?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    running.signal("TERM");
    assert_eq!(running.wait_for_exit(PATIENCE), Some(0));
}
