//! A fake gateway that behaves like a real one, good days and bad: for demos, drills, tests and benchmarks.

mod dialects;
mod faults;
mod gateway;
mod life;
mod row;
mod vendor;
mod view;
mod world;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use faults::{Fault, Faults};
pub use gateway::{Gateway, Settings};
use gateway::{reply, web_page};

/// What a gateway answers on paths that it does not know: an error below /v1, its web page elsewhere.
async fn unknown_path(method: Method, uri: Uri) -> Response {
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
