//! The client of one upstream.

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

/// How TLS is done with an upstream.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// Trust these certificates and no others.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate.
    pub cert_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
    /// The name that the upstream's certificate is for, where it is not that of the URL.
    pub server_name: Option<String>,
}

/// What a client is built from.
#[derive(Debug, Clone)]
pub struct Options {
    /// Everything is asked below this URL.
    pub base_url: String,
    /// From connecting to the last byte.
    pub timeout: Duration,
    /// Most bytes of a body that are read, as sent: no compression is asked for.
    pub max_body_size: u64,
    /// TLS.
    pub tls: Tls,
    /// Through this proxy.
    pub proxy_url: Option<String>,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL is none, or one with a key in it.
    #[error("{0}")]
    BaseUrl(&'static str),
    /// A file could not be read.
    #[error("cannot read {0}: {1}")]
    File(PathBuf, std::io::Error),
    /// The rest: certificates, keys, proxy, the client itself.
    #[error("{0}: {1}")]
    Part(&'static str, String),
}

/// An answer, whatever its status.
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
    /// The body up to the cap; [`Reason::BodyTooLarge`] or [`Reason::Reset`] where it did not come whole.
    pub body: Result<Vec<u8>, Reason>,
}

/// A client that knows one upstream and keeps its connections.
pub struct Client {
    http: reqwest::Client,
    base: Url,
    host: Option<HeaderValue>,
    max_body: usize,
}

/// TLS for what is no HTTP, which trusts whom the machine trusts.
///
/// # Errors
/// When the machine's certificates cannot be read.
pub fn tls_of_the_platform() -> Result<rustls::ClientConfig, rustls::Error> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    rustls::ClientConfig::with_platform_verifier()
}

fn base_url(text: &str) -> Result<Url, ClientError> {
    let url = whole_url(text)?;
    if url.query().is_some() {
        return Err(ClientError::BaseUrl("it must not have a query"));
    }
    Ok(url)
}

/// A URL that is asked as it is.
fn whole_url(text: &str) -> Result<Url, ClientError> {
    let url = Url::parse(text).map_err(|_| ClientError::BaseUrl("it is not a URL such as https://api.example.com"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(ClientError::BaseUrl("it must begin with http:// or https:// and name a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ClientError::BaseUrl("it must not carry a user or password: keys are files or variables"));
    }
    if url.fragment().is_some() {
        return Err(ClientError::BaseUrl("it must not have a fragment"));
    }
    Ok(url)
}

impl Client {
    /// Builds it; reads the certificate files.
    ///
    /// # Errors
    /// When the URL, a certificate, a key or the proxy is no good.
    pub fn new(options: &Options) -> Result<Self, ClientError> {
        Self::at(base_url(&options.base_url)?, options)
    }

    /// The same for one document, whose URL may have a query: a [`Request`] without segments asks for it.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn of_document(options: &Options) -> Result<Self, ClientError> {
        Self::at(whole_url(&options.base_url)?, options)
    }

    #[expect(clippy::disallowed_methods, reason = "the one place where a client is made")]
    fn at(mut base: Url, options: &Options) -> Result<Self, ClientError> {
        // A second call finds the provider installed, which is what is wanted.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .redirect(Policy::none())
            .timeout(options.timeout)
            .connect_timeout(options.timeout)
            .no_proxy()
            .user_agent(concat!("videogen-exporter/", env!("CARGO_PKG_VERSION")));
        let part = |name| move |error: reqwest::Error| ClientError::Part(name, error_text(&error));
        if let Some(path) = &options.tls.ca_file {
            let certificates = Certificate::from_pem_bundle(&read(path)?).map_err(part("tls_config.ca_file"))?;
            if certificates.is_empty() {
                return Err(ClientError::Part("tls_config.ca_file", "there is no certificate in it".to_owned()));
            }
            builder = builder.tls_certs_only(certificates);
        } else if base.scheme() == "http" && options.proxy_url.is_none() {
            // Without TLS nobody has to be trusted: a machine without any certificate will do.
            builder = builder.tls_certs_only(Vec::<Certificate>::new());
        }
        if let (Some(cert), Some(key)) = (&options.tls.cert_file, &options.tls.key_file) {
            let pem = [read(cert)?, read(key)?].join(&b'\n');
            builder = builder.identity(Identity::from_pem(&pem).map_err(part("tls_config.cert_file"))?);
        }
        if let Some(proxy) = &options.proxy_url {
            // reqwest's own message would repeat the URL, which may carry a password.
            let proxy = Proxy::all(proxy).map_err(|_| ClientError::Part("proxy_url", "it is not a URL".to_owned()))?;
            builder = builder.proxy(proxy);
        }
        let mut host = None;
        if let Some(name) = &options.tls.server_name {
            let (resolver, header) = renamed(&mut base, name)?;
            host = Some(header);
            builder = builder.dns_resolver(Arc::new(resolver)).http1_only();
        }
        let http = builder.build().map_err(part("the HTTP client"))?;
        let max_body = usize::try_from(options.max_body_size).unwrap_or(usize::MAX);
        Ok(Self { http, base, host, max_body })
    }

    /// Where a request goes, in full.
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

    /// Asks once.
    ///
    /// # Errors
    /// One of the transport reasons, when there was no answer at all.
    pub async fn send(&self, request: &Request, key: Option<&Secret>) -> Result<Response, Reason> {
        let url = self.url(request);
        let mut building = match request.method {
            Method::Get => self.http.get(url),
            Method::Post => self.http.post(url),
        };
        building = building.header(ACCEPT, "application/json").headers(headers(request, key)?);
        if let Some(host) = &self.host {
            building = building.header(HOST, host.clone());
        }
        if let Some(body) = &request.body {
            building = building.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        let mut response = building.send().await.map_err(|error| reason(&error))?;
        let status = response.status().as_u16();
        let text = |name| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let (retry_after, date, etag) = (text(RETRY_AFTER), text(DATE), text(ETAG));
        let body = self.body(&mut response).await;
        Ok(Response { status, retry_after, date, etag, body })
    }

    async fn body(&self, response: &mut reqwest::Response) -> Result<Vec<u8>, Reason> {
        if response.content_length().is_some_and(|length| length > self.max_body as u64) {
            return Err(Reason::BodyTooLarge);
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| reason(&error))? {
            if body.len() + chunk.len() > self.max_body {
                return Err(Reason::BodyTooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }
}

/// The headers that a request brings, its key's among them, which no log of a library below may show.
fn headers(request: &Request, key: Option<&Secret>) -> Result<HeaderMap, Reason> {
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
        let place = &request.key;
        add(&place.name, &format!("{}{}{}", place.before, key.expose(), place.after), true)?;
    }
    Ok(headers)
}

fn read(path: &PathBuf) -> Result<Vec<u8>, ClientError> {
    fs::read(path).map_err(|error| ClientError::File(path.clone(), error))
}

/// Puts `name` into the URL, for SNI and the certificate's check, and keeps the true host for DNS and the Host header.
fn renamed(base: &mut Url, name: &str) -> Result<(Renamed, HeaderValue), ClientError> {
    let bad = |_| ClientError::Part("tls_config.server_name", "it is not a host name".to_owned());
    let host = base.host_str().unwrap_or_default().to_owned();
    let port = base.port_or_known_default().unwrap_or(443);
    let header = match base.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.clone(),
    };
    base.set_host(Some(name)).map_err(|error| bad(error.to_string()))?;
    let header = HeaderValue::from_str(&header).map_err(|error| bad(error.to_string()))?;
    Ok((Renamed { host: host.trim_matches(['[', ']']).to_owned(), port }, header))
}

/// Resolves whatever is asked as the true host.
struct Renamed {
    host: String,
    port: u16,
}

impl Resolve for Renamed {
    fn resolve(&self, _: Name) -> Resolving {
        let (host, port) = (self.host.clone(), self.port);
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// An error's text with its causes and without its URL.
fn error_text(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    if text.is_empty() { "it cannot be used".to_owned() } else { text }
}

/// Which of the transport reasons an error is.
fn reason(error: &reqwest::Error) -> Reason {
    if error.is_timeout() {
        return Reason::Timeout;
    }
    let mut causes = String::new();
    let mut tls = false;
    let mut cause = error.source();
    while let Some(error) = cause {
        tls |= is_tls(error);
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

/// True for an error of rustls, however deep it is wrapped: an `io::Error` gives its inner error only when asked for it.
fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    if error.is::<rustls::Error>() {
        return true;
    }
    let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    inner.is_some_and(|inner| is_tls(inner))
}
