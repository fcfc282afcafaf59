//! `TokenHot`: a new-api gateway; Seedance, Sora, Hailuo and `HappyHorse` alike, told apart by the shape of the inner body.

use super::new_api::{GIVES, LIST, PERHAPS};
use super::{Gives, Provider, RequestSpec, Shape};

/// The provider (docs/upstreams.md 3).
pub static TOKENHOT: Provider = Provider {
    name: "tokenhot",
    base_url: Some("https://api.tokenhot.ai"),
    requests: &[RequestSpec::get("/v1/video/generations/{task_id}")],
    shape: Shape::Auto,
    list: Some(LIST),
    batch: None,
    gives: Gives { list: PERHAPS, times: "as the gateway, may be 0", tokens: "the vendor's, or a total", ..GIVES },
};
