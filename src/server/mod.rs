//! The HTTP server: metrics, API, webhooks, pages for people, and health.

mod access;
mod activity;
mod admin;
mod authentication;
mod body;
mod browser;
mod client;
mod client_permits;
mod connection;
mod error;
mod exposure;
mod guards;
mod handle;
mod listener;
mod log_interval;
mod login;
mod page;
mod prefix;
mod quota;
mod rates;
mod registration;
mod scrape;
mod serve;
mod streams;
mod tasks;
mod unread;
mod viewer;
mod watched_stream;
mod web;
mod webhooks;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};

use error::HttpError;

pub use browser::{ExternalUrl, parse_external_url, parse_grafana_url, parse_host, parse_prefix};
pub use client::Network;
pub use exposure::{Exposure, is_readable_by_all, warnings_of_address};
pub use handle::{Handle, ReloadRequest, WebOptions};
pub use listener::Listener;
pub use serve::serve;
pub use web::{WebConfig, WebSource};

/// Every route.
pub fn router(handle: Arc<Handle>) -> Router {
    let telemetry_path = handle.telemetry_path.clone();
    let mut router = Router::new()
        .route("/-/healthy", get(admin::healthy))
        .route("/-/ready", get(admin::ready))
        .route("/-/reload", post(admin::reload))
        .route("/config", get(admin::config))
        .route("/api/v1/tasks", get(tasks::list).post(registration::register))
        .route("/api/v1/tasks/{upstream}/{task_id}", get(tasks::get_one).delete(registration::forget))
        .route("/tasks/{upstream}/{task_id}", get(page::task))
        .route(page::SCRIPT_PATH, get(page::script))
        .route("/webhooks/{upstream}/{secret}", post(webhooks::receive))
        .route(&telemetry_path, get(scrape::metrics));
    if telemetry_path != "/" {
        router = router.route("/", get(page::home));
    }
    let wrong_method = || async {
        HttpError::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not accept this method; see the Allow header")
    };
    let router = router.fallback(async || HttpError::unknown_path()).method_not_allowed_fallback(wrong_method);
    let prefixes = (handle.route_prefix.clone(), handle.link_prefix.clone());
    // The last layer is the outermost.
    let router = router
        .with_state(handle.clone())
        .layer(middleware::from_fn_with_state(handle.clone(), guards::refuse_foreign_sites))
        .layer(middleware::from_fn_with_state(handle.clone(), authentication::authenticate))
        .layer(middleware::from_fn_with_state(handle, guards::limit_client));
    let router = if prefixes.0.is_empty() { router } else { prefix::below(prefixes, router) };
    router.layer(middleware::from_fn(set_security_headers))
}

/// Forbids framing, content sniffing, caching, and scripts of others for every response. Configured headers replace ours.
async fn set_security_headers(request: Request, next: Next) -> Response {
    let web = request.extensions().get::<Arc<WebConfig>>().cloned();
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // A page for people has a policy of its own, with its script.
    let none = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(none);
    for (name, value) in web.iter().flat_map(|web| &web.headers) {
        headers.insert(name, value.clone());
    }
    response
}
