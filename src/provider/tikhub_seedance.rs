//! `TikHub`'s Seedance: a new-api gateway below a path of its own.

use super::new_api::{GIVES, LIST, PERHAPS};
use super::{Gives, Provider, RequestSpec, Shape};

/// The provider (docs/upstreams.md 4.1).
pub static TIKHUB_SEEDANCE: Provider = Provider {
    name: "tikhub_seedance",
    base_url: Some("https://ai.tikhub.io"),
    requests: &[RequestSpec::get("/seedance/v3/contents/generations/tasks/{task_id}")],
    shape: Shape::Auto,
    list: Some(LIST),
    batch: None,
    gives: Gives { list: PERHAPS, tokens: "completion, total", ..GIVES },
};
