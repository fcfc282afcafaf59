//! `/api/v1/tasks`: tasks as JSON in pages, and one task with its timeline.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::{HttpError, JsonResult, store_unavailable};
use super::handle::Handle;
use super::viewer::Viewer;
use crate::domain::label_set::UNKNOWN_MODEL;
use crate::domain::number::Number;
use crate::domain::task::{FailedPoll, TaskCost, TaskError};
use crate::domain::time::WallOffset;
use crate::domain::{FailureClass, Status, Task, TaskId, Timestamp};
use crate::store::Step;
use crate::view::UpstreamView;

/// Tasks of a page without `limit`.
const DEFAULT_LIMIT: usize = 100;

/// Most tasks of a page.
const MAX_LIMIT: usize = 1000;

/// The query: which tasks, and which page of them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TaskFilter {
    pub(super) upstream: Option<String>,
    pub(super) status: Option<String>,
    pub(super) model: Option<String>,
    pub(super) source: Option<String>,
    pub(super) limit: Option<usize>,
    pub(super) after: Option<String>,
}

impl TaskFilter {
    /// Rejects a status that does not exist.
    pub(super) fn check(&self) -> Result<(), HttpError> {
        let word = self.status.as_deref().filter(|word| !word.is_empty());
        if word.is_none_or(|word| Status::from_word(word).is_some()) {
            return Ok(());
        }
        let words = Status::ALL.map(Status::as_str).join(", ");
        Err(HttpError::new(StatusCode::BAD_REQUEST, format!("status must be one of {words}")))
    }

    /// Whether a task matches every condition.
    pub(super) fn matches(&self, task: &Task) -> bool {
        // A form sends its empty fields as empty strings.
        let is = |expected: &Option<String>, text: &str| {
            expected.as_deref().is_none_or(|expected| expected.is_empty() || expected == text)
        };
        is(&self.upstream, &task.origin.upstream)
            && is(&self.status, task.status.as_str())
            && is(&self.model, task.video.model.as_deref().unwrap_or(UNKNOWN_MODEL))
            && is(&self.source, &task.origin.source)
    }
}

/// A page of tasks, sorted by upstream and id; `next` is the `after` of the following page.
pub async fn list(
    State(handle): State<Arc<Handle>>,
    Extension(viewer): Extension<Viewer>,
    filter: Result<Query<TaskFilter>, QueryRejection>,
) -> JsonResult {
    let Query(filter) = filter?;
    let bad = |message: &str| HttpError::new(StatusCode::BAD_REQUEST, message);
    let limit = filter.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(bad("limit must be 1 to 1000"));
    }
    filter.check()?;
    let after = filter
        .after
        .as_deref()
        .map(|after| decode_cursor(after).ok_or_else(|| bad("after must be the `next` of another page")));
    let after = after.transpose()?;
    let views = viewer.limit(handle.agent.views());
    let (tasks, has_more) = select_page(&views, after.as_ref(), limit, &filter);
    let clock = handle.agent.metrics().clock();
    let offset = clock.wall_offset();
    let now = offset.apply(clock.now().steady);
    let next = tasks.last().filter(|_| has_more).map(encode_cursor);
    let shown = |task: &Task| task_to_json(&task.by_wall(offset), view_of(&views, task), now);
    Ok(Json(json!({ "tasks": tasks.iter().map(shown).collect::<Vec<_>>(), "next": next })))
}

/// The first `limit` matching tasks after that one, sorted by upstream and id; and whether there are more.
fn select_page(
    views: &[Arc<UpstreamView>],
    after: Option<&(Arc<str>, TaskId)>,
    limit: usize,
    filter: &TaskFilter,
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
        let mut tasks: Vec<&Task> = view.tasks().filter(|task| filter.matches(task)).filter(is_after).collect();
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

/// The position of a task in the list, as a text that needs no escaping in a URL.
fn encode_cursor(task: &Task) -> String {
    // Neither an upstream's name nor an id can have a line break.
    URL_SAFE_NO_PAD.encode(format!("{}\n{}", task.origin.upstream, task.id))
}

fn decode_cursor(cursor: &str) -> Option<(Arc<str>, TaskId)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (upstream, id) = text.split_once('\n')?;
    Some((upstream.into(), TaskId::parse(id).ok()?))
}

/// One task, with its timeline.
pub async fn get_one(
    State(handle): State<Arc<Handle>>,
    Extension(viewer): Extension<Viewer>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> JsonResult {
    let Path((upstream, id)) = path?;
    let upstream: Arc<str> = upstream.into();
    let id = TaskId::parse(&id).map_err(|_| HttpError::task_not_found())?;
    let task = handle.agent.task(&upstream, &id).filter(|task| viewer.sees(task));
    let task = task.ok_or_else(HttpError::task_not_found)?;
    let steps = handle.agent.timeline(upstream, id).await.map_err(|error| store_unavailable(&error))?;
    let clock = handle.agent.metrics().clock();
    let (offset, views) = (clock.wall_offset(), viewer.limit(handle.agent.views()));
    let now = offset.apply(clock.now().steady);
    let mut object = task_to_json(&task.by_wall(offset), view_of(&views, &task), now);
    object["timeline"] = steps.iter().map(|step| step_to_json(step, offset)).collect();
    Ok(Json(object))
}

/// The view of a task's upstream.
fn view_of<'a>(views: &'a [Arc<UpstreamView>], task: &Task) -> Option<&'a UpstreamView> {
    views.iter().find(|view| view.upstream == task.origin.upstream).map(|view| &**view)
}

/// A task as JSON: times are Unix seconds, unknown values are left out.
fn task_to_json(task: &Task, view: Option<&UpstreamView>, now: Timestamp) -> Value {
    let outlook = view.map(|view| &*view.outlook);
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| {
        if !value.is_null() {
            object.insert(key.to_owned(), value);
        }
    };
    let number = |number: Option<f64>| number.map_or(Value::Null, Value::from);
    let time = |time: Option<Timestamp>| time.map_or(Value::Null, |time| time.as_secs_f64().into());
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
    put("error", task.error.as_deref().map_or(Value::Null, error_to_json));
    put("failed_poll", task.failed_poll.as_deref().map_or(Value::Null, failed_poll_to_json));
    put("submit_time", time(task.times.submit));
    put("start_time", time(task.times.start));
    put("finish_time", time(task.times.finish));
    put("first_seen", time(Some(task.first_seen)));
    put("last_poll", time(task.last_poll));
    put("last_change", time(Some(task.last_change)));
    put("tokens", number(task.tokens.get().total));
    put("quota", number(task.quota.map(Number::get)));
    if let Some(TaskCost { money, .. }) = task.cost.as_deref() {
        put("cost", money.to_f64().into());
        put("currency", money.currency.code().into());
        put("cost_source", money.source.as_str().into());
    }
    put("expected_finish", time(outlook.and_then(|outlook| outlook.expected_finish(task))));
    if outlook.is_some_and(|outlook| outlook.is_stuck(task, now)) {
        put("stuck", true.into());
    }
    if view.is_some_and(|view| view.counters.is_held(&task.label_set())) {
        put("counters_held", true.into());
    }
    put("labels", serde_json::to_value(&*task.origin.labels).unwrap_or_default());
    Value::Object(object)
}

fn step_to_json(step: &Step, wall_offset: WallOffset) -> Value {
    let mut object = json!({ "time": wall_offset.apply(step.at).as_secs_f64(), "status": step.status.as_str() });
    for (key, text) in [
        ("gateway_status", step.gateway_status.map(Status::as_str)),
        ("upstream_status", step.upstream_status.map(Status::as_str)),
        ("failure_class", step.failure.map(FailureClass::as_str)),
        ("error_code", step.error_code.as_deref()),
        ("error_message", step.error_message.as_deref()),
    ] {
        if let Some(text) = text {
            object[key] = text.into();
        }
    }
    object
}

/// The last error in an answer.
fn error_to_json(error: &TaskError) -> Value {
    let class = error.class.map(FailureClass::as_str);
    texts_to_json([("code", error.code.as_deref()), ("message", error.message.as_deref()), ("failure_class", class)])
}

/// The last poll that failed.
fn failed_poll_to_json(poll: &FailedPoll) -> Value {
    let mut object =
        texts_to_json([("reason", Some(poll.error.reason.as_str())), ("cause", poll.error.cause.as_deref())]);
    object["time"] = poll.at.as_secs_f64().into();
    object
}

/// An object of those texts that are known.
fn texts_to_json<const N: usize>(texts: [(&str, Option<&str>); N]) -> Value {
    let known = texts.into_iter().filter_map(|(key, text)| Some((key.to_owned(), Value::from(text?))));
    Value::Object(known.collect())
}
