//! `TikHub`'s Kling: a gateway's row around Kling's body, or Kling's body alone.

use super::new_api::{GIVES, LIST, PERHAPS};
use super::{Gives, List, Provider, RequestSpec, Shape};

/// The provider (docs/upstreams.md 4.2); videos made from images are asked with another `request.path`.
pub static TIKHUB_KLING: Provider = Provider {
    name: "tikhub_kling",
    base_url: Some("https://ai.tikhub.io"),
    requests: &[RequestSpec::get("/kling/v1/videos/text2video/{task_id}")],
    shape: Shape::Auto,
    // The gateway's rows, or Kling's own list.
    list: Some(List { items: &["data.items", "data.list", "data"], ..LIST }),
    batch: None,
    gives: Gives { list: PERHAPS, tokens: "–", errors: "reason", ..GIVES },
};
