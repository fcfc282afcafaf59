//! The one HTTP client: a request as data, time-outs, a cap on the body, no redirects, TLS, proxy, and kinds of error.

mod client;
mod request;
mod moments;

pub use client::{Client, ClientError, Options, Response, Tls, is_base_url};
pub use request::{KeyHeader, Method, Request};
pub use moments::{date, retry_after};
