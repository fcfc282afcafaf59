//! `/api/v1/tasks`: the tasks as JSON, page by page; one with its past; and, with a key, registering and forgetting.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::problem::{Item, Refusal};
use super::{Handle, InForce};
use crate::agent::Registered;
use crate::config::Upstream;
use crate::domain::labels::{is_label_name, sanitise};
use crate::domain::task::UNKNOWN_MODEL;
use crate::domain::{NewTask, Status, Task, TaskId, Timestamp};
use crate::provider::any_moment;
use crate::store::{Step, StoreError};

/// Most bytes of a registration.
const MAX_BODY: usize = 1 << 20;

/// Most tasks in one.
const MAX_ITEMS: usize = 1000;

/// Most labels of a task.
const MAX_LABELS: usize = 32;

/// How long its body may take to arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(10);

/// Tasks of a page, when nobody says how many, and at most.
const PAGE: (usize, usize) = (100, 1000);

type Answer = Result<Json<Value>, Refusal>;

/// What is asked for of the tasks.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wanted {
    pub(super) upstream: Option<String>,
    pub(super) status: Option<String>,
    pub(super) model: Option<String>,
    pub(super) source: Option<String>,
    pub(super) limit: Option<usize>,
    pub(super) after: Option<String>,
}

impl Wanted {
    pub(super) fn has(&self, task: &Task) -> bool {
        // A field of a form that was left empty wants nothing.
        let is = |wanted: &Option<String>, text: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted.is_empty() || wanted == text)
        };
        is(&self.upstream, &task.upstream)
            && is(&self.status, task.status.as_str())
            && is(&self.model, task.model.as_deref().unwrap_or(UNKNOWN_MODEL))
            && is(&self.source, &task.origin.source)
    }
}

/// A page of the tasks, by upstream and id; `next` is where the page after it begins.
pub async fn list(State(handle): State<Arc<Handle>>, wanted: Result<Query<Wanted>, QueryRejection>) -> Answer {
    let Query(wanted) = wanted.map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let bad = |message: &str| Refusal::new(StatusCode::BAD_REQUEST, message);
    let limit = wanted.limit.unwrap_or(PAGE.0);
    if !(1..=PAGE.1).contains(&limit) {
        return Err(bad("limit must be 1 to 1000"));
    }
    if wanted.status.as_deref().is_some_and(|word| Status::of_word(word).is_none()) {
        return Err(bad("status must be one of queued, running, succeeded, failed, cancelled, expired, lost, unknown"));
    }
    let after = wanted
        .after
        .as_deref()
        .map(|after| place_of(after).ok_or_else(|| bad("after must be the `next` of another page")));
    let after = after.transpose()?;
    let (tasks, more) = handle.shared.tracker.page(after, limit, |task| wanted.has(task));
    let next = tasks.last().filter(|_| more).map(|task| mark_of(task));
    Ok(Json(json!({ "tasks": tasks.iter().map(|task| shown(task)).collect::<Vec<_>>(), "next": next })))
}

/// The place of a task among all, as a text that needs no escaping.
fn mark_of(task: &Task) -> String {
    // No upstream's name and no id has a line break.
    URL_SAFE_NO_PAD.encode(format!("{}\n{}", task.upstream, task.id))
}

fn place_of(mark: &str) -> Option<(Arc<str>, TaskId)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(mark).ok()?).ok()?;
    let (upstream, id) = text.split_once('\n')?;
    Some((upstream.into(), TaskId::parse(id).ok()?))
}

/// One task, with its past.
pub async fn one(State(handle): State<Arc<Handle>>, Path((upstream, id)): Path<(String, String)>) -> Answer {
    let unknown = || Refusal::new(StatusCode::NOT_FOUND, "no such task is watched");
    let upstream: Arc<str> = upstream.into();
    let id = TaskId::parse(&id).map_err(|_| unknown())?;
    let task = handle.shared.tracker.get(&upstream, &id).ok_or_else(unknown)?;
    let steps = handle.shared.store.timeline(upstream, id).await.map_err(|error| busy(&error))?;
    let mut object = shown(&task);
    object["timeline"] = steps.iter().map(step).collect();
    Ok(Json(object))
}

/// Registers one task or many, all of them or, with what is wrong with which, none.
pub async fn register(State(handle): State<Arc<Handle>>, headers: HeaderMap, body: Body) -> Answer {
    let in_force = handle.in_force().ok_or_else(stopping)?;
    let holder = in_force.access.check(&headers).await?;
    let read = tokio::time::timeout(BODY_PATIENCE, to_bytes(body, MAX_BODY)).await;
    let late = |_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time");
    let large = |_| Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a body has at most {MAX_BODY} bytes"));
    let body = read.map_err(late)?.map_err(large)?;
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
    let mut wrong = Vec::new();
    let mut foreign = false;
    let mut by_upstream: BTreeMap<&str, (&Upstream, Vec<usize>, Vec<NewTask>)> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        match read_item(&in_force, item) {
            Ok((upstream, _)) if !holder.may(&upstream.name) => {
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
        return Err(Refusal::new(status, "nothing was registered: some tasks cannot be").with(wrong));
    }
    let mut results = vec![Value::Null; items.len()];
    for (upstream, places, tasks) in by_upstream.into_values() {
        let ids: Vec<TaskId> = tasks.iter().map(|task| task.id.clone()).collect();
        let came = handle.shared.register(upstream, tasks).await.map_err(|error| busy(&error))?;
        for ((place, id), how) in places.into_iter().zip(ids).zip(came) {
            results[place] = result(&upstream.name, &id, how);
        }
    }
    Ok(Json(json!({ "tasks": results })))
}

/// Watches a task no longer.
pub async fn forget(
    State(handle): State<Arc<Handle>>,
    headers: HeaderMap,
    Path((upstream, id)): Path<(String, String)>,
) -> Answer {
    let in_force = handle.in_force().ok_or_else(stopping)?;
    let holder = in_force.access.check(&headers).await?;
    if !holder.may(&upstream) {
        return Err(Refusal::new(StatusCode::FORBIDDEN, "this key is not for this upstream"));
    }
    let unknown = || Refusal::new(StatusCode::NOT_FOUND, "no such task is watched");
    let upstream = in_force.upstream(&upstream).ok_or_else(unknown)?;
    let id = TaskId::parse(&id).map_err(|_| unknown())?;
    if !handle.shared.forget(upstream, &id).await.map_err(|error| busy(&error))? {
        return Err(unknown());
    }
    Ok(Json(json!({ "upstream": &*upstream.name, "task_id": id.as_str(), "result": "forgotten" })))
}

fn stopping() -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "no configuration is in force").after(1)
}

fn busy(error: &StoreError) -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, format!("the state cannot be used now: {error}")).after(1)
}

fn result(upstream: &str, id: &TaskId, how: Registered) -> Value {
    json!({ "upstream": upstream, "task_id": id.as_str(), "result": how.as_str() })
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
        _ if !is_label_name(name) => Err("a label name is [a-zA-Z_][a-zA-Z0-9_]* and does not begin with __"),
        Value::String(text) => Ok((name.clone(), sanitise(text).into_owned())),
        _ => Err("expected an object of texts"),
    };
    labels.iter().map(read).collect()
}

/// A task as JSON: times are Unix seconds, what is not known is left out.
fn shown(task: &Task) -> Value {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| {
        if !value.is_null() {
            object.insert(key.to_owned(), value);
        }
    };
    let time = |moment: Option<Timestamp>| moment.map_or(Value::Null, |moment| moment.as_secs_f64().into());
    let word = |status: Option<Status>| status.map_or(Value::Null, |status| status.as_str().into());
    put("upstream", (*task.upstream).into());
    put("provider", task.provider.into());
    put("task_id", task.id.as_str().into());
    put("source", task.origin.source.as_str().into());
    put("model", task.model.as_deref().unwrap_or(UNKNOWN_MODEL).into());
    put("status", task.status.as_str().into());
    put("gateway_status", word(task.gateway_status));
    put("upstream_status", word(task.upstream_status));
    put("progress", task.progress.map_or(Value::Null, Value::from));
    put("failure_class", task.failure.map_or(Value::Null, |class| class.as_str().into()));
    put("submit_time", time(task.times.submit));
    put("start_time", time(task.times.start));
    put("finish_time", time(task.times.finish));
    put("first_seen", time(Some(task.first_seen)));
    put("last_poll", time(task.last_poll));
    put("last_change", time(Some(task.last_change)));
    put("tokens", task.tokens.total.map_or(Value::Null, Value::from));
    put("quota", task.quota.map_or(Value::Null, Value::from));
    put("labels", serde_json::to_value(&*task.origin.labels).unwrap_or_default());
    Value::Object(object)
}

fn step(step: &Step) -> Value {
    let mut object = json!({ "time": step.at.as_secs_f64(), "status": step.status.as_str() });
    for (key, status) in [("gateway_status", step.gateway_status), ("upstream_status", step.upstream_status)] {
        if let Some(status) = status {
            object[key] = status.as_str().into();
        }
    }
    object
}
