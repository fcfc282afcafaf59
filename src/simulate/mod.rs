//! A fake gateway that behaves like a real one, good days and bad: for demos, drills, tests and benchmarks.

mod faults;
mod life;
mod row;
mod world;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path as UrlPath, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::domain::Timestamp;

pub use faults::{Fault, Faults};
use row::Seen;
use world::World;

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

    /// Ids of the tasks that are known, oldest first, as a Prometheus `file_sd` document.
    pub fn targets(&self) -> String {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Timestamp::from(clock::now());
        world.live(now);
        json!([{ "targets": world.ids(now).collect::<Vec<_>>(), "labels": { "team": "demo" } }]).to_string()
    }

    /// Writes [`Gateway::targets`] to `file` every second until `stop`, replacing it as a whole.
    pub async fn write_targets(&self, file: &Path, stop: CancellationToken) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let mut written = String::new();
        let draft = file.with_extension("new");
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            let targets = self.targets();
            if targets != written {
                let replaced = std::fs::write(&draft, &targets).and_then(|()| std::fs::rename(&draft, file));
                replaced.with_context(|| format!("cannot write {}", file.display()))?;
                written = targets;
            }
        }
        Ok(())
    }

    fn read(&self, id: &str) -> Seen {
        let now = Timestamp::from(clock::now());
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.live(now);
        world.get(id).map_or(Seen::Unknown, |life| row::seen(id, life, now))
    }
}

/// Serves the gateway until `stop`.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, gateway: Arc<Gateway>, stop: CancellationToken) -> anyhow::Result<()> {
    let router = Router::new()
        .route("/v1/video/generations/{id}", get(answer))
        .route("/seedance/v3/contents/generations/tasks/{id}", get(answer))
        .route("/-/tasks", get(targets))
        .fallback(|| async { Html("<!doctype html><title>gateway</title><div id=root></div>") })
        .with_state(gateway);
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await?;
    Ok(())
}

/// Says where a gateway listens, for the person who started it.
pub fn greeting(address: SocketAddr) -> String {
    format!(
        "a fake new-api gateway: http://{address}/v1/video/generations/{{task_id}}\nits task ids:           http://{address}/-/tasks"
    )
}

async fn targets(State(gateway): State<Arc<Gateway>>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], gateway.targets()).into_response()
}

async fn answer(State(gateway): State<Arc<Gateway>>, UrlPath(id): UrlPath<String>) -> Response {
    let fault = {
        let mut chance = gateway.chance.lock().unwrap_or_else(PoisonError::into_inner);
        gateway.faults.pick(chance.f64())
    };
    match fault {
        None => {}
        Some(Fault::Slow) => tokio::time::sleep(Duration::from_secs(3)).await,
        Some(Fault::RateLimited) => {
            let body =
                json!({"code": "rate_limit_exceeded", "message": "当前分组上游负载已饱和，请稍后再试", "data": null});
            return (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "1")], body.to_string()).into_response();
        }
        Some(Fault::ServerError) => {
            let body = json!({"code": "get_task_failed", "message": "Database error", "data": null});
            return reply(StatusCode::INTERNAL_SERVER_ERROR, &body);
        }
        Some(Fault::Unavailable) => {
            return (StatusCode::SERVICE_UNAVAILABLE, Html("<html><h1>503 Service Unavailable</h1></html>"))
                .into_response();
        }
        Some(Fault::Html) => return Html("<!doctype html><title>gateway</title><div id=root></div>").into_response(),
        Some(Fault::Reset) => {
            let broken = [Ok("{\"code\":\"success\",\"data\":{"), Err(std::io::Error::other("planned"))];
            return Body::from_stream(futures_util::stream::iter(broken)).into_response();
        }
    }
    match gateway.read(&id) {
        Seen::Row(row) => reply(StatusCode::OK, &json!({"code": "success", "message": "", "data": row})),
        Seen::Unknown => reply(
            StatusCode::BAD_REQUEST,
            &json!({"code": "task_not_exist", "message": "task_not_exist", "data": null}),
        ),
    }
}

fn reply(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
