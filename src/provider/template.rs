//! Requests as templates: a path and a body with places for the task's id.

use std::borrow::Cow;

use serde_json::Value;

use super::headers::{Headers, TemplateError, is_secret_name};
use super::veo;
use crate::domain::TaskId;
use crate::http::{KeyHeader, Method, Request};

/// A request with places to fill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    method: Method,
    path: Vec<Part>,
    query: Vec<(String, Vec<Part>)>,
    headers: Vec<(String, String)>,
    body: Option<Vec<Part>>,
    key: KeyHeader,
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The id as it is; in a path, one segment.
    TaskId,
    /// The id as the name of an operation; in a path, a segment for each of its parts.
    Operation,
    /// That name up to `/operations/`.
    Parent,
    /// The model in that name.
    Model,
}

/// The places, by their names.
const PLACES: [(&str, Part); 4] = [
    ("{task_id}", Part::TaskId),
    ("{operation}", Part::Operation),
    ("{parent}", Part::Parent),
    ("{model}", Part::Model),
];

/// Why an id cannot be asked for; says nothing of the id, which may be hostile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("for this provider a task id is {0}")]
pub struct NoSuchId(pub &'static str);

/// What [`NoSuchId`] asks for where a template wants more than an id.
const AN_OPERATION: NoSuchId =
    NoSuchId("the name of an operation, such as models/MODEL/operations/ID, without empty, `.` and `..` parts");

impl Template {
    /// Compiles it.
    ///
    /// # Errors
    /// With the key that is wrong.
    pub fn new(
        method: Method,
        path: &str,
        headers: &Headers,
        body: Option<&str>,
        key: KeyHeader,
    ) -> Result<Self, TemplateError> {
        let wrong = |key, message: &str| TemplateError { key, message: message.to_owned() };
        let parts = |key: &'static str, text: &str| parse(text).map_err(|message| TemplateError { key, message });
        let Some(below) = path.strip_prefix('/') else {
            return Err(wrong("path", "a path begins with /, and what stands before it is base_url"));
        };
        if path.contains('#') || path.chars().any(|c| c.is_control() || c == ' ') {
            return Err(wrong("path", "a path has no blanks and no #"));
        }
        let (path, query) = below.split_once('?').unwrap_or((below, ""));
        let pairs = form_urlencoded::parse(query.as_bytes());
        let query = pairs
            .map(|(name, value)| Ok((name.into_owned(), parts("path", &value)?)))
            .collect::<Result<Vec<_>, _>>()?;
        let body = body.map(|body| parts("body", body)).transpose()?;
        if body.is_some() && method == Method::Get {
            return Err(wrong("body", "a GET has none; set request.method to POST"));
        }
        let path = parts("path", path)?;
        let all = path.iter().chain(query.iter().flat_map(|(_, value)| value)).chain(body.iter().flatten());
        if !all.clone().any(|part| matches!(part, Part::TaskId | Part::Operation)) {
            return Err(wrong("path", "neither the path nor the body has a place for {task_id} or {operation}"));
        }
        if query.iter().any(|(name, _)| is_secret_name(name)) {
            return Err(wrong("path", "a key does not stand in the path; name a header for it, with {credentials}"));
        }
        let key = headers.key.clone().unwrap_or(key);
        let template = Self { method, path, query, headers: headers.plain.clone(), body, key };
        // A placed id that is as plain as can be has to fit, or none will.
        let plain = TaskId::parse("projects/p/models/m/operations/i").map_err(|_| wrong("path", "cannot be used"))?;
        let request = template.request(&plain).map_err(|_| wrong("path", "it has empty, `.` or `..` parts"))?;
        if request.body.is_some_and(|body| serde_json::from_str::<Value>(&body).is_err()) {
            return Err(wrong("body", "it is no JSON, once its places are filled"));
        }
        Ok(template)
    }

    /// The segments of its path without the last one, where that is the place for the id.
    pub fn above_task(&self) -> Option<Vec<String>> {
        let Some((Part::TaskId, [Part::Text(above)])) = self.path.split_last() else { return None };
        Some(above.strip_suffix('/')?.split('/').map(str::to_owned).collect())
    }

    /// Its headers and its key's place on another request.
    pub fn dress(&self, request: Request) -> Request {
        Request { headers: self.headers.clone(), key: self.key.clone(), ..request }
    }

    /// The request for `id`.
    ///
    /// # Errors
    /// When the template needs an id of a special form, and this one has it not.
    pub fn request(&self, id: &TaskId) -> Result<Request, NoSuchId> {
        let mut segments = vec![String::new()];
        for part in &self.path {
            let text = part.fill(id)?;
            let mut pieces = text.split(|c| c == '/' && *part != Part::TaskId && *part != Part::Model);
            segments.last_mut().expect("there is a first segment").push_str(pieces.next().unwrap_or_default());
            segments.extend(pieces.map(str::to_owned));
        }
        if segments.iter().any(|segment| matches!(segment.as_str(), "" | "." | "..")) {
            return Err(AN_OPERATION);
        }
        let filled = |parts: &[Part]| -> Result<String, NoSuchId> {
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
        })
    }
}

impl Part {
    fn fill<'a>(&'a self, id: &'a TaskId) -> Result<Cow<'a, str>, NoSuchId> {
        Ok(Cow::Borrowed(match self {
            Self::Text(text) => text,
            Self::TaskId | Self::Operation => id.as_str(),
            Self::Parent => id.as_str().split_once("/operations/").ok_or(AN_OPERATION)?.0,
            Self::Model => return veo::model(id.as_str()).map(Cow::Owned).ok_or(AN_OPERATION),
        }))
    }

    /// The same inside a JSON text.
    fn fill_json<'a>(&'a self, id: &'a TaskId) -> Result<Cow<'a, str>, NoSuchId> {
        let text = self.fill(id)?;
        if matches!(self, Self::Text(_)) {
            return Ok(text);
        }
        let quoted = Value::from(&*text).to_string();
        Ok(Cow::Owned(quoted[1..quoted.len() - 1].to_owned()))
    }
}

fn parse(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some((name, part)) = PLACES.iter().find(|(name, _)| rest.starts_with(name)) {
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(part.clone());
            rest = &rest[name.len()..];
            continue;
        }
        // Braces are JSON's own, too: only what looks like a name in braces is meant as a place.
        if first == '{'
            && let Some((name, _)) = rest[1..].split_once('}')
            && !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        {
            let known = PLACES.map(|(name, _)| name).join(", ");
            return Err(format!("it has a place in braces that is unknown; known are {known}"));
        }
        plain.push(first);
        rest = &rest[first.len_utf8()..];
    }
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
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
    fn ids_are_filled_in_whole_and_operations_in_parts() {
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
    fn what_cannot_work_is_refused_with_its_key() {
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
