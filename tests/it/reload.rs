//! What a new configuration changes, what it leaves alone, and what must not hold the program up.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::exporter::{Exporter, PATIENCE, QUICK, get, post, value};
use crate::known::Known;
use crate::program::Running;
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
async fn a_new_provider_continues_the_tasks_and_the_series_of_the_old_one_are_gone() {
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
    exporter.until(&[&finished("new_api", 1), &is("first", "failed"), &is("second", "running")]).await;

    fs::write(&config, text("tokenhot")).unwrap();
    exporter.reloaded().await;
    let page = exporter.until(&[&is("first", "failed"), &is("second", "running")]).await;
    assert!(!page.contains("provider=\"new_api\""), "a series of the old provider stays: {page}");
    assert!(!page.contains(&finished("tokenhot", 1)), "an end is counted again under the new provider: {page}");
    assert!(
        page.contains("videogen_tasks{upstream=\"gw\",provider=\"tokenhot\",model=\"m\",status=\"running\"} 1"),
        "{page}"
    );
    let polls = gateway.asked().len();
    gateway.script("second", vec![ended]);
    let page = exporter.until(&[&finished("tokenhot", 1), &is("second", "failed")]).await;
    assert!(gateway.asked().len() > polls && !page.contains("provider=\"new_api\""), "{page}");
    exporter.stop().await;

    let exporter = Exporter::start_file(&config).await;
    let page = exporter.until(&[&finished("tokenhot", 1), &is("first", "failed"), &is("second", "failed")]).await;
    assert!(!page.contains("provider=\"new_api\""), "{page}");
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

/// Asks for a reload over HTTP.
async fn reload(exporter: &Exporter) -> (u16, String) {
    post(exporter.address, "-/reload", "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_file_leaves_the_old_configuration_in_force_and_is_answered_with_all_its_problems() {
    let gateway = Upstream::start("127.0.0.1:0").await;
    gateway.script("t", vec![status("IN_PROGRESS")]);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.yml");
    let good = format!("{QUICK}state: {{sqlite: {{path: s.db}}}}\nupstreams:\n{}", entry("gw", &gateway, ONE));
    fs::write(&config, &good).unwrap();
    let exporter = Exporter::start_file(&config).await;
    let running = "videogen_task_status{upstream=\"gw\",task_id=\"t\",status=\"running\"} 1";
    exporter.until(&[running]).await;
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
        let (code, said) = reload(&exporter).await;
        assert_eq!(code, 500, "{name}: {said}");
        for message in text.lines().filter_map(|line| line.strip_prefix("# expect: ")) {
            assert!(said.contains(&message.replace(name, "c.yml")), "{name}: no {message:?} in {said}");
        }
        assert!(said.ends_with("the previous configuration stays active\n") && !said.contains("S3CRET"), "{said}");
    }
    assert_eq!(exporter.get("config").await, in_force);
    exporter.until(&[running, "videogen_exporter_config_last_reload_successful 0"]).await;

    fs::write(&config, good.replace("s.db", "other.db").replace("interval: 100ms", "interval: 120ms")).unwrap();
    let (code, said) = reload(&exporter).await;
    assert_eq!((code, said.lines().next()), (200, Some("configuration reloaded")), "{said}");
    assert!(said.contains("`state` needs a restart"), "{said}");
    assert!(exporter.get("config").await.1.contains("\"interval\": \"120ms\""), "in force when it is answered");
    exporter.until(&[running, "videogen_exporter_config_last_reload_successful 1"]).await;
    assert!(!folder.path().join("other.db").exists());
    assert_eq!(get(exporter.address, "-/reload").await.0, 405, "a link does not reload");
    exporter.stop().await;
}

/// How often the configuration is loaded again while tasks end.
const RELOADS: usize = 1000;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_reloads_lose_no_poll_no_count_and_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.yml");
    let gateway = Known::start(1500, Duration::from_secs(2), Duration::from_secs(15)).await;
    let ids = [gateway.ids(false), gateway.ids(true)].concat();
    let ids = json!([{"targets": ids}]);
    fs::write(folder.path().join("ids.json"), ids.to_string()).unwrap();
    let write = |round: usize| {
        // Every other one brings another interval, and an upstream that comes and goes.
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
        let (code, said) = post(running.address, "-/reload", "").await;
        assert_eq!(code, 200, "round {round}: {said}");
        if round == RELOADS / 2 {
            warm = resident();
        }
    }
    let after = resident();
    assert!(after < 1.25 * warm + 4.0, "{warm} MiB became {after} MiB");
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let page = get(running.address, "metrics").await.1;
        let wrong = gateway.wrong(&page);
        if wrong.is_empty() {
            assert_eq!(
                value(&page, "videogen_tasks_discovered_total{upstream=\"gw\",source=\"file/0\"}"),
                Some(1500.0)
            );
            break;
        }
        assert!(Instant::now() < deadline, "{wrong:#?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    running.signal("TERM");
    assert_eq!(running.ended(Duration::from_secs(20)), Some(0));
}
