//! The definition of a provider: its requests as templates, and the functions that decode its responses.

use serde_json::Value;

use super::list::List;
use super::read::error::ErrorKind;
use super::read::lenient::Zone;
use crate::domain::{Answer, ApiError, TaskId};
use crate::http::{KeyHeader, Method, Request};

/// One provider, without any configuration.
#[derive(Debug)]
pub struct Provider {
    /// Its name in the configuration, and the `provider` label.
    pub name: &'static str,
    /// Its default base URL; `None` when the configuration must have one.
    pub base_url: Option<&'static str>,
    /// The requests for one task, by prefix of the id. Empty for provider custom.
    pub requests: &'static [RequestSpec],
    /// Decodes the body of a 2xx response, which is an object.
    pub read: fn(&Value, Zone) -> Result<Answer, ApiError>,
    /// The reason of an error, by the provider's codes; `None` for an unknown code.
    pub error_kind: ErrorKind,
    /// Its list of tasks, if it has one.
    pub list: Option<List>,
    /// Its batch request, if it has one.
    pub batch: Option<Batch>,
    /// Decodes a callback, if it sends them.
    pub read_callback: Option<ReadCallback>,
}

/// Decodes a callback, a JSON object. The zone is that of times without one.
pub type ReadCallback = fn(&Value, Zone) -> Result<Callback, ApiError>;

/// A request for one task, with placeholders in braces.
#[derive(Debug, Clone)]
pub struct RequestSpec {
    /// Prefix of the ids.
    pub id_prefix: &'static str,
    /// It requires a configured `base_url`: the default one does not accept these ids.
    pub needs_base_url: bool,
    /// GET or POST.
    pub method: Method,
    /// The path below the base URL, possibly with a query.
    pub path: &'static str,
    /// A JSON body.
    pub body: Option<&'static str>,
    /// The header with the key.
    pub key: KeyHeader,
}

impl RequestSpec {
    /// A GET request for any id, with the key as a bearer token.
    pub const fn get(path: &'static str) -> Self {
        Self { id_prefix: "", needs_base_url: false, method: Method::Get, path, body: None, key: KeyHeader::BEARER }
    }
}

/// A request for many tasks; its response is a [`List`].
#[derive(Debug, Clone, Copy)]
pub struct Batch {
    /// Most tasks per request.
    pub max: usize,
    /// Builds the request.
    pub request: fn(&[TaskId]) -> Request,
}

/// A callback.
#[derive(Debug, Clone, PartialEq)]
pub enum Callback {
    /// A text that the response must repeat, to confirm the webhook (`MiniMax`).
    Challenge(String),
    /// The status of a task.
    Answer(Box<Answer>),
}
