//! The routes of every dialect, all for one pool of tasks.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::gateway::{Gateway, parameter, reply};
use super::task::Vendor;
use super::view::TaskView;
use super::{gateway_list, platform, row, vendor};

type Shared = State<Arc<Gateway>>;

/// One task's body in a dialect.
type Body = fn(&str, &TaskView) -> Value;

/// The response of a dialect to an unknown id.
type NotFound = fn() -> (StatusCode, Value);

/// The routes of every provider. The caller adds a fallback for other paths.
pub fn routes() -> Router<Arc<Gateway>> {
    let single = |body: Body, not_found: NotFound| {
        get(move |State(gateway): Shared, Path(id): Path<String>| async move {
            respond(&gateway, &id, &id, body, not_found).await
        })
    };
    let platform = |body: fn(&str, &TaskView) -> platform::Answer, not_found: NotFound| {
        get(move |State(gateway): Shared, Path(id): Path<String>| async move {
            answer(&gateway, &id, body, not_found).await
        })
    };
    let fal = |body: fn(&str, &TaskView) -> platform::Answer| {
        get(move |State(gateway): Shared, Path((_, _, id)): Path<(String, String, String)>| async move {
            answer(&gateway, &id, body, detail_not_found).await
        })
    };
    let image_or_text = |body: Body, not_found: NotFound| {
        get(move |State(gateway): Shared, Path((_, id)): Path<(String, String)>| async move {
            respond(&gateway, &id, &id, body, not_found).await
        })
    };
    Router::new()
        // Gateways.
        .route("/v1/video/generations/{id}", get(gateway_task))
        .route("/seedance/v3/contents/generations/tasks/{id}", single(envelope, task_not_exist))
        .route("/kling/v1/videos/{kind}/{id}", image_or_text(envelope, task_not_exist))
        .route("/api/task/self", get(gateway_list::own))
        .route("/api/task/", get(gateway_list::all))
        // Ark.
        .route("/api/v3/contents/generations/tasks/{id}", single(vendor::ark, ark_not_found))
        .route("/api/v3/contents/generations/tasks", list(vendor::ark, "page_size", items))
        // OpenAI and Kling, which share a prefix.
        .route("/v1/videos/{id}", single(vendor::openai, openai_not_found))
        .route("/v1/videos", list(vendor::openai, "limit", |tasks, _| json!({"object": "list", "data": tasks})))
        .route("/v1/videos/image2video", list(vendor::kling, "pageSize", |tasks, _| kling_envelope(&tasks.into())))
        .route("/v1/videos/text2video", list(vendor::kling, "pageSize", |tasks, _| kling_envelope(&tasks.into())))
        .route("/v1/videos/{kind}/{id}", image_or_text(|id, view| kling_envelope(&vendor::kling(id, view)), kling_not_found))
        // Google.
        .route("/v1beta/models/{model}/operations/{id}", get(gemini))
        .route("/v1beta/models/{fetch}", post(vertex))
        .route("/v1/projects/{*name}", post(vertex))
        // MiniMax.
        .route("/v1/query/video_generation", get(minimax_v1))
        .route("/v2/query/video_generation", list(vendor::minimax_v2, "page_size", items))
        .route(
            "/v2/query/video_generation/{id}",
            single(|id, view| json!({"task": vendor::minimax_v2(id, view)}), minimax_not_found),
        )
        // DashScope.
        .route("/api/v1/tasks/{id}", single(vendor::dashscope, || (StatusCode::OK, Value::Null)))
        .route("/api/v1/tasks/", list(vendor::dashscope_row, "page_size", |tasks, total| {
            json!({"request_id": "simulated", "data": tasks, "page_no": 1, "page_size": tasks.len(), "total": total})
        }))
        // Platforms; xAI's path is that of OpenAI.
        .route("/v1beta/interactions/{id}", platform(platform::interaction, veo_not_found))
        .route("/api/v1/videos/{id}", platform(platform::openrouter, openrouter_not_found))
        .route("/xai/v1/videos/{id}", platform(platform::xai, || {
            (StatusCode::NOT_FOUND, json!({"code": "not-found", "error": "No such request"}))
        }))
        .route("/{owner}/{app}/requests/{id}/status", fal(platform::fal_status))
        .route("/{owner}/{app}/requests/{id}", fal(platform::fal_result))
        .route("/v1/tasks/{id}", platform(platform::runway, || {
            (StatusCode::NOT_FOUND, json!({"error": "The task was not found."}))
        }))
        .route("/v1/predictions/{id}", single(platform::replicate, detail_not_found))
        .route("/v1/predictions", list(platform::replicate, "limit", |tasks, _| json!({"next": null, "results": tasks})))
        .route("/ent/v2/tasks/{id}/creations", platform(platform::vidu, || {
            (StatusCode::NOT_FOUND, json!({"code": 404, "reason": "TaskNotFound", "message": "no such task"}))
        }))
        .route("/", post(jimeng))
        .route("/v1/generations/{id}", single(platform::luma, detail_not_found))
        .route("/v1/generations", list(platform::luma, "limit", |tasks, total| {
            json!({"generations": tasks, "count": tasks.len(), "has_more": tasks.len() < total})
        }))
}

/// The answer of a platform, whose HTTP status depends on the task.
async fn answer(
    gateway: &Gateway,
    id: &str,
    body: fn(&str, &TaskView) -> platform::Answer,
    not_found: NotFound,
) -> Response {
    if let Some(fault) = gateway.respond_with_fault().await {
        return fault;
    }
    let (status, body) = gateway.render_task(id, |view| body(id, view)).unwrap_or_else(not_found);
    reply(status, &body)
}

/// Jimeng names the task in the request's body.
async fn jimeng(State(gateway): Shared, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let id = body["task_id"].as_str().unwrap_or_default();
    answer(&gateway, id, platform::jimeng, || {
        let data = json!({"status": "not_found", "video_url": ""});
        (StatusCode::OK, json!({"code": 10_000, "data": data, "message": "Success", "status": 10_000}))
    })
    .await
}

async fn respond(gateway: &Gateway, id: &str, name: &str, body: Body, not_found: NotFound) -> Response {
    if let Some(fault) = gateway.respond_with_fault().await {
        return fault;
    }
    let found = gateway.render_task(id, |view| body(name, view));
    let (status, body) = found.map_or_else(not_found, |body| (StatusCode::OK, body));
    // Only DashScope repeats the unknown id in its response.
    let dashscope = json!({"request_id": "simulated", "output": {"task_id": id, "task_status": "UNKNOWN"}});
    reply(status, if body.is_null() { &dashscope } else { &body })
}

/// One task of a new-api gateway. Reading one at Gemini has an effect.
async fn gateway_task(State(gateway): Shared, Path(id): Path<String>) -> Response {
    gateway.spoil(&id);
    let body = |id: &str, view: &TaskView| {
        if view.task.model.vendor == Vendor::Gemini {
            return json!({"code": "success", "message": "", "data": row::reduced(id, view)});
        }
        envelope(id, view)
    };
    respond(&gateway, &id, &id, body, task_not_exist).await
}

async fn gemini(State(gateway): Shared, Path((model, id)): Path<(String, String)>) -> Response {
    let name = format!("models/{model}/operations/{id}");
    respond(&gateway, &id, &name, vendor::veo, veo_not_found).await
}

/// Vertex names the operation in the request's body.
async fn vertex(State(gateway): Shared, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let name = body["operationName"].as_str().unwrap_or_default();
    let id = name.rsplit('/').next().unwrap_or_default();
    respond(&gateway, id, name, vendor::veo, veo_not_found).await
}

async fn minimax_v1(State(gateway): Shared, RawQuery(query): RawQuery) -> Response {
    let id = parameter(query.as_deref(), "task_id").next().unwrap_or_default();
    let not_found: NotFound = || {
        let base_resp = json!({"status_code": 2013, "status_msg": "invalid params, invalid task_id"});
        (StatusCode::OK, json!({"base_resp": base_resp}))
    };
    respond(&gateway, &id, &id, vendor::minimax_v1, not_found).await
}

/// A page of the newest tasks, or the tasks that `filter.task_ids` requests.
fn list(
    body: Body,
    size: &'static str,
    page: fn(&[Value], usize) -> Value,
) -> axum::routing::MethodRouter<Arc<Gateway>> {
    get(move |State(gateway): Shared, RawQuery(query): RawQuery| async move {
        if let Some(fault) = gateway.respond_with_fault().await {
            return fault;
        }
        let query = query.as_deref();
        let number = |name| parameter(query, name).next().and_then(|text| text.parse::<usize>().ok());
        let size = number(size).unwrap_or(20).clamp(1, 500);
        let number = ["p", "page_num", "page_no", "pageNum"].into_iter().find_map(number).unwrap_or(1).max(1);
        let requested: Vec<String> = parameter(query, "filter.task_ids").collect();
        let mut tasks = gateway.render_tasks(&requested, body);
        let total = tasks.len();
        // OpenAI requests the tasks that follow an id instead of a page number.
        let after = parameter(query, "after").next();
        let first =
            after.map(|after| tasks.iter().position(|task| task["id"] == *after).map_or(total, |last| last + 1));
        tasks = tasks.into_iter().skip(first.unwrap_or((number - 1).saturating_mul(size))).take(size).collect();
        reply(StatusCode::OK, &page(&tasks, total))
    })
}

fn envelope(id: &str, view: &TaskView) -> Value {
    json!({"code": "success", "message": "", "data": row::row(id, view)})
}

fn kling_envelope(data: &Value) -> Value {
    json!({"code": 0, "message": "SUCCEED", "request_id": "simulated", "data": data})
}

fn items(tasks: &[Value], total: usize) -> Value {
    json!({"items": tasks, "total": total})
}

fn task_not_exist() -> (StatusCode, Value) {
    (StatusCode::BAD_REQUEST, json!({"code": "task_not_exist", "message": "task_not_exist", "data": null}))
}

fn ark_not_found() -> (StatusCode, Value) {
    let error =
        json!({"code": "ResourceNotFound", "message": "The task is not found.", "param": "", "type": "NotFound"});
    (StatusCode::NOT_FOUND, json!({"error": error}))
}

fn openai_not_found() -> (StatusCode, Value) {
    let error = json!({"message": "Video not found.", "type": "invalid_request_error", "param": "id", "code": null});
    (StatusCode::NOT_FOUND, json!({"error": error}))
}

fn kling_not_found() -> (StatusCode, Value) {
    (StatusCode::NOT_FOUND, json!({"code": 1203, "message": "task not found", "request_id": "simulated"}))
}

fn veo_not_found() -> (StatusCode, Value) {
    let error = json!({"code": 404, "message": "Operation not found.", "status": "NOT_FOUND"});
    (StatusCode::NOT_FOUND, json!({"error": error}))
}

fn detail_not_found() -> (StatusCode, Value) {
    (StatusCode::NOT_FOUND, json!({"detail": "Not found"}))
}

fn openrouter_not_found() -> (StatusCode, Value) {
    (StatusCode::NOT_FOUND, json!({"error": {"code": 404, "message": "No such job"}}))
}

fn minimax_not_found() -> (StatusCode, Value) {
    let error = json!({"type": "bad_request_error", "message": "invalid task_id (2013)", "http_code": "400"});
    (StatusCode::BAD_REQUEST, json!({"type": "error", "error": error, "request_id": "simulated"}))
}
