//! `/webhooks/{upstream}/{secret}`: where providers tell by themselves how tasks are doing.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::body;
use super::handle::Handle;
use super::problem::Refusal;
use crate::agent::CallbackOutcome;
use crate::clock;
use crate::domain::TaskId;
use crate::metrics::CallbackResult;
use crate::provider::Callback;

/// Takes a callback. Its body is never trusted further than to move a task forward; its path is shown nowhere.
pub async fn receive(
    State(handle): State<Arc<Handle>>,
    path: Result<Path<(String, String)>, PathRejection>,
    body: Body,
) -> Result<Response, Refusal> {
    let Path((name, secret)) = path?;
    // The same for an upstream that is not there, has no callbacks, or has another secret.
    let nothing = || Refusal::new(StatusCode::NOT_FOUND, "there is nothing here");
    let in_force = handle.in_force()?;
    let upstream = in_force.upstream(&name).ok_or_else(nothing)?;
    let own = upstream.webhook.as_ref().ok_or_else(nothing)?;
    let count =
        |result| handle.agent.metrics().upstreams.callback_received(&upstream.name, result, clock::now().into());
    if !own.get().await.is(&secret) {
        count(CallbackResult::Unauthorized);
        return Err(in_force.access.refuse(nothing()));
    }
    let invalid = |status, why: &str| {
        count(CallbackResult::Invalid);
        Refusal::new(status, why)
    };
    let body = body::read(body).await.inspect_err(|_| count(CallbackResult::Invalid))?;
    let no_task = || invalid(StatusCode::BAD_REQUEST, "there is no task in it, or it does not say where that stands");
    match upstream.dialect.read_callback(&body).map_err(|_| no_task())? {
        Callback::Challenge(challenge) => Ok(Json(json!({ "challenge": challenge })).into_response()),
        Callback::Answer(answer) => {
            let id = answer.task_id.as_deref().and_then(|id| TaskId::parse(id).ok()).ok_or_else(no_task)?;
            match handle.agent.call_back(&upstream.name, id, answer).await? {
                CallbackOutcome::Accepted => {
                    count(CallbackResult::Accepted);
                    Ok(Json(json!({ "result": "accepted" })).into_response())
                }
                // It may be named in a moment, and is asked for then: no reason to send it again.
                CallbackOutcome::UnknownTask => {
                    count(CallbackResult::UnknownTask);
                    Ok(Json(json!({ "result": "unknown_task" })).into_response())
                }
            }
        }
    }
}
