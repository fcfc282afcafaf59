//! A fake gateway that behaves like a real one, good days and bad: for demos, drills, tests and benchmarks.

mod dialects;
mod faults;
mod life;
mod row;
mod vendor;
mod view;
mod world;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::domain::Timestamp;

pub use faults::{Fault, Faults};
use view::View;
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

    /// Ids of the tasks that are known, oldest first, as a Prometheus `file_sd` document; by the names that they have at
    /// this provider.
    pub fn targets(&self, provider: &str) -> String {
        let mut world = self.world();
        let now = Timestamp::from(clock::now());
        world.live(now);
        let named = |id: &str| if provider.contains("veo") { dialects::operation(id) } else { id.to_owned() };
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
    fn look(&self, id: &str, see: impl Fn(&View) -> Value) -> Option<Value> {
        let now = Timestamp::from(clock::now());
        let mut world = self.world();
        world.live(now);
        View::new(world.get(id)?, now).map(|view| see(&view))
    }

    /// What `see` makes of the tasks with these ids, or of all, newest first.
    fn look_at_all(&self, wanted: &[String], see: impl Fn(&str, &View) -> Value) -> Vec<Value> {
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
    async fn fault(&self) -> Option<Response> {
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

/// What a gateway answers on paths that it does not know: an error below /v1, its web page elsewhere.
async fn unknown_path(method: Method, uri: Uri) -> Response {
    if !uri.path().starts_with("/v1") {
        return web_page().into_response();
    }
    let message = format!("Invalid URL ({method} {})", uri.path());
    let error = json!({"message": message, "type": "invalid_request_error", "param": "", "code": ""});
    reply(StatusCode::NOT_FOUND, &json!({"error": error}))
}

/// A gateway's web page.
fn web_page() -> Html<&'static str> {
    Html("<!doctype html><title>gateway</title><div id=root></div>")
}

/// Serves the gateway until `stop`.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, gateway: Arc<Gateway>, stop: CancellationToken) -> anyhow::Result<()> {
    let router: Router = dialects::routes().route("/-/tasks", get(targets)).fallback(unknown_path).with_state(gateway);
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await?;
    Ok(())
}

/// Says where a gateway listens, for the person who started it.
pub fn greeting(address: SocketAddr) -> String {
    format!(
        "a fake gateway that speaks every dialect: http://{address}\nits task ids:                             http://{address}/-/tasks"
    )
}

/// The ids of one provider: `/-/tasks?provider=veo`.
#[derive(serde::Deserialize)]
struct Asked {
    #[serde(default)]
    provider: String,
}

async fn targets(State(gateway): State<Arc<Gateway>>, Query(asked): Query<Asked>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], gateway.targets(&asked.provider)).into_response()
}

fn reply(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
