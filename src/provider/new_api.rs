//! Any new-api gateway: a row around the vendor's own body.

use std::time::Duration;

use super::list::{List, Place};
use super::{Gives, Provider, RequestSpec, Shape};

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
pub const LIST: List = List {
    items: &["data.items", "data"],
    shape: Shape::Auto,
    place: Place::At(&["api", "task", "self"]),
    size: 100,
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
