//! The definition of a provider: its requests as templates, and the functions that decode its responses.

use serde_json::Value;

use super::callback_signature::CallbackSignature;
use super::list::List;
use super::read::error::ErrorKind;
use super::read::lenient::Zone;
use crate::domain::{Answer, ApiError, TaskId};
use crate::http::{KeyHeader, Method, Request, Signature};

/// One provider, without any configuration.
#[derive(Debug)]
pub struct Provider {
    /// Its name in the configuration, and the `provider` label.
    pub name: &'static str,
    /// Its default base URL; `None` when the configuration must have one.
    pub base_url: Option<&'static str>,
    /// The requests for one task, by prefix of the id. Empty for provider custom.
    pub requests: &'static [RequestSpec],
    /// The form of ids, for error messages, where not every id has a request.
    pub id_form: &'static str,
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
    /// How its callbacks are signed, if they are.
    pub webhook_signature: Option<CallbackSignature>,
    /// Callbacks name a task by the last part of its id.
    pub short_callback_ids: bool,
    /// Decodes a response of another HTTP status as the status of a task; `None` when it is an error of the API.
    pub read_refusal: Option<ReadRefusal>,
    /// An empty response with HTTP 202 means that the task is queued.
    pub accepts_empty: bool,
    /// A second request, for the result of a task that has completed.
    pub result: Option<ResultRequest>,
    /// Headers that every request must have.
    pub headers: &'static [(&'static str, &'static str)],
    /// A response header that completes an answer.
    pub answer_header: Option<AnswerHeader>,
    /// What an access key and a secret key sign, where a key alone is not enough.
    pub signs: Option<Signs>,
    /// Responses repeat the inputs of the task, which may be very large.
    pub repeats_inputs: bool,
    /// The model in the id of a task, for responses without a model.
    pub model_of_id: Option<fn(&TaskId) -> Option<&str>>,
    /// The API of a new-api gateway (docs/upstreams.md 2). Reading a single task may change it: the gateway asks Gemini or Vertex
    /// then, and stores only a status. The quota of a task is settled after its end.
    pub is_new_api: bool,
    /// It runs models of other providers, under their names.
    pub runs_any_model: bool,
    /// The codes of errors only repeat the HTTP status, and are left out.
    pub repeats_http_status: bool,
}

impl Provider {
    /// A provider without requests, a list, callbacks and peculiarities. Its base URL must be configured.
    pub const fn new(
        name: &'static str,
        read: fn(&Value, Zone) -> Result<Answer, ApiError>,
        error_kind: ErrorKind,
    ) -> Self {
        Self {
            name,
            base_url: None,
            requests: &[],
            id_form: "",
            read,
            error_kind,
            list: None,
            batch: None,
            read_callback: None,
            webhook_signature: None,
            short_callback_ids: false,
            read_refusal: None,
            accepts_empty: false,
            result: None,
            headers: &[],
            answer_header: None,
            signs: None,
            repeats_inputs: false,
            model_of_id: None,
            is_new_api: false,
            runs_any_model: false,
            repeats_http_status: false,
        }
    }

    /// Whether requests and responses are described by the configuration.
    pub const fn is_custom(&self) -> bool {
        self.requests.is_empty()
    }
}

/// Decodes a body by its HTTP status, which is not 2xx.
pub type ReadRefusal = fn(u16, &Value) -> Option<Answer>;

/// The request for the result of a task. Its path is that of the task without the last segment.
#[derive(Debug, Clone, Copy)]
pub struct ResultRequest {
    /// Whether the answer needs the result, which decides how the task ended.
    pub is_needed: fn(&Answer) -> bool,
    /// Decodes the result.
    pub read: fn(&Value, Zone) -> Result<Answer, ApiError>,
}

/// What an access key and a secret key sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signs {
    /// Tokens that are sent as the key (Kling).
    Tokens,
    /// Each request (Volcengine).
    Requests(Signature),
}

/// A response header that completes an answer, such as one with the name of the model.
#[derive(Debug, Clone, Copy)]
pub struct AnswerHeader {
    /// Its name.
    pub name: &'static str,
    /// Completes an answer with its value.
    pub read: fn(&mut Answer, Option<&str>),
}

/// Decodes a callback, a JSON object. The zone is that of times without one.
pub type ReadCallback = fn(&Value, Zone) -> Result<Callback, ApiError>;

/// A request for one task, with placeholders in braces.
#[derive(Debug, Clone, Copy)]
pub struct RequestSpec {
    /// Prefix of the ids.
    pub id_prefix: &'static str,
    /// What the ids contain.
    pub id_part: &'static str,
    /// It requires a configured `base_url`: the default one does not accept these ids.
    pub needs_base_url: bool,
    /// GET or POST.
    pub method: Method,
    /// The path below the base URL, possibly with a query.
    pub path: &'static str,
    /// A JSON body.
    pub body: Option<&'static str>,
    /// The header with the key.
    pub key: KeySpec,
}

/// The header with the key: its name, and the text before the key.
#[derive(Debug, Clone, Copy)]
pub struct KeySpec(pub &'static str, pub &'static str);

impl KeySpec {
    /// `Authorization: Bearer KEY` (RFC 6750).
    pub const BEARER: Self = Self("Authorization", "Bearer ");

    /// The header of requests.
    pub fn header(self) -> KeyHeader {
        KeyHeader { name: self.0.into(), prefix: self.1.into(), suffix: "".into() }
    }
}

impl RequestSpec {
    /// A GET request for any id, with the key as a bearer token.
    pub const fn get(path: &'static str) -> Self {
        Self {
            id_prefix: "",
            id_part: "",
            needs_base_url: false,
            method: Method::Get,
            path,
            body: None,
            key: KeySpec::BEARER,
        }
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
    /// Only the id of a task: what it says cannot be believed, or is incomplete. The task is polled soon.
    Nudge(String),
}
