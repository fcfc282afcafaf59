//! State of the fake gateway: its tasks, and the faults of its responses.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::faults::{Fault, Faults};
use super::request_window::RequestWindow;
use super::task::USERS;
use super::task_pool::{TaskPool, UNITS_PER_DOLLAR};
use super::view::TaskView;
use crate::clock;
use crate::domain::Timestamp;

/// How the gateway behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Active tasks. When one ends, another one is created.
    pub tasks: usize,
    /// Seed of the random numbers.
    pub seed: u64,
    /// How many times faster than real tasks these run.
    pub speed: f64,
    /// Faults of the responses.
    pub faults: Faults,
    /// Requests for lists that are answered in three minutes; 0 for any number.
    pub list_limit: usize,
    /// Rows of lists have no vendor's body, as at gateways with plugins.
    pub hides_bodies: bool,
    /// What the account was granted, in dollars.
    pub balance: u32,
}

/// The fake gateway.
pub struct Gateway {
    pool: Mutex<TaskPool>,
    faults: Faults,
    list_limit: usize,
    hides_bodies: bool,
    /// In units.
    granted: u64,
    list_requests: Mutex<RequestWindow>,
    /// Its key is refused.
    refuses_key: AtomicBool,
    random: Mutex<fastrand::Rng>,
}

impl Gateway {
    /// A gateway with its first tasks.
    pub fn new(settings: &Settings) -> Arc<Self> {
        let pool = TaskPool::new(settings.tasks, settings.seed, settings.speed, clock::now().into());
        let random = Mutex::new(fastrand::Rng::with_seed(settings.seed ^ 0x5eed));
        Arc::new(Self {
            pool: Mutex::new(pool),
            faults: settings.faults.clone(),
            list_limit: settings.list_limit,
            hides_bodies: settings.hides_bodies,
            granted: u64::from(settings.balance) * UNITS_PER_DOLLAR,
            list_requests: Mutex::default(),
            refuses_key: AtomicBool::new(false),
            random,
        })
    }

    /// Whether the rows of its list contain the vendors' bodies.
    pub const fn has_bodies(&self) -> bool {
        !self.hides_bodies
    }

    /// The account's units: granted, and used by its tasks.
    pub fn account(&self) -> (u64, u64) {
        let now = Timestamp::from(clock::now());
        let mut pool = self.pool();
        pool.advance_to(now);
        (self.granted, pool.used(now))
    }

    /// Counts a request for a list; false when there are too many.
    pub fn admit_to_api(&self, now: Instant) -> bool {
        self.list_requests.lock().unwrap_or_else(PoisonError::into_inner).admit(self.list_limit, now)
    }

    /// Refuses every key from now on, or no longer.
    pub fn refuse_key(&self, refuses: bool) {
        self.refuses_key.store(refuses, Ordering::Relaxed);
    }

    /// Whether every key is refused.
    pub fn is_key_refused(&self) -> bool {
        self.refuses_key.load(Ordering::Relaxed)
    }

    /// A task at Gemini is read alone.
    pub fn spoil(&self, id: &str) {
        self.pool().spoil(id, Timestamp::from(clock::now()));
    }

    /// Task ids as a Prometheus `file_sd` document, oldest first, a group for each team. `provider` decides the form of the ids.
    pub fn targets(&self, provider: &str) -> String {
        let mut pool = self.pool();
        let now = Timestamp::from(clock::now());
        pool.advance_to(now);
        let format_id = |id: &str| match provider {
            "fal" => format!("simulated/video/requests/{id}"),
            provider if provider.contains("veo") => operation_name(id),
            _ => id.to_owned(),
        };
        let mut teams: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for id in pool.ids(now) {
            let team = pool.get(id).map_or("", |task| USERS[task.user]);
            teams.entry(team).or_default().push(format_id(id));
        }
        let group = |(team, targets): (&str, Vec<String>)| json!({ "targets": targets, "labels": { "team": team } });
        Value::from(teams.into_iter().map(group).collect::<Vec<_>>()).to_string()
    }

    /// Writes [`Gateway::targets`] to `file` until `stop`, atomically and at most once a second.
    pub async fn write_targets(&self, file: &Path, stop: CancellationToken) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let mut written = String::new();
        let draft = file.with_extension("new");
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            let targets = self.targets("");
            if targets != written {
                let replaced = std::fs::write(&draft, &targets).and_then(|()| std::fs::rename(&draft, file));
                replaced.with_context(|| format!("cannot write {}", file.display()))?;
                written = targets;
            }
        }
        Ok(())
    }

    pub(super) fn pool(&self) -> MutexGuard<'_, TaskPool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Renders a task; `None` for an unknown id.
    pub fn render_task<T>(&self, id: &str, render: impl Fn(&TaskView) -> T) -> Option<T> {
        let now = Timestamp::from(clock::now());
        let mut pool = self.pool();
        pool.advance_to(now);
        TaskView::new(pool.get(id)?, now).map(|view| render(&view))
    }

    /// Renders the tasks with these ids, or without ids all tasks, newest first.
    pub fn render_tasks(&self, requested: &[String], render: impl Fn(&str, &TaskView) -> Value) -> Vec<Value> {
        let now = Timestamp::from(clock::now());
        let mut pool = self.pool();
        pool.advance_to(now);
        let rendered = |id: &str| Some(render(id, &TaskView::new(pool.get(id)?, now)?));
        if requested.is_empty() {
            let ids: Vec<_> = pool.ids(now).collect();
            return ids.into_iter().rev().filter_map(rendered).collect();
        }
        requested.iter().filter_map(|id| rendered(id)).collect()
    }

    /// Renders so many of the tasks that match, newest first; also returns how many match.
    pub fn render_page(
        &self,
        skip: usize,
        take: usize,
        matches: impl Fn(&str, &TaskView) -> bool,
        render: impl Fn(&str, &TaskView) -> Value,
    ) -> (Vec<Value>, usize) {
        let now = Timestamp::from(clock::now());
        let mut pool = self.pool();
        pool.advance_to(now);
        let (mut rendered, mut total) = (Vec::new(), 0);
        for id in pool.ids(now).rev() {
            let Some(view) = pool.get(id).and_then(|task| TaskView::new(task, now)) else { continue };
            if matches(id, &view) {
                if total >= skip && rendered.len() < take {
                    rendered.push(render(id, &view));
                }
                total += 1;
            }
        }
        (rendered, total)
    }

    /// Picks a fault for a request: waits for a slow response, returns any other faulty response.
    pub async fn respond_with_fault(&self) -> Option<Response> {
        let chance = self.random.lock().unwrap_or_else(PoisonError::into_inner).f64();
        Some(match self.faults.pick(chance)? {
            Fault::Slow => {
                tokio::time::sleep(Duration::from_secs(3)).await;
                return None;
            }
            Fault::RateLimited => {
                let body = json!({"code": "rate_limit_exceeded", "message": "当前分组上游负载已饱和，请稍后再试", "data": null});
                (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "1")], body.to_string()).into_response()
            }
            Fault::ServerError => {
                let body = json!({"code": "get_task_failed", "message": "Database error", "data": null});
                reply(StatusCode::INTERNAL_SERVER_ERROR, &body)
            }
            Fault::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, Html("<html><h1>503 Service Unavailable</h1></html>")).into_response()
            }
            Fault::Html => web_page().into_response(),
            Fault::Reset => {
                let body = [Ok("{\"code\":\"success\",\"data\":{"), Err(std::io::Error::other("planned"))];
                Body::from_stream(futures_util::stream::iter(body)).into_response()
            }
        })
    }
}

/// The gateway's web page.
pub fn web_page() -> Html<&'static str> {
    Html("<!doctype html><title>gateway</title><div id=root></div>")
}

/// The name of a task's operation at Google.
fn operation_name(id: &str) -> String {
    format!("models/veo-3.1/operations/{id}")
}

/// A JSON response.
pub fn reply(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// The value of a query parameter, each time that it is there.
pub fn parameter<'a>(query: Option<&'a str>, name: &'a str) -> impl Iterator<Item = String> + 'a {
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.filter(move |(key, _)| key == name).map(|(_, value)| value.into_owned())
}
