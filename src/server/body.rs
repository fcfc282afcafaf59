//! Reads request bodies, with a limit on size and time.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::StatusCode;

use super::error::HttpError;

/// Size limit.
const MAX_BYTES: usize = 1 << 20;

/// Time limit, so that a slow sender does not hold a connection.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Reads a whole body.
pub async fn read(body: Body) -> Result<Bytes, HttpError> {
    let late = |_| {
        let message = format!("the request body did not arrive within {} seconds", TIMEOUT.as_secs());
        HttpError::new(StatusCode::REQUEST_TIMEOUT, message)
    };
    let large = |_| {
        let message = format!("the request body is too large; send at most {MAX_BYTES} bytes");
        HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    tokio::time::timeout(TIMEOUT, to_bytes(body, MAX_BYTES)).await.map_err(late)?.map_err(large)
}
