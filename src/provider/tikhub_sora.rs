//! `TikHub`'s Sora: the `OpenAI` Videos object, or a gateway's row around it.

use super::new_api::{GIVES, LIST, PERHAPS};
use super::{Gives, Provider, RequestSpec, Shape};

/// The provider (docs/upstreams.md 4.3).
pub static TIKHUB_SORA: Provider = Provider {
    name: "tikhub_sora",
    base_url: Some("https://ai.tikhub.io"),
    requests: &[RequestSpec::get("/v1/videos/{task_id}")],
    shape: Shape::Auto,
    list: Some(LIST),
    batch: None,
    gives: Gives {
        list: PERHAPS,
        progress: "per cent",
        times: "submit, finish",
        tokens: "–",
        credits: "–",
        errors: "code, message",
        ..GIVES
    },
};
