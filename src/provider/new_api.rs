//! new-api gateways, and resellers that run them. They differ in base URLs and paths.

use std::time::Duration;

use super::definition::{Provider, RequestSpec};
use super::gateway;
use super::list::{List, ListPath};
use super::read::error::{ErrorBody, ErrorForm, by_code};
use super::veo::FETCH_OPERATION;
use super::{ark, dashscope, kling, minimax_hailuo, openai_videos, veo, vidu};
use crate::domain::Reason;

/// Any gateway (docs/upstreams.md 2); its base URL must be configured.
pub static NEW_API: Provider = Provider {
    list: Some(LIST),
    is_new_api: true,
    runs_any_model: true,
    requests: &[RequestSpec::get("/v1/video/generations/{task_id}")],
    ..Provider::new("new_api", |value, zone| gateway::read(value, zone, error_kind), error_kind)
};

/// `TokenHot` (docs/upstreams.md 3): Seedance, Sora, Hailuo and `HappyHorse`.
pub static TOKENHOT: Provider = Provider { name: "tokenhot", base_url: Some("https://api.tokenhot.ai"), ..NEW_API };

/// `TikHub`'s Seedance (docs/upstreams.md 4.1).
pub static TIKHUB_SEEDANCE: Provider = Provider {
    name: "tikhub_seedance",
    base_url: TIKHUB,
    requests: &[RequestSpec::get("/seedance/v3/contents/generations/tasks/{task_id}")],
    ..NEW_API
};

/// `TikHub`'s Kling (docs/upstreams.md 4.2): a row that contains Kling's body, or only that body. Videos from images need another
/// `request.path`.
pub static TIKHUB_KLING: Provider = Provider {
    name: "tikhub_kling",
    base_url: TIKHUB,
    requests: &[RequestSpec::get("/kling/v1/videos/text2video/{task_id}")],
    error_kind: |error| error_kind(error).or_else(|| kling::error_kind(error)),
    read: |value, zone| gateway::read(value, zone, TIKHUB_KLING.error_kind),
    // The gateway's rows, or Kling's list.
    list: Some(List { items: &["data.items", "data.list", "data"], ..LIST }),
    ..NEW_API
};

/// `TikHub`'s Sora (docs/upstreams.md 4.3): an `OpenAI` video, or a row that contains it.
pub static TIKHUB_SORA: Provider = Provider {
    name: "tikhub_sora",
    base_url: TIKHUB,
    requests: &[RequestSpec::get("/v1/videos/{task_id}")],
    ..NEW_API
};

/// `TikHub`'s Veo (docs/upstreams.md 4.4): Vertex's request behind a gateway. Its path is not documented: `request.path`
/// replaces this guess.
pub static TIKHUB_VEO: Provider = Provider {
    name: "tikhub_veo",
    base_url: TIKHUB,
    requests: &[RequestSpec { path: "/v1beta/models/{model}:fetchPredictOperation", ..FETCH_OPERATION }],
    list: None,
    // The request is Vertex's own, not that of a gateway's task.
    is_new_api: false,
    ..NEW_API
};

const TIKHUB: Option<&str> = Some("https://ai.tikhub.io");

/// The dashboard's list of a user's tasks: a page, or from old gateways only the rows (docs/upstreams.md 2.9).
const LIST: List = List {
    items: &["data.items", "data"],
    read_item: gateway::read_item,
    path: ListPath::Fixed(&["api", "task", "self"]),
    // Without the last slash the gateway redirects.
    path_of_all: Some(&["api", "task", ""]),
    query_one: Some(|id| vec![("p", "1".to_owned()), ("page_size", "10".to_owned()), ("task_id", id.to_string())]),
    size: 100,
    has_any_size: true,
    query: |page| {
        let since = page.since.as_millis().div_euclid(1000);
        vec![
            ("p", page.number.to_string()),
            ("page_size", page.size.to_string()),
            ("start_timestamp", since.to_string()),
        ]
    },
    reach: Duration::MAX,
    parts: &[None],
};

/// The gateway's own codes (docs/upstreams.md 1.5).
const ERRORS: &[(&str, Reason)] = &[
    ("task_not_exist", Reason::NotFound),
    ("insufficient_quota", Reason::QuotaExhausted),
    ("insufficient_user_quota", Reason::QuotaExhausted),
    ("pre_consume_token_quota_failed", Reason::QuotaExhausted),
    ("AUTH_UNAUTHORIZED", Reason::Unauthorized),
];

/// The reason of an error, by the codes of the gateway and of vendors, whose errors it forwards. Numeric codes are ignored unless
/// the body shows their vendor.
fn error_kind(error: &ErrorBody) -> Option<Reason> {
    match error.form {
        ErrorForm::BaseResp => return minimax_hailuo::error_kind(error),
        ErrorForm::Reason => return vidu::error_kind(error),
        ErrorForm::Common => {}
    }
    // The error of the vendor is in the message of the gateway's, as for a model that was switched off.
    let message = error.message.as_deref().unwrap_or_default();
    let is_gone = message.contains("404") || message.contains("no longer available");
    if error.code.as_deref() == Some("fail_to_fetch_task") && is_gone {
        return Some(Reason::NotFound);
    }
    let is_number = error.code.as_deref().is_some_and(|code| code.parse::<f64>().is_ok());
    let vendors = [ark::error_kind, dashscope::error_kind, openai_videos::error_kind, veo::error_kind];
    by_code(ERRORS, error).or_else(|| vendors.iter().filter(|_| !is_number).find_map(|error_kind| error_kind(error)))
}
