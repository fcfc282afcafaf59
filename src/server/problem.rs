//! Why a request was refused, as JSON: what is wrong, and with which item.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;

use crate::agent::CommandError;
use crate::store::StoreError;

/// An answer in JSON.
pub type Answer = Result<Json<Value>, Refusal>;

/// A refusal.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    error: Error,
    /// Seconds after which it may be asked again.
    after: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Error {
    message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    items: Vec<Item>,
}

/// What is wrong with one item of a request.
#[derive(Debug, Serialize)]
pub struct Item {
    /// Its place, from 0.
    pub index: usize,
    /// The key that is wrong.
    pub key: &'static str,
    /// In words, without the value: it could be anything.
    pub message: String,
}

impl Refusal {
    /// With a reason.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, error: Error { message: message.into(), items: Vec::new() }, after: None }
    }

    /// With what is wrong with each item.
    #[must_use]
    pub fn with(mut self, items: Vec<Item>) -> Self {
        self.error.items = items;
        self
    }

    /// To be asked again after so many seconds.
    #[must_use]
    pub fn after(mut self, seconds: u64) -> Self {
        self.after = Some(seconds);
        self
    }
}

impl Refusal {
    /// Of a task that is not watched, or can be none.
    pub fn no_task() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no such task is watched")
    }
}

/// The state store cannot be used at this moment.
pub fn busy(error: &StoreError) -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).after(1)
}

impl From<CommandError> for Refusal {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Store(error) => busy(&error),
            error => Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).after(1),
        }
    }
}

impl From<PathRejection> for Refusal {
    fn from(error: PathRejection) -> Self {
        Self::new(error.status(), error.body_text())
    }
}

impl From<QueryRejection> for Refusal {
    fn from(error: QueryRejection) -> Self {
        Self::new(error.status(), error.body_text())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(serde_json::json!({ "error": self.error }))).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
