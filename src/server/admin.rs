//! Whether we are well, what is in force, and reading it again.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::oneshot;

use super::handle::Handle;

/// Goes the way of SIGHUP, and says how it went.
pub async fn reload(State(handle): State<Arc<Handle>>) -> Response {
    let Some(ask) = &handle.reload else {
        return (StatusCode::NOT_FOUND, "there is no file to be loaded again\n").into_response();
    };
    let (who, told) = oneshot::channel();
    // Either end is gone while the program stops.
    let how = match ask.send(Some(who)).await {
        Ok(()) => told.await.unwrap_or_else(|_| Err("the program is stopping".to_owned())),
        Err(_) => Err("the program is stopping".to_owned()),
    };
    match how {
        Ok(notes) => notes.iter().fold("loaded again\n".to_owned(), |text, note| text + note + "\n").into_response(),
        Err(why) => {
            let text = format!("{why}\nthe configuration before stays in force\n");
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
    }
}

/// 200 once every source was read.
pub async fn ready(State(handle): State<Arc<Handle>>) -> Response {
    if handle.is_ready() {
        "videogen-exporter is ready.\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "videogen-exporter is not ready: not every task source was read yet.\n")
            .into_response()
    }
}

/// What is in force, without secrets.
pub async fn config(State(handle): State<Arc<Handle>>) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    match handle.in_force().map(|in_force| serde_json::to_string_pretty(&in_force.config.file)) {
        Ok(Ok(config)) => (headers, config + "\n").into_response(),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
        Err(stopping) => stopping.into_response(),
    }
}
