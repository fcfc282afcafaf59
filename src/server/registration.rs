//! Registers and forgets tasks for clients with an API key. Each change runs to its end under one configuration.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use super::body;
use super::client::Client;
use super::error::{HttpError, Item, JsonResult};
use super::handle::Handle;
use super::quota;
use crate::agent::Registration;
use crate::clock;
use crate::config::{ApiKey, Config, Upstream};
use crate::domain::labels::{LABEL_NAME_RULE, is_label_name, sanitize_source_label};
use crate::domain::{NewTask, TaskId, Timestamp};
use crate::metrics::AuthFailure;
use crate::provider::time_or_utc;
use crate::view::UpstreamView;

/// Most tasks of a registration.
const MAX_ITEMS: usize = 1000;

/// Most labels of a task.
const MAX_LABELS: usize = 32;

const NO_ACCESS: &str = "this API key has no access to this upstream";

const SUBMIT_TIME_RULE: &str =
    "expected Unix seconds or a time such as 2026-01-02T03:04:05Z, of the years 2015 to 2099";
/// How long a registration waits for others. They wait only for the state store.
const REGISTRATION_TIMEOUT: Duration = Duration::from_secs(10);

/// How far in the future a submit time may be: the client's clock may be ahead.
const MAX_CLOCK_SKEW: Duration = Duration::from_hours(24);

/// Registers one task or many. One invalid task makes it register none, and return the error of each.
pub async fn register(
    State(handle): State<Arc<Handle>>,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
    body: Body,
) -> JsonResult {
    // The key is checked before the body is read.
    handle.access.admit(&handle.active_config()?.api, client, &headers).await?;
    let items = read_items(body).await?;
    let work = {
        let handle = handle.clone();
        async move { register_all(&handle, client, &headers, &items).await }
    };
    handle.run_to_completion(work).await
}

/// Stops tracking a task.
pub async fn forget(
    State(handle): State<Arc<Handle>>,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
    path: Result<Path<(String, String)>, PathRejection>,
) -> JsonResult {
    let Path((upstream, id)) = path?;
    handle.access.admit(&handle.active_config()?.api, client, &headers).await?;
    let work = {
        let handle = handle.clone();
        async move { forget_one(&handle, (client, &headers), (&upstream, &id)).await }
    };
    handle.run_to_completion(work).await
}

/// The tasks of a registration that are of one upstream.
struct Batch<'a> {
    upstream: &'a Upstream,
    /// What allows it.
    key: &'a ApiKey,
    /// Their positions in the request.
    indexes: Vec<usize>,
    tasks: Vec<NewTask>,
}

async fn read_items(body: Body) -> Result<Vec<Value>, HttpError> {
    let body = body::read(body).await?;
    let invalid_json = |error: serde_json::Error| {
        let message = format!("the body is not valid JSON: line {}, column {}", error.line(), error.column());
        HttpError::new(StatusCode::BAD_REQUEST, message)
    };
    let items = match serde_json::from_slice::<Value>(&body).map_err(invalid_json)? {
        Value::Array(items) => items,
        one => vec![one],
    };
    if items.is_empty() || items.len() > MAX_ITEMS {
        return Err(HttpError::new(StatusCode::BAD_REQUEST, format!("expected 1 to {MAX_ITEMS} tasks in the body")));
    }
    Ok(items)
}

async fn register_all(handle: &Handle, client: Client, headers: &HeaderMap, items: &[Value]) -> JsonResult {
    let config = handle.active_config()?;
    let permissions = handle.access.find_permissions(&config.api, client, headers).await?;
    let mut errors = Vec::new();
    let mut is_forbidden = false;
    let mut by_upstream: BTreeMap<&str, Batch<'_>> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        match read_item(&config, item) {
            Ok((upstream, mut task)) => {
                let Some(key) = permissions.writer_for(&upstream.name) else {
                    is_forbidden = true;
                    errors.push(Item { index, key: "upstream", message: NO_ACCESS.to_owned() });
                    continue;
                };
                task.key = Some(key.identity());
                Arc::make_mut(&mut task.labels).extend(key.labels.clone());
                let batch = by_upstream.entry(&upstream.name);
                let batch = batch.or_insert_with(|| Batch { upstream, key, indexes: Vec::new(), tasks: Vec::new() });
                batch.indexes.push(index);
                batch.tasks.push(task);
            }
            // A key for some upstreams is not told which others there are.
            Err(("upstream", _)) if !permissions.have_every_upstream() => {
                is_forbidden = true;
                errors.push(Item { index, key: "upstream", message: NO_ACCESS.to_owned() });
            }
            Err((key, message)) => errors.push(Item { index, key, message }),
        }
    }
    if !errors.is_empty() {
        let status = if is_forbidden { StatusCode::FORBIDDEN } else { StatusCode::BAD_REQUEST };
        if is_forbidden {
            handle.access.report(client, AuthFailure::Scope);
        }
        let message = "no task was registered; `items` has the error of each invalid task";
        return Err(HttpError::new(status, message).with_items(errors));
    }
    let registering = tokio::time::timeout(REGISTRATION_TIMEOUT, handle.registering.lock()).await;
    let _registering = registering.map_err(|_| busy())?;
    let views = handle.agent.views();
    let new = by_upstream.iter().flat_map(|(name, batch)| batch.tasks.iter().map(|task| (*name, task)));
    let new: Vec<_> = new.collect();
    permissions.entries().try_for_each(|key| quota::check(key, &views, &new))?;
    let mut results = vec![Value::Null; items.len()];
    for Batch { upstream, key, indexes, tasks } in by_upstream.into_values() {
        let registered = register_tasks(handle, key, upstream, tasks, &views).await?;
        for (index, (id, outcome)) in indexes.into_iter().zip(registered) {
            results[index] = result(&upstream.name, &id, outcome.as_str());
        }
    }
    Ok(Json(json!({ "tasks": results })))
}

/// Registers tasks of one upstream; returns the result of each. A key with labels is not told whether somebody else watches a
/// task, or has watched it: whatever it does not see looks new. The agent leaves such a task as it is.
async fn register_tasks(
    handle: &Handle,
    key: &ApiKey,
    upstream: &Upstream,
    tasks: Vec<NewTask>,
    views: &[Arc<UpstreamView>],
) -> Result<Vec<(TaskId, Registration)>, HttpError> {
    let ids: Vec<TaskId> = tasks.iter().map(|task| task.id.clone()).collect();
    let outcomes = handle.agent.register(&upstream.name, tasks).await?;
    if key.labels.is_empty() {
        return Ok(ids.into_iter().zip(outcomes).collect());
    }
    let tracked = views.iter().filter(|view| view.upstream == upstream.name).flat_map(|view| view.tasks());
    let own: HashSet<&TaskId> = tracked.filter(|task| key.has_task(task)).map(|task| &task.id).collect();
    let outcome = |id: &TaskId| if own.contains(id) { Registration::Tracked } else { Registration::New };
    Ok(ids.into_iter().map(|id| (id.clone(), outcome(&id))).collect())
}

async fn forget_one(
    handle: &Handle,
    (client, headers): (Client, &HeaderMap),
    (upstream, id): (&str, &str),
) -> JsonResult {
    let config = handle.active_config()?;
    let permissions = handle.access.find_permissions(&config.api, client, headers).await?;
    let Some(key) = permissions.writer_for(upstream) else {
        handle.access.report(client, AuthFailure::Scope);
        return Err(HttpError::new(StatusCode::FORBIDDEN, NO_ACCESS));
    };
    let upstream = config.upstream(upstream).ok_or_else(HttpError::task_not_found)?;
    let id = TaskId::parse(id).map_err(|_| HttpError::task_not_found())?;
    // A key with labels has only the tasks that it sees; others may have left the page, and still be known.
    let is_own = || handle.agent.task(&upstream.name, &id).is_some_and(|task| key.has_task(&task));
    if !key.labels.is_empty() && !is_own() {
        return Err(HttpError::task_not_found());
    }
    if !handle.agent.forget(&upstream.name, id.clone()).await? {
        return Err(HttpError::task_not_found());
    }
    Ok(Json(result(&upstream.name, &id, "forgotten")))
}

fn busy() -> HttpError {
    let message = "other registrations are waiting for the state store; retry after one second";
    HttpError::new(StatusCode::SERVICE_UNAVAILABLE, message).with_retry_after(1)
}

fn result(upstream: &str, id: &TaskId, result: &str) -> Value {
    json!({ "upstream": upstream, "task_id": id.as_str(), "result": result })
}

/// Reads one task of a registration; an error has the wrong key and a message.
fn read_item<'a>(config: &'a Config, item: &Value) -> Result<(&'a Upstream, NewTask), (&'static str, String)> {
    let invalid = |key, message: &str| Err((key, message.to_owned()));
    let Value::Object(fields) = item else { return invalid("", "expected an object with upstream and task_id") };
    if fields.keys().any(|key| !["upstream", "task_id", "submit_time", "labels"].contains(&key.as_str())) {
        return invalid("", "unknown key; known keys: upstream, task_id, submit_time, labels");
    }
    let string =
        |key: &'static str| fields.get(key).and_then(Value::as_str).ok_or((key, "expected a string".to_owned()));
    let Some(upstream) = config.upstream(string("upstream")?) else {
        return invalid("upstream", "no upstream with this name is configured");
    };
    let id = TaskId::parse(string("task_id")?).map_err(|error| ("task_id", error.to_string()))?;
    upstream.dialect.request(&id).map_err(|error| ("task_id", error.to_string()))?;
    let submit = match fields.get("submit_time") {
        None | Some(Value::Null) => None,
        Some(value) => match time_or_utc(value) {
            None => return invalid("submit_time", SUBMIT_TIME_RULE),
            Some(time) if time > Timestamp::from(clock::now()) + MAX_CLOCK_SKEW => {
                return invalid("submit_time", "is more than 24 hours in the future");
            }
            time => time,
        },
    };
    let labels = match fields.get("labels") {
        None | Some(Value::Null) => BTreeMap::new(),
        Some(Value::Object(labels)) => read_labels(labels).map_err(|message| ("labels", message.to_owned()))?,
        Some(_) => return invalid("labels", "expected an object of strings"),
    };
    Ok((upstream, NewTask { labels: Arc::new(labels), submit, ..NewTask::new(id) }))
}

fn read_labels(labels: &Map<String, Value>) -> Result<BTreeMap<String, String>, &'static str> {
    if labels.len() > MAX_LABELS {
        return Err("too many labels; send at most 32");
    }
    let read = |(name, value): (&String, &Value)| match value {
        _ if !is_label_name(name) => Err(LABEL_NAME_RULE),
        Value::String(text) => Ok((name.clone(), sanitize_source_label(text).into_owned())),
        _ => Err("expected an object of strings"),
    };
    labels.iter().map(read).collect()
}
