//! What a client is built from.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;

use super::proxy::Proxy;
use crate::secret::BasicAuth;

/// TLS settings.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// Trusted certificates, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Client certificate.
    pub cert_file: Option<PathBuf>,
    /// Key of the client certificate.
    pub key_file: Option<PathBuf>,
    /// Expected name in the server's certificate, if it differs from the URL's host.
    pub server_name: Option<String>,
}

impl Tls {
    /// Whether it names files.
    const fn has_files(&self) -> bool {
        self.ca_file.is_some() || self.cert_file.is_some()
    }
}

/// What a client is built from.
#[derive(Debug, Clone)]
pub struct Options {
    /// Requests go to paths below this URL.
    pub base_url: String,
    /// Time-out from connecting to the last byte of the response.
    pub timeout: Duration,
    /// Largest accepted body, in bytes, decompressed.
    pub max_body_size: u64,
    /// Bodies are JSON that repeats large inputs: long texts in them are not kept, and they are read slowly.
    pub has_large_bodies: bool,
    /// Most idle connections that are kept.
    pub max_idle: usize,
    /// TLS settings.
    pub tls: Tls,
    /// Proxy of the requests.
    pub proxy: Option<Proxy>,
}

impl Options {
    /// Whether it names files that are read again.
    pub fn has_files(&self) -> bool {
        let authorization = self.proxy.as_ref().and_then(|proxy| proxy.authorization.as_ref());
        self.tls.has_files() || authorization.is_some_and(BasicAuth::has_files)
    }

    /// The host of the URL, with its port if that is written: the part that is safe to show.
    pub fn host(&self) -> Option<String> {
        let url = Url::parse(&self.base_url).ok()?;
        let host = url.host_str()?;
        Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
    }
}

/// Why a client cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL is invalid or contains a key.
    #[error("{0}")]
    BaseUrl(&'static str),
    /// A file cannot be read.
    #[error("cannot read {0}: {1}")]
    File(PathBuf, std::io::Error),
    /// Another option is invalid; its key and why.
    #[error("{0}: {1}")]
    Part(&'static str, String),
}

/// Whether a URL leads to this machine.
pub fn is_local_url(text: &str) -> bool {
    let url = Url::parse(text).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
    host == "localhost" || host.trim_matches(['[', ']']).parse().is_ok_and(|host: IpAddr| host.is_loopback())
}

/// Parses the URL of an API.
pub fn parse_base_url(text: &str) -> Result<Url, ClientError> {
    let url = parse_url(text)?;
    if url.query().is_some() {
        return Err(ClientError::BaseUrl("must not have a query"));
    }
    Ok(url)
}

/// Parses a URL; it may have a query.
pub fn parse_url(text: &str) -> Result<Url, ClientError> {
    let url = Url::parse(text).map_err(|_| ClientError::BaseUrl("not a URL such as https://api.example.com"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(ClientError::BaseUrl("must begin with http:// or https:// and name a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ClientError::BaseUrl("must not contain a user or password; they have keys of their own"));
    }
    if url.fragment().is_some() {
        return Err(ClientError::BaseUrl("must not have a fragment"));
    }
    Ok(url)
}
