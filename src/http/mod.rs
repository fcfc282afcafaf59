//! The HTTP client: time-outs, a limit on the body size, TLS, proxy, no redirects, classified errors.

mod client;
mod options;
mod pool;
mod request;
mod time_headers;

pub use client::{Client, Response, platform_tls_config};
pub use options::{ClientError, Options, Tls};
pub use request::{KeyHeader, Method, Request};
