//! A connection pool that is built anew when its files change: certificates, and the password of the proxy.

use std::error::Error as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::HeaderValue;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Identity, Url};

use super::options::{ClientError, Options, parse_url};
use crate::files::{self, Recheck};
use crate::secret::fingerprint;

/// Largest accepted certificate file, in bytes.
const MAX_PEM_SIZE: u64 = 4 << 20;

/// The pool.
pub struct Pool {
    options: Options,
    recheck: Recheck,
    current: Mutex<Current>,
}

/// The pool in use, and what it was built from.
struct Current {
    http: reqwest::Client,
    contents: Contents,
    /// That the files cannot be read was logged.
    is_unreadable: bool,
}

/// The contents of the files.
#[derive(PartialEq, Eq)]
struct Contents {
    ca: Option<Vec<u8>>,
    /// Certificate and key, one after the other.
    identity: Option<Vec<u8>>,
    /// Fingerprint of the proxy's user and password.
    proxy_authorization: Option<String>,
}

impl Pool {
    /// Reads the certificate files.
    ///
    /// # Errors
    /// When the URL, a certificate, a key or the proxy is invalid.
    pub fn new(options: &Options) -> Result<Self, ClientError> {
        let contents = Contents::read(options)?;
        let current = Mutex::new(Current { http: build(options, &contents)?, contents, is_unreadable: false });
        Ok(Self { options: options.clone(), recheck: Recheck::default(), current })
    }

    /// What it was built from.
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// The pool; a new one when the files have changed.
    pub async fn get(self: &Arc<Self>) -> reqwest::Client {
        if self.options.has_files() {
            let pool = self.clone();
            self.recheck.run(move || pool.reload()).await;
        }
        self.current().http.clone()
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Builds a new pool when the files have changed. Invalid ones change nothing, and are logged once.
    fn reload(&self) {
        let host = self.options.host().unwrap_or_default();
        if let Some(authorization) = self.options.proxy.as_ref().and_then(|proxy| proxy.authorization.as_ref()) {
            authorization.reread();
        }
        let contents = match Contents::read(&self.options) {
            Ok(contents) => contents,
            Err(error) => {
                if !std::mem::replace(&mut self.current().is_unreadable, true) {
                    tracing::warn!(host, %error, "certificate files cannot be read; the last good ones stay in use");
                }
                return;
            }
        };
        let is_changed = self.current().contents != contents;
        let built = is_changed.then(|| build(&self.options, &contents));
        let mut current = self.current();
        current.is_unreadable = false;
        if let Some(built) = built {
            current.contents = contents;
            match built {
                Ok(http) => {
                    current.http = http;
                    tracing::info!(host, "certificates or the proxy's password changed; connecting anew");
                }
                Err(error) => {
                    tracing::warn!(host, %error, "changed certificate files are not valid; the last good ones stay in use");
                }
            }
        }
    }
}

/// Builds a pool.
#[expect(clippy::disallowed_methods, reason = "the only place where a client is built")]
fn build(options: &Options, contents: &Contents) -> Result<reqwest::Client, ClientError> {
    let base = parse_url(&options.base_url)?;
    // Fails when the provider is installed already; that is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .redirect(Policy::none())
        .timeout(options.timeout)
        .connect_timeout(options.timeout)
        .pool_max_idle_per_host(options.max_idle)
        .no_proxy()
        .user_agent(concat!("videogen-exporter/", env!("CARGO_PKG_VERSION")));
    let part_error = |name| move |error: reqwest::Error| ClientError::Part(name, root_cause(&error));
    if let Some(ca) = &contents.ca {
        let certificates = Certificate::from_pem_bundle(ca).map_err(part_error("tls_config.ca_file"))?;
        if certificates.is_empty() {
            return Err(ClientError::Part("tls_config.ca_file", "the file contains no certificate".to_owned()));
        }
        builder = builder.tls_certs_only(certificates);
    } else if base.scheme() == "http" && options.proxy.is_none() {
        // Without TLS no certificates are needed. Loading none lets it run on a system that has none.
        builder = builder.tls_certs_only(Vec::<Certificate>::new());
    }
    if let Some(identity) = &contents.identity {
        builder = builder.identity(Identity::from_pem(identity).map_err(part_error("tls_config.cert_file"))?);
    }
    if let Some(proxy) = &options.proxy {
        builder = builder.proxy(proxy.build().map_err(|(key, why)| ClientError::Part(key, why))?);
    }
    if let Some(name) = &options.tls.server_name {
        let (resolver, _) = override_server_name(&mut base.clone(), name)?;
        builder = builder.dns_resolver(Arc::new(resolver)).http1_only();
    }
    builder.build().map_err(part_error("the HTTP client"))
}

impl Contents {
    /// Reads the certificate files; the proxy's password is as it was read last.
    fn read(options: &Options) -> Result<Self, ClientError> {
        let Options { tls, proxy, .. } = options;
        let read =
            |path: &PathBuf| files::read(path, MAX_PEM_SIZE).map_err(|error| ClientError::File(path.clone(), error));
        let identity = match (&tls.cert_file, &tls.key_file) {
            (Some(cert), Some(key)) => Some([read(cert)?, read(key)?].join(&b'\n')),
            _ => None,
        };
        let proxy_authorization = proxy.as_ref().and_then(|proxy| proxy.authorization.as_ref());
        Ok(Self {
            ca: tls.ca_file.as_ref().map(read).transpose()?,
            identity,
            proxy_authorization: proxy_authorization.map(|auth| fingerprint(auth.current().encoded.expose())),
        })
    }
}

/// Replaces the URL's host by `name` for SNI and certificate verification; DNS and the Host header keep the real host.
pub fn override_server_name(base: &mut Url, name: &str) -> Result<(FixedHostResolver, HeaderValue), ClientError> {
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
pub struct FixedHostResolver {
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
pub fn root_cause(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    if text.is_empty() { "cannot be used".to_owned() } else { text }
}
