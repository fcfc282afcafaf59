//! Who sends a request: somebody with a login of the web configuration, with an API key, or anybody.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::access::bearer_key;
use super::client::Client;
use super::error::HttpError;
use super::handle::Handle;
use super::page::SCRIPT_PATH;
use super::viewer::Viewer;
use super::web::WebConfig;
use crate::config::{ApiKey, Scope};
use crate::metrics::AuthFailure;

const RELOAD_PATH: &str = "/-/reload";

/// Longest name and password that are looked at, in bytes.
const MAX_LOGIN: usize = 4096;

/// The request comes from somebody who is known.
#[derive(Debug, Clone, Copy)]
pub struct IsKnown(pub bool);

/// Lets a request pass when its login or key may do what it asks for. What it may see is passed on.
pub async fn authenticate(State(handle): State<Arc<Handle>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let none = || Arc::new(WebConfig::none());
    let web = parts.extensions.get::<Arc<WebConfig>>().cloned().unwrap_or_else(none);
    // Who floods the port must not make it look unhealthy: then it would be restarted.
    let limiter = web.limiter.as_ref().filter(|_| !is_probe(parts.uri.path()));
    if limiter.is_some_and(|limiter| limiter.check().is_err()) {
        let message = "too many requests: rate_limit of the web configuration is reached";
        return HttpError::new(StatusCode::TOO_MANY_REQUESTS, message).with_retry_after(1).into_response();
    }
    let config = handle.last_config();
    let keys = config.as_ref().map_or(&[] as &[ApiKey], |config| &config.api);
    let (known, viewer) = match find_viewer(&handle, &web, keys, &parts).await {
        Ok(found) => found,
        Err(error) => return challenge(error.into_response(), &web, keys),
    };
    parts.extensions.insert(IsKnown(known));
    parts.extensions.insert(viewer);
    next.run(Request::from_parts(parts, body)).await
}

/// Says how to log in, where somebody has to.
fn challenge(mut response: Response, web: &WebConfig, keys: &[ApiKey]) -> Response {
    if response.status() == StatusCode::UNAUTHORIZED {
        let headers = response.headers_mut();
        headers.remove(header::WWW_AUTHENTICATE);
        if !web.users.is_empty() {
            let basic = HeaderValue::from_static("Basic realm=\"videogen-exporter\", charset=\"UTF-8\"");
            headers.append(header::WWW_AUTHENTICATE, basic);
        }
        if !keys.is_empty() {
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
    }
    response
}

/// Whether a path is for probes, which have neither a login nor a limit.
fn is_probe(path: &str) -> bool {
    matches!(path, "/-/healthy" | "/-/ready")
}

async fn find_viewer(
    handle: &Handle,
    web: &WebConfig,
    keys: &[ApiKey],
    Parts { method, uri, headers, extensions, .. }: &Parts,
) -> Result<(bool, Viewer), HttpError> {
    let path = uri.path();
    let needs_login = !web.users.is_empty();
    let needs_key = keys.iter().any(|key| key.may(Scope::Read));
    let is_open = is_probe(path) || path.starts_with("/webhooks/");
    // The script has nothing to hide, and a reload is allowed by an option of its own.
    let is_harmless = matches!(path, SCRIPT_PATH | RELOAD_PATH);
    if is_open || !needs_login && (!needs_key || is_harmless) {
        return Ok((false, Viewer::EVERYTHING));
    }
    let no_client = || HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, "the client of the request is not known");
    let client = *extensions.get::<Client>().ok_or_else(no_client)?;
    let is_write = path.starts_with("/api/") && matches!(*method, Method::POST | Method::DELETE);
    if needs_login && let Some((name, password)) = basic_login(headers) {
        if is_write {
            let message =
                "a login only reads; to change tasks, send an API key with scope write as `Authorization: Bearer KEY`";
            return Err(HttpError::new(StatusCode::FORBIDDEN, message));
        }
        handle.access.check_login(&web.users, client, (&name, &password)).await?;
        return Ok((true, Viewer::EVERYTHING));
    }
    if keys.is_empty() || bearer_key(headers).is_none() {
        let message = match (needs_login, needs_key) {
            _ if is_write => "an API key with scope write is needed; send it as `Authorization: Bearer KEY`",
            _ if path == RELOAD_PATH => "a login of the web configuration is needed",
            (true, false) => "a login of the web configuration is needed; send it as `Authorization: Basic …`",
            (true, true) => "a login of the web configuration is needed, or an API key with scope read",
            (false, _) => "an API key with scope read is needed; send it as `Authorization: Bearer KEY`",
        };
        return Err(HttpError::new(StatusCode::UNAUTHORIZED, message));
    }
    let permissions = handle.access.find_permissions(keys, client, headers).await?;
    if is_write {
        // Its route checks what may be changed.
        return Ok((true, Viewer::EVERYTHING));
    }
    let readable: Vec<ApiKey> = permissions.entries().filter(|key| key.may(Scope::Read)).cloned().collect();
    let refused = match (path, readable.is_empty()) {
        (RELOAD_PATH, _) => "an API key may not reload the configuration; a login of the web configuration may",
        (_, true) => "this API key may not read: its entry in api.authorization lacks the scope read",
        _ => return Ok((true, Viewer::of_keys(readable))),
    };
    handle.access.report(client, AuthFailure::Scope);
    Err(HttpError::new(StatusCode::FORBIDDEN, refused))
}

/// The name and password of a request (RFC 7617).
fn basic_login(headers: &HeaderMap) -> Option<(String, String)> {
    let (scheme, text) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") || text.len() > MAX_LOGIN {
        return None;
    }
    let text = String::from_utf8(BASE64_STANDARD.decode(text.trim()).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_read_from_its_header() {
        let read = |value: &str| {
            let headers = [(header::AUTHORIZATION, value.parse().unwrap())].into_iter().collect();
            basic_login(&headers)
        };
        let login = |text: &str| Some((text.to_owned(), "a:b é".to_owned()));
        assert_eq!(read(&format!("Basic {}", BASE64_STANDARD.encode("dave:a:b é"))), login("dave"));
        assert_eq!(read(&format!("bASIC  {} ", BASE64_STANDARD.encode(":a:b é"))), login(""));
        let long = format!("Basic {}", "A".repeat(5000));
        for wrong in ["Basic", "Basic !!", "Basic ZGF2ZQ==", "Basic //79", "Bearer ZGF2ZTp4", &long] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
