//! What a provider is: its requests as templates, and the functions that read its answers.

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
    /// Its address, unless the configuration has another; `None` when the configuration must have one.
    pub base_url: Option<&'static str>,
    /// The requests for one task, by how ids begin. None for a provider that the configuration describes.
    pub requests: &'static [RequestSpec],
    /// Reads the body of a 2xx response, which is an object.
    pub read: fn(&Value, Zone) -> Result<Answer, ApiError>,
    /// The kind of an error, by the provider's own codes; `None` when they say nothing.
    pub error_kind: ErrorKind,
    /// Its list, where it has one.
    pub list: Option<List>,
    /// Its batch request, where it has one.
    pub batch: Option<Batch>,
    /// Reads a callback, where it has them.
    pub read_callback: Option<ReadCallback>,
}

/// Reads a callback, a JSON object; times without a zone are of this one.
pub type ReadCallback = fn(&Value, Zone) -> Result<Callback, ApiError>;

/// A request for one task as text, with placeholders in braces.
#[derive(Debug, Clone)]
pub struct RequestSpec {
    /// For ids that begin so.
    pub id_prefix: &'static str,
    /// Only with a `base_url` in the configuration: the provider's own address is for other ids.
    pub needs_base_url: bool,
    /// Mostly GET.
    pub method: Method,
    /// Below the base URL, possibly with a query.
    pub path: &'static str,
    /// A JSON body.
    pub body: Option<&'static str>,
    /// The header of the key.
    pub key: KeyHeader,
}

impl RequestSpec {
    /// A GET for any id, with a bearer key.
    pub const fn get(path: &'static str) -> Self {
        Self { id_prefix: "", needs_base_url: false, method: Method::Get, path, body: None, key: KeyHeader::BEARER }
    }
}

/// A request for many tasks, which is answered with a [`List`].
#[derive(Debug, Clone, Copy)]
pub struct Batch {
    /// Most tasks of one request.
    pub max: usize,
    /// The request.
    pub request: fn(&[TaskId]) -> Request,
}

/// A callback.
#[derive(Debug, Clone, PartialEq)]
pub enum Callback {
    /// To be repeated in the response, as a proof that somebody listens (`MiniMax`).
    Challenge(String),
    /// The status of a task.
    Answer(Box<Answer>),
}
