//! Tasks from being named to being forgotten, over real sockets, as the page shows them.

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

/// A row that ended just now, 40 s after it was submitted.
fn ended(word: &str, inner: &Value) -> Value {
    let at = now() + 1;
    json!({"task_id": "x", "status": word, "progress": "100%", "quota": 500, "submit_time": at - 40, "start_time": at - 30,
        "finish_time": at, "properties": {"origin_model_name": "m", "upstream_model_name": "m-1"}, "data": inner})
}

fn label_set(family: &str, own: &str) -> String {
    let comma = if own.is_empty() { "" } else { "," };
    format!("{family}{{upstream=\"gw\",provider=\"new_api\",model=\"m\"{comma}{own}}}")
}

fn of_task(family: &str, id: &str, own: &str) -> String {
    format!("{family}{{upstream=\"gw\",task_id=\"{id}\"{own}}}")
}

fn now_is(id: &str, status: &str) -> String {
    of_task("videogen_task_status", id, &format!(",status=\"{status}\"")) + " 1"
}

#[tokio::test(flavor = "multi_thread")]
async fn every_end_is_shown_and_counted_once() {
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
    let lines: Vec<String> = ends.iter().map(|(id, status)| now_is(id, status)).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    exporter.until(&lines).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let page = exporter.page().await;

    for (_, end) in &ends[..4] {
        assert_eq!(
            value(&page, &label_set("videogen_tasks_finished_total", &format!("status=\"{end}\""))),
            Some(1.0),
            "{end}"
        );
        assert_eq!(value(&page, &label_set("videogen_tasks", &format!("status=\"{end}\""))), Some(1.0), "{end}");
        let moves = label_set("videogen_status_transitions_total", &format!("from=\"running\",to=\"{end}\""));
        assert_eq!(value(&page, &moves), Some(1.0), "{end}");
    }
    for (series, expected) in [
        (label_set("videogen_tasks_submitted_total", ""), 5.0),
        (label_set("videogen_task_failures_total", "status=\"failed\",failure_class=\"content_policy\""), 1.0),
        (label_set("videogen_task_failures_total", "status=\"expired\",failure_class=\"expired\""), 1.0),
        (label_set("videogen_task_latency_seconds_sum", "status=\"succeeded\""), 40.0),
        (label_set("videogen_task_latency_seconds_bucket", "status=\"succeeded\",le=\"45.0\""), 1.0),
        (label_set("videogen_task_latency_seconds_bucket", "status=\"succeeded\",le=\"30.0\""), 0.0),
        (label_set("videogen_task_run_seconds_sum", "status=\"failed\""), 30.0),
        (label_set("videogen_task_queue_seconds_sum", ""), 20.0),
        (label_set("videogen_tokens_total", "token_type=\"output\""), 70.0),
        (label_set("videogen_tokens_total", "token_type=\"unspecified\""), 30.0),
        (label_set("videogen_quota_total", ""), 500.0),
        (label_set("videogen_video_seconds_total", "resolution=\"720p\""), 5.0),
        (of_task("videogen_task_duration_seconds", "ok", ""), 40.0),
        (of_task("videogen_task_progress_ratio", "ok", ""), 1.0),
        (of_task("videogen_task_tokens", "ok", ",token_type=\"output\""), 70.0),
        (of_task("videogen_task_quota", "ok", ""), 500.0),
        (of_task("videogen_task_video_seconds", "ok", ""), 5.0),
    ] {
        assert_eq!(value(&page, &series), Some(expected), "{series}\n{page}");
    }
    for absent in ["videogen_task_progress_ratio", "videogen_task_quota"] {
        assert_eq!(value(&page, &of_task(absent, "bad", "")), None, "{absent}");
    }
    let odd = value(&page, "videogen_unknown_statuses_total{upstream=\"gw\",provider=\"new_api\"}");
    assert!(odd.is_some_and(|times| times >= 1.0));
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
    let asked = gateway.asked().iter().filter(|asked| asked.path.ends_with("/ok")).count();
    assert_eq!(asked, 3, "an ended task is not asked about again");
    exporter.stop().await;
}

/// Takes over a minute: that is the rule.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_never_ends_is_given_up() {
    let gateway = Upstream::start("127.0.0.1:0").await;
    gateway.script("endless", vec![status("IN_PROGRESS")]);
    let head = format!("{QUICK}tasks: {{give_up_after: 1s}}\n");
    let exporter = Exporter::start(&config(&head, &gateway, "[endless]"), Path::new(HERE)).await;
    let class = label_set("videogen_task_failures_total", "status=\"lost\",failure_class=\"timeout\"") + " 1";
    exporter.until(&[&now_is("endless", "lost"), &class]).await;
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_before_the_start_is_shown_but_not_counted_unless_asked_for() {
    let gateway = Upstream::start("127.0.0.1:0").await;
    let old = json!({"status": "FAILURE", "submit_time": 1_772_095_377, "finish_time": 1_772_095_426, "properties": {"origin_model_name": "m"}});
    gateway.script("old", vec![row(&old)]);
    gateway.script("timeless", vec![row(&json!({"status": "SUCCESS", "properties": {"origin_model_name": "m"}}))]);
    for (head, counted) in [(QUICK.to_owned(), 0.0), (format!("{QUICK}tasks: {{count_since: always}}\n"), 1.0)] {
        let exporter = Exporter::start(&config(&head, &gateway, "[old, timeless]"), Path::new(HERE)).await;
        let page = exporter.until(&[&now_is("old", "failed"), &now_is("timeless", "succeeded")]).await;
        for end in ["failed", "succeeded"] {
            let series = label_set("videogen_tasks_finished_total", &format!("status=\"{end}\""));
            assert_eq!(value(&page, &series), Some(counted), "{head}");
        }
        assert_eq!(value(&page, "videogen_tasks_discovered_total{upstream=\"gw\",source=\"static/0\"}"), Some(2.0));
        exporter.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_ids_are_followed_and_a_broken_one_keeps_its_last_good_list() {
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
    exporter.until(&[&now_is("one", "succeeded")]).await;
    assert_eq!(exporter.get("-/ready").await.0, 200);

    write("- targets: [one, two, \"bad\\nid\"]\n");
    let came = Instant::now();
    exporter.until(&[&now_is("two", "succeeded")]).await;
    assert!(came.elapsed() < PATIENCE);
    let series = |family: &str| format!("{family}{{source=\"file/0\",upstream=\"gw\"}}");
    exporter
        .until(&[&(series("videogen_discovery_errors_total") + " 1"), &(series("videogen_discovery_tasks") + " 2")])
        .await;
    let finished = label_set("videogen_tasks_finished_total", "status=\"succeeded\"") + " 1";
    exporter.until(&[&finished]).await; // `one` is history, `two` came after the first load

    write("- targets: [one, two\n");
    exporter.until(&[&(series("videogen_discovery_errors_total") + " 2")]).await;
    let page = exporter.page().await;
    assert_eq!(value(&page, &series("videogen_discovery_tasks")), Some(2.0));
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_obeyed_for_the_whole_upstream() {
    let gateway = Upstream::start("127.0.0.1:0").await;
    gateway.script("a", vec![Reply::RetryAfter(429, "2".to_owned()), status("IN_PROGRESS")]);
    gateway.script("b", vec![status("IN_PROGRESS")]);
    let exporter = Exporter::start(&config(QUICK, &gateway, "[a, b]"), Path::new(HERE)).await;
    exporter.until(&["videogen_upstream_requests_total{code=\"429\",operation=\"get\",upstream=\"gw\"} 1"]).await;
    let page = exporter.page().await;
    let until = value(&page, "videogen_upstream_backoff_until_timestamp_seconds{upstream=\"gw\"}").unwrap();
    assert!((0.0..=3.0).contains(&(until - f64::from(i32::try_from(now()).unwrap()))), "{until}");
    exporter.until(&[&now_is("a", "running"), &now_is("b", "running")]).await;
    let asked = gateway.asked();
    let refused = asked.iter().find(|asked| asked.path.ends_with("/a")).unwrap().at;
    // What was on its way when the 429 came is not held against anybody.
    let between = asked
        .iter()
        .map(|asked| asked.at.saturating_duration_since(refused).as_millis())
        .filter(|ms| (300..1900).contains(ms));
    assert_eq!(between.count(), 0, "{asked:?}");
    exporter.until(&[&now_is("a", "running")]).await;
    let page = exporter.page().await;
    assert_eq!(
        value(&page, "videogen_upstream_backoff_until_timestamp_seconds{upstream=\"gw\"}"),
        None,
        "gone when over"
    );
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_upstream_holds_up_neither_the_others_nor_the_page() {
    let (slow, quick) = (Upstream::start("127.0.0.1:0").await, Upstream::start("127.0.0.1:0").await);
    slow.script("s", vec![Reply::Hang(Duration::from_mins(1))]);
    quick.script("q", vec![status("IN_PROGRESS")]);
    let text = format!(
        "{QUICK}upstreams:\n- {{name: slow, provider: new_api, base_url: 'http://{}', polling: {{timeout: 30s}}, static_configs: [{{targets: [s]}}]}}\n\
         - {{name: gw, provider: new_api, base_url: 'http://{}', static_configs: [{{targets: [q]}}]}}\n",
        slow.address, quick.address
    );
    let exporter = Exporter::start(&text, Path::new(HERE)).await;
    exporter.until(&["videogen_polls_in_flight{upstream=\"slow\"} 1", &now_is("q", "running")]).await;
    let before = quick.asked().len();
    let deadline = Instant::now() + PATIENCE;
    while quick.asked().len() < before + 10 {
        assert!(Instant::now() < deadline, "the quick upstream is not polled any more");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(slow.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_asked_at_once_or_in_a_second_than_allowed() {
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
    exporter.until(&["videogen_polls_in_flight{upstream=\"few\"} 3"]).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (asked, took) = (answers.asked().len(), begun.elapsed().as_secs_f64());
    // The bucket's burst, its rate, and one for the moment before the clock of this test began.
    let most = 2.0 + 5.0 * took + 2.0;
    assert!(asked >= 5 && f64::from(u32::try_from(asked).unwrap()) <= most, "{asked} requests in {took} s");
    assert_eq!(hangs.asked().len(), 3);
    let page = exporter.page().await;
    let waited = value(&page, "videogen_upstream_throttle_wait_seconds_total{upstream=\"slowly\"}").unwrap();
    assert!(waited > 1.0 && waited <= begun.elapsed().as_secs_f64() + 1.0, "{waited}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_of_single_tasks_is_chosen() {
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
        let page = exporter.until(&lines).await;
        assert!(!page.contains(hidden), "{metrics} shows {hidden}: {page}");
        exporter.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_goes_into_one_header_and_nowhere_else_and_a_new_one_is_taken_up() {
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
    let line = of_task("videogen_task_status", "../keys?all=1", ",status=\"running\"") + " 1";
    exporter.until(&[&line]).await;
    let first = gateway.asked()[0].clone();
    assert_eq!(first.authorization.as_deref(), Some("Bearer sk-F1RST-secret"));
    assert_eq!(first.path, "/v1/video/generations/..%2Fkeys%3Fall=1", "a hostile id stays one segment");

    tokio::time::sleep(Duration::from_millis(1100)).await;
    fs::write(&key, "sk-SEC0ND-secret-longer\n").unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !gateway.asked().iter().any(|asked| asked.authorization.as_deref() == Some("Bearer sk-SEC0ND-secret-longer"))
    {
        assert!(Instant::now() < deadline, "the new key was not taken up");
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
async fn a_page_of_many_pieces_is_whole_and_ended_tasks_leave_it() {
    let gateway = Upstream::start("127.0.0.1:0").await;
    let ids: Vec<String> = (0..300).map(|n| format!("task_{n:04}")).collect();
    for id in &ids {
        gateway.script(id, vec![row(&json!({"status": "SUCCESS", "properties": {"origin_model_name": "m"}}))]);
    }
    let head = format!("{QUICK}tasks: {{retention: 3s}}\n");
    let exporter = Exporter::start(&config(&head, &gateway, &format!("{ids:?}")), Path::new(HERE)).await;
    let page = exporter.until(&[&label_set("videogen_tasks", "status=\"succeeded\"").add_value(300)]).await;
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
        .until(&[
            "videogen_exporter_task_series_tasks 0",
            &label_set("videogen_tasks", "status=\"succeeded\"").add_value(0),
        ])
        .await;
    assert!(!exporter.page().await.contains("task_0001"), "nothing of an ended task lingers");
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
