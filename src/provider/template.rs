//! Templates of requests: paths and bodies with placeholders for the task id.

use std::borrow::Cow;

use serde_json::Value;

use super::headers::{Headers, TemplateError, is_secret_name};
use super::veo;
use crate::domain::TaskId;
use crate::domain::labels::{is_secret_like, is_trace_id};
use crate::http::{KeyHeader, Method, Request};

/// A request with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    method: Method,
    path: Vec<TemplatePart>,
    query: Vec<(String, Vec<TemplatePart>)>,
    headers: Vec<(String, String)>,
    body: Option<Vec<TemplatePart>>,
    key: KeyHeader,
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum TemplatePart {
    Text(String),
    /// The id; in a path, one segment.
    TaskId,
    /// The id as the name of an operation; in a path, several segments.
    Operation,
    /// The name of the operation up to `/operations/`.
    Parent,
    /// The model in the name of the operation.
    Model,
}

/// The placeholders by name.
const PLACEHOLDERS: [(&str, TemplatePart); 4] = [
    ("{task_id}", TemplatePart::TaskId),
    ("{operation}", TemplatePart::Operation),
    ("{parent}", TemplatePart::Parent),
    ("{model}", TemplatePart::Model),
];

/// An id whose form the provider does not support. It does not contain the id, which may be hostile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("for this provider a task id must be {0}")]
pub struct UnsupportedId(pub &'static str);

/// The required id where a template contains parts of an operation's name.
const NEEDS_OPERATION: UnsupportedId =
    UnsupportedId("the name of an operation, such as models/MODEL/operations/ID, without empty, `.` and `..` parts");

/// An id of the longest form, to try a template with.
const SAMPLE_ID: &str = "projects/p/models/m/operations/i";

const PATH_WITH_KEY: &str = "a path must not contain a key; send it in a header with {credentials}";

/// Whether a text, or a word in it, looks like a key. A URL alone is none.
fn has_key(text: &str) -> bool {
    let separators = |c: char| c.is_whitespace() || "/?&=,;:\"'".contains(c);
    text.split(separators).chain([text].into_iter().filter(|text| !text.contains("://"))).any(is_secret_like)
}

/// Words that name a secret in a body.
const SECRET_WORDS: [&str; 12] = [
    "apikey",
    "accesskey",
    "authorization",
    "bearer",
    "credential",
    "credentials",
    "key",
    "passwd",
    "password",
    "secret",
    "secretkey",
    "token",
];

/// Whether the name of a field has such a word: `apiKey` and `api_key` do, `keyword` and `author` do not.
fn is_secret_field(name: &str) -> bool {
    let mut words = vec![String::new()];
    for c in name.chars() {
        if !c.is_alphanumeric() || c.is_uppercase() {
            words.push(String::new());
        }
        words.last_mut().into_iter().for_each(|word| word.extend(c.to_lowercase().filter(|c| c.is_alphanumeric())));
    }
    // Volcengine's name for a model.
    let has_word = words.iter().any(|word| SECRET_WORDS.contains(&word.as_str()));
    name != "req_key" && (has_word || SECRET_WORDS.contains(&&*name.to_lowercase()))
}

/// The field of a JSON value that has a key: a text that looks like one, or a text other than the id under the name of one.
fn field_with_key(field: &str, value: &Value) -> Option<String> {
    let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.contains(SAMPLE_ID));
    match value {
        Value::String(text) => has_key(text).then(|| field.to_owned()),
        Value::Array(values) => values.iter().find_map(|value| field_with_key(field, value)),
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            if has_key(name) {
                return Some(field.to_owned());
            }
            let is_secret = is_secret_field(name) && is_text(value);
            if is_secret { Some(name.clone()) } else { field_with_key(name, value) }
        }),
        _ => None,
    }
}

impl Template {
    /// Parses and checks a template.
    ///
    /// # Errors
    /// For the first invalid part.
    pub fn new(
        method: Method,
        path: &str,
        headers: &Headers,
        body: Option<&str>,
        key: KeyHeader,
    ) -> Result<Self, TemplateError> {
        let invalid = |key, message: &str| TemplateError { key, message: message.to_owned() };
        let parts = |key: &'static str, text: &str| parse(text).map_err(|message| TemplateError { key, message });
        let Some(below) = path.strip_prefix('/') else {
            return Err(invalid("path", "a path must begin with /; configure the part before it as base_url"));
        };
        if path.contains('#') || path.chars().any(|c| c.is_control() || c == ' ') {
            return Err(invalid("path", "a path must not contain spaces or #"));
        }
        let (path, query) = below.split_once('?').unwrap_or((below, ""));
        let pairs = form_urlencoded::parse(query.as_bytes());
        let query = pairs
            .map(|(name, value)| Ok((name.into_owned(), parts("path", &value)?)))
            .collect::<Result<Vec<_>, _>>()?;
        let body = body.map(|body| parts("body", body)).transpose()?;
        if body.is_some() && method == Method::Get {
            return Err(invalid("body", "a GET request has no body; set request.method to POST"));
        }
        let path = parts("path", path)?;
        let all = path.iter().chain(query.iter().flat_map(|(_, value)| value)).chain(body.iter().flatten());
        if !all.clone().any(|part| matches!(part, TemplatePart::TaskId | TemplatePart::Operation)) {
            return Err(invalid("path", "neither the path nor the body contains {task_id} or {operation}; add one"));
        }
        if query.iter().any(|(name, _)| is_secret_name(name)) {
            return Err(invalid("path", PATH_WITH_KEY));
        }
        let key = headers.key.clone().unwrap_or(key);
        let template = Self { method, path, query, headers: headers.plain.clone(), body, key };
        // The template must accept at least this id.
        let sample = TaskId::parse(SAMPLE_ID).map_err(|_| invalid("path", "the path cannot be used"))?;
        let request = template
            .request(&sample)
            .map_err(|_| invalid("path", "the path has empty, `.` or `..` segments; remove them"))?;
        // An account has such an id in some paths.
        let segments = request.segments.iter().filter(|segment| !is_trace_id(segment));
        if segments.chain(request.query.iter().map(|(_, value)| value)).any(|text| has_key(text)) {
            return Err(invalid("path", PATH_WITH_KEY));
        }
        if let Some(body) = &request.body {
            let body: Value = serde_json::from_str(body)
                .map_err(|_| invalid("body", "the body is not valid JSON after its placeholders are replaced"))?;
            if let Some(field) = field_with_key("", &body) {
                let message = format!(
                    "a body must not contain a key, and field `{field}` looks like one; configure authorization and send it in a \
                     header with {{credentials}}"
                );
                return Err(invalid("body", &message));
            }
        }
        Ok(template)
    }

    /// The segments of its path without the last one, if that is the id.
    pub fn above_task(&self) -> Option<Vec<String>> {
        let Some((TemplatePart::TaskId, [TemplatePart::Text(above)])) = self.path.split_last() else { return None };
        Some(above.strip_suffix('/')?.split('/').map(str::to_owned).collect())
    }

    /// The pairs of its query that do not depend on the id, such as the version of the API.
    pub fn fixed_query(&self) -> Vec<(String, String)> {
        let fixed = |(name, value): &(String, Vec<TemplatePart>)| match value.as_slice() {
            [TemplatePart::Text(text)] => Some((name.clone(), text.clone())),
            _ => None,
        };
        self.query.iter().filter_map(fixed).collect()
    }

    /// Adds its headers, and the header of the key, to another request.
    pub fn add_headers(&self, request: Request) -> Request {
        Request { headers: self.headers.clone(), key: self.key.clone(), ..request }
    }

    /// The request for `id`.
    ///
    /// # Errors
    /// When the id does not have the form that the template needs.
    pub fn request(&self, id: &TaskId) -> Result<Request, UnsupportedId> {
        // The path `/` has no segments.
        let mut segments = vec![String::new(); usize::from(!self.path.is_empty())];
        for part in &self.path {
            let text = part.fill(id)?;
            let mut pieces = text.split(|c| c == '/' && *part != TemplatePart::TaskId && *part != TemplatePart::Model);
            segments.last_mut().expect("there is a first segment").push_str(pieces.next().unwrap_or_default());
            segments.extend(pieces.map(str::to_owned));
        }
        if segments.iter().any(|segment| matches!(segment.as_str(), "" | "." | "..")) {
            return Err(NEEDS_OPERATION);
        }
        let filled = |parts: &[TemplatePart]| -> Result<String, UnsupportedId> {
            parts.iter().map(|part| part.fill(id)).collect::<Result<Vec<_>, _>>().map(|parts| parts.concat())
        };
        let query = self.query.iter().map(|(name, value)| Ok((name.clone(), filled(value)?)));
        let body = self
            .body
            .as_deref()
            .map(|parts| parts.iter().map(|part| part.fill_json(id)).collect::<Result<Vec<_>, _>>());
        Ok(Request {
            method: self.method,
            segments,
            query: query.collect::<Result<_, _>>()?,
            headers: self.headers.clone(),
            body: body.transpose()?.map(|parts| parts.concat()),
            key: self.key.clone(),
            ..Request::get([])
        })
    }
}

impl TemplatePart {
    fn fill<'a>(&'a self, id: &'a TaskId) -> Result<Cow<'a, str>, UnsupportedId> {
        Ok(Cow::Borrowed(match self {
            Self::Text(text) => text,
            Self::TaskId | Self::Operation => id.as_str(),
            Self::Parent => id.as_str().split_once("/operations/").ok_or(NEEDS_OPERATION)?.0,
            Self::Model => return veo::model(id.as_str()).map(Cow::Owned).ok_or(NEEDS_OPERATION),
        }))
    }

    /// The text, escaped for a JSON string.
    fn fill_json<'a>(&'a self, id: &'a TaskId) -> Result<Cow<'a, str>, UnsupportedId> {
        let text = self.fill(id)?;
        if matches!(self, Self::Text(_)) {
            return Ok(text);
        }
        let quoted = Value::from(&*text).to_string();
        Ok(Cow::Owned(quoted[1..quoted.len() - 1].to_owned()))
    }
}

fn parse(text: &str) -> Result<Vec<TemplatePart>, String> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some((name, part)) = PLACEHOLDERS.iter().find(|(name, _)| rest.starts_with(name)) {
            if !plain.is_empty() {
                parts.push(TemplatePart::Text(std::mem::take(&mut plain)));
            }
            parts.push(part.clone());
            rest = &rest[name.len()..];
            continue;
        }
        // JSON uses braces, too: only a name in braces is a placeholder.
        if first == '{'
            && let Some((name, _)) = rest[1..].split_once('}')
            && !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        {
            let known = PLACEHOLDERS.map(|(name, _)| name).join(", ");
            return Err(format!("unknown placeholder in braces; known placeholders: {known}"));
        }
        plain.push(first);
        rest = &rest[first.len_utf8()..];
    }
    if !plain.is_empty() {
        parts.push(TemplatePart::Text(plain));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(method: Method, path: &str, body: Option<&str>) -> Result<Template, TemplateError> {
        Template::new(method, path, &Headers::default(), body, KeyHeader::BEARER)
    }

    #[test]
    fn an_id_is_one_segment_and_an_operation_several() {
        let id = |text| TaskId::parse(text).unwrap();
        let one = template(Method::Get, "/v1/jobs/{task_id}?id={task_id}&x=1", None).unwrap();
        let request = one.request(&id("../a b{operation}")).unwrap();
        assert_eq!(request.segments, ["v1", "jobs", "../a b{operation}"]);
        assert_eq!(
            request.query,
            [("id".to_owned(), "../a b{operation}".to_owned()), ("x".to_owned(), "1".to_owned())]
        );

        let vertex = template(Method::Post, "/v1/{parent}:fetch/{model}", Some(r#"{"name":"{operation}"}"#)).unwrap();
        let request = vertex.request(&id("projects/p\"/models/veo-3/operations/x")).unwrap();
        assert_eq!(request.segments, ["v1", "projects", "p\"", "models", "veo-3:fetch", "veo-3"]);
        assert_eq!(request.body.as_deref(), Some(r#"{"name":"projects/p\"/models/veo-3/operations/x"}"#));

        let gemini = template(Method::Get, "/v1beta/{operation}", None).unwrap();
        for hostile in ["models/../operations/x", "models//operations/x", "/", "a/./b", "x/"] {
            assert!(gemini.request(&id(hostile)).is_err(), "{hostile}");
        }
        assert!(vertex.request(&id("no-operation")).is_err());
    }

    #[test]
    fn invalid_templates_are_rejected_with_their_key() {
        for (method, path, body, key) in [
            (Method::Get, "v1/{task_id}", None, "path"),
            (Method::Get, "/v1/jobs", None, "path"),
            (Method::Get, "/v1/{id}", None, "path"),
            (Method::Get, "/v1/../{task_id}", None, "path"),
            (Method::Get, "/v1/{task_id}#x", None, "path"),
            (Method::Get, "/v1/{task_id}", Some("{}"), "body"),
            (Method::Post, "/v1/x", Some("{\"id\":\"{nope}\"}"), "body"),
            (Method::Post, "/v1/x", Some("{\"id\": {operation}, oops"), "body"),
            (Method::Get, "/v1/{task_id}?api_key=x", None, "path"),
        ] {
            assert_eq!(template(method, path, body).unwrap_err().key, key, "{path} {body:?}");
        }
    }
}
