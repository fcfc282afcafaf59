//! Tasks, series and counters after restarts and reloads.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::exporter::{Exporter, PATIENCE, QUICK, value};
use crate::known::now;
use crate::upstream::{Reply, Upstream, row, status};

fn config(folder: &Path, upstream: &Upstream, head: &str, sources: &str) {
    let text = format!(
        "{head}state: {{sqlite: {{path: s.db}}}}\n\
         upstreams: [{{name: gw, provider: new_api, base_url: 'http://{}', {sources}}}]\n",
        upstream.address
    );
    fs::write(folder.join("c.yml"), text).unwrap();
}

fn failed(finish: Option<u64>) -> Reply {
    let finish = finish.map_or(0, |millis| millis / 1000);
    row(&json!({"task_id": "x", "status": "FAILURE", "submit_time": finish.saturating_sub(40), "finish_time": finish,
        "properties": {"origin_model_name": "m"}, "data": null}))
}

fn model_series(family: &str, own: &str) -> String {
    format!("{family}{{upstream=\"gw\",provider=\"new_api\",model=\"m\"{own}}}")
}

fn ends(count: u32) -> String {
    format!("{} {count}", model_series("videogen_tasks_finished_total", ",status=\"failed\""))
}

const FILES: &str = "file_sd_configs: [{files: [ids.json], refresh_interval: 1s}]";

fn discovered(count: u32) -> String {
    format!("videogen_tasks_discovered_total{{upstream=\"gw\",source=\"file/0\"}} {count}")
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_series_and_counters_continue_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Upstream::start("127.0.0.1:0").await;
    let running = |progress: &str| {
        row(&json!({"status": "IN_PROGRESS", "progress": progress, "submit_time": now() / 1000 - 60,
            "properties": {"origin_model_name": "m"}}))
    };
    gateway.script("on", vec![running("20%"), running("47%")]);
    gateway.script("over", vec![status("IN_PROGRESS"), failed(Some(now() + 1000))]);
    let slow = "polling: {interval: 1s, min_interval: 1s, max_interval: 30s, requests_per_second: 500, burst: 500}\n\
        metrics: {zero_hold: 0s}\n";
    config(folder.path(), &gateway, slow, "static_configs: [{targets: [on, over], labels: {team: a}}]");
    let file = folder.path().join("c.yml");
    let exporter = Exporter::start_file(&file).await;
    let progress = "videogen_task_progress_ratio{upstream=\"gw\",task_id=\"on\"} 0.47";
    let before = exporter.wait_for(&[progress, &ends(1)]).await;
    exporter.stop().await;

    // The upstream is down: the page shows the stored data.
    drop(gateway);
    let exporter = Exporter::start_file(&file).await;
    let after = exporter.page().await;
    for (family, least) in [("videogen_task_", 5), ("videogen_tasks", 5), ("videogen_status_transitions_total", 1)] {
        let lines = |page: &str| {
            let lines = page.lines().filter(|line| line.starts_with(family) && !line.contains("poll_failures"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(lines(&after), lines(&before));
        assert!(lines(&after).len() > least, "{after}");
    }
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_ended_during_downtime_are_counted_and_history_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Upstream::start("127.0.0.1:0").await;
    let day_ago = now() - 86_400_000;
    for id in ["old", "timeless"] {
        gateway.script(id, vec![failed((id == "old").then_some(day_ago))]);
    }
    gateway.script("watched", vec![status("IN_PROGRESS")]);
    config(folder.path(), &gateway, QUICK, FILES);
    let ids = |ids: &[&str]| fs::write(folder.path().join("ids.json"), json!([{"targets": ids}]).to_string()).unwrap();
    ids(&["old", "timeless", "watched"]);
    let file = folder.path().join("c.yml");
    let exporter = Exporter::start_file(&file).await;
    exporter
        .wait_for(&[
            &discovered(3),
            "videogen_task_status{upstream=\"gw\",task_id=\"old\",status=\"failed\"} 1",
            "videogen_task_status{upstream=\"gw\",task_id=\"timeless\",status=\"failed\"} 1",
            "videogen_task_status{upstream=\"gw\",task_id=\"watched\",status=\"running\"} 1",
            &ends(0),
        ])
        .await;
    exporter.stop().await;

    gateway.script("watched", vec![failed(None)]);
    gateway.script("new-old", vec![failed(Some(day_ago))]);
    gateway.script("new", vec![failed(Some(now() + 1000))]);
    gateway.script("new-timeless", vec![failed(None)]);
    ids(&["old", "timeless", "watched", "new", "new-old", "new-timeless"]);
    let exporter = Exporter::start_file(&file).await;
    // Counted: tracked before, finished after the first start, discovered after the first load. `new-old` is history.
    let page = exporter.wait_for(&[&discovered(6), &ends(3)]).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(
        value(&exporter.page().await, &model_series("videogen_tasks_finished_total", ",status=\"failed\"")),
        Some(3.0),
        "{page}"
    );
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_id_stays_known_until_it_is_absent_for_forget_after() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Upstream::start("127.0.0.1:0").await;
    for id in ["a", "b"] {
        gateway.script(id, vec![status("QUEUED"), failed(Some(now() + 1000))]);
    }
    let head = format!("{QUICK}tasks: {{retention: 1s, forget_after: 6s, recheck_ended: 0s}}\n");
    config(folder.path(), &gateway, &head, FILES);
    let (file, ids) = (folder.path().join("c.yml"), folder.path().join("ids.json"));
    fs::write(&ids, json!([{"targets": ["a", "b"]}]).to_string()).unwrap();
    let exporter = Exporter::start_file(&file).await;
    exporter.wait_for(&[&discovered(2), &ends(2)]).await;
    tokio::time::sleep(Duration::from_secs(9)).await;
    let page = exporter.page().await;
    assert!(page.contains(&ends(2)) && page.contains(&discovered(2)), "{page}");
    assert!(!page.contains("task_id="), "tasks are on the page after their retention: {page}");
    exporter.stop().await;

    // The file appears some time after the restart.
    fs::rename(&ids, folder.path().join("away")).unwrap();
    let exporter = Exporter::start_file(&file).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    fs::rename(folder.path().join("away"), &ids).unwrap();
    exporter.wait_for(&["videogen_discovery_tasks{source=\"file/0\",upstream=\"gw\"} 2"]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let page = exporter.page().await;
    assert!(page.contains(&ends(2)) && page.contains(&discovered(2)), "{page}");

    // Ids that are absent for `forget_after` are new again.
    fs::write(&ids, "[]").unwrap();
    tokio::time::sleep(Duration::from_secs(9)).await;
    fs::write(&ids, json!([{"targets": ["a"]}]).to_string()).unwrap();
    exporter.wait_for(&[&discovered(3)]).await;
    exporter.stop().await;
}

async fn reload_until(exporter: &Exporter, folder: &Path, done: impl Fn(&str) -> bool) {
    let _ = folder;
    exporter.reload().await;
    let deadline = Instant::now() + PATIENCE;
    while !done(&exporter.page().await) {
        assert!(Instant::now() < deadline, "the new configuration is not active:\n{}", exporter.page().await);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_continue_when_an_upstream_or_its_labels_are_configured_again() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Upstream::start("127.0.0.1:0").await;
    gateway.script("a", vec![status("QUEUED"), failed(Some(now() + 1000))]);
    gateway.script("b", vec![status("IN_PROGRESS")]);
    let one = "static_configs: [{targets: [a, b], labels: {team: red, app: web}}]";
    let with =
        |labels: &str| QUICK.replace("{zero_hold: 0s}", &format!("{{zero_hold: 0s, aggregate_labels: {labels}}}"));
    config(folder.path(), &gateway, &with("[]"), one);
    let exporter = Exporter::start_file(&folder.path().join("c.yml")).await;
    let running = "videogen_task_status{upstream=\"gw\",task_id=\"b\",status=\"running\"} 1";
    exporter.wait_for(&[&ends(1), running]).await;

    let other = format!(
        "{}state: {{sqlite: {{path: s.db}}}}\nupstreams: [{{name: other, provider: new_api, base_url: 'http://{}'}}]\n",
        with("[]"),
        gateway.address
    );
    fs::write(folder.path().join("c.yml"), other).unwrap();
    reload_until(&exporter, folder.path(), |page| !page.contains("upstream=\"gw\"")).await;
    config(folder.path(), &gateway, &with("[]"), one);
    reload_until(&exporter, folder.path(), |page| page.contains(&ends(1)) && page.contains(running)).await;
    gateway.script("b", vec![failed(Some(now() + 1000))]);
    exporter.wait_for(&[&ends(2)]).await;

    let labelled = |team: &str, count: u32| {
        format!(
            "{} {count}",
            model_series(
                "videogen_tasks_finished_total",
                &format!(",label_app=\"web\",label_team=\"{team}\",status=\"failed\"")
            )
        )
    };
    config(folder.path(), &gateway, &with("[team, app]"), one);
    reload_until(&exporter, folder.path(), |page| page.contains(&labelled("red", 0)) && !page.contains(&ends(2))).await;
    config(folder.path(), &gateway, &with("[app, team]"), one);
    reload_until(&exporter, folder.path(), |page| page.contains(&labelled("red", 0))).await;
    config(folder.path(), &gateway, &with("[]"), one);
    reload_until(&exporter, folder.path(), |page| page.contains(&ends(2))).await;
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_restart_and_shutdown_work_while_the_state_is_locked() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Upstream::start("127.0.0.1:0").await;
    gateway.script("a", vec![status("IN_PROGRESS")]);
    config(folder.path(), &gateway, QUICK, "static_configs: [{targets: [a]}]");
    let exporter = Exporter::start_file(&folder.path().join("c.yml")).await;
    let running = "videogen_task_status{upstream=\"gw\",task_id=\"a\",status=\"running\"} 1";
    exporter.wait_for(&[running]).await;
    let shell = rusqlite::Connection::open(folder.path().join("s.db")).unwrap();
    shell.busy_timeout(Duration::from_secs(5)).unwrap();
    shell.execute_batch("begin immediate").unwrap();
    gateway.script("a", vec![failed(Some(now() + 1000))]);
    exporter.wait_for(&["videogen_exporter_store_up 0"]).await;
    let wide = "videogen_exporter_task_series_limit 77";
    config(
        folder.path(),
        &gateway,
        &QUICK.replace("zero_hold: 0s", "zero_hold: 0s, max_task_series: 77"),
        "static_configs: [{targets: [a]}]",
    );
    reload_until(&exporter, folder.path(), |page| page.contains(wide)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let page = exporter.page().await;
    assert!(page.contains(running) && page.contains(&ends(0)), "{page}");
    tokio::time::timeout(PATIENCE, exporter.stop()).await.expect("the shutdown hangs");

    let exporter = Exporter::start_file(&folder.path().join("c.yml")).await;
    exporter.wait_for(&[running, &ends(0), "videogen_exporter_store_up 0"]).await;
    shell.execute_batch("rollback").unwrap();
    exporter.wait_for(&[&ends(1), "videogen_exporter_store_up 1"]).await;
    exporter.stop().await;
}
