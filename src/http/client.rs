//! The HTTP client of one upstream.

use std::error::Error as _;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, CONTENT_TYPE, DATE, ETAG, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Identity, Proxy, Url};
use rustls_platform_verifier::ConfigVerifierExt as _;

use crate::domain::Reason;
use crate::http::{Method, Request};
use crate::secret::Secret;

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

/// What a client is built from.
#[derive(Debug, Clone)]
pub struct Options {
    /// Requests go to paths below this URL.
    pub base_url: String,
    /// Time-out from connecting to the last byte of the response.
    pub timeout: Duration,
    /// Largest accepted body, in bytes. No compression is requested.
    pub max_body_size: u64,
    /// TLS settings.
    pub tls: Tls,
    /// Proxy for all requests.
    pub proxy_url: Option<String>,
}

impl Options {
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

/// A response of any status.
#[derive(Debug, Clone)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// The `Retry-After` header.
    pub retry_after: Option<String>,
    /// The `Date` header.
    pub date: Option<String>,
    /// The `ETag` header.
    pub etag: Option<String>,
    /// The complete body, or why it is incomplete.
    pub body: Result<Vec<u8>, Reason>,
}

/// A client with a connection pool for one base URL.
pub struct Client {
    http: reqwest::Client,
    base: Url,
    host: Option<HeaderValue>,
    max_body_size: usize,
}

/// TLS configuration for protocols other than HTTP; trusts the system's certificates.
///
/// # Errors
/// When the system's certificates cannot be read.
pub fn platform_tls_config() -> Result<rustls::ClientConfig, rustls::Error> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    rustls::ClientConfig::with_platform_verifier()
}

fn parse_base_url(text: &str) -> Result<Url, ClientError> {
    let url = parse_url(text)?;
    if url.query().is_some() {
        return Err(ClientError::BaseUrl("must not have a query"));
    }
    Ok(url)
}

/// Parses a URL; it may have a query.
fn parse_url(text: &str) -> Result<Url, ClientError> {
    let url = Url::parse(text).map_err(|_| ClientError::BaseUrl("not a URL such as https://api.example.com"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(ClientError::BaseUrl("must begin with http:// or https:// and name a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ClientError::BaseUrl("must not contain a user or password; set `authorization` instead"));
    }
    if url.fragment().is_some() {
        return Err(ClientError::BaseUrl("must not have a fragment"));
    }
    Ok(url)
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

    #[expect(clippy::disallowed_methods, reason = "the only place where a client is built")]
    fn with_base(mut base: Url, options: &Options) -> Result<Self, ClientError> {
        // Fails when the provider is installed already; that is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .redirect(Policy::none())
            .timeout(options.timeout)
            .connect_timeout(options.timeout)
            .no_proxy()
            .user_agent(concat!("videogen-exporter/", env!("CARGO_PKG_VERSION")));
        let part_error = |name| move |error: reqwest::Error| ClientError::Part(name, root_cause(&error));
        if let Some(path) = &options.tls.ca_file {
            let certificates =
                Certificate::from_pem_bundle(&read_file(path)?).map_err(part_error("tls_config.ca_file"))?;
            if certificates.is_empty() {
                return Err(ClientError::Part("tls_config.ca_file", "the file contains no certificate".to_owned()));
            }
            builder = builder.tls_certs_only(certificates);
        } else if base.scheme() == "http" && options.proxy_url.is_none() {
            // Without TLS no certificates are needed. Loading none lets it run on a system that has none.
            builder = builder.tls_certs_only(Vec::<Certificate>::new());
        }
        if let (Some(cert), Some(key)) = (&options.tls.cert_file, &options.tls.key_file) {
            let pem = [read_file(cert)?, read_file(key)?].join(&b'\n');
            builder = builder.identity(Identity::from_pem(&pem).map_err(part_error("tls_config.cert_file"))?);
        }
        if let Some(proxy) = &options.proxy_url {
            // The message of reqwest contains the URL, which may contain a password.
            let proxy = Proxy::all(proxy).map_err(|_| ClientError::Part("proxy_url", "not a URL".to_owned()))?;
            builder = builder.proxy(proxy);
        }
        let mut host = None;
        if let Some(name) = &options.tls.server_name {
            let (resolver, header) = override_server_name(&mut base, name)?;
            host = Some(header);
            builder = builder.dns_resolver(Arc::new(resolver)).http1_only();
        }
        let http = builder.build().map_err(part_error("the HTTP client"))?;
        let max_body_size = usize::try_from(options.max_body_size).unwrap_or(usize::MAX);
        Ok(Self { http, base, host, max_body_size })
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
            Method::Get => self.http.get(url),
            Method::Post => self.http.post(url),
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
        let (retry_after, date, etag) = (text(RETRY_AFTER), text(DATE), text(ETAG));
        let body = self.read_body(&mut response).await;
        Ok(Response { status, retry_after, date, etag, body })
    }

    async fn read_body(&self, response: &mut reqwest::Response) -> Result<Vec<u8>, Reason> {
        if response.content_length().is_some_and(|length| length > self.max_body_size as u64) {
            return Err(Reason::BodyTooLarge);
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| classify_error(&error))? {
            if body.len() + chunk.len() > self.max_body_size {
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

fn read_file(path: &PathBuf) -> Result<Vec<u8>, ClientError> {
    fs::read(path).map_err(|error| ClientError::File(path.clone(), error))
}

/// Replaces the URL's host by `name` for SNI and certificate verification; DNS and the Host header keep the real host.
fn override_server_name(base: &mut Url, name: &str) -> Result<(FixedHostResolver, HeaderValue), ClientError> {
    let part_error = |_| ClientError::Part("tls_config.server_name", "not a host name".to_owned());
    let host = base.host_str().unwrap_or_default().to_owned();
    let port = base.port_or_known_default().unwrap_or(443);
    let header = match base.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.clone(),
    };
    base.set_host(Some(name)).map_err(|error| part_error(error.to_string()))?;
    let header = HeaderValue::from_str(&header).map_err(|error| part_error(error.to_string()))?;
    Ok((FixedHostResolver { host: host.trim_matches(['[', ']']).to_owned(), port }, header))
}

/// Resolves every name as one host.
struct FixedHostResolver {
    host: String,
    port: u16,
}

impl Resolve for FixedHostResolver {
    fn resolve(&self, _: Name) -> Resolving {
        let (host, port) = (self.host.clone(), self.port);
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The text of an error's root cause; the error itself would contain the URL.
fn root_cause(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    if text.is_empty() { "cannot be used".to_owned() } else { text }
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
