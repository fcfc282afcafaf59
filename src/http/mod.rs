//! The one HTTP client: a request as data, time-outs, a cap on the body, no redirects, TLS, proxy, and kinds of error.

mod client;
mod moments;
mod request;

pub use client::{Client, ClientError, Options, Response, Tls, tls_of_the_platform};
pub use moments::{date, retry_after};
pub use request::{KeyHeader, Method, Request};
