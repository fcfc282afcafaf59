//! The HTTP client: time-outs, a limit on the body size, TLS, proxy, no redirects, classified errors.

mod client;
mod request;
mod time_headers;

pub use client::{Client, ClientError, Options, Response, Tls, platform_tls_config};
pub use request::{KeyHeader, Method, Request};
