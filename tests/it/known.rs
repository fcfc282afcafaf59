//! A gateway of known truth: every task's life is decided beforehand, and so is what has to be counted in the end.

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

/// How a life ends, with the words of status and class.
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

/// One task.
#[derive(Debug, Clone, Copy)]
pub struct Life {
    model: &'static str,
    /// Unix milliseconds.
    submit: u64,
    start: u64,
    finish: u64,
    end: (&'static str, &'static str),
    tokens: u64,
}

/// The gateway; it stops when it is dropped.
pub struct Known {
    pub address: SocketAddr,
    lives: Arc<HashMap<String, Life>>,
    server: JoinHandle<()>,
}

/// Unix milliseconds.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

impl Known {
    /// Tasks `t0000`, `t0001`, ..., that end one after the other between `first` and `last` from now; the later half of those
    /// with a number that ends in 9 are of another model.
    pub async fn start(tasks: u64, first: Duration, last: Duration) -> Self {
        let now = now();
        let life = |n: u64| {
            let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap();
            // Spread, but in no order that a file or a hash would have.
            let place = (n * 7919) % tasks;
            let finish = now + millis(first) + (millis(last) - millis(first)) * place / tasks;
            let (run, queue) = (5000 + 1000 * (n * 31 % 400), 1000 * (n % 20));
            let model = if is_late(n) && place > tasks / 2 { "late" } else { ["m-0", "m-1", "m-2"][(n % 3) as usize] };
            let end = ENDS[((n / 10 + n) % 10) as usize];
            let start = finish - run;
            (id(n), Life { model, submit: start - queue, start, finish, end, tokens: 1000 + n % 777 })
        };
        let lives: Arc<HashMap<_, _>> = Arc::new((0..tasks).map(life).collect());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/v1/video/generations/{id}", get(answer)).with_state(lives.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, lives, server }
    }

    /// Ids of the tasks whose model is, or is not, the late one; sorted.
    pub fn ids(&self, late: bool) -> Vec<String> {
        let mut ids: Vec<_> =
            self.lives.iter().filter(|(_, life)| (life.model == "late") == late).map(|(id, _)| id.clone()).collect();
        ids.sort();
        ids
    }

    /// Every sample that has to be on the page of an exporter that calls this upstream `gw`, when all tasks have ended.
    pub fn truth(&self) -> BTreeMap<String, f64> {
        let mut truth: BTreeMap<String, f64> = BTreeMap::new();
        for life in self.lives.values() {
            let mut add = |family: &str, own: &str, more: f64| {
                *truth.entry(series(family, life.model, own)).or_default() += more;
            };
            let (status, class) = life.end;
            add("videogen_tasks_submitted_total", "", 1.0);
            add("videogen_tasks_finished_total", &format!(",status=\"{status}\""), 1.0);
            if !class.is_empty() {
                add("videogen_task_failures_total", &format!(",status=\"{status}\",failure_class=\"{class}\""), 1.0);
            }
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let seconds = |from: u64, to: u64| (to / 1000 - from / 1000) as f64;
            let latency = seconds(life.submit, life.finish);
            let own = format!(",status=\"{status}\"");
            add("videogen_task_latency_seconds_count", &own, 1.0);
            add("videogen_task_latency_seconds_sum", &own, latency);
            for bound in [60.0, 120.0, 300.0] {
                let within = f64::from(u8::from(latency <= bound));
                add("videogen_task_latency_seconds_bucket", &format!("{own},le=\"{bound:?}\""), within);
            }
            if status == "succeeded" {
                #[expect(clippy::cast_precision_loss, reason = "small numbers")]
                add("videogen_tokens_total", ",token_type=\"output\"", life.tokens as f64);
                add("videogen_quota_total", "", 500.5);
                add("videogen_video_seconds_total", ",resolution=\"720p\"", 5.0);
            }
            if matches!(status, "succeeded" | "failed") {
                add("videogen_task_queue_seconds_sum", "", seconds(life.submit, life.start));
                add("videogen_task_run_seconds_sum", &own, seconds(life.start, life.finish));
            }
        }
        truth
    }

    /// What a page has otherwise than the truth.
    pub fn wrong(&self, page: &str) -> Vec<String> {
        let wrong = |(series, expected): (String, f64)| {
            let found = value(page, &series);
            (found != Some(expected)).then(|| format!("{series}: {found:?} instead of {expected}"))
        };
        self.truth().into_iter().filter_map(wrong).collect()
    }
}

impl Drop for Known {
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

/// A sample as the page writes it.
pub fn series(family: &str, model: &str, own: &str) -> String {
    format!("{family}{{upstream=\"gw\",provider=\"new_api\",model=\"{model}\"{own}}}")
}

async fn answer(State(lives): State<Arc<HashMap<String, Life>>>, Path(id): Path<String>) -> Response {
    let Some(life) = lives.get(&id) else { return axum::http::StatusCode::NOT_FOUND.into_response() };
    let secs = |millis: u64| millis / 1000;
    let now = now();
    let (submit, start, finish) = (secs(life.submit), secs(life.start), secs(life.finish));
    let properties = json!({"origin_model_name": life.model, "upstream_model_name": life.model});
    let row = |status: &str, finish: u64, data: serde_json::Value| {
        json!({"task_id": id, "status": status, "progress": "50%", "quota": 500.5, "submit_time": submit, "start_time": start,
            "finish_time": finish, "properties": properties, "data": data})
    };
    let inner = |word: &str| json!({"status": word, "created_at": submit, "updated_at": finish, "model": life.model});
    let row = match life.end.0 {
        _ if now < life.start => row("QUEUED", 0, json!(null)),
        _ if now < life.finish => row("IN_PROGRESS", 0, json!(null)),
        "succeeded" => {
            let usage = json!({"completion_tokens": life.tokens, "total_tokens": life.tokens});
            row("SUCCESS", finish, json!({"status": "succeeded", "duration": 5, "resolution": "720p", "usage": usage}))
        }
        "failed" => {
            let code = if life.end.1 == "other" { "Mystery" } else { "OutputVideoSensitiveContentDetected" };
            row("FAILURE", finish, json!({"status": "failed", "error": {"code": code, "message": "no"}}))
        }
        // The gateway has not noticed.
        word => row("IN_PROGRESS", 0, inner(word)),
    };
    json!({"code": "success", "message": "", "data": row}).to_string().into_response()
}
