//! The HTTP client: time-outs, a limit on the body size, TLS, proxy, no redirects, classified errors.

mod body;
mod byte_rate;
mod client;
mod error;
mod jwks;
mod options;
mod pool;
mod request;
mod signature;
mod time_headers;
mod url_component;

pub use client::{Client, Response, platform_tls_config};
pub use error::SendError;
pub use jwks::{KeySet, PublicKey};
pub use options::{ClientError, Options, Tls};
pub use request::{KeyHeader, Method, Request};
pub use signature::Signature;
pub use url_component::encode_component;
