//! Disagreements of gateway and provider, schema drift, clock skew, and consistent pages.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::exporter::{Exporter, PATIENCE, QUICK, get, value};
use super::upstream::{Reply, Upstream, row, status};

fn config(upstream: &Upstream, targets: &str) -> String {
    format!(
        "{QUICK}tasks: {{count_since: always}}\nupstreams:\n- {{name: gw, provider: new_api, base_url: 'http://{}', static_configs: [{{targets: {targets}}}]}}\n",
        upstream.address
    )
}

fn unix() -> i64 {
    i64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap()
}

/// A row of a gateway with a task of Ark; their finish times differ by 7 s.
fn answer(gateway: &str, inner: &str) -> Value {
    let at = unix();
    let over = matches!(gateway, "SUCCESS" | "FAILURE");
    json!({"task_id": "t", "status": gateway, "progress": "50%", "submit_time": at - 60, "start_time": at - 50,
        "finish_time": if over { at } else { 0 }, "properties": {"origin_model_name": "m"}, "result_url": "", "fail_reason": "",
        "data": {"id": "cgt", "model": "m", "status": inner, "created_at": at - 62, "updated_at": at - 7, "duration": 5,
            "resolution": "720p", "execution_expires_after": 172_800,
            "content": {"video_url": "https://x.y/v.mp4?X-Tos-Date=20261120T000000Z&X-Tos-Expires=86400&X-Tos-Signature=S3CRET"},
            "usage": {"completion_tokens": 10, "total_tokens": 10}}})
}

fn model_series(family: &str, own: &str) -> String {
    format!("{family}{{upstream=\"gw\",provider=\"new_api\",model=\"m\"{own}}}")
}

/// A poll of a task at a Gemini channel changes the task: it is counted, and such a task is not polled as often as others, and never
/// after its end.
#[tokio::test(flavor = "multi_thread")]
async fn polls_that_change_a_task_are_few_and_counted() {
    let gateway = Upstream::start("127.0.0.1:0").await;
    let reduced = |id: &str, status: &str| {
        let data =
            json!({"error": null, "format": "mp4", "metadata": null, "status": status, "task_id": id, "url": ""});
        Reply::Body(200, json!({"code": "success", "message": "", "data": data}).to_string())
    };
    gateway.script("open", vec![reduced("open", "processing")]);
    gateway.script("done", vec![reduced("done", "succeeded")]);
    gateway.script("plain", vec![row(&answer("IN_PROGRESS", "running"))]);
    // A row without a model: that of the configuration counts.
    gateway.script("veo", vec![row(&json!({"task_id": "veo", "status": "IN_PROGRESS", "progress": "30%"}))]);
    let by_model = format!(
        "- {{name: veo, provider: tokenhot, model: veo-3.1, base_url: 'http://{}', static_configs: [{{targets: [veo]}}]}}\n",
        gateway.address
    );
    let text = config(&gateway, "[open, done, plain]") + &by_model;
    let exporter = Exporter::start(&text, Path::new(".")).await;
    let polls = |id: &str| gateway.requests().iter().filter(|request| request.path.ends_with(id)).count();
    while polls("plain") < 8 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((polls("open"), polls("done"), polls("veo")), (1, 1, 1));
    let page = exporter
        .wait_for(&[
            "videogen_reads_with_effect_total{upstream=\"gw\"} 2",
            "videogen_reads_with_effect_total{upstream=\"veo\"} 1",
            "videogen_task_status{upstream=\"gw\",task_id=\"done\",status=\"succeeded\"} 1",
        ])
        .await;
    assert!(value(&page, "videogen_readings_total{upstream=\"gw\",via=\"get\"}").unwrap() >= 9.0, "{page}");
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disagreements_of_gateway_and_provider_are_exported() {
    let gateway = Upstream::start("127.0.0.1:0").await;
    gateway.script("stale", vec![row(&answer("IN_PROGRESS", "expired"))]);
    gateway.script("ok", vec![row(&answer("IN_PROGRESS", "running")), row(&answer("SUCCESS", "succeeded"))]);
    gateway.script("busy", vec![row(&answer("IN_PROGRESS", "running"))]);
    let exporter = Exporter::start(&config(&gateway, "[stale, ok, busy]"), Path::new(".")).await;
    let disagree =
        model_series("videogen_status_disagreements", ",gateway_status=\"running\",upstream_status=\"expired\"") + " 1";
    let lag = model_series("videogen_gateway_finish_lag_seconds_sum", "") + " 7";
    let once = model_series("videogen_gateway_finish_lag_seconds_count", "") + " 1";
    let expiry = "videogen_task_result_expiry_timestamp_seconds{upstream=\"gw\",task_id=\"ok\"} 1795219200";
    let page = exporter.wait_for(&[&disagree, &lag, &once, expiry]).await;
    assert_eq!(page.matches("videogen_status_disagreements{").count(), 1, "equal statuses are a disagreement");
    let deadline = "videogen_task_deadline_timestamp_seconds{upstream=\"gw\",task_id=\"busy\"} ";
    let deadline: i64 = page.lines().find_map(|line| line.strip_prefix(deadline)).unwrap().parse().unwrap();
    assert!((deadline - (unix() - 62 + 172_800)).abs() < 10, "{deadline}");
    assert!(
        !page.contains("deadline_timestamp_seconds{upstream=\"gw\",task_id=\"ok\"}"),
        "an ended task has no deadline"
    );
    assert!(!page.contains("S3CRET") && !page.contains("x.y"));
    assert!(!page.contains("videogen_schema_drift_total{"), "documented responses have drift");
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schema_drift_is_counted_and_the_other_fields_are_decoded() {
    let gateway = Upstream::start("127.0.0.1:0").await;
    let mut odd = answer("SUCCESS", "succeeded");
    odd["data"]["usage"]["total_tokens"] = json!({"new": "shape"});
    odd.as_object_mut().unwrap().remove("progress");
    odd["start_time"] = json!("soon");
    gateway.script("odd", vec![row(&odd)]);
    let exporter = Exporter::start(&config(&gateway, "[odd]"), Path::new(".")).await;
    let drift = |field: &str, problem: &str| {
        format!(
            "videogen_schema_drift_total{{upstream=\"gw\",provider=\"new_api\",field=\"{field}\",problem=\"{problem}\"}} 1"
        )
    };
    let page = exporter
        .wait_for(&[&drift("tokens_total", "wrong_type"), &drift("progress", "missing"), &drift("start", "unreadable")])
        .await;
    assert_eq!(page.matches("videogen_schema_drift_total{").count(), 3);
    let finished = model_series("videogen_tasks_finished_total", ",status=\"succeeded\"");
    assert_eq!(value(&page, &finished), Some(1.0), "a response with drift is decoded");
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_skew_of_an_upstream_is_exported() {
    let gateway = Upstream::start("127.0.0.1:0").await;
    let Reply::Body(code, body) = status("IN_PROGRESS") else { panic!("unexpected kind of reply") };
    let date = |at: i64| {
        let at = jiff::Timestamp::from_second(at).unwrap();
        at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    };
    gateway.script("t", vec![Reply::Dated(code, body.clone(), date(unix() - 3600))]);
    let exporter = Exporter::start(&config(&gateway, "[t]"), Path::new(".")).await;
    let skew = "videogen_upstream_clock_skew_seconds{upstream=\"gw\"}";
    exporter.wait_for(&["videogen_upstream_up{upstream=\"gw\"} 1"]).await;
    let shown = value(&exporter.page().await, skew).unwrap();
    assert!((shown + 3600.0).abs() < 30.0, "{shown}");
    gateway.script("t", vec![Reply::Dated(code, body.clone(), "yesterday".to_owned())]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let kept = value(&exporter.page().await, skew).unwrap();
    assert!((kept + 3600.0).abs() < 30.0, "an invalid date changes the skew: {kept}");
    exporter.stop().await;
}

/// On each page an ended task is in the counters, in the counts by status and in its own row, or in none of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_a_consistent_snapshot() {
    const TASKS: u32 = 400;
    let gateway = Upstream::start("127.0.0.1:0").await;
    for task in 0..TASKS {
        let waits = std::iter::repeat_n(status("IN_PROGRESS"), task as usize % 10);
        let end = row(&answer("SUCCESS", "succeeded"));
        gateway.script(&format!("t{task}"), waits.chain([end]).collect());
    }
    let targets: Vec<_> = (0..TASKS).map(|task| format!("t{task}")).collect();
    let exporter = Exporter::start(&config(&gateway, &format!("[{}]", targets.join(", "))), Path::new(".")).await;
    let finished = model_series("videogen_tasks_finished_total", ",status=\"succeeded\"");
    let succeeded = model_series("videogen_tasks", ",status=\"succeeded\"");
    let deadline = Instant::now() + PATIENCE;
    // Several concurrent scrapes find more intermediate pages.
    let mut scrapes = JoinSet::new();
    for _ in 0..4 {
        let (address, finished, succeeded) = (exporter.address, finished.clone(), succeeded.clone());
        scrapes.spawn(async move {
            let mut between = 0;
            loop {
                let page = get(address, "metrics").await.1;
                let shown = page.lines().filter(|line| {
                    line.starts_with("videogen_task_status{") && line.ends_with(",status=\"succeeded\"} 1")
                });
                let shown = shown.count().to_string().parse().ok();
                let seen = [value(&page, &finished).or(Some(0.0)), value(&page, &succeeded).or(Some(0.0))];
                assert_eq!(seen, [shown; 2], "finished counter, count by status, and rows differ");
                if shown == Some(f64::from(TASKS)) {
                    return between;
                }
                between += usize::from(shown != Some(0.0));
                assert!(Instant::now() < deadline, "only {shown:?} tasks ended");
            }
        });
    }
    let between: usize = scrapes.join_all().await.into_iter().sum();
    assert!(between > 5, "only {between} pages while tasks ended");
    exporter.stop().await;
}
