//! The gateway's state: the world of its tasks, and the faults of its answers.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::faults::{Fault, Faults};
use super::view::View;
use super::world::World;
use crate::clock;
use crate::domain::Timestamp;

/// How the gateway behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Tasks that are alive at once; when one ends, another is born.
    pub tasks: usize,
    /// The same seed gives the same tasks.
    pub seed: u64,
    /// How many times faster than real tasks these live.
    pub speed: f64,
    /// What goes wrong, and how often.
    pub faults: Faults,
}

/// The gateway.
pub struct Gateway {
    world: Mutex<World>,
    faults: Faults,
    chance: Mutex<fastrand::Rng>,
}

impl Gateway {
    /// A gateway whose tasks begin to live now.
    pub fn new(settings: &Settings) -> Arc<Self> {
        let world = World::new(settings.tasks, settings.seed, settings.speed, clock::now().into());
        let chance = Mutex::new(fastrand::Rng::with_seed(settings.seed ^ 0x5eed));
        Arc::new(Self { world: Mutex::new(world), faults: settings.faults.clone(), chance })
    }

    /// Ids of the tasks that are known, oldest first, as a Prometheus `file_sd` document; by the names that they have at
    /// this provider.
    pub fn targets(&self, provider: &str) -> String {
        let mut world = self.world();
        let now = Timestamp::from(clock::now());
        world.live(now);
        let named = |id: &str| if provider.contains("veo") { operation(id) } else { id.to_owned() };
        json!([{ "targets": world.ids(now).map(named).collect::<Vec<_>>(), "labels": { "team": "demo" } }]).to_string()
    }

    /// Writes [`Gateway::targets`] to `file` every second until `stop`, replacing it as a whole.
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

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `see` makes of a task; `None` for one that is not there.
    pub fn look(&self, id: &str, see: impl Fn(&View) -> Value) -> Option<Value> {
        let now = Timestamp::from(clock::now());
        let mut world = self.world();
        world.live(now);
        View::new(world.get(id)?, now).map(|view| see(&view))
    }

    /// What `see` makes of the tasks with these ids, or of all, newest first.
    pub fn look_at_all(&self, wanted: &[String], see: impl Fn(&str, &View) -> Value) -> Vec<Value> {
        let now = Timestamp::from(clock::now());
        let mut world = self.world();
        world.live(now);
        let seen = |id: &str| Some(see(id, &View::new(world.get(id)?, now)?));
        if wanted.is_empty() {
            let ids: Vec<_> = world.ids(now).collect();
            return ids.into_iter().rev().filter_map(seen).collect();
        }
        wanted.iter().filter_map(|id| seen(id)).collect()
    }

    /// What goes wrong with this request, if anything does.
    pub async fn fault(&self) -> Option<Response> {
        let chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner).f64();
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
                let broken = [Ok("{\"code\":\"success\",\"data\":{"), Err(std::io::Error::other("planned"))];
                Body::from_stream(futures_util::stream::iter(broken)).into_response()
            }
        })
    }
}

/// A gateway's web page.
pub fn web_page() -> Html<&'static str> {
    Html("<!doctype html><title>gateway</title><div id=root></div>")
}

/// The names of operations that tasks have at Google.
pub fn operation(id: &str) -> String {
    format!("models/veo-3.1/operations/{id}")
}

/// A JSON answer.
pub fn reply(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
