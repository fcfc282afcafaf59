//! The dialect of an upstream: its provider with the overrides of the configuration.

use serde_json::Value;

use super::callback_signature::CallbackSignature;
use super::custom::{ResponseSpec, find_word};
use super::definition::{Batch, Callback, Provider, RequestSpec, Signs};
use super::headers::{Headers, TemplateError};
use super::list::{List, ListPage, ListPath, ListScope, PageRequest};
use super::overrides::{DialectError, Overrides};
use super::read::answer::normalize;
use super::read::lenient::{self, Zone};
use super::read::{error, json};
use super::template::{Template, UnsupportedId};
use crate::domain::{Answer, ApiError, Drift, FailureClass, Reason, Status, TaskId};
use crate::http::{Method, Request, Response};

/// A provider with the overrides of one upstream.
#[derive(Debug, Clone)]
pub struct Dialect {
    provider: &'static Provider,
    /// By what an id begins with, and what it contains.
    templates: Vec<((&'static str, &'static str), Template)>,
    reader: Reader,
    zone: Zone,
    failures: Vec<(String, FailureClass)>,
    batch: Option<Batch>,
    needs_key: bool,
}

#[derive(Debug, Clone)]
enum Reader {
    Provider(&'static Provider),
    Custom(Box<ResponseSpec>),
}

impl Dialect {
    /// A provider without overrides.
    ///
    /// # Errors
    /// For provider custom, which needs a configuration.
    pub fn from_provider(provider: &'static Provider) -> Result<Self, DialectError> {
        Self::new(provider, Overrides::default())
    }

    /// A provider with overrides.
    ///
    /// # Errors
    /// For the first invalid override.
    pub fn new(provider: &'static Provider, overrides: Overrides) -> Result<Self, DialectError> {
        let invalid = |key: &str, message: &str| DialectError { key: key.to_owned(), message: message.to_owned() };
        let is_custom = provider.is_custom();
        let reader = match (overrides.response, overrides.shape) {
            (Some(_), _) if !is_custom => {
                return Err(invalid("response", "only provider custom accepts a response's fields; remove them"));
            }
            (None, _) if is_custom => {
                return Err(invalid(
                    "response",
                    "the key `response` is missing: provider custom needs it to read responses",
                ));
            }
            (Some(_), Some(_)) => {
                return Err(invalid(
                    "request.shape",
                    "provider custom does not accept a shape; describe the response under `response`",
                ));
            }
            (Some(response), None) => Reader::Custom(Box::new(response)),
            (None, shape) => Reader::Provider(shape.unwrap_or(provider)),
        };
        let headers = Headers::new(&overrides.headers)?.with_defaults(provider.headers);
        let compile = |spec: &RequestSpec, path: &str| {
            let method = overrides.method.unwrap_or(spec.method);
            let own = spec.body.filter(|_| method == Method::Post);
            let body = overrides.body.as_deref().or(own);
            Template::new(method, path, &headers, body, spec.key.header())
        };
        let templates = if let Some(path) = &overrides.path {
            // A configured path is for all ids. Of two requests, the one with the same method supplies the body and the key.
            let method = overrides.method.unwrap_or(if path.contains("{parent}") { Method::Post } else { Method::Get });
            let specs = provider.requests;
            let spec = specs.iter().find(|spec| spec.method == method).or(specs.first());
            vec![(("", ""), compile(spec.unwrap_or(&RequestSpec::get("")), path)?)]
        } else if is_custom {
            return Err(invalid(
                "request.path",
                "the key `request.path` is missing: provider custom has no default path",
            ));
        } else {
            let specs = provider.requests.iter().filter(|spec| overrides.custom_base_url || !spec.needs_base_url);
            specs
                .map(|spec| Ok(((spec.id_prefix, spec.id_part), compile(spec, spec.path)?)))
                .collect::<Result<_, TemplateError>>()?
        };
        // With another path or method for one task, the one for many tasks is unknown.
        let is_changed = overrides.path.is_some() || overrides.method.is_some();
        let batch = provider.batch.filter(|_| !is_changed);
        let needs_key = headers.key.is_some();
        Ok(Self { provider, templates, reader, zone: overrides.zone, failures: overrides.failures, batch, needs_key })
    }

    /// Whether a header contains the placeholder of the key.
    pub fn needs_key(&self) -> bool {
        self.needs_key
    }

    /// The request for many tasks, if there are batches.
    pub fn batch_request(&self, ids: &[TaskId]) -> Option<Request> {
        let request = Request { accepts_gzip: true, ..(self.batch?.request)(ids) };
        Some(self.templates.first().map_or(request.clone(), |(_, template)| template.add_headers(request)))
    }

    /// What an access key and a secret key sign, if they do.
    pub fn signs(&self) -> Option<Signs> {
        self.provider.signs
    }

    /// The `provider` label.
    pub fn name(&self) -> &'static str {
        self.provider.name
    }

    /// The batch request, if there is one.
    pub fn batch(&self) -> Option<Batch> {
        self.batch
    }

    /// Whether its provider has a list.
    pub fn has_list(&self) -> bool {
        self.provider.list.is_some()
    }

    /// The request for one task.
    ///
    /// # Errors
    /// When this provider has no ids of this form.
    pub fn request(&self, id: &TaskId) -> Result<Request, UnsupportedId> {
        let id_text = id.as_str();
        let fits =
            |((prefix, part), _): &&((&str, &str), Template)| id_text.starts_with(prefix) && id_text.contains(part);
        let (_, template) = self.templates.iter().find(fits).ok_or(UnsupportedId(self.provider.id_form))?;
        let signature = match self.provider.signs {
            Some(Signs::Requests(signature)) => Some(signature),
            _ => None,
        };
        let wanted_header = self.provider.answer_header.map(|header| header.name);
        Ok(Request { signature, wanted_header, ..template.request(id)? })
    }

    /// Whether only the result, which the provider has at another address, tells how a task with this answer ended.
    pub fn needs_result(&self, id: &TaskId, answer: &Answer) -> bool {
        let Reader::Provider(provider) = self.reader else { return false };
        provider.result.is_some_and(|result| (result.is_needed)(answer)) && self.result_request(id).is_some()
    }

    /// The request for the result of a task; `None` when its address is not known.
    pub fn result_request(&self, id: &TaskId) -> Option<Request> {
        let mut request = self.request(id).ok()?;
        request.segments.pop().filter(|last| last == STATUS_SEGMENT)?;
        Some(request)
    }

    /// Decodes the response to the request for the result of a task, which completes its answer.
    ///
    /// # Errors
    /// When the response is an error. A task that was refused has failed, which is no error.
    pub fn read_result_response(&self, answer: &Answer, response: &Response) -> Result<Answer, ApiError> {
        let read = self.read_result(response.status, body(response)?)?;
        let (task_id, drift) = (answer.task_id.clone(), answer.drift.union(read.drift));
        let mut answer = Answer { task_id, drift, is_large: response.size > LARGE_ANSWER, ..read };
        self.apply_header(&mut answer, response.header.as_deref());
        Ok(answer)
    }

    /// Decodes the body of a result.
    ///
    /// # Errors
    /// As [`Dialect::read`].
    pub fn read_result(&self, http_status: u16, body: &[u8]) -> Result<Answer, ApiError> {
        let Reader::Provider(provider) = self.reader else { return Err(ApiError::new(Reason::InvalidBody)) };
        let result = provider.result.ok_or_else(|| ApiError::new(Reason::InvalidBody))?;
        self.read_body(provider, http_status, body, result.read)
    }

    /// Decodes the response to the request for a task.
    ///
    /// # Errors
    /// As [`Dialect::read`].
    pub fn read_response(&self, response: &Response) -> Result<Answer, ApiError> {
        let mut answer = self.read(response.status, body(response)?)?;
        self.apply_header(&mut answer, response.header.as_deref());
        answer.is_large = response.size > LARGE_ANSWER;
        Ok(answer)
    }

    /// The model that a task id contains, if this provider has such ids.
    pub fn model_of_id<'a>(&self, id: &'a TaskId) -> Option<&'a str> {
        self.provider.model_of_id?(id)
    }

    /// Whether it is the API of a new-api gateway: reading a single task may change it there, and its quota is settled after its end.
    pub fn is_new_api(&self) -> bool {
        self.provider.is_new_api
    }

    /// Whether it runs models of other providers, under their names.
    pub fn runs_any_model(&self) -> bool {
        self.provider.runs_any_model
    }

    /// The name of the response header that completes an answer, if the provider has one.
    pub fn answer_header(&self) -> Option<&'static str> {
        Some(self.provider.answer_header?.name)
    }

    /// Completes an answer with the value of that header.
    pub fn apply_header(&self, answer: &mut Answer, value: Option<&str>) {
        if let Some(header) = self.provider.answer_header {
            (header.read)(answer, value);
        }
    }

    /// Whether responses repeat the inputs of tasks, which may be very large.
    pub fn repeats_inputs(&self) -> bool {
        self.provider.repeats_inputs
    }

    /// Decodes a response with this HTTP status.
    ///
    /// # Errors
    /// When the response is an error or cannot be decoded. A failed task is no error.
    pub fn read(&self, http_status: u16, body: &[u8]) -> Result<Answer, ApiError> {
        match &self.reader {
            Reader::Custom(response) => {
                response.read_answer(http_status, body, self.zone).map(|answer| self.classify(answer))
            }
            Reader::Provider(provider) => self.read_body(provider, http_status, body, provider.read),
        }
    }

    fn read_body(
        &self,
        provider: &Provider,
        http_status: u16,
        body: &[u8],
        read: fn(&Value, Zone) -> Result<Answer, ApiError>,
    ) -> Result<Answer, ApiError> {
        if http_status == 202 && provider.accepts_empty && body.trim_ascii().is_empty() {
            return Ok(Answer::new(Status::Queued));
        }
        let is_error = !(200..300).contains(&http_status);
        let refused = provider.read_refusal.filter(|_| is_error);
        let refusal = refused.and_then(|refused| refused(http_status, &json::parse(body).ok()?));
        let answer = match refusal {
            Some(answer) => normalize(answer),
            None => read(&parse(http_status, body, provider)?, self.zone)?,
        };
        Ok(self.classify(answer))
    }

    /// Applies the configured classes of error codes.
    fn classify(&self, answer: Answer) -> Answer {
        let code = answer.error_code.as_deref().filter(|_| answer.status() == Status::Failed);
        let configured = code.and_then(|code| find_word(&self.failures, code)).copied();
        Answer { failure: configured.or(answer.failure), ..answer }
    }

    /// Whether its provider sends callbacks.
    pub fn has_callbacks(&self) -> bool {
        matches!(self.reader, Reader::Provider(provider) if provider.read_callback.is_some())
    }

    /// How callbacks are signed, if they are.
    pub fn webhook_signature(&self) -> Option<CallbackSignature> {
        self.provider.webhook_signature
    }

    /// Whether callbacks name a task by the last part of its id.
    pub fn has_short_callback_ids(&self) -> bool {
        self.provider.short_callback_ids
    }

    /// Decodes a callback.
    ///
    /// # Errors
    /// When it is not JSON, or has no task id or no known status.
    pub fn read_callback(&self, body: &[u8]) -> Result<Callback, ApiError> {
        let Reader::Provider(provider) = self.reader else { return Err(ApiError::new(Reason::InvalidBody)) };
        let read = provider.read_callback.ok_or_else(|| ApiError::new(Reason::InvalidBody))?;
        let callback = read(&parse(200, body, provider)?, self.zone)?;
        Ok(match callback {
            Callback::Answer(answer) => Callback::Answer(Box::new(self.classify(*answer))),
            other => other,
        })
    }

    /// The list of its provider, if it has one.
    pub fn list(&self) -> Option<List> {
        self.provider.list
    }

    /// The request for a page of its list.
    pub fn list_request(&self, page: &PageRequest<'_>) -> Option<Request> {
        let list = self.provider.list?;
        let (_, template) = self.templates.first()?;
        let path = match page.scope {
            ListScope::Own => list.path,
            ListScope::All => ListPath::Fixed(list.path_of_all?),
        };
        let (segments, mut query) = match path {
            ListPath::Fixed(segments) => (segments.iter().map(|segment| (*segment).to_owned()).collect(), Vec::new()),
            ListPath::AboveTask => (template.above_task()?, template.fixed_query()),
        };
        let owned = |(name, value): (&str, String)| (name.to_owned(), value);
        let own_query = match page.task {
            Some(task) => list.query_one?(task),
            None => (list.query)(&PageRequest { zone: self.zone, ..*page }),
        };
        query.extend(own_query.into_iter().map(owned));
        query.extend(page.part.map(|(name, value)| (name.to_owned(), value.to_owned())));
        self.request_to(Request { segments, query, accepts_gzip: true, ..Request::get([]) }, page.user_id)
    }

    /// A request with the configured headers, for something else than a task.
    pub fn request_to(&self, request: Request, user_id: Option<&str>) -> Option<Request> {
        let (_, template) = self.templates.first()?;
        let mut request = template.add_headers(request);
        // Old gateways require the user's id (docs/upstreams.md 2.9); other servers ignore it.
        request.headers.extend(user_id.map(|id| ("New-Api-User".to_owned(), id.to_owned())));
        Some(request)
    }

    /// Decodes the response to the request for a page of a list.
    ///
    /// # Errors
    /// As [`Dialect::read_list`].
    pub fn read_list_response(&self, response: &Response) -> Result<ListPage, ApiError> {
        self.read_list(response.status, body(response)?)
    }

    /// Decodes a page of a list; entries that are not tasks are omitted.
    ///
    /// # Errors
    /// When the response is an error or has no list.
    pub fn read_list(&self, http_status: u16, body: &[u8]) -> Result<ListPage, ApiError> {
        let error_kind = self.provider.error_kind;
        let value = parse(http_status, body, self.provider)?;
        let Some(List { items, read_item, .. }) = self.provider.list else {
            return Err(ApiError::new(Reason::InvalidBody));
        };
        if error::has_error_code(&value) {
            return Err(error::ok_error(&value, error_kind));
        }
        let at = |at: &&str| lenient::at(&value, at);
        let Some(list) = items.iter().filter_map(at).find_map(Value::as_array) else {
            // Some servers write null for an empty list.
            let is_empty = items.iter().filter_map(at).any(Value::is_null) && error::has_total(&value);
            let no_task = || error::no_task(&value, Drift::NONE, error_kind);
            return if is_empty { Ok(ListPage::from_body(&value, 0)) } else { Err(no_task()) };
        };
        let mut listed = ListPage::from_body(&value, list.len());
        let read = list.iter().filter_map(|item| read_item(item, self.zone));
        listed.tasks.extend(read.map(|answer| self.classify(answer)));
        Ok(listed)
    }
}

/// A larger answer is asked for rarely, in bytes.
const LARGE_ANSWER: u64 = 1 << 20;

/// The body of a response, as far as it can be decoded.
fn body(response: &Response) -> Result<&[u8], ApiError> {
    match &response.body {
        Ok(body) => Ok(body),
        Err(error) if (200..300).contains(&response.status) => Err(error.clone().into()),
        // The status of an incomplete response still says more than the transport error.
        Err(_) => Ok(b""),
    }
}

/// The last segment of the address of a status, below that of the result.
const STATUS_SEGMENT: &str = "status";

/// Parses the body of a 2xx response, an object. An error may be the only entry of a list.
fn parse(http_status: u16, body: &[u8], provider: &Provider) -> Result<Value, ApiError> {
    if !(200..300).contains(&http_status) {
        let error = error::http_error(http_status, body, provider.error_kind);
        return Err(ApiError { code: error.code.filter(|_| !provider.repeats_http_status), ..error });
    }
    let value = json::parse(body)?;
    match &value {
        Value::Object(_) => Ok(value),
        Value::Array(items) if items.len() == 1 && items[0].get("error").is_some() => {
            Err(error::ok_error(&value, provider.error_kind))
        }
        _ => Err(ApiError::new(Reason::InvalidBody)),
    }
}
