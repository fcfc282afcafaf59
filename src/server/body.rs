//! Bodies of requests: so large at most, and only so slow.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::StatusCode;

use super::problem::Refusal;

/// Most bytes.
const MAX: usize = 1 << 20;

/// How long it may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// The whole body.
pub async fn read(body: Body) -> Result<Bytes, Refusal> {
    let late = |_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time");
    let large = |_| Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a body has at most {MAX} bytes"));
    tokio::time::timeout(PATIENCE, to_bytes(body, MAX)).await.map_err(late)?.map_err(large)
}
