//! Tasks from discovery to removal over real sockets, as the page shows them.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::exporter::{Exporter, PATIENCE, QUICK, value};
use crate::upstream::{Reply, Upstream, row, status};

const HERE: &str = ".";

fn config(head: &str, upstream: &Upstream, targets: &str) -> String {
    format!(
        "{head}upstreams:\n- {{name: gw, provider: new_api, base_url: 'http://{}', static_configs: [{{targets: {targets}, labels: {{team: a}}}}]}}\n",
        upstream.address
    )
}

fn now() -> i64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// A row that just ended, 40 s after its submission.
fn ended(word: &str, inner: &Value) -> Value {
    let at = now() + 1;
    json!({"task_id": "x", "status": word, "progress": "100%", "quota": 500, "submit_time": at - 40, "start_time": at - 30,
        "finish_time": at, "properties": {"origin_model_name": "m", "upstream_model_name": "m-1"}, "data": inner})
}

fn model_series(family: &str, own: &str) -> String {
    let comma = if own.is_empty() { "" } else { "," };
    format!("{family}{{upstream=\"gw\",provider=\"new_api\",model=\"m\"{comma}{own}}}")
}

fn task_series(family: &str, id: &str, own: &str) -> String {
    format!("{family}{{upstream=\"gw\",task_id=\"{id}\"{own}}}")
}

fn status_line(id: &str, status: &str) -> String {
    task_series("videogen_task_status", id, &format!(",status=\"{status}\"")) + " 1"
}

#[tokio::test(flavor = "multi_thread")]
async fn every_end_is_exported_and_counted_once() {
    let gateway = Upstream::start("127.0.0.1:0").await;
    let done = json!({"status": "succeeded", "duration": 5, "resolution": "720p", "usage": {"completion_tokens": 70, "total_tokens": 100}});
    let failure =
        json!({"status": "failed", "error": {"code": "OutputVideoSensitiveContentDetected", "message": "no"}});
    let inner = |word: &str| json!({"status": word, "created_at": now() - 20, "updated_at": now() + 1, "model": "m"});
    let lagging = |word: &str| {
        row(
            &json!({"status": "IN_PROGRESS", "progress": "30%", "properties": {"origin_model_name": "m"}, "data": inner(word)}),
        )
    };
    for (id, last) in [
        ("ok", row(&ended("SUCCESS", &done))),
        ("bad", row(&ended("FAILURE", &failure))),
        ("called-off", lagging("cancelled")),
        ("late", lagging("expired")),
        ("odd", status("UPSCALING")),
    ] {
        gateway.script(id, vec![status("QUEUED"), status("IN_PROGRESS"), last]);
    }
    let exporter = Exporter::start(&config(QUICK, &gateway, "[ok, bad, called-off, late, odd]"), Path::new(HERE)).await;
    let ends =
        [("ok", "succeeded"), ("bad", "failed"), ("called-off", "cancelled"), ("late", "expired"), ("odd", "unknown")];
    let lines: Vec<String> = ends.iter().map(|(id, status)| status_line(id, status)).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    exporter.wait_for(&lines).await;
    // Read again some seconds after the end.
    let settled = model_series("videogen_quota_total", "") + " 500";
    let page = exporter.wait_for(&[&settled]).await;

    for (_, end) in &ends[..4] {
        assert_eq!(
            value(&page, &model_series("videogen_tasks_finished_total", &format!("status=\"{end}\""))),
            Some(1.0),
            "{end}"
        );
        assert_eq!(value(&page, &model_series("videogen_tasks", &format!("status=\"{end}\""))), Some(1.0), "{end}");
        let moves = model_series("videogen_status_transitions_total", &format!("from=\"running\",to=\"{end}\""));
        assert_eq!(value(&page, &moves), Some(1.0), "{end}");
    }
    for (series, expected) in [
        (model_series("videogen_tasks_submitted_total", ""), 5.0),
        (model_series("videogen_task_failures_total", "status=\"failed\",failure_class=\"content_policy\""), 1.0),
        (model_series("videogen_task_failures_total", "status=\"expired\",failure_class=\"expired\""), 1.0),
        (model_series("videogen_task_latency_seconds_sum", "status=\"succeeded\""), 40.0),
        (model_series("videogen_task_latency_seconds_bucket", "status=\"succeeded\",le=\"45.0\""), 1.0),
        (model_series("videogen_task_latency_seconds_bucket", "status=\"succeeded\",le=\"30.0\""), 0.0),
        (model_series("videogen_task_run_seconds_sum", "status=\"failed\""), 30.0),
        (model_series("videogen_task_queue_seconds_sum", ""), 20.0),
        (model_series("videogen_tokens_total", "token_type=\"output\""), 70.0),
        (model_series("videogen_tokens_total", "token_type=\"unspecified\""), 30.0),
        (model_series("videogen_quota_total", ""), 500.0),
        (model_series("videogen_video_seconds_total", "resolution=\"720p\""), 5.0),
        (task_series("videogen_task_duration_seconds", "ok", ""), 40.0),
        (task_series("videogen_task_progress_ratio", "ok", ""), 1.0),
        (task_series("videogen_task_tokens", "ok", ",token_type=\"output\""), 70.0),
        (task_series("videogen_task_quota", "ok", ""), 500.0),
        (task_series("videogen_task_video_seconds", "ok", ""), 5.0),
    ] {
        assert_eq!(value(&page, &series), Some(expected), "{series}\n{page}");
    }
    for absent in ["videogen_task_progress_ratio", "videogen_task_quota"] {
        assert_eq!(value(&page, &task_series(absent, "bad", "")), None, "{absent}");
    }
    let unknown = value(&page, "videogen_unknown_statuses_total{upstream=\"gw\",provider=\"new_api\"}");
    assert!(unknown.is_some_and(|times| times >= 1.0));
    let info = "videogen_task_info{upstream=\"gw\",task_id=\"ok\",provider=\"new_api\",model=\"m\",upstream_model=\"m-1\",\
        resolution=\"720p\",service_tier=\"\",progress_source=\"synthetic\",label_team=\"a\"} 1";
    assert!(page.lines().any(|line| line == info), "{page}");
    for id in ends.map(|(id, _)| id) {
        let rows: Vec<_> = page
            .lines()
            .filter(|line| line.starts_with("videogen_task_status{") && line.contains(&format!("\"{id}\"")))
            .collect();
        assert_eq!(rows.len(), 8, "{rows:?}");
        assert_eq!(rows.iter().filter(|row| row.ends_with(" 1")).count(), 1, "{rows:?}");
    }
    let requests = gateway.requests().iter().filter(|request| request.path.ends_with("/ok")).count();
    assert_eq!(requests, 4, "an ended task is polled once more, for its settled quota");
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_never_ends_is_lost_after_give_up_after() {
    let gateway = Upstream::start("127.0.0.1:0").await;
    gateway.script("endless", vec![status("IN_PROGRESS")]);
    let head = format!("{QUICK}tasks: {{give_up_after: 1s}}\n");
    let exporter = Exporter::start(&config(&head, &gateway, "[endless]"), Path::new(HERE)).await;
    let class = model_series("videogen_task_failures_total", "status=\"lost\",failure_class=\"timeout\"") + " 1";
    exporter.wait_for(&[&status_line("endless", "lost"), &class]).await;
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_ended_before_the_start_are_counted_only_if_configured() {
    let gateway = Upstream::start("127.0.0.1:0").await;
    let old = json!({"status": "FAILURE", "submit_time": 1_772_095_377, "finish_time": 1_772_095_426, "properties": {"origin_model_name": "m"}});
    gateway.script("old", vec![row(&old)]);
    gateway.script("timeless", vec![row(&json!({"status": "SUCCESS", "properties": {"origin_model_name": "m"}}))]);
    for (head, counted) in [(QUICK.to_owned(), 0.0), (format!("{QUICK}tasks: {{count_since: always}}\n"), 1.0)] {
        let exporter = Exporter::start(&config(&head, &gateway, "[old, timeless]"), Path::new(HERE)).await;
        let page = exporter.wait_for(&[&status_line("old", "failed"), &status_line("timeless", "succeeded")]).await;
        for end in ["failed", "succeeded"] {
            let series = model_series("videogen_tasks_finished_total", &format!("status=\"{end}\""));
            assert_eq!(value(&page, &series), Some(counted), "{head}");
        }
        assert_eq!(value(&page, "videogen_tasks_discovered_total{upstream=\"gw\",source=\"static/0\"}"), Some(2.0));
        exporter.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn target_files_are_watched_and_an_invalid_file_keeps_its_last_valid_list() {
    let gateway = Upstream::start("127.0.0.1:0").await;
    for id in ["one", "two"] {
        gateway.script(id, vec![row(&json!({"status": "SUCCESS", "properties": {"origin_model_name": "m"}}))]);
    }
    let folder = tempfile::tempdir().unwrap();
    let write = |text: &str| fs::write(folder.path().join("ids.yml"), text).unwrap();
    write("- targets: [one]\n");
    let text = format!(
        "{QUICK}upstreams:\n- {{name: gw, provider: new_api, base_url: 'http://{}', file_sd_configs: [{{files: ['*.yml'], refresh_interval: 2s}}]}}\n",
        gateway.address
    );
    let exporter = Exporter::start(&text, folder.path()).await;
    exporter.wait_for(&[&status_line("one", "succeeded")]).await;
    assert_eq!(exporter.get("-/ready").await.0, 200);

    write("- targets: [one, two, \"bad\\nid\"]\n");
    let came = Instant::now();
    exporter.wait_for(&[&status_line("two", "succeeded")]).await;
    assert!(came.elapsed() < PATIENCE);
    let series = |family: &str| format!("{family}{{source=\"file/0\",upstream=\"gw\"}}");
    exporter
        .wait_for(&[&(series("videogen_discovery_errors_total") + " 1"), &(series("videogen_discovery_tasks") + " 2")])
        .await;
    let finished = model_series("videogen_tasks_finished_total", "status=\"succeeded\"") + " 1";
    exporter.wait_for(&[&finished]).await; // `one` is history, `two` was discovered after the first load

    write("- targets: [one, two\n");
    exporter.wait_for(&[&(series("videogen_discovery_errors_total") + " 2")]).await;
    let page = exporter.page().await;
    assert_eq!(value(&page, &series("videogen_discovery_tasks")), Some(2.0));
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_pauses_the_whole_upstream() {
    let gateway = Upstream::start("127.0.0.1:0").await;
    gateway.script("a", vec![Reply::RetryAfter(429, "2".to_owned()), status("IN_PROGRESS")]);
    gateway.script("b", vec![status("IN_PROGRESS")]);
    let exporter = Exporter::start(&config(QUICK, &gateway, "[a, b]"), Path::new(HERE)).await;
    exporter.wait_for(&["videogen_upstream_requests_total{code=\"429\",operation=\"get\",upstream=\"gw\"} 1"]).await;
    let page = exporter.page().await;
    let until = value(&page, "videogen_upstream_backoff_until_timestamp_seconds{upstream=\"gw\"}").unwrap();
    assert!((0.0..=3.0).contains(&(until - f64::from(i32::try_from(now()).unwrap()))), "{until}");
    exporter.wait_for(&[&status_line("a", "running"), &status_line("b", "running")]).await;
    let requests = gateway.requests();
    let refused = requests.iter().find(|request| request.path.ends_with("/a")).unwrap().at;
    // Requests that were in flight at the 429 are ignored.
    let between = requests
        .iter()
        .map(|request| request.at.saturating_duration_since(refused).as_millis())
        .filter(|ms| (300..1900).contains(ms));
    assert_eq!(between.count(), 0, "{requests:?}");
    exporter.wait_for(&[&status_line("a", "running")]).await;
    let page = exporter.page().await;
    assert_eq!(
        value(&page, "videogen_upstream_backoff_until_timestamp_seconds{upstream=\"gw\"}"),
        None,
        "removed at the end of the back-off"
    );
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_upstream_does_not_block_the_others_or_the_page() {
    let (slow, quick) = (Upstream::start("127.0.0.1:0").await, Upstream::start("127.0.0.1:0").await);
    slow.script("s", vec![Reply::Hang(Duration::from_mins(1))]);
    quick.script("q", vec![status("IN_PROGRESS")]);
    let text = format!(
        "{QUICK}upstreams:\n- {{name: slow, provider: new_api, base_url: 'http://{}', polling: {{timeout: 30s}}, static_configs: [{{targets: [s]}}]}}\n\
         - {{name: gw, provider: new_api, base_url: 'http://{}', static_configs: [{{targets: [q]}}]}}\n",
        slow.address, quick.address
    );
    let exporter = Exporter::start(&text, Path::new(HERE)).await;
    exporter.wait_for(&["videogen_polls_in_flight{upstream=\"slow\"} 1", &status_line("q", "running")]).await;
    let before = quick.requests().len();
    let deadline = Instant::now() + PATIENCE;
    while quick.requests().len() < before + 10 {
        assert!(Instant::now() < deadline, "polls of the quick upstream stopped");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(slow.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_stay_within_the_concurrency_and_rate_limits() {
    let (hangs, answers) = (Upstream::start("127.0.0.1:0").await, Upstream::start("127.0.0.1:0").await);
    let ids: Vec<String> = (0..20).map(|n| format!("t{n}")).collect();
    for id in &ids {
        hangs.script(id, vec![Reply::Hang(Duration::from_mins(1))]);
        answers.script(id, vec![status("IN_PROGRESS")]);
    }
    let entry = |name: &str, upstream: &Upstream, polling: &str| {
        format!(
            "- {{name: {name}, provider: new_api, base_url: 'http://{}', polling: {{{polling}}}, static_configs: [{{targets: {ids:?}}}]}}\n",
            upstream.address
        )
    };
    let few = entry("few", &hangs, "timeout: 1m, max_in_flight: 3");
    let slowly = entry("slowly", &answers, "requests_per_second: 5, burst: 2");
    let exporter = Exporter::start(&format!("{QUICK}upstreams:\n{few}{slowly}"), Path::new(HERE)).await;
    let begun = Instant::now();
    exporter.wait_for(&["videogen_polls_in_flight{upstream=\"few\"} 3"]).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (requests, took) = (answers.requests().len(), begun.elapsed().as_secs_f64());
    // The burst, the rate, and a margin for requests before `begun`.
    let most = 2.0 + 5.0 * took + 2.0;
    assert!(requests >= 5 && f64::from(u32::try_from(requests).unwrap()) <= most, "{requests} requests in {took} s");
    assert_eq!(hangs.requests().len(), 3);
    let page = exporter.page().await;
    let waited = value(&page, "videogen_upstream_throttle_wait_seconds_total{upstream=\"slowly\"}").unwrap();
    assert!(waited > 1.0 && waited <= begun.elapsed().as_secs_f64() + 1.0, "{waited}");
}

#[tokio::test(flavor = "multi_thread")]
async fn per_task_series_follow_the_configuration() {
    let gateway = Upstream::start("127.0.0.1:0").await;
    gateway.script("on", vec![status("IN_PROGRESS")]);
    gateway.script("over", vec![status("SUCCESS")]);
    for (metrics, shown, hidden) in [
        (
            "task_status: code",
            vec![
                "videogen_task_status_code{upstream=\"gw\",task_id=\"on\"} 2",
                "videogen_task_status_code{upstream=\"gw\",task_id=\"over\"} 3",
            ],
            "videogen_task_status{",
        ),
        ("per_task: active", vec!["videogen_exporter_task_series_tasks 1"], "task_id=\"over\""),
        (
            "per_task: off",
            vec!["videogen_exporter_task_series_tasks 0", "videogen_exporter_task_series_refused_total 0"],
            "task_id=",
        ),
        (
            "max_task_series: 1",
            vec![
                "videogen_exporter_task_series_tasks 1",
                "videogen_exporter_task_series_refused_total 1",
                "videogen_exporter_task_series_limit 1",
            ],
            "task_id=\"over\"",
        ),
        ("models: [other-one]", vec!["videogen_exporter_label_values_folded_total{label=\"model\"} 2"], "model=\"m\""),
    ] {
        let head = QUICK.replace("zero_hold: 0s", &format!("zero_hold: 0s, {metrics}"));
        let exporter = Exporter::start(&config(&head, &gateway, "[on, over]"), Path::new(HERE)).await;
        let model = if metrics.starts_with("models") { "other" } else { "m" };
        let tasks = |status: &str| {
            format!("videogen_tasks{{upstream=\"gw\",provider=\"new_api\",model=\"{model}\",status=\"{status}\"}} 1")
        };
        let both = [tasks("running"), tasks("succeeded")];
        let lines: Vec<&str> = both.iter().map(String::as_str).chain(shown).collect();
        let page = exporter.wait_for(&lines).await;
        assert!(!page.contains(hidden), "{metrics} shows {hidden}: {page}");
        exporter.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_only_in_its_header_and_is_reloaded_when_it_changes() {
    let gateway = Upstream::start("127.0.0.1:0").await;
    gateway.script("..%2Fkeys%3Fall=1", vec![status("IN_PROGRESS")]);
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    fs::write(&key, "sk-F1RST-secret\n").unwrap();
    let text = format!(
        "{QUICK}upstreams:\n- {{name: gw, provider: tokenhot, base_url: 'http://{}', authorization: {{credentials_file: key}},\n  \
         proxy_url: , static_configs: [{{targets: ['../keys?all=1']}}]}}\n",
        gateway.address
    );
    let exporter = Exporter::start(&text, folder.path()).await;
    let line = task_series("videogen_task_status", "../keys?all=1", ",status=\"running\"") + " 1";
    exporter.wait_for(&[&line]).await;
    let first = gateway.requests()[0].clone();
    assert_eq!(first.authorization.as_deref(), Some("Bearer sk-F1RST-secret"));
    assert_eq!(first.path, "/v1/video/generations/..%2Fkeys%3Fall=1", "a hostile id is one segment");

    tokio::time::sleep(Duration::from_millis(1100)).await;
    fs::write(&key, "sk-SEC0ND-secret-longer\n").unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !gateway
        .requests()
        .iter()
        .any(|request| request.authorization.as_deref() == Some("Bearer sk-SEC0ND-secret-longer"))
    {
        assert!(Instant::now() < deadline, "the new key is not used");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for path in ["metrics", "", "config"] {
        let (status, text) = exporter.get(path).await;
        assert_eq!(status, 200, "{path}");
        assert!(!text.contains("secret"), "{path} shows the key");
    }
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_many_chunks_is_complete_and_ended_tasks_are_removed() {
    let gateway = Upstream::start("127.0.0.1:0").await;
    let ids: Vec<String> = (0..300).map(|n| format!("task_{n:04}")).collect();
    for id in &ids {
        gateway.script(id, vec![row(&json!({"status": "SUCCESS", "properties": {"origin_model_name": "m"}}))]);
    }
    let head = format!("{QUICK}tasks: {{retention: 3s}}\n");
    let exporter = Exporter::start(&config(&head, &gateway, &format!("{ids:?}")), Path::new(HERE)).await;
    let page = exporter.wait_for(&[&model_series("videogen_tasks", "status=\"succeeded\"").add_value(300)]).await;
    assert!(page.len() > 4 * 64 * 1024);
    for family in ["videogen_task_status", "videogen_task_info", "videogen_task_first_seen_timestamp_seconds"] {
        assert_eq!(page.matches(&format!("# TYPE {family} gauge\n")).count(), 1, "{family}");
        let per_task = if family == "videogen_task_status" { 8 } else { 1 };
        assert_eq!(
            page.lines().filter(|line| line.starts_with(&format!("{family}{{"))).count(),
            300 * per_task,
            "{family}"
        );
    }
    exporter
        .wait_for(&[
            "videogen_exporter_task_series_tasks 0",
            &model_series("videogen_tasks", "status=\"succeeded\"").add_value(0),
        ])
        .await;
    assert!(!exporter.page().await.contains("task_0001"), "an ended task stays on the page");
    exporter.stop().await;
}

trait AddValue {
    fn add_value(self, value: u32) -> String;
}

impl AddValue for String {
    fn add_value(self, value: u32) -> String {
        format!("{self} {value}")
    }
}
