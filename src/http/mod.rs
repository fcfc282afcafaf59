//! The one HTTP client: a request as data, time-outs, a cap on the body, no redirects, TLS, proxy, and kinds of error.

mod client;
mod request;
mod retry_after;

pub use client::{Client, ClientError, Options, Response, Tls, is_base_url};
pub use request::Request;
pub use retry_after::retry_after;
