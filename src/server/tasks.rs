//! `/api/v1/tasks`: the tasks as JSON, page by page; and one with its past.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::handle::Handle;
use super::problem::{Answer, Refusal, busy};
use crate::domain::label_set::UNKNOWN_MODEL;
use crate::domain::number::Number;
use crate::domain::{Status, Task, TaskId, Timestamp};
use crate::store::Step;
use crate::view::UpstreamView;

/// Tasks of a page, when nobody says how many, and at most.
const PAGE: (usize, usize) = (100, 1000);

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
    /// That nothing is asked for that no task can have.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let word = self.status.as_deref().filter(|word| !word.is_empty());
        if word.is_none_or(|word| Status::from_word(word).is_some()) {
            return Ok(());
        }
        let words = Status::ALL.map(Status::as_str).join(", ");
        Err(Refusal::new(StatusCode::BAD_REQUEST, format!("status must be one of {words}")))
    }

    pub(super) fn has(&self, task: &Task) -> bool {
        // A field of a form that was left empty wants nothing.
        let is = |wanted: &Option<String>, text: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted.is_empty() || wanted == text)
        };
        is(&self.upstream, &task.origin.upstream)
            && is(&self.status, task.status.as_str())
            && is(&self.model, task.video.model.as_deref().unwrap_or(UNKNOWN_MODEL))
            && is(&self.source, &task.origin.source)
    }
}

/// A page of the tasks, by upstream and id; `next` is where the page after it begins.
pub async fn list(State(handle): State<Arc<Handle>>, wanted: Result<Query<Wanted>, QueryRejection>) -> Answer {
    let Query(wanted) = wanted?;
    let bad = |message: &str| Refusal::new(StatusCode::BAD_REQUEST, message);
    let limit = wanted.limit.unwrap_or(PAGE.0);
    if !(1..=PAGE.1).contains(&limit) {
        return Err(bad("limit must be 1 to 1000"));
    }
    wanted.check()?;
    let after = wanted
        .after
        .as_deref()
        .map(|after| place_of(after).ok_or_else(|| bad("after must be the `next` of another page")));
    let after = after.transpose()?;
    let (tasks, more) = page(&handle.agent.views(), after.as_ref(), limit, &wanted);
    let next = tasks.last().filter(|_| more).map(mark_of);
    Ok(Json(json!({ "tasks": tasks.iter().map(shown).collect::<Vec<_>>(), "next": next })))
}

/// Of the wanted tasks after that one, in the order of upstreams and ids, the first `limit`; and whether there are more.
fn page(
    views: &[Arc<UpstreamView>],
    after: Option<&(Arc<str>, TaskId)>,
    limit: usize,
    wanted: &Wanted,
) -> (Vec<Task>, bool) {
    let mut found: Vec<Task> = Vec::new();
    for view in views {
        let is_after = |task: &&Task| {
            after.is_none_or(|(upstream, id)| match view.upstream.cmp(upstream) {
                Ordering::Less => false,
                Ordering::Equal => task.id > *id,
                Ordering::Greater => true,
            })
        };
        let mut tasks: Vec<&Task> = view.tasks().filter(|task| wanted.has(task)).filter(is_after).collect();
        tasks.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        for task in tasks {
            if found.len() == limit {
                return (found, true);
            }
            found.push(task.clone());
        }
    }
    (found, false)
}

/// The place of a task among all, as a text that needs no escaping.
fn mark_of(task: &Task) -> String {
    // No upstream's name and no id has a line break.
    URL_SAFE_NO_PAD.encode(format!("{}\n{}", task.origin.upstream, task.id))
}

fn place_of(mark: &str) -> Option<(Arc<str>, TaskId)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(mark).ok()?).ok()?;
    let (upstream, id) = text.split_once('\n')?;
    Some((upstream.into(), TaskId::parse(id).ok()?))
}

/// One task, with its past.
pub async fn one(State(handle): State<Arc<Handle>>, path: Result<Path<(String, String)>, PathRejection>) -> Answer {
    let Path((upstream, id)) = path?;
    let upstream: Arc<str> = upstream.into();
    let id = TaskId::parse(&id).map_err(|_| Refusal::no_task())?;
    let task = handle.agent.task(&upstream, &id).ok_or_else(Refusal::no_task)?;
    let steps = handle.agent.timeline(upstream, id).await.map_err(|error| busy(&error))?;
    let mut object = shown(&task);
    object["timeline"] = steps.iter().map(step).collect();
    Ok(Json(object))
}

/// A task as JSON: times are Unix seconds, what is not known is left out.
fn shown(task: &Task) -> Value {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| {
        if !value.is_null() {
            object.insert(key.to_owned(), value);
        }
    };
    let number = |number: Option<f64>| number.map_or(Value::Null, Value::from);
    let time = |moment: Option<Timestamp>| moment.map_or(Value::Null, |moment| moment.as_secs_f64().into());
    let word = |status: Option<Status>| status.map_or(Value::Null, |status| status.as_str().into());
    put("upstream", (*task.origin.upstream).into());
    put("provider", task.origin.provider.into());
    put("task_id", task.id.as_str().into());
    put("source", task.origin.source.as_str().into());
    put("model", task.video.model.as_deref().unwrap_or(UNKNOWN_MODEL).into());
    put("status", task.status.as_str().into());
    put("gateway_status", word(task.gateway_status));
    put("upstream_status", word(task.upstream_status));
    put("progress", number(task.progress.map(Number::get)));
    put("failure_class", task.failure.map_or(Value::Null, |class| class.as_str().into()));
    put("submit_time", time(task.times.submit));
    put("start_time", time(task.times.start));
    put("finish_time", time(task.times.finish));
    put("first_seen", time(Some(task.first_seen)));
    put("last_poll", time(task.last_poll));
    put("last_change", time(Some(task.last_change)));
    put("tokens", number(task.tokens.get().total));
    put("quota", number(task.quota.map(Number::get)));
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
