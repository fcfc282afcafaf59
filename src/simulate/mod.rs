//! A fake gateway that speaks every dialect, with faults on request: for demos, drills, tests and benchmarks.

mod account;
mod dialects;
mod faults;
mod gateway;
mod gateway_list;
mod notifications;
mod platform;
mod request_window;
mod row;
mod story;
mod task;
mod task_pool;
mod vendor;
mod view;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use faults::{Fault, Faults};
pub use gateway::{Gateway, Settings};
use gateway::{reply, web_page};
pub use notifications::receive_notifications;
pub use story::Trouble;

/// Responds to an unknown path as a gateway does: with an error below /v1, with its web page elsewhere.
async fn respond_to_unknown_path(method: Method, uri: Uri) -> Response {
    if !uri.path().starts_with("/v1") {
        return web_page().into_response();
    }
    let message = format!("Invalid URL ({method} {})", uri.path());
    let error = json!({"message": message, "type": "invalid_request_error", "param": "", "code": ""});
    reply(StatusCode::NOT_FOUND, &json!({"error": error}))
}

/// Serves the gateway until `stop`.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, gateway: Arc<Gateway>, stop: CancellationToken) -> anyhow::Result<()> {
    let routes = dialects::routes().merge(account::routes()).route("/-/tasks", get(targets));
    let router: Router = routes
        .fallback(respond_to_unknown_path)
        .layer(middleware::from_fn_with_state(gateway.clone(), refuse_key))
        .with_state(gateway);
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await?;
    Ok(())
}

/// Refuses requests for tasks while the key is refused.
async fn refuse_key(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    if !gateway.is_key_refused() || request.uri().path().starts_with("/-/") {
        return next.run(request).await;
    }
    let error = json!({"message": "Invalid token", "type": "new_api_error", "code": "invalid_api_key"});
    reply(StatusCode::UNAUTHORIZED, &json!({"error": error}))
}

/// The addresses of a gateway, for the user who started it.
pub fn greeting(address: SocketAddr) -> String {
    format!("fake gateway (every dialect): http://{address}\nits task ids:                 http://{address}/-/tasks")
}

/// The query of `/-/tasks?provider=veo`: a provider decides the form of the ids.
#[derive(serde::Deserialize)]
struct TargetsQuery {
    #[serde(default)]
    provider: String,
}

async fn targets(State(gateway): State<Arc<Gateway>>, Query(query): Query<TargetsQuery>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], gateway.targets(&query.provider)).into_response()
}
