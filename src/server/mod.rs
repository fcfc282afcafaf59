//! What is served over HTTP: the metrics, a page for people, and whether we are well.

mod access;
mod admin;
mod body;
mod handle;
mod landing;
mod problem;
mod registration;
mod scrape;
mod serve;
mod tasks;
mod webhooks;

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, Response};
use axum::routing::{get, post};

use crate::clock;
use crate::domain::Timestamp;

use problem::Refusal;
use tasks::Wanted;

pub use handle::{Handle, ReloadRequest};
pub use serve::serve;

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
