//! `TikHub`'s Veo: Vertex's way of reading an operation, behind a gateway.

use super::new_api::GIVES;
use super::veo::FETCH_OPERATION;
use super::{Gives, Provider, RequestSpec, Shape};

/// The provider (docs/upstreams.md 4.4). Its path is not documented: `request.path` replaces this guess.
pub static TIKHUB_VEO: Provider = Provider {
    name: "tikhub_veo",
    base_url: Some("https://ai.tikhub.io"),
    requests: &[RequestSpec { path: "/v1beta/models/{model}:fetchPredictOperation", ..FETCH_OPERATION }],
    shape: Shape::Auto,
    list: None,
    batch: None,
    gives: Gives {
        list: "–",
        progress: "–",
        times: "mostly submit, finish",
        tokens: "–",
        credits: "–",
        errors: "code, message",
        ..GIVES
    },
};
