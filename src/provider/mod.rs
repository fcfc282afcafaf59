//! The dialects of the upstreams: a task id in, a request out; bytes in, an answer out. Nothing here does I/O.
//!
//! A provider is a value: its requests as templates, the shape of its answers, and what it gives. Its file holds, beside
//! that value, the table of its documented fields and the table of its failures.

mod ark;
mod body;
mod contract;
pub mod custom;
mod dashscope;
mod dialect;
mod error;
mod expiry;
mod failures;
mod gateway;
mod headers;
mod json;
mod kling;
mod list;
mod minimax_hailuo;
mod new_api;
mod openai_videos;
mod shape;
mod template;
mod tikhub_kling;
mod tikhub_seedance;
mod tikhub_sora;
mod tikhub_veo;
mod tokenhot;
mod tree;
mod veo;
mod words;

use crate::domain::TaskId;
use crate::http::{KeyHeader, Method, Request};

pub use dialect::{Callback, Dialect, DialectError, Overrides};
pub use json::{Zone, any_moment};
pub use list::{List, Listed, Page, Place};
pub use shape::{HINTS, Shape};
pub use template::NoSuchId;

/// One dialect as it is known without any configuration.
#[derive(Debug)]
pub struct Provider {
    /// Its name in the configuration, and the `provider` label.
    pub name: &'static str,
    /// Where it lives, unless the configuration says otherwise; `None` when it must.
    pub base_url: Option<&'static str>,
    /// How one task is asked for; the first whose ids begin so. None for a provider that the configuration describes.
    pub requests: &'static [RequestSpec],
    /// How an answer is read.
    pub shape: Shape,
    /// How its list is read, where it has one.
    pub list: Option<List>,
    /// How many tasks are asked for at once, where it can.
    pub batch: Option<Batch>,
    /// What an answer holds.
    pub gives: Gives,
}

/// A request for one task as text, with places in braces.
#[derive(Debug, Clone)]
pub struct RequestSpec {
    /// For ids that begin so.
    pub ids_begin: &'static str,
    /// Only where the configuration says where it lives: the provider's own address is another flavour's.
    pub elsewhere: bool,
    /// GET, mostly.
    pub method: Method,
    /// Below the base URL, perhaps with a query.
    pub path: &'static str,
    /// A JSON body.
    pub body: Option<&'static str>,
    /// Where the key goes.
    pub key: KeyHeader,
}

impl RequestSpec {
    /// A GET for any id, with a bearer key.
    pub const fn get(path: &'static str) -> Self {
        Self { ids_begin: "", elsewhere: false, method: Method::Get, path, body: None, key: KeyHeader::BEARER }
    }
}

/// Asking for many tasks with one request; the answer is a [`List`].
#[derive(Debug, Clone, Copy)]
pub struct Batch {
    /// Most tasks in one.
    pub max: usize,
    /// The request.
    pub request: fn(&[TaskId]) -> Request,
}

/// What a provider's answers hold, in the words of the README's table; `–` for nothing.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the columns of that table")]
pub struct Gives {
    pub single: &'static str,
    pub batch: &'static str,
    pub list: &'static str,
    pub progress: &'static str,
    pub times: &'static str,
    pub tokens: &'static str,
    pub credits: &'static str,
    pub errors: &'static str,
}

/// Every dialect, by name.
pub static PROVIDERS: &[&Provider] = &[
    &ark::ARK,
    &custom::CUSTOM,
    &dashscope::DASHSCOPE,
    &kling::KLING,
    &minimax_hailuo::MINIMAX_HAILUO,
    &new_api::NEW_API,
    &openai_videos::OPENAI_VIDEOS,
    &tikhub_kling::TIKHUB_KLING,
    &tikhub_seedance::TIKHUB_SEEDANCE,
    &tikhub_sora::TIKHUB_SORA,
    &tikhub_veo::TIKHUB_VEO,
    &tokenhot::TOKENHOT,
    &veo::VEO,
];

/// The dialect of that name.
pub fn named(name: &str) -> Option<&'static Provider> {
    PROVIDERS.iter().copied().find(|provider| provider.name == name)
}

/// The known names, for messages.
pub fn names() -> String {
    PROVIDERS.iter().map(|provider| provider.name).collect::<Vec<_>>().join(", ")
}
