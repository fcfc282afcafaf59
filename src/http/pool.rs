//! A connection pool that is built anew when its certificate files change.

use std::error::Error as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::HeaderValue;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Identity, Proxy, Url};

use super::options::{ClientError, Options, Tls, parse_url};
use crate::files::{self, Recheck};

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
    pem: Pem,
    /// That the files cannot be read was logged.
    is_unreadable: bool,
}

/// The contents of the certificate files.
#[derive(PartialEq, Eq)]
struct Pem {
    ca: Option<Vec<u8>>,
    /// Certificate and key, one after the other.
    identity: Option<Vec<u8>>,
}

impl Pool {
    /// Reads the certificate files.
    ///
    /// # Errors
    /// When the URL, a certificate, a key or the proxy is invalid.
    pub fn new(options: &Options) -> Result<Self, ClientError> {
        let pem = Pem::read(&options.tls)?;
        let current = Mutex::new(Current { http: build(options, &pem)?, pem, is_unreadable: false });
        Ok(Self { options: options.clone(), recheck: Recheck::default(), current })
    }

    /// What it was built from.
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// The pool; a new one when the certificate files have changed.
    pub async fn get(self: &Arc<Self>) -> reqwest::Client {
        if self.options.tls.has_files() {
            let pool = self.clone();
            self.recheck.run(move || pool.reload()).await;
        }
        self.current().http.clone()
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Builds a new pool when the certificate files have changed. Invalid ones change nothing, and are logged once.
    fn reload(&self) {
        let host = self.options.host().unwrap_or_default();
        let pem = match Pem::read(&self.options.tls) {
            Ok(pem) => pem,
            Err(error) => {
                if !std::mem::replace(&mut self.current().is_unreadable, true) {
                    tracing::warn!(host, %error, "certificate files cannot be read; the last good ones stay in use");
                }
                return;
            }
        };
        let is_changed = self.current().pem != pem;
        let built = is_changed.then(|| build(&self.options, &pem));
        let mut current = self.current();
        current.is_unreadable = false;
        if let Some(built) = built {
            current.pem = pem;
            match built {
                Ok(http) => {
                    current.http = http;
                    tracing::info!(host, "certificate files changed; certificates reloaded");
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
fn build(options: &Options, pem: &Pem) -> Result<reqwest::Client, ClientError> {
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
    if let Some(ca) = &pem.ca {
        let certificates = Certificate::from_pem_bundle(ca).map_err(part_error("tls_config.ca_file"))?;
        if certificates.is_empty() {
            return Err(ClientError::Part("tls_config.ca_file", "the file contains no certificate".to_owned()));
        }
        builder = builder.tls_certs_only(certificates);
    } else if base.scheme() == "http" && options.proxy_url.is_none() {
        // Without TLS no certificates are needed. Loading none lets it run on a system that has none.
        builder = builder.tls_certs_only(Vec::<Certificate>::new());
    }
    if let Some(identity) = &pem.identity {
        builder = builder.identity(Identity::from_pem(identity).map_err(part_error("tls_config.cert_file"))?);
    }
    if let Some(proxy) = &options.proxy_url {
        // The message of reqwest contains the URL, which may contain a password.
        let proxy = Proxy::all(proxy).map_err(|_| ClientError::Part("proxy_url", "not a URL".to_owned()))?;
        builder = builder.proxy(proxy);
    }
    if let Some(name) = &options.tls.server_name {
        let (resolver, _) = override_server_name(&mut base.clone(), name)?;
        builder = builder.dns_resolver(Arc::new(resolver)).http1_only();
    }
    builder.build().map_err(part_error("the HTTP client"))
}

impl Pem {
    fn read(tls: &Tls) -> Result<Self, ClientError> {
        let read =
            |path: &PathBuf| files::read(path, MAX_PEM_SIZE).map_err(|error| ClientError::File(path.clone(), error));
        let identity = match (&tls.cert_file, &tls.key_file) {
            (Some(cert), Some(key)) => Some([read(cert)?, read(key)?].join(&b'\n')),
            _ => None,
        };
        Ok(Self { ca: tls.ca_file.as_ref().map(read).transpose()?, identity })
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
fn root_cause(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    if text.is_empty() { "cannot be used".to_owned() } else { text }
}
