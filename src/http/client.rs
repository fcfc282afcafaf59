//! The HTTP client of one upstream.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use reqwest::Url;
use reqwest::header::{ACCEPT, CONTENT_TYPE, DATE, ETAG, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use rustls_platform_verifier::ConfigVerifierExt as _;

use super::options::{ClientError, Options, parse_base_url, parse_url};
use super::pool::{Pool, override_server_name};
use super::time_headers::{parse_date, parse_retry_after};
use crate::clock;
use crate::domain::{Reason, Timestamp};
use crate::http::{Method, Request};
use crate::secret::Secret;

/// A response of any status.
#[derive(Debug, Clone)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// The wait that the `Retry-After` header asks for; a date in it is by the response's own clock.
    pub retry_after: Option<Duration>,
    /// The `Date` header.
    pub date: Option<Timestamp>,
    /// The `ETag` header.
    pub etag: Option<String>,
    /// The complete body, or why it is incomplete.
    pub body: Result<Vec<u8>, Reason>,
}

/// A client with a connection pool for one base URL. When its certificate files change, it continues with a new pool.
pub struct Client {
    pool: Arc<Pool>,
    base: Url,
    host: Option<HeaderValue>,
}

/// TLS configuration for protocols other than HTTP; trusts the system's certificates.
///
/// # Errors
/// When the system's certificates cannot be read.
pub fn platform_tls_config() -> Result<rustls::ClientConfig, rustls::Error> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    rustls::ClientConfig::with_platform_verifier()
}

impl Client {
    /// Builds a client; reads the certificate files.
    ///
    /// # Errors
    /// When the URL, a certificate, a key or the proxy is invalid.
    pub fn new(options: &Options) -> Result<Self, ClientError> {
        Self::with_base(parse_base_url(&options.base_url)?, options)
    }

    /// A client for a single document, whose URL may have a query. A [`Request`] without segments reads it.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn for_document(options: &Options) -> Result<Self, ClientError> {
        Self::with_base(parse_url(&options.base_url)?, options)
    }

    fn with_base(mut base: Url, options: &Options) -> Result<Self, ClientError> {
        let pool = Arc::new(Pool::new(options)?);
        let name = options.tls.server_name.as_deref();
        let host = name.map(|name| override_server_name(&mut base, name)).transpose()?.map(|(_, host)| host);
        Ok(Self { pool, base, host })
    }

    /// What it was built from.
    pub fn options(&self) -> &Options {
        self.pool.options()
    }

    /// The complete URL of a request.
    pub fn url(&self, request: &Request) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut()
            && !request.segments.is_empty()
        {
            segments.pop_if_empty().extend(&request.segments);
        }
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        url
    }

    /// Sends a request once.
    ///
    /// # Errors
    /// When no response arrives.
    pub async fn send(&self, request: &Request, key: Option<&Secret>) -> Result<Response, Reason> {
        let url = self.url(request);
        let mut builder = match request.method {
            Method::Get => self.pool.get().await.get(url),
            Method::Post => self.pool.get().await.post(url),
        };
        builder = builder.header(ACCEPT, "application/json").headers(build_headers(request, key)?);
        if let Some(host) = &self.host {
            builder = builder.header(HOST, host.clone());
        }
        if let Some(body) = &request.body {
            builder = builder.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        let mut response = builder.send().await.map_err(|error| classify_error(&error))?;
        let status = response.status().as_u16();
        let text = |name| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let (date, etag) = (text(DATE).as_deref().and_then(parse_date), text(ETAG));
        let sent_at = date.unwrap_or_else(|| clock::now().into());
        let retry_after = text(RETRY_AFTER).and_then(|value| parse_retry_after(&value, sent_at));
        let body = self.read_body(&mut response).await;
        Ok(Response { status, retry_after, date, etag, body })
    }

    async fn read_body(&self, response: &mut reqwest::Response) -> Result<Vec<u8>, Reason> {
        if response.content_length().is_some_and(|length| length > self.pool.options().max_body_size) {
            return Err(Reason::BodyTooLarge);
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| classify_error(&error))? {
            if (body.len() + chunk.len()) as u64 > self.pool.options().max_body_size {
                return Err(Reason::BodyTooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }
}

/// Builds the headers of a request. The key's is marked sensitive, so that HTTP libraries do not log it.
fn build_headers(request: &Request, key: Option<&Secret>) -> Result<HeaderMap, Reason> {
    let mut headers = HeaderMap::new();
    let mut add = |name: &str, value: &str, secret: bool| {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Reason::BadRequest)?;
        let mut value = HeaderValue::from_str(value).map_err(|_| Reason::Unauthorized)?;
        value.set_sensitive(secret);
        headers.insert(name, value);
        Ok(())
    };
    for (name, value) in &request.headers {
        add(name, value, false)?;
    }
    if let Some(key) = key {
        let header = &request.key;
        add(&header.name, &format!("{}{}{}", header.prefix, key.expose(), header.suffix), true)?;
    }
    Ok(headers)
}

/// Maps an error to a transport reason.
fn classify_error(error: &reqwest::Error) -> Reason {
    if error.is_timeout() {
        return Reason::Timeout;
    }
    let mut causes = String::new();
    let mut tls = false;
    let mut cause = error.source();
    while let Some(error) = cause {
        tls |= is_tls_error(error);
        causes.push_str(&error.to_string());
        causes.push('\n');
        cause = error.source();
    }
    if tls {
        Reason::Tls
    } else if causes.contains("dns error") || causes.contains("failed to lookup") {
        Reason::Dns
    } else if error.is_connect() {
        Reason::Connect
    } else {
        Reason::Reset
    }
}

/// Whether an error comes from rustls. `source()` of an `io::Error` skips its inner error, so that is checked, too.
fn is_tls_error(error: &(dyn std::error::Error + 'static)) -> bool {
    if error.is::<rustls::Error>() {
        return true;
    }
    let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    inner.is_some_and(|inner| is_tls_error(inner))
}
