//! What is served over HTTP: the metrics, a page for people, and whether we are well.

mod access;
mod admin;
mod body;
mod landing;
mod problem;
mod registration;
mod scrape;
mod serve;
mod tasks;
mod webhooks;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, Response};
use axum::routing::{get, post};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::TaskTracker;

use crate::agent::Agent;
use crate::clock;
use crate::config::{Config, Upstream};
use crate::domain::Timestamp;

use access::Access;
use problem::Refusal;
use tasks::Wanted;

pub use admin::ReloadRequest;
pub use serve::serve;

/// What the server may see of the program.
pub struct Handle {
    agent: Arc<Agent>,
    telemetry_path: String,
    /// Where a reload is asked for; `None` where there is no file.
    reload: Option<mpsc::Sender<ReloadRequest>>,
    in_force: RwLock<Option<Arc<InForce>>>,
    was_ready: AtomicBool,
    /// Places for pages of metrics.
    pages: Arc<Semaphore>,
    /// What goes on to its end, whoever still waits for it.
    begun: TaskTracker,
}

/// The configuration in force.
struct InForce {
    config: Arc<Config>,
    access: Access,
}

impl InForce {
    fn upstream(&self, name: &str) -> Option<&Upstream> {
        self.config.upstreams.iter().find(|upstream| *upstream.name == *name)
    }
}

impl Handle {
    /// Of a program whose agent has not started yet: not ready.
    pub fn new(agent: Arc<Agent>, telemetry_path: String, reload: Option<mpsc::Sender<ReloadRequest>>) -> Self {
        Self {
            agent,
            telemetry_path,
            reload,
            in_force: RwLock::new(None),
            was_ready: AtomicBool::new(false),
            pages: Arc::new(Semaphore::new(scrape::MAX_PAGES)),
            begun: TaskTracker::new(),
        }
    }

    /// This configuration is in force; none while the program stops.
    pub fn put_in_force(&self, config: Option<Arc<Config>>) {
        let in_force = config.map(|config| {
            let access = Access::new(&config.api);
            Arc::new(InForce { config, access })
        });
        *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = in_force;
    }

    fn in_force(&self) -> Result<Arc<InForce>, Refusal> {
        let in_force = self.in_force.read().unwrap_or_else(PoisonError::into_inner).clone();
        in_force.ok_or_else(|| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the program is stopping").after(1))
    }

    /// Once it was, it is for good: a new configuration may have sources that were not read yet, but nothing is amiss.
    fn is_ready(&self) -> bool {
        if self.in_force().is_err() {
            return false;
        }
        let is_ready = self.agent.is_ready();
        self.was_ready.fetch_or(is_ready, Ordering::Relaxed) || is_ready
    }

    /// Does what must not be left half done because nobody waits for the answer any more.
    async fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    ) -> Result<T, Refusal> {
        let panicked = |_| Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the program is at fault; see its log"));
        self.begun.spawn(work).await.unwrap_or_else(panicked)
    }

    /// Waits for the end of what has begun.
    pub async fn finish(&self) {
        self.begun.close();
        self.begun.wait().await;
    }
}

/// Every route.
pub fn router(handle: Arc<Handle>) -> Router {
    let telemetry_path = handle.telemetry_path.clone();
    let mut router = Router::new()
        .route("/-/healthy", get(|| async { "videogen-exporter is healthy.\n" }))
        .route("/-/ready", get(admin::ready))
        .route("/-/reload", post(admin::reload))
        .route("/config", get(admin::config))
        .route("/api/v1/tasks", get(tasks::list).post(registration::register))
        .route("/api/v1/tasks/{upstream}/{task_id}", get(tasks::one).delete(registration::forget))
        .route("/webhooks/{upstream}/{secret}", post(webhooks::receive))
        .route(&telemetry_path, get(scrape::metrics));
    if telemetry_path != "/" {
        router = router.route("/", get(landing_page));
    }
    let nothing = || async { Refusal::new(StatusCode::NOT_FOUND, "there is nothing here") };
    let other_method = || async { Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "not with this method") };
    let router = router.fallback(nothing).method_not_allowed_fallback(other_method);
    router.with_state(handle).layer(middleware::from_fn(careful_headers))
}

/// Nothing of ours is framed, sniffed, cached or scripted.
async fn careful_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn landing_page(
    State(handle): State<Arc<Handle>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Html<String> {
    let now = Timestamp::from(clock::now());
    let wanted = wanted.map(|Query(wanted)| wanted).unwrap_or_default();
    Html(landing::page(&handle.agent.views(), &wanted, &handle.telemetry_path, now))
}
