//! A receiver of Alertmanager's notifications, for the demo.

use axum::extract::{Path, State};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What is done with each alert of a notification; it gets one line.
type Show = fn(String);

/// Receives notifications under `/RECEIVER` until `stop`.
///
/// # Errors
/// When the listener fails.
pub async fn receive_notifications(listener: TcpListener, show: Show, stop: CancellationToken) -> anyhow::Result<()> {
    let router = Router::new().route("/{receiver}", post(receive)).with_state(show);
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await?;
    Ok(())
}

async fn receive(State(show): State<Show>, Path(receiver): Path<String>, Json(message): Json<Value>) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for alert in message["alerts"].as_array().into_iter().flatten() {
        let labels = &alert["labels"];
        show(format!(
            "{receiver}: {} {} {}: {}",
            text(&alert["status"]),
            text(&labels["alertname"]),
            text(&labels["upstream"]),
            text(&alert["annotations"]["description"])
        ));
    }
}
