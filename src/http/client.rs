//! The HTTP client of one upstream.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, DATE, ETAG, HOST, HeaderMap, HeaderName,
    HeaderValue, RETRY_AFTER,
};
use rustls_platform_verifier::ConfigVerifierExt as _;

use super::body::BodyReader;
use super::byte_rate::ByteRate;
use super::error::SendError;
use super::key::Key;
use super::options::{ClientError, Options, parse_base_url, parse_url};
use super::pool::{Pool, override_server_name};
use super::request::{Method, Request};
use super::time_headers::{parse_date, parse_retry_after};
use crate::clock;
use crate::domain::{Reason, Timestamp};

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
    /// The header that the request wanted.
    pub header: Option<String>,
    /// Size of the body in bytes, decompressed and with what was not kept of it.
    pub size: u64,
    /// The complete body, or why it is incomplete.
    pub body: Result<Vec<u8>, SendError>,
}

/// A client with a connection pool for one base URL. When its certificate files change, it continues with a new pool.
pub struct Client {
    pool: Arc<Pool>,
    base: Url,
    host: Option<HeaderValue>,
    byte_rate: Option<ByteRate>,
}

/// How fast the large bodies of an upstream are read, in bytes per second: the other upstreams share the line and the threads.
const LARGE_BODY_RATE: f64 = (8 << 20) as f64;

/// The status of a request whose key is not accepted.
const UNAUTHORIZED: u16 = 401;

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
        let byte_rate = options.has_large_bodies.then(|| ByteRate::new(LARGE_BODY_RATE));
        Ok(Self { pool, base, host, byte_rate })
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
    pub async fn send(&self, request: &Request, key: Option<&Key>) -> Result<Response, SendError> {
        let url = self.url(request);
        let headers = self.build_headers(request, &url, key)?;
        let mut builder = match request.method {
            Method::Get => self.pool.get().await.get(url),
            Method::Post => self.pool.get().await.post(url),
        };
        builder = builder.headers(headers);
        if let Some(body) = &request.body {
            builder = builder.body(body.clone());
        } else if !request.form.is_empty() {
            builder = builder.body(encode_form(request, key));
        }
        let mut response = builder.send().await.map_err(|error| self.send_error(&error))?;
        let status = response.status().as_u16();
        if let Some(key) = key.filter(|_| status == UNAUTHORIZED) {
            key.set_refused();
        }
        let text = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let (date, etag) = (text(DATE.as_str()).as_deref().and_then(parse_date), text(ETAG.as_str()));
        let sent_at = date.unwrap_or_else(|| clock::now().into());
        let retry_after = text(RETRY_AFTER.as_str()).and_then(|value| parse_retry_after(&value, sent_at));
        let header = request.wanted_header.and_then(text);
        let (body, size) = match self.read_body(&mut response).await {
            Ok((body, size)) => (Ok(body), size),
            Err(error) => (Err(error), 0),
        };
        Ok(Response { status, retry_after, date, etag, header, size, body })
    }

    /// The body, and its size.
    async fn read_body(&self, response: &mut reqwest::Response) -> Result<(Vec<u8>, u64), SendError> {
        let options = self.pool.options();
        let encoding = response.headers().get(CONTENT_ENCODING);
        let encoding = encoding.map(|encoding| encoding.to_str().unwrap_or("unreadable"));
        let mut reader = BodyReader::new(encoding, options.max_body_size, options.has_large_bodies)?;
        if response.content_length().is_some_and(|length| length > options.max_body_size) {
            return Err(SendError::new(Reason::BodyTooLarge, "it exceeds the size limit"));
        }
        while let Some(chunk) = response.chunk().await.map_err(|error| self.send_error(&error))? {
            reader.push(&chunk)?;
            if let Some(rate) = &self.byte_rate {
                tokio::time::sleep(rate.wait_after(chunk.len(), clock::instant())).await;
            }
        }
        reader.finish()
    }

    fn send_error(&self, error: &reqwest::Error) -> SendError {
        let (host, port) = (self.base.host_str().unwrap_or_default(), self.base.port_or_known_default());
        SendError::from_request(error, &format!("{host}:{}", port.unwrap_or_default()))
    }

    /// Builds the headers of a request. The key's is marked sensitive, so that HTTP libraries do not log it.
    fn build_headers(&self, request: &Request, url: &Url, key: Option<&Key>) -> Result<HeaderMap, SendError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        // Some servers compress when nothing is said.
        let coding = if request.accepts_gzip { "gzip" } else { "identity" };
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(coding));
        if request.body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        } else if !request.form.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        }
        if let Some(host) = &self.host {
            headers.insert(HOST, host.clone());
        }
        let mut add = |name: &str, value: &str, is_secret: bool| {
            let unusable = || SendError::new(Reason::BadRequest, "a header cannot be sent");
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unusable())?;
            let mut value = HeaderValue::from_str(value).map_err(|_| unusable())?;
            value.set_sensitive(is_secret);
            headers.insert(name, value);
            Ok(())
        };
        for (name, value) in &request.headers {
            add(name, value, false)?;
        }
        match (key, request.signature) {
            (Some(Key::Pair(access_key, secret_key)), Some(signature)) => {
                let now = jiff::Timestamp::try_from(clock::now()).unwrap_or_default();
                let keys = (access_key.expose(), secret_key.expose());
                let body = request.body.as_deref().unwrap_or_default();
                for (name, value) in signature.headers(request.method.as_str(), url, body, keys, now) {
                    add(name, &value, true)?;
                }
            }
            (Some(Key::Sent(key)), _) => {
                let header = &request.key;
                add(&header.name, &format!("{}{}{}", header.prefix, key.expose(), header.suffix), true)?;
            }
            (Some(Key::Header(header)), _) => add(AUTHORIZATION.as_str(), &header.value(), true)?,
            _ => {}
        }
        Ok(headers)
    }
}

/// The form of a request, with the client's id and secret where the key is sent in it.
fn encode_form(request: &Request, key: Option<&Key>) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(&request.form);
    if let Some(Key::Form(client_id, client_secret)) = key {
        form.append_pair("client_id", client_id).append_pair("client_secret", client_secret.expose());
    }
    form.finish()
}
