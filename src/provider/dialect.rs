//! How one upstream is spoken to: its provider with what the configuration changes of it.

use serde_json::Value;

use super::custom::Response;
use super::definition::{Batch, Callback, Provider, RequestSpec};
use super::headers::{Headers, TemplateError};
use super::list::{List, Listed, Page, Place};
use super::read::error;
use super::read::lenient::{self, Zone};
use super::template::{NoSuchId, Template};
use crate::domain::{Answer, ApiError, Drift, Reason, TaskId};
use crate::http::{Method, Request};

/// What the configuration changes.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `base_url` is set: requests do not go to the provider's own address.
    pub custom_base_url: bool,
    /// GET or POST.
    pub method: Option<Method>,
    /// Path and query below the base URL, with places.
    pub path: Option<String>,
    /// A JSON body, with places.
    pub body: Option<String>,
    /// Headers; one with `{credentials}` in its value carries the key.
    pub headers: Vec<(String, String)>,
    /// The provider whose answers have the same shape.
    pub shape: Option<&'static Provider>,
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
    needs_key: bool,
}

#[derive(Debug, Clone)]
enum Reader {
    Provider(&'static Provider),
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
            (None, shape) => Reader::Provider(shape.unwrap_or(provider)),
        };
        let headers = Headers::new(&overrides.headers)?;
        let compile = |spec: &RequestSpec, path: &str| {
            let method = overrides.method.unwrap_or(spec.method);
            let own = spec.body.filter(|_| method == Method::Post);
            let body = overrides.body.as_deref().or(own);
            Template::new(method, path, &headers, body, spec.key.clone())
        };
        let templates = if let Some(path) = &overrides.path {
            // One path is for all ids. Of two flavours that is meant which has the method, or reads operations as the path does.
            let posts = overrides.method.unwrap_or(if path.contains("{parent}") { Method::Post } else { Method::Get });
            let specs = provider.requests;
            let spec = specs.iter().find(|spec| spec.method == posts).or(specs.first());
            vec![("", compile(spec.unwrap_or(&RequestSpec::get("")), path)?)]
        } else if described {
            return Err(wrong(
                "request.path",
                "the key `request.path` is missing: provider custom has none of its own",
            ));
        } else {
            let specs = provider.requests.iter().filter(|spec| overrides.custom_base_url || !spec.needs_base_url);
            specs.map(|spec| Ok((spec.id_prefix, compile(spec, spec.path)?))).collect::<Result<_, TemplateError>>()?
        };
        // Whoever has another path or method for one task has it for many, and that nobody knows.
        let changed = overrides.path.is_some() || overrides.method.is_some();
        let batch = provider.batch.filter(|_| !changed);
        let needs_key = headers.key.is_some();
        Ok(Self { provider, templates, reader, zone: overrides.zone, batch, needs_key })
    }

    /// True when a header has a place for the key.
    pub fn needs_key(&self) -> bool {
        self.needs_key
    }

    /// The request that asks for many tasks, where that is possible.
    pub fn batch_request(&self, ids: &[TaskId]) -> Option<Request> {
        let request = (self.batch?.request)(ids);
        Some(self.templates.first().map_or(request.clone(), |(_, template)| template.dress(request)))
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
        match &self.reader {
            Reader::Custom(response) => response.read_answer(http_status, body, self.zone),
            Reader::Provider(provider) => (provider.read)(&parse(http_status, body, provider)?, self.zone),
        }
    }

    /// Whether its provider has callbacks.
    pub fn has_callbacks(&self) -> bool {
        matches!(self.reader, Reader::Provider(provider) if provider.read_callback.is_some())
    }

    /// Reads a callback.
    ///
    /// # Errors
    /// When it names no task, or has no known status, or is no JSON.
    pub fn read_callback(&self, body: &[u8]) -> Result<Callback, ApiError> {
        let Reader::Provider(provider) = self.reader else { return Err(ApiError::new(Reason::InvalidBody)) };
        let read = provider.read_callback.ok_or_else(|| ApiError::new(Reason::InvalidBody))?;
        read(&parse(200, body, provider)?, self.zone)
    }

    /// Its list, where its provider has one.
    pub fn list(&self) -> Option<List> {
        self.provider.list
    }

    /// The request for a page of its list.
    pub fn list_request(&self, page: &Page<'_>) -> Option<Request> {
        let list = self.provider.list?;
        let (_, template) = self.templates.first()?;
        let segments = match list.place {
            Place::At(segments) => segments.iter().map(|segment| (*segment).to_owned()).collect(),
            Place::AboveTask => template.above_task()?,
        };
        let owned = |(name, value): (&str, String)| (name.to_owned(), value);
        let mut query: Vec<_> = (list.query)(&Page { zone: self.zone, ..*page }).into_iter().map(owned).collect();
        query.extend(page.part.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let mut request = template.dress(Request { segments, query, ..Request::get([]) });
        // Old gateways want to be told whose tasks they are (docs/upstreams.md 2.9); others do not mind.
        request.headers.extend(page.user_id.map(|id| ("New-Api-User".to_owned(), id.to_owned())));
        Some(request)
    }

    /// Reads a page of a list; entries that are no tasks are left out.
    ///
    /// # Errors
    /// When the answer is an error, or has no list in it.
    pub fn read_list(&self, http_status: u16, body: &[u8]) -> Result<Listed, ApiError> {
        let error_kind = self.provider.error_kind;
        let value = parse(http_status, body, self.provider)?;
        let Some(List { items, read_item, .. }) = self.provider.list else {
            return Err(ApiError::new(Reason::InvalidBody));
        };
        if error::is_refusal(&value) {
            return Err(error::ok_error(&value, error_kind));
        }
        let at = |at: &&str| lenient::at(&value, at);
        let Some(list) = items.iter().filter_map(at).find_map(Value::as_array) else {
            // Servers that count from an empty list may write none.
            let is_empty = items.iter().filter_map(at).any(Value::is_null) && error::has_total(&value);
            let no_task = || error::no_task(&value, Drift::NONE, error_kind);
            return if is_empty { Ok(Listed::about(&value, 0)) } else { Err(no_task()) };
        };
        let mut listed = Listed::about(&value, list.len());
        listed.tasks.extend(list.iter().filter_map(|item| read_item(item, self.zone)));
        Ok(listed)
    }
}

/// What an id must be where the flavours of a provider are told apart by it.
const OPERATIONS: NoSuchId = NoSuchId(
    "the whole name of an operation: models/MODEL/operations/ID, or Vertex's projects/…/operations/ID with a base_url of Vertex",
);

/// The body of a 2xx response, which is an object; an error may stand in a list of one.
fn parse(http_status: u16, body: &[u8], provider: &Provider) -> Result<Value, ApiError> {
    if !(200..300).contains(&http_status) {
        return Err(error::http_error(http_status, body, provider.error_kind));
    }
    let value: Value = serde_json::from_slice(body).map_err(|_| ApiError::new(Reason::InvalidBody))?;
    match &value {
        Value::Object(_) => Ok(value),
        Value::Array(items) if items.len() == 1 && items[0].get("error").is_some() => {
            Err(error::ok_error(&value, provider.error_kind))
        }
        _ => Err(ApiError::new(Reason::InvalidBody)),
    }
}
