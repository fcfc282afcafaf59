//! `/webhooks/{upstream}/{secret}`: receives the callbacks of providers about their tasks.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::body;
use super::client::Client;
use super::error::HttpError;
use super::handle::Handle;
use crate::agent::CallbackOutcome;
use crate::clock;
use crate::config::Webhook;
use crate::domain::TaskId;
use crate::metrics::CallbackResult;
use crate::provider::{Callback, CallbackKeys, SignedRequest};

/// Receives a callback. Its body can only move a task forward, and its path is never logged: it has a secret.
pub async fn receive(
    State(handle): State<Arc<Handle>>,
    Extension(client): Extension<Client>,
    path: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, HttpError> {
    let Path((name, secret)) = path?;
    // An unknown upstream, one without callbacks and a wrong secret get the same response as an unknown path.
    let config = handle.active_config()?;
    let found = config.upstream(&name).and_then(|upstream| Some((upstream, upstream.webhook.as_ref()?)));
    let Some((upstream, webhook)) = found else {
        handle.access.check_webhook(client, None, &secret)?;
        return Err(HttpError::unknown_path());
    };
    let count =
        |result| handle.agent.metrics().upstreams.callback_received(&upstream.name, result, clock::now().into());
    let expected = webhook.secret.get().await;
    let checked = handle.access.check_webhook(client, Some(&expected), &secret);
    checked.inspect_err(|_| count(CallbackResult::Unauthorized))?;
    let body = body::read(body).await.inspect_err(|_| count(CallbackResult::Invalid))?;
    let is_signed = is_signed(webhook, (&handle.link_prefix, &uri), &headers, &body).await;
    let checked = handle.access.check_signature(client, is_signed);
    checked.inspect_err(|_| count(CallbackResult::Unauthorized))?;
    let no_task = || {
        count(CallbackResult::Invalid);
        HttpError::new(StatusCode::BAD_REQUEST, "the callback has no task id, or no known status")
    };
    let (id, answer) = match upstream.dialect.read_callback(&body).map_err(|_| no_task())? {
        Callback::Challenge(challenge) => return Ok(Json(json!({ "challenge": challenge })).into_response()),
        Callback::Answer(answer) => (answer.task_id.clone(), Some(answer)),
        Callback::Nudge(id) => (Some(id), None),
    };
    let id = id.and_then(|id| TaskId::parse(&id).ok()).ok_or_else(no_task)?;
    match handle.agent.call_back(&upstream.name, id, answer).await? {
        CallbackOutcome::Accepted => {
            count(CallbackResult::Accepted);
            Ok(Json(json!({ "result": "accepted" })).into_response())
        }
        // The response is a success, so that the provider does not send it again: a source may name the task soon, and then
        // it is polled.
        CallbackOutcome::UnknownTask => {
            count(CallbackResult::UnknownTask);
            Ok(Json(json!({ "result": "unknown_task" })).into_response())
        }
    }
}

/// Whether a callback is signed by the provider, as far as that can be verified. Published keys that are not known yet are read.
async fn is_signed(webhook: &Webhook, (prefix, uri): (&str, &Uri), headers: &HeaderMap, body: &[u8]) -> bool {
    let Some(signature) = webhook.signature else { return true };
    // The provider signs the path that it knows: that of the outside.
    let path = format!("{prefix}{}", uri.path());
    let is_valid = |keys: &CallbackKeys<'_>| {
        let header = |name: &str| headers.get(name)?.to_str().ok();
        let query = uri.query().unwrap_or_default();
        signature.is_valid(&SignedRequest { path: &path, query, header: &header, body, now: clock::now().into() }, keys)
    };
    if let Some(secret) = &webhook.signing_secret
        && is_valid(&CallbackKeys { secret: Some(secret.get().await.expose()), public: &[] })
    {
        return true;
    }
    let Some(public_keys) = &webhook.public_keys else { return false };
    for are_stale in [false, true] {
        let keys = public_keys.keys(are_stale).await;
        if is_valid(&CallbackKeys { secret: None, public: &keys }) {
            return true;
        }
    }
    false
}
