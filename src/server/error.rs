//! Errors of the API, as JSON.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;

use crate::agent::CommandError;
use crate::store::StoreError;

/// A JSON response, or an error.
pub type JsonResult = Result<Json<Value>, HttpError>;

/// An error response.
#[derive(Debug)]
pub struct HttpError {
    status: StatusCode,
    error: Error,
    /// Seconds of `Retry-After`.
    retry_after: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Error {
    message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    items: Vec<Item>,
}

/// An error in one item of a request.
#[derive(Debug, Serialize)]
pub struct Item {
    /// The position of the item, from 0.
    pub index: usize,
    /// The key with the error.
    pub key: &'static str,
    /// What is wrong. It never contains the value, which may be a secret.
    pub message: String,
}

impl HttpError {
    /// An error with this status and message.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, error: Error { message: message.into(), items: Vec::new() }, retry_after: None }
    }

    /// Adds the errors of single items.
    #[must_use]
    pub fn with_items(mut self, items: Vec<Item>) -> Self {
        self.error.items = items;
        self
    }

    /// Adds `Retry-After`, in seconds.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// 404 for an unknown path.
    pub fn unknown_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown path; check the URL")
    }

    /// 404 for a task that is not tracked, and for an invalid id.
    pub fn task_not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "task not found: no tracked task has this upstream and id")
    }
}

/// 503 while the state store cannot be used.
pub fn store_unavailable(error: &StoreError) -> HttpError {
    HttpError::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).with_retry_after(1)
}

impl From<CommandError> for HttpError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Store(error) => store_unavailable(&error),
            error => Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).with_retry_after(1),
        }
    }
}

impl From<PathRejection> for HttpError {
    fn from(error: PathRejection) -> Self {
        Self::new(error.status(), error.body_text())
    }
}

impl From<QueryRejection> for HttpError {
    fn from(error: QueryRejection) -> Self {
        Self::new(error.status(), error.body_text())
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(serde_json::json!({ "error": self.error }))).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
