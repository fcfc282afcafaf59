//! Asks the exporter on this machine whether it is healthy.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::redirect::Policy;

use super::pool::root_cause;

/// How long it may take. Longer than a busy program needs, and shorter than those wait who ask.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where the exporter listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnPort {
    /// `HOST:PORT`.
    Tcp(String),
    /// A socket in the file system.
    Unix(PathBuf),
}

/// Sends GET to a path of our own port; returns status and text. The server's certificate is for the name by which others reach it,
/// and is not checked: nothing secret is sent.
///
/// # Errors
/// When there is no answer; the message says why.
#[expect(clippy::disallowed_methods, reason = "this client trusts every certificate: it is for our own port only")]
pub async fn ask_own_port(port: &OwnPort, is_tls: bool, path: &str) -> Result<(u16, String), String> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder().redirect(Policy::none()).timeout(TIMEOUT).no_proxy();
    let builder = builder.tls_danger_accept_invalid_certs(true);
    let (builder, host) = match port {
        OwnPort::Tcp(address) => (builder, address.as_str()),
        OwnPort::Unix(socket) => (builder.unix_socket(socket.clone()), "localhost"),
    };
    let scheme = if is_tls { "https" } else { "http" };
    let asked = async {
        let response = builder.build()?.get(format!("{scheme}://{host}{path}")).send().await?;
        Ok((response.status().as_u16(), response.text().await?))
    };
    asked.await.map_err(|error: reqwest::Error| root_cause(&error))
}
