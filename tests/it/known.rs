//! A gateway whose tasks are planned in advance, so that the final counters are known.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::exporter::value;

/// Final statuses with their failure classes.
const ENDS: [(&str, &str); 10] = [
    ("succeeded", ""),
    ("succeeded", ""),
    ("failed", "content_policy"),
    ("succeeded", ""),
    ("failed", "other"),
    ("succeeded", ""),
    ("cancelled", "cancelled"),
    ("succeeded", ""),
    ("expired", "expired"),
    ("succeeded", ""),
];

/// A planned task.
#[derive(Debug, Clone, Copy)]
pub struct PlannedTask {
    model: &'static str,
    /// Unix milliseconds.
    submit: u64,
    start: u64,
    finish: u64,
    end: (&'static str, &'static str),
    tokens: u64,
}

/// The gateway; it stops when it is dropped.
pub struct PlannedGateway {
    pub address: SocketAddr,
    tasks_by_id: Arc<HashMap<String, PlannedTask>>,
    server: JoinHandle<()>,
}

/// Unix milliseconds.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

impl PlannedGateway {
    /// Tasks `t0000`, `t0001`, … that end between `first` and `last` from now. The later half of the tasks whose number ends
    /// in 9 has the model `late`.
    pub async fn start(tasks: u64, first: Duration, last: Duration) -> Self {
        let now = now();
        let task = |n: u64| {
            let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap();
            // The order of the ends differs from the order of the ids.
            let place = (n * 7919) % tasks;
            let finish = now + millis(first) + (millis(last) - millis(first)) * place / tasks;
            let (run, queue) = (5000 + 1000 * (n * 31 % 400), 1000 * (n % 20));
            let model = if is_late(n) && place > tasks / 2 { "late" } else { ["m-0", "m-1", "m-2"][(n % 3) as usize] };
            let end = ENDS[((n / 10 + n) % 10) as usize];
            let start = finish - run;
            (id(n), PlannedTask { model, submit: start - queue, start, finish, end, tokens: 1000 + n % 777 })
        };
        let tasks_by_id: Arc<HashMap<_, _>> = Arc::new((0..tasks).map(task).collect());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/v1/video/generations/{id}", get(answer)).with_state(tasks_by_id.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, tasks_by_id, server }
    }

    /// Sorted ids of the tasks whose model is `late`, or is not.
    pub fn ids(&self, late: bool) -> Vec<String> {
        let mut ids: Vec<_> = self
            .tasks_by_id
            .iter()
            .filter(|(_, task)| (task.model == "late") == late)
            .map(|(id, _)| id.clone())
            .collect();
        ids.sort();
        ids
    }

    /// The expected samples of upstream `gw` after all tasks ended.
    pub fn expected_samples(&self) -> BTreeMap<String, f64> {
        let mut expected_samples: BTreeMap<String, f64> = BTreeMap::new();
        for task in self.tasks_by_id.values() {
            let mut add = |family: &str, labels: &str, more: f64| {
                *expected_samples.entry(series(family, task.model, labels)).or_default() += more;
            };
            let (status, class) = task.end;
            add("videogen_tasks_submitted_total", "", 1.0);
            add("videogen_tasks_finished_total", &format!(",status=\"{status}\""), 1.0);
            if !class.is_empty() {
                add("videogen_task_failures_total", &format!(",status=\"{status}\",failure_class=\"{class}\""), 1.0);
            }
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let seconds = |from: u64, to: u64| (to / 1000 - from / 1000) as f64;
            let latency = seconds(task.submit, task.finish);
            let labels = format!(",status=\"{status}\"");
            add("videogen_task_latency_seconds_count", &labels, 1.0);
            add("videogen_task_latency_seconds_sum", &labels, latency);
            for bound in [60.0, 120.0, 300.0] {
                let within = f64::from(u8::from(latency <= bound));
                add("videogen_task_latency_seconds_bucket", &format!("{labels},le=\"{bound:?}\""), within);
            }
            if status == "succeeded" {
                #[expect(clippy::cast_precision_loss, reason = "small numbers")]
                add("videogen_tokens_total", ",token_type=\"output\"", task.tokens as f64);
                add("videogen_quota_total", "", 500.5);
                add("videogen_video_seconds_total", ",resolution=\"720p\"", 5.0);
            }
            if matches!(status, "succeeded" | "failed") {
                add("videogen_task_queue_seconds_sum", "", seconds(task.submit, task.start));
                add("videogen_task_run_seconds_sum", &labels, seconds(task.start, task.finish));
            }
        }
        expected_samples
    }

    /// The expected samples of money, by [`PRICES`]: failed tasks do not tell how long their video is.
    pub fn expected_costs(&self) -> BTreeMap<String, f64> {
        let mut micros: BTreeMap<String, u32> = BTreeMap::new();
        for task in self.tasks_by_id.values() {
            let mut add = |family: &str, labels: &str, more: u32| {
                *micros.entry(series(family, task.model, labels)).or_default() += more;
            };
            match task.end.0 {
                "succeeded" => {
                    add("videogen_cost_total", ",currency=\"USD\",cost_source=\"metered\"", 500_005);
                    add("videogen_charged_total", ",currency=\"USD\"", 500_500);
                }
                "failed" => add("videogen_unpriced_tasks_total", ",reason=\"no_duration\"", 1_000_000),
                _ => {}
            }
        }
        let in_units = |(series, micros): (String, u32)| (series, f64::from(micros) / 1e6);
        micros.into_iter().map(in_units).collect()
    }

    /// Differences of a page from the expected samples.
    pub fn mismatches(&self, page: &str) -> Vec<String> {
        mismatches(page, self.expected_samples())
    }
}

/// A configuration under which a planned success costs 0.500005 dollars and is charged 0.5005.
pub const PRICES: &str = "pricing: {rules: [{match: {}, price: {per: second, amount: 0.100001}, charge_on: {failed: true}}], \
    budgets: [{name: all, per: month, amount: 1}]}\n";

/// Differences of a page from samples.
pub fn mismatches(page: &str, expected_samples: BTreeMap<String, f64>) -> Vec<String> {
    let compare = |(series, expected): (String, f64)| {
        let found = value(page, &series);
        (found != Some(expected)).then(|| format!("{series}: {found:?}, expected {expected}"))
    };
    expected_samples.into_iter().filter_map(compare).collect()
}

impl Drop for PlannedGateway {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn id(n: u64) -> String {
    format!("t{n:04}")
}

fn is_late(n: u64) -> bool {
    n % 10 == 9
}

/// A series as the page writes it.
pub fn series(family: &str, model: &str, labels: &str) -> String {
    format!("{family}{{upstream=\"gw\",provider=\"new_api\",model=\"{model}\"{labels}}}")
}

async fn answer(State(tasks_by_id): State<Arc<HashMap<String, PlannedTask>>>, Path(id): Path<String>) -> Response {
    let Some(task) = tasks_by_id.get(&id) else { return axum::http::StatusCode::NOT_FOUND.into_response() };
    let secs = |millis: u64| millis / 1000;
    let now = now();
    let (submit, start, finish) = (secs(task.submit), secs(task.start), secs(task.finish));
    let properties = json!({"origin_model_name": task.model, "upstream_model_name": task.model});
    let row = |status: &str, finish: u64, data: serde_json::Value| {
        json!({"task_id": id, "status": status, "progress": "50%", "quota": 500.5, "submit_time": submit, "start_time": start,
            "finish_time": finish, "properties": properties, "data": data})
    };
    let inner = |word: &str| json!({"status": word, "created_at": submit, "updated_at": finish, "model": task.model});
    let row = match task.end.0 {
        _ if now < task.start => row("QUEUED", 0, json!(null)),
        _ if now < task.finish => row("IN_PROGRESS", 0, json!(null)),
        "succeeded" => {
            let usage = json!({"completion_tokens": task.tokens, "total_tokens": task.tokens});
            row("SUCCESS", finish, json!({"status": "succeeded", "duration": 5, "resolution": "720p", "usage": usage}))
        }
        "failed" => {
            let code = if task.end.1 == "other" { "Mystery" } else { "OutputVideoSensitiveContentDetected" };
            row("FAILURE", finish, json!({"status": "failed", "error": {"code": code, "message": "no"}}))
        }
        // The gateway still reports a running task.
        word => row("IN_PROGRESS", 0, inner(word)),
    };
    json!({"code": "success", "message": "", "data": row}).to_string().into_response()
}
