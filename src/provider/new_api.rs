//! Any new-api gateway: a row around the vendor's own body.

use super::{Gives, List, Provider, RequestSpec, Shape};

/// The provider (docs/upstreams.md 2); its address must be configured.
pub static NEW_API: Provider = Provider {
    name: "new_api",
    base_url: None,
    requests: &[RequestSpec::get("/v1/video/generations/{task_id}")],
    shape: Shape::Auto,
    list: Some(LIST),
    batch: None,
    gives: GIVES,
};

/// The dashboard's list of one's own tasks, a page of it or, from old gateways, the rows alone (docs/upstreams.md 2.9).
pub const LIST: List = List { items: &["data.items", "data"], shape: Shape::Auto };

/// The same where nobody has documented it.
pub const PERHAPS: &str = "perhaps, with a dashboard token";

/// Of the gateway's row and of what it holds of its vendor.
pub const GIVES: Gives = Gives {
    single: "yes",
    batch: "–",
    list: "with a dashboard token",
    progress: "coarse",
    times: "submit, start, finish",
    tokens: "the vendor's",
    credits: "quota",
    errors: "reason, the vendor's code",
};
