//! How one upstream is spoken to: its provider with what the configuration changes of it.

use serde_json::Value;

use super::contract::Origin;
use super::custom::Response;
use super::error;
use super::gateway;
use super::json::Zone;
use super::shape::Shape;
use super::template::{NoSuchId, Template, TemplateError};
use super::{Batch, List, Provider};
use crate::domain::{Answer, ApiError, Drift, Reason, TaskId};
use crate::http::{KeyHeader, Method, Request};

/// What the configuration changes.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// GET or POST.
    pub method: Option<Method>,
    /// Path and query below the base URL, with places.
    pub path: Option<String>,
    /// A JSON body, with places.
    pub body: Option<String>,
    /// Headers; one with `{credentials}` in its value carries the key.
    pub headers: Vec<(String, String)>,
    /// How answers are read.
    pub shape: Option<Shape>,
    /// Where times without a zone are.
    pub zone: Zone,
    /// How answers are read, for the provider that is described.
    pub response: Option<Response>,
}

/// What is wrong with an override: the key below the upstream, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DialectError {
    /// Such as `request.path`.
    pub key: String,
    /// In words.
    pub message: String,
}

/// A provider as one upstream has it.
#[derive(Debug, Clone)]
pub struct Dialect {
    provider: &'static Provider,
    templates: Vec<(&'static str, Template)>,
    reader: Reader,
    zone: Zone,
    batch: Option<Batch>,
}

#[derive(Debug, Clone)]
enum Reader {
    Shape(Shape),
    Custom(Box<Response>),
}

impl From<TemplateError> for DialectError {
    fn from(error: TemplateError) -> Self {
        Self { key: format!("request.{}", error.key), message: error.message }
    }
}

impl Dialect {
    /// The provider as it is known, without an upstream.
    ///
    /// # Errors
    /// For the provider that only a configuration describes.
    pub fn of(provider: &'static Provider) -> Result<Self, DialectError> {
        Self::new(provider, Overrides::default())
    }

    /// The provider with `overrides`, compiled and checked.
    ///
    /// # Errors
    /// With the first key that cannot be used.
    pub fn new(provider: &'static Provider, overrides: Overrides) -> Result<Self, DialectError> {
        let wrong = |key: &str, message: &str| DialectError { key: key.to_owned(), message: message.to_owned() };
        let described = provider.requests.is_empty();
        let reader = match (overrides.response, overrides.shape) {
            (Some(_), _) if !described => {
                return Err(wrong("response", "only provider custom has its answers described; others know theirs"));
            }
            (None, _) if described => {
                return Err(wrong(
                    "response",
                    "the key `response` is missing: provider custom has its answers described",
                ));
            }
            (Some(_), Some(_)) => {
                return Err(wrong("request.shape", "provider custom has its answers described by response"));
            }
            (Some(response), None) => Reader::Custom(Box::new(response)),
            (None, shape) => Reader::Shape(shape.unwrap_or(provider.shape)),
        };
        let (method, body, headers) = (overrides.method, overrides.body.as_deref(), &overrides.headers);
        let templates = if let Some(path) = &overrides.path {
            // The flavour of that method is the one that is meant.
            let specs = provider.requests;
            let spec = specs.iter().find(|spec| Some(spec.method) == method).or(specs.first());
            let method = method.or(spec.map(|spec| spec.method)).unwrap_or_default();
            let own = spec.and_then(|spec| spec.body).filter(|_| method == Method::Post);
            let key = spec.map_or(KeyHeader::BEARER, |spec| spec.key.clone());
            vec![("", Template::new(method, path, headers, body.or(own), key)?)]
        } else if described {
            return Err(wrong(
                "request.path",
                "the key `request.path` is missing: provider custom has none of its own",
            ));
        } else {
            let compile = |spec: &super::RequestSpec| {
                let method = method.unwrap_or(spec.method);
                let own = spec.body.filter(|_| method == Method::Post);
                let template = Template::new(method, spec.path, headers, body.or(own), spec.key.clone())?;
                Ok((spec.ids_begin, template))
            };
            provider.requests.iter().map(compile).collect::<Result<_, TemplateError>>()?
        };
        // Whoever has another path, method or key for one task has it for many, and that nobody knows.
        let changed = overrides.path.is_some() || method.is_some() || !headers.is_empty();
        let batch = provider.batch.filter(|_| !changed);
        Ok(Self { provider, templates, reader, zone: overrides.zone, batch })
    }

    /// The `provider` label.
    pub fn name(&self) -> &'static str {
        self.provider.name
    }

    /// How many tasks may be asked for at once.
    pub fn batch(&self) -> Option<Batch> {
        self.batch
    }

    /// True when its provider has a list.
    pub fn has_list(&self) -> bool {
        self.provider.list.is_some()
    }

    /// The request that asks for one task.
    ///
    /// # Errors
    /// When this provider has no such ids.
    pub fn request(&self, id: &TaskId) -> Result<Request, NoSuchId> {
        let fits = |(begin, _): &&(&str, Template)| id.as_str().starts_with(begin);
        let (_, template) = self.templates.iter().find(fits).ok_or(OPERATIONS)?;
        template.request(id)
    }

    /// Reads an answer with this HTTP status.
    ///
    /// # Errors
    /// When the answer is an error or no answer at all; never for a task that failed.
    pub fn read(&self, http_status: u16, body: &[u8]) -> Result<Answer, ApiError> {
        let value = parse(http_status, body)?;
        match &self.reader {
            Reader::Shape(Shape::Auto) => gateway::read(&value, self.zone),
            Reader::Shape(_) if error::is_complaint(&value) => Err(error::ok_error(&value)),
            Reader::Shape(shape) => match shape.read(&value, self.zone, Origin::Direct) {
                Some(body) => body.into_task(&value),
                None => Err(error::no_task(&value, Drift::NONE)),
            },
            Reader::Custom(response) => response.read(&value, self.zone).into_task(&value),
        }
    }

    /// Reads a list; entries that are no tasks are left out.
    ///
    /// # Errors
    /// When the answer is an error, or has no list in it.
    pub fn read_list(&self, http_status: u16, body: &[u8]) -> Result<Vec<Answer>, ApiError> {
        let value = parse(http_status, body)?;
        let Some(List { items, shape }) = self.provider.list else { return Err(ApiError::new(Reason::InvalidBody)) };
        if error::is_refusal(&value) {
            return Err(error::ok_error(&value));
        }
        let list = items.iter().find_map(|at| at.split('.').try_fold(&value, |value, key| value.get(key))?.as_array());
        let Some(list) = list else { return Err(error::no_task(&value, Drift::NONE)) };
        let read = |item| match shape {
            Shape::Auto => gateway::read_item(item, self.zone),
            shape => shape.read(item, self.zone, Origin::Direct)?.into_task(item).ok(),
        };
        Ok(list.iter().filter_map(read).collect())
    }
}

/// What an id must be where the flavours of a provider are told apart by it.
const OPERATIONS: NoSuchId = NoSuchId(
    "the whole name of an operation: models/MODEL/operations/ID, or projects/…/models/MODEL/operations/ID of Vertex",
);

/// The body of a good answer; it is an object, and nested no deeper than JSON from an honest server.
fn parse(http_status: u16, body: &[u8]) -> Result<Value, ApiError> {
    if !(200..300).contains(&http_status) {
        return Err(error::http_error(http_status, body));
    }
    let value = serde_json::from_slice::<Value>(body).map_err(|_| ApiError::new(Reason::InvalidBody))?;
    if value.is_object() { Ok(value) } else { Err(ApiError::new(Reason::InvalidBody)) }
}
