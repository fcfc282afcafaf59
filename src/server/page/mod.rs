//! The pages for people: the start page and one for each task, rendered here; a small script refreshes them.

mod home;
mod html;
mod query;
mod task;
mod timeline;

use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;

use super::handle::Handle;
use super::viewer::Viewer;
use crate::domain::TaskId;
use crate::store::Step;
use home::Home;
use html::{Frame, HtmlEscaped, Pause, SCRIPT};
use query::{Choices, PageQuery};
use task::TaskPage;

pub use html::SCRIPT_PATH;

/// What a page may load: its own style, its own script, and itself again.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A page with a status.
fn respond(status: StatusCode, page: String) -> Response {
    const NAME: HeaderName = header::CONTENT_SECURITY_POLICY;
    (status, [(NAME, HeaderValue::from_static(POLICY))], Html(page)).into_response()
}

fn error_page(handle: &Handle, status: StatusCode, message: &str) -> Response {
    let frame = frame(handle, "Error", None);
    let content = format!(
        "<p class=error role=alert>{}</p><p><a href='{}/'>All tasks</a></p>",
        HtmlEscaped(message),
        HtmlEscaped(&handle.link_prefix)
    );
    respond(status, frame.around(&content))
}

fn frame<'a>(handle: &'a Handle, title: &'a str, pause: Option<Pause>) -> Frame<'a> {
    Frame {
        title,
        prefix: &handle.link_prefix,
        telemetry_path: &handle.telemetry_path,
        grafana_url: handle.grafana_url.as_deref(),
        pause,
    }
}

/// The script.
pub async fn script() -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8"))], SCRIPT).into_response()
}

/// The start page.
pub async fn home(
    State(handle): State<Arc<Handle>>,
    Extension(viewer): Extension<Viewer>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Response {
    let query = match query {
        Ok(Query(query)) => query,
        Err(error) => return error_page(&handle, StatusCode::BAD_REQUEST, &error.body_text()),
    };
    let failed = handle.clone();
    // Very many tasks take a while, and scrapes must not wait for that.
    let rendered = tokio::task::spawn_blocking(move || render_home(&handle, &viewer, &query)).await;
    rendered.unwrap_or_else(|_| error_page(&failed, StatusCode::INTERNAL_SERVER_ERROR, "internal error; see the log"))
}

fn render_home(handle: &Handle, viewer: &Viewer, query: &PageQuery) -> Response {
    let views = viewer.limit(handle.agent.views());
    let choices = Choices::of(&views);
    if let Err(message) = query.check(&choices) {
        return error_page(handle, StatusCode::BAD_REQUEST, &message);
    }
    let metrics = handle.agent.metrics();
    // Whoever sees only some tasks is told nothing of the upstreams that others use as well.
    let with_health = views.iter().filter(|_| !viewer.is_limited());
    let health: Vec<_> = with_health.map(|view| metrics.upstreams.health(&view.upstream)).collect();
    let wall_offset = metrics.clock().wall_offset();
    let now = wall_offset.apply(metrics.clock().now().steady);
    let pause = Pause { is_paused: query.is_paused(), other_query: query.with_other_refresh() };
    let content = Home {
        prefix: &handle.link_prefix,
        views: &views,
        health: &health,
        query,
        choices: &choices,
        now,
        wall_offset,
    }
    .render();
    respond(StatusCode::OK, frame(handle, "videogen-exporter", Some(pause)).around(&content))
}

/// The query of a task's page.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TaskQuery {
    refresh: String,
}

/// The page of one task.
pub async fn task(
    State(handle): State<Arc<Handle>>,
    Extension(viewer): Extension<Viewer>,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<TaskQuery>, QueryRejection>,
) -> Response {
    let not_found = || {
        let message = "No tracked task has this upstream and id. It may have left the exporter (tasks.retention).";
        error_page(&handle, StatusCode::NOT_FOUND, message)
    };
    let Ok(Path((upstream, id))) = path else { return not_found() };
    let Ok(id) = TaskId::parse(&id) else { return not_found() };
    let is_paused = match query {
        Ok(Query(TaskQuery { refresh })) if matches!(&*refresh, "" | "off") => !refresh.is_empty(),
        Ok(_) => return error_page(&handle, StatusCode::BAD_REQUEST, "refresh must be off"),
        Err(error) => return error_page(&handle, StatusCode::BAD_REQUEST, &error.body_text()),
    };
    let upstream: Arc<str> = upstream.into();
    let views = viewer.limit(handle.agent.views());
    let view = views.iter().find(|view| view.upstream == upstream);
    let found = view.and_then(|view| Some((view, view.tasks().find(|task| task.id == id)?)));
    let Some((view, task)) = found else { return not_found() };
    let steps = match handle.agent.timeline(upstream.clone(), id).await {
        Ok(steps) => steps,
        Err(error) => return error_page(&handle, StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    };
    let clock = handle.agent.metrics().clock();
    let offset = clock.wall_offset();
    let steps: Vec<Step> = steps.into_iter().map(|step| Step { at: offset.apply(step.at), ..step }).collect();
    let (task, now) = (task.by_wall(offset), offset.apply(clock.now().steady));
    let grafana_url = handle.grafana_url.as_deref();
    let content = TaskPage { prefix: &handle.link_prefix, task: &task, view, steps: &steps, grafana_url, now }.render();
    let title = format!("{} {}", task.id, upstream);
    let other_query = if is_paused { "" } else { "refresh=off" }.to_owned();
    let pause = task.is_active().then_some(Pause { is_paused, other_query });
    respond(StatusCode::OK, frame(&handle, &title, pause).around(&content))
}
