//! Providers: they build requests and decode responses, without I/O.
//!
//! A provider is a [`Provider`] value. Its file also contains the table of its documented fields, and the tables of its error
//! and failure codes.

mod ark;
pub mod balance;
mod callback_signature;
pub mod custom;
mod dashscope;
mod definition;
mod dialect;
mod fal;
mod gateway;
mod gateway_times;
mod gemini_interactions;
mod headers;
mod jimeng;
mod kling;
mod list;
mod litellm;
mod luma;
mod minimax_hailuo;
mod new_api;
mod openai_job;
mod openai_videos;
mod openrouter;
mod overrides;
mod place;
mod read;
mod replicate;
mod runway;
mod template;
mod token_law;
mod vendor;
mod veo;
mod vidu;
mod xai;

pub use balance::{AccountAmounts, BalancePlace};
pub use callback_signature::{CallbackKeys, CallbackSignature, SignedRequest};
pub use definition::{Batch, Callback, Provider, RequestSpec, Signs};
pub use dialect::Dialect;
pub use list::{List, ListPage, ListPath, ListScope, PageRequest};
pub use overrides::{DialectError, Overrides};
pub use place::Place;
pub use read::json::parse as parse_json;
pub use read::lenient::{ProgressUnit, Zone, time_or_utc};
pub use template::UnsupportedId;

/// Every provider, by name.
pub static PROVIDERS: &[&Provider] = &[
    &ark::ARK,
    &custom::CUSTOM,
    &dashscope::DASHSCOPE,
    &fal::FAL,
    &gemini_interactions::GEMINI_INTERACTIONS,
    &jimeng::JIMENG,
    &kling::KLING,
    &litellm::LITELLM,
    &luma::LUMA,
    &minimax_hailuo::MINIMAX_HAILUO,
    &new_api::NEW_API,
    &openai_videos::OPENAI_VIDEOS,
    &openrouter::OPENROUTER,
    &replicate::REPLICATE,
    &runway::RUNWAY,
    &new_api::TIKHUB_KLING,
    &new_api::TIKHUB_SEEDANCE,
    &new_api::TIKHUB_SORA,
    &new_api::TIKHUB_VEO,
    &new_api::TOKENHOT,
    &veo::VEO,
    &vidu::VIDU,
    &xai::XAI,
];

/// The values of `request.shape`, with the provider whose responses have that shape.
pub static SHAPES: &[(&str, &Provider)] = &[
    ("auto", &new_api::NEW_API),
    ("ark", &ark::ARK),
    ("dashscope", &dashscope::DASHSCOPE),
    ("kling", &kling::KLING),
    ("minimax_hailuo", &minimax_hailuo::MINIMAX_HAILUO),
    ("openai_videos", &openai_videos::OPENAI_VIDEOS),
    ("veo", &veo::VEO),
];

/// The provider with this name.
pub fn by_name(name: &str) -> Option<&'static Provider> {
    PROVIDERS.iter().copied().find(|provider| provider.name == name)
}

/// The names of the providers that match, for error messages.
pub fn names_of(matches: impl Fn(&Provider) -> bool) -> String {
    let names = PROVIDERS.iter().filter(|provider| matches(provider)).map(|provider| provider.name);
    names.collect::<Vec<_>>().join(", ")
}
