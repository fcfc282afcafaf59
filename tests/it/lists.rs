//! Tasks that are read by a gateway's list, with real servers: lists that are refused or odd, and channels that single reads change.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use videogen_exporter::simulate::{Faults, Settings};

use crate::exporter::{Exporter, PATIENCE, QUICK, value};
use crate::known::now;
use crate::server::Server;
use crate::simulation::Simulation;

const TASKS: usize = 12;

/// How the list of a gateway behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ListMode {
    /// It shows every task.
    Whole,
    /// It refuses the key.
    Unauthorized,
    /// Too many requests.
    RateLimited,
    /// It takes longer than the time-out.
    Slow,
    /// The database is in trouble.
    Empty,
    /// It shows the tasks of another user; the key knows none of those.
    OfAnotherUser,
    /// Its rows have no vendor's body.
    WithoutBodies,
    /// Each page begins later than it should.
    Shifting,
}

const MODES: [ListMode; 8] = [
    ListMode::Whole,
    ListMode::Unauthorized,
    ListMode::RateLimited,
    ListMode::Slow,
    ListMode::Empty,
    ListMode::OfAnotherUser,
    ListMode::WithoutBodies,
    ListMode::Shifting,
];

/// The row of a task: it runs for two seconds. Every other task fails.
fn row(name: &str, began: Instant) -> Value {
    let number: u64 = name.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
    let has_ended = began.elapsed() > Duration::from_secs(2);
    let (status, word) = match (has_ended, number % 2) {
        (false, _) => ("IN_PROGRESS", "running"),
        (true, 0) => ("SUCCESS", "succeeded"),
        (true, _) => ("FAILURE", "failed"),
    };
    let at = now() / 1000;
    let submit = at - began.elapsed().as_secs() - 10 * (number + 1);
    json!({
        "task_id": name, "platform": "54", "user_id": 7, "channel_id": 3, "status": status, "submit_time": submit,
        "finish_time": if has_ended { at } else { 0 }, "progress": if has_ended { "100%" } else { "50%" }, "quota": 10,
        "fail_reason": if status == "FAILURE" { "no" } else { "" },
        "properties": {"origin_model_name": "m", "upstream_model_name": "m"},
        "data": {"id": "cgt-1", "status": word, "model": "m", "usage": {"completion_tokens": 5, "total_tokens": 5}},
    })
}

fn list_page(mode: ListMode, request: &Request, began: Instant) -> Response {
    let names: Vec<String> = (0..TASKS)
        .map(|n| if mode == ListMode::OfAnotherUser { format!("other{n}") } else { format!("t{n}") })
        .collect();
    let query: BTreeMap<String, String> = request
        .uri()
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
    match mode {
        ListMode::Unauthorized => {
            return (StatusCode::UNAUTHORIZED, json!({"success": false, "message": "no access"}).to_string())
                .into_response();
        }
        ListMode::RateLimited => {
            return (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "180")], "").into_response();
        }
        ListMode::Slow => {
            let never = futures_util::stream::pending::<Result<String, std::io::Error>>();
            return Body::from_stream(never).into_response();
        }
        _ => {}
    }
    let mut rows: Vec<Value> = names.iter().map(|name| row(name, began)).collect();
    if mode == ListMode::WithoutBodies {
        for row in &mut rows {
            row.as_object_mut().unwrap().remove("data");
        }
    }
    if mode == ListMode::Empty {
        rows.clear();
    }
    if let Some(id) = query.get("task_id") {
        rows.retain(|row| row["task_id"] == **id);
    }
    let (page, size) = (query["p"].parse::<usize>().unwrap(), query["page_size"].parse::<usize>().unwrap().min(5));
    let total = rows.len();
    let shift = if mode == ListMode::Shifting { 2 * (page - 1) } else { 0 };
    let rows: Vec<Value> = rows.into_iter().skip((page - 1) * size + shift).take(size).collect();
    json!({"success": true, "data": {"page": page, "page_size": size, "total": total, "items": rows}})
        .to_string()
        .into_response()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_list_does_every_task_is_counted_once() {
    let modes = MODES.map(|mode| async move {
        let began = Instant::now();
        let server = Server::start(move |request: &Request| {
            let path = request.uri().path().to_owned();
            if path.starts_with("/api/task") {
                return list_page(mode, request, began);
            }
            let name = path.rsplit('/').next().unwrap();
            if name.starts_with("other") {
                let body = json!({"code": "task_not_exist", "message": "task_not_exist", "data": null});
                return (StatusCode::BAD_REQUEST, body.to_string()).into_response();
            }
            json!({"code": "success", "message": "", "data": row(name, began)}).to_string().into_response()
        })
        .await;
        let names: Vec<String> = (0..TASKS).map(|n| format!("t{n}")).collect();
        let text = format!(
            "{QUICK}tasks: {{count_since: always}}\nupstreams: [{{name: gw, provider: new_api, base_url: 'http://{}', \
             list_configs: [{{requests_per_second: 10, refresh_interval: 1s}}], static_configs: [{{targets: [{}]}}]}}]\n",
            server.0,
            names.join(", ")
        );
        let exporter = Exporter::start(&text, Path::new(env!("CARGO_MANIFEST_DIR"))).await;
        let count = if mode == ListMode::OfAnotherUser { TASKS } else { TASKS / 2 };
        let finished =
            |status: &str| format!("videogen_tasks_finished_total{{upstream=\"gw\",provider=\"new_api\",model=\"m\",status=\"{status}\"}}");
        let quota = "videogen_quota_total{upstream=\"gw\",provider=\"new_api\",model=\"m\"}";
        let lines = [
            format!("{} {count}", finished("succeeded")),
            format!("{} {count}", finished("failed")),
            format!("{quota} {}", 10 * count),
        ];
        let page = exporter.wait_for(&lines.each_ref().map(String::as_str)).await;
        assert_eq!(value(&page, &finished("lost")), Some(0.0), "{mode:?}");
        // Each end has the vendor's tokens, whatever its row tells.
        let tokens = "videogen_tokens_total{upstream=\"gw\",provider=\"new_api\",model=\"m\",token_type=\"output\"}";
        let ends = u32::try_from(2 * count).unwrap();
        assert_eq!(value(&page, tokens), Some(f64::from(5 * ends)), "{mode:?}");
        let readings = |via: &str| value(&page, &format!("videogen_readings_total{{upstream=\"gw\",via=\"{via}\"}}"));
        let is_read = !matches!(mode, ListMode::Unauthorized | ListMode::RateLimited | ListMode::Slow | ListMode::Empty);
        assert_eq!(readings("list").is_some_and(|rows| rows > 0.0), is_read, "{mode:?}");
        exporter.stop().await;
    });
    futures_util::future::join_all(modes).await;
}

/// The page once the series that begin so have at least this sum.
async fn wait_for_sum(exporter: &Exporter, beginning: &str, least: f64) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let page = exporter.page().await;
        if sum(&page, beginning) >= least {
            return page;
        }
        assert!(Instant::now() < deadline, "{page}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The sum of the series that begin so.
fn sum(page: &str, beginning: &str) -> f64 {
    let values = page.lines().filter(|line| line.starts_with(beginning));
    values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[tokio::test]
async fn the_simulated_list_has_the_filters_and_limits_of_a_gateway() {
    let settings = Settings {
        tasks: 150,
        seed: 3,
        speed: 1.0,
        faults: Faults::default(),
        list_limit: 8,
        hides_bodies: true,
        balance: 0,
    };
    let simulation = Simulation::with(settings).await;
    let (rows, total) = simulation.rows("", &[("page_size", "500")]).await;
    assert_eq!((rows.len(), total), (100, 150), "a page has at most 100 rows, and the count of all");
    assert!(rows.iter().all(|row| row["username"].is_string() && row["channel_id"] != 0 && row.get("data").is_none()));
    assert_eq!(simulation.rows("", &[]).await.0.len(), 10, "the usual size");
    let submits: Vec<i64> = rows.iter().map(|row| row["submit_time"].as_i64().unwrap()).collect();
    assert!(submits.is_sorted_by(|a, b| a >= b), "newest first");
    let (second, _) = simulation.rows("", &[("p", "2"), ("page_size", "100")]).await;
    assert_eq!(second.len(), 50);
    let id = rows[7]["task_id"].as_str().unwrap();
    let (one, total) = simulation.rows("self", &[("task_id", id)]).await;
    assert_eq!((one.len(), total, &one[0]["channel_id"], one[0].get("username")), (1, 1, &json!(0), None));
    for (name, value, field) in [("status", "QUEUED", "status"), ("platform", "24", "platform")] {
        let (rows, total) = simulation.rows("", &[(name, value), ("page_size", "100")]).await;
        assert!(total > 0 && total < 150 && rows.iter().all(|row| row[field] == value), "{name}");
    }
    let since = submits[20].to_string();
    let (_, newer) = simulation.rows("", &[("start_timestamp", &since)]).await;
    assert!((21..40).contains(&newer), "{newer}");
    simulation.rows("", &[]).await;
    let limited = simulation.list("", &[]).await;
    assert_eq!((limited.status, limited.retry_after), (429, Some(Duration::from_mins(3))));
    assert_eq!(limited.body.unwrap(), b"", "without a word");
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_at_gemini_are_read_without_a_trace() {
    let simulation = Simulation::start(60, 20.0).await;
    let text = format!(
        "{QUICK}upstreams: [{{name: gw, provider: new_api, base_url: 'http://{}', \
         list_configs: [{{requests_per_second: 20, refresh_interval: 1s, lookback: 10m}}]}}]\n",
        simulation.address
    );
    let exporter = Exporter::start(&text, Path::new(env!("CARGO_MANIFEST_DIR"))).await;
    let veo = "videogen_tasks_finished_total{upstream=\"gw\",provider=\"new_api\",model=\"veo-3.0-generate-001\"";
    let page = wait_for_sum(&exporter, veo, 20.0).await;
    assert_eq!(value(&page, "videogen_reads_with_effect_total{upstream=\"gw\"}"), Some(0.0), "no poll changed a task");
    exporter.stop().await;
    let mut ended = simulation.gemini_rows().await;
    ended.retain(|row| matches!(row["status"].as_str(), Some("SUCCESS" | "FAILURE")));
    assert!(ended.len() >= 15, "{}", ended.len());
    for row in &ended {
        assert!(row["finish_time"].as_i64() > Some(0) && row["data"].is_object(), "{row}");
        if row["status"] == "FAILURE" {
            assert_ne!(row["fail_reason"], "", "{row}");
        }
    }
    let latency =
        "videogen_task_latency_seconds_count{upstream=\"gw\",provider=\"new_api\",model=\"veo-3.0-generate-001\"";
    assert!(sum(&page, latency) > 0.0, "rows tell the times that single reads hide");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_list_reads_with_effect_are_rare_and_counted() {
    let simulation = Simulation::start(60, 20.0).await;
    let targets = simulation.gateway.targets("");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ids.json"), targets).unwrap();
    let text = format!(
        "{QUICK}upstreams: [{{name: gw, provider: new_api, base_url: 'http://{}', file_sd_configs: [{{files: [ids.json]}}]}}]\n",
        simulation.address
    );
    let exporter = Exporter::start(&text, folder.path()).await;
    let ended = "videogen_tasks_finished_total{upstream=\"gw\",provider=\"new_api\",model=\"sora-2\"";
    let page = wait_for_sum(&exporter, ended, 5.0).await;
    let (_, all) = simulation.gateway.render_page(0, 1, |_, view| view.task.model.platform == "24", |_, _| Value::Null);
    let effects = sum(&page, "videogen_reads_with_effect_total");
    assert!(
        effects > 0.0 && effects <= f64::from(u32::try_from(all).unwrap()),
        "each task at Gemini was read once: {effects} of {all}"
    );
    exporter.stop().await;
}
