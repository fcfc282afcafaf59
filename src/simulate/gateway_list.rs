//! The task list of a new-api gateway: its filters and its pages.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::gateway::{Gateway, parameter, reply};
use super::row::{Audience, row_for, status_word};
use super::view::TaskView;
use crate::clock;

/// Most rows of a page.
const MAX_PAGE: usize = 100;

/// The list of a user's own tasks, or without a user of all of them.
pub async fn own(State(gateway): State<Arc<Gateway>>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let user = headers.get("new-api-user").and_then(|user| user.to_str().ok()?.parse().ok());
    list(&gateway, query.as_deref(), Audience::User, user).await
}

/// An administrator's list of every user's tasks.
pub async fn all(State(gateway): State<Arc<Gateway>>, RawQuery(query): RawQuery) -> Response {
    list(&gateway, query.as_deref(), Audience::Administrator, None).await
}

async fn list(gateway: &Gateway, query: Option<&str>, audience: Audience, user: Option<usize>) -> Response {
    if !gateway.admit_to_api(clock::instant()) {
        return (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "180")]).into_response();
    }
    if let Some(fault) = gateway.respond_with_fault().await {
        return fault;
    }
    let text = |name| parameter(query, name).next().filter(|text| !text.is_empty());
    let number = |name| text(name).and_then(|text| text.parse::<i64>().ok());
    let (id, status, platform) = (text("task_id"), text("status"), text("platform"));
    let (since, until) = (number("start_timestamp").unwrap_or(0), number("end_timestamp").unwrap_or(0));
    let is_listed = |task_id: &str, view: &TaskView| {
        let submit = view.created_ms / 1000;
        id.as_deref().is_none_or(|id| id == task_id)
            && user.is_none_or(|user| view.task.user + 1 == user)
            && platform.as_deref().is_none_or(|platform| platform == view.task.model.platform)
            && status.as_deref().is_none_or(|status| status == status_word(view))
            && (since == 0 || submit >= since)
            && (until == 0 || submit <= until)
    };
    let page = usize::try_from(number("p").unwrap_or(1)).unwrap_or(1).max(1);
    let size = usize::try_from(number("page_size").unwrap_or(10)).unwrap_or(10).clamp(1, MAX_PAGE);
    let has_bodies = gateway.has_bodies();
    let render = |id: &str, view: &TaskView| row_for(id, view, audience, has_bodies);
    let (rows, total) = gateway.render_page((page - 1).saturating_mul(size), size, is_listed, render);
    reply(StatusCode::OK, &envelope(&rows, page, size, total))
}

fn envelope(rows: &[Value], page: usize, size: usize, total: usize) -> Value {
    json!({"success": true, "message": "", "data": {"page": page, "page_size": size, "total": total, "items": rows}})
}
