//! Registering and forgetting tasks, for whoever has a key: each is done to its end, under the configuration that is in force
//! while it is done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use super::body;
use super::handle::{Handle, InForce};
use super::problem::{Answer, Item, Refusal};
use crate::clock;
use crate::config::Upstream;
use crate::domain::labels::{LABEL_NAME, is_label_name, sanitize};
use crate::domain::{NewTask, TaskId, Timestamp};
use crate::provider::any_moment;

/// Most tasks of a registration.
const MAX_ITEMS: usize = 1000;

/// Most labels of a task.
const MAX_LABELS: usize = 32;

/// How far ahead of ours the clock of whoever submitted a task may be.
const CLOCKS_APART: Duration = Duration::from_hours(24);

/// Registers one task or many, all of them or, with what is wrong with which, none.
pub async fn register(State(handle): State<Arc<Handle>>, headers: HeaderMap, body: Body) -> Answer {
    // Who may not need not send anything.
    handle.in_force()?.access.check(&headers).await?;
    let items = read_items(body).await?;
    let work = {
        let handle = handle.clone();
        async move { register_all(&handle, &headers, &items).await }
    };
    handle.to_its_end(work).await
}

/// Watches a task no longer.
pub async fn forget(
    State(handle): State<Arc<Handle>>,
    headers: HeaderMap,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Answer {
    let Path((upstream, id)) = path?;
    handle.in_force()?.access.check(&headers).await?;
    let work = {
        let handle = handle.clone();
        async move { forget_one(&handle, &headers, &upstream, &id).await }
    };
    handle.to_its_end(work).await
}

async fn read_items(body: Body) -> Result<Vec<Value>, Refusal> {
    let body = body::read(body).await?;
    let no_json = |error: serde_json::Error| {
        let why = format!("no JSON: line {}, column {}", error.line(), error.column());
        Refusal::new(StatusCode::BAD_REQUEST, why)
    };
    let items = match serde_json::from_slice::<Value>(&body).map_err(no_json)? {
        Value::Array(items) => items,
        one => vec![one],
    };
    if items.is_empty() || items.len() > MAX_ITEMS {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, format!("expected 1 to {MAX_ITEMS} tasks")));
    }
    Ok(items)
}

async fn register_all(handle: &Handle, headers: &HeaderMap, items: &[Value]) -> Answer {
    let in_force = handle.in_force()?;
    let rights = in_force.access.rights(headers).await?;
    let mut wrong = Vec::new();
    let mut foreign = false;
    let mut by_upstream: BTreeMap<&str, (&Upstream, Vec<usize>, Vec<NewTask>)> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        match read_item(&in_force, item) {
            Ok((upstream, _)) if !rights.cover(&upstream.name) => {
                foreign = true;
                wrong.push(Item { index, key: "upstream", message: "this key is not for this upstream".to_owned() });
            }
            Ok((upstream, task)) => {
                let (_, places, tasks) =
                    by_upstream.entry(&upstream.name).or_insert((upstream, Vec::new(), Vec::new()));
                places.push(index);
                tasks.push(task);
            }
            Err((key, message)) => wrong.push(Item { index, key, message }),
        }
    }
    if !wrong.is_empty() {
        let status = if foreign { StatusCode::FORBIDDEN } else { StatusCode::BAD_REQUEST };
        let why = "nothing was registered; `items` says what is wrong with which task";
        return Err(Refusal::new(status, why).with(wrong));
    }
    let mut results = vec![Value::Null; items.len()];
    for (upstream, places, tasks) in by_upstream.into_values() {
        let ids: Vec<TaskId> = tasks.iter().map(|task| task.id.clone()).collect();
        let came = handle.agent.register(&upstream.name, tasks).await?;
        for ((place, id), how) in places.into_iter().zip(ids).zip(came) {
            results[place] = result(&upstream.name, &id, how.as_str());
        }
    }
    Ok(Json(json!({ "tasks": results })))
}

async fn forget_one(handle: &Handle, headers: &HeaderMap, upstream: &str, id: &str) -> Answer {
    let in_force = handle.in_force()?;
    if !in_force.access.rights(headers).await?.cover(upstream) {
        return Err(Refusal::new(StatusCode::FORBIDDEN, "this key is not for this upstream"));
    }
    let upstream = in_force.upstream(upstream).ok_or_else(Refusal::no_task)?;
    let id = TaskId::parse(id).map_err(|_| Refusal::no_task())?;
    if !handle.agent.forget(&upstream.name, id.clone()).await? {
        return Err(Refusal::no_task());
    }
    Ok(Json(result(&upstream.name, &id, "forgotten")))
}

fn result(upstream: &str, id: &TaskId, how: &str) -> Value {
    json!({ "upstream": upstream, "task_id": id.as_str(), "result": how })
}

/// A task of a registration, or the key that is wrong with it and why.
fn read_item<'a>(in_force: &'a InForce, item: &Value) -> Result<(&'a Upstream, NewTask), (&'static str, String)> {
    let wrong = |key, message: &str| Err((key, message.to_owned()));
    let Value::Object(fields) = item else { return wrong("", "expected an object with upstream and task_id") };
    if fields.keys().any(|key| !["upstream", "task_id", "submit_time", "labels"].contains(&key.as_str())) {
        return wrong("", "unknown key; known are upstream, task_id, submit_time, labels");
    }
    let text = |key: &'static str| fields.get(key).and_then(Value::as_str).ok_or((key, "expected a text".to_owned()));
    let Some(upstream) = in_force.upstream(text("upstream")?) else {
        return wrong("upstream", "there is no upstream of this name");
    };
    let id = TaskId::parse(text("task_id")?).map_err(|error| ("task_id", error.to_string()))?;
    upstream.dialect.request(&id).map_err(|error| ("task_id", error.to_string()))?;
    let submit = match fields.get("submit_time") {
        None | Some(Value::Null) => None,
        Some(value) => match any_moment(value) {
            None => return wrong("submit_time", "expected Unix seconds or a time such as 2026-01-02T03:04:05Z"),
            Some(moment) if moment > Timestamp::from(clock::now()) + CLOCKS_APART => {
                return wrong("submit_time", "is more than a day ahead");
            }
            moment => moment,
        },
    };
    let labels = match fields.get("labels") {
        None | Some(Value::Null) => BTreeMap::new(),
        Some(Value::Object(labels)) => read_labels(labels).map_err(|message| ("labels", message.to_owned()))?,
        Some(_) => return wrong("labels", "expected an object of texts"),
    };
    Ok((upstream, NewTask { labels: Arc::new(labels), submit, ..NewTask::new(id) }))
}

fn read_labels(labels: &Map<String, Value>) -> Result<BTreeMap<String, String>, &'static str> {
    if labels.len() > MAX_LABELS {
        return Err("at most 32 labels");
    }
    let read = |(name, value): (&String, &Value)| match value {
        _ if !is_label_name(name) => Err(LABEL_NAME),
        Value::String(text) => Ok((name.clone(), sanitize(text).into_owned())),
        _ => Err("expected an object of texts"),
    };
    labels.iter().map(read).collect()
}
