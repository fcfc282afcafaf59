//! The dialects of the upstreams: a task id in, a request out; bytes in, an answer out. Nothing here does I/O.

pub mod body;
pub mod error;
pub mod json;
pub mod new_api;
pub mod words;

use crate::domain::{Answer, ApiError, TaskId};
use crate::http::Request;

/// One dialect. Pure: no socket, clock, store or metric.
pub trait Provider: Sync {
    /// Its name in the configuration, and the `provider` label.
    fn name(&self) -> &'static str;

    /// Where it lives, unless the configuration says otherwise; `None` when it must.
    fn base_url(&self) -> Option<&'static str>;

    /// The request that asks for one task.
    fn request(&self, id: &TaskId) -> Request;

    /// Reads an answer with this HTTP status.
    ///
    /// # Errors
    /// When the answer is an error or no answer at all; never for a task that failed.
    fn read(&self, http_status: u16, body: &[u8]) -> Result<Answer, ApiError>;
}

/// Every dialect, by name.
pub static PROVIDERS: &[&dyn Provider] = &[&new_api::NEW_API, &new_api::TIKHUB_SEEDANCE, &new_api::TOKENHOT];

/// The dialect of that name.
pub fn named(name: &str) -> Option<&'static dyn Provider> {
    PROVIDERS.iter().copied().find(|provider| provider.name() == name)
}

/// The known names, for messages.
pub fn names() -> String {
    PROVIDERS.iter().map(|provider| provider.name()).collect::<Vec<_>>().join(", ")
}
