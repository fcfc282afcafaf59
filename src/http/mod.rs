//! The HTTP client: time-outs, a limit on the body size, TLS, proxy, authentication, no redirects, classified errors.

mod body;
mod byte_rate;
mod client;
mod credentials;
mod error;
mod health;
mod jwks;
mod key;
mod oauth2;
mod options;
mod pool;
mod proxy;
mod request;
mod signature;
mod time_headers;
mod url_component;

pub use client::{Client, Response, platform_tls_config};
pub use credentials::Credentials;
pub use error::SendError;
pub use health::{OwnPort, ask_own_port};
pub use jwks::{KeySet, PublicKey};
pub use key::{AuthorizationHeader, Key};
pub use oauth2::TokenClient;
pub use options::{ClientError, Options, Tls, is_local_url};
pub use proxy::Proxy;
pub use request::{KeyHeader, Method, Request};
pub use signature::Signature;
pub use url_component::encode_component;
