//! Accepts connections, with limits on their number and on slow clients.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::client::{Client, TrustedProxies};
use super::client_permits::{ClientPermit, ClientPermits};
use super::connection::{Connection, Port};
use super::listener::Listener;
use super::log_interval::LogInterval;
use super::web::WebSource;
use crate::clock;
use crate::files;
use crate::metrics::ServerMetrics;

/// Most connections of one listener; further ones wait until one is closed. Where only few files may be open it is an eighth of
/// those.
const MAX_CONNECTIONS: usize = 1024;

/// Which part of the open files connections of one listener may take.
const DESCRIPTOR_SHARE: u64 = 8;

/// Most connections of one client. Trusted proxies have no such limit: theirs are of many clients.
const MAX_CONNECTIONS_PER_CLIENT: usize = 128;

/// Idle connections are closed while fewer than this part of the permits is free.
const FEW_FREE: usize = 8;

/// How long responses may take to finish after `stop`.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// How long to wait after a connection could not be accepted, for example because no file descriptor is free.
const ACCEPT_RETRY: Duration = Duration::from_millis(500);

/// The permits of one listener.
struct ConnectionPermits {
    all: Arc<Semaphore>,
    of_clients: Arc<ClientPermits>,
    proxies: TrustedProxies,
    refused: LogInterval,
}

/// The permit of one connection, free again when dropped.
struct ConnectionPermit {
    _permit: OwnedSemaphorePermit,
    _of_client: Option<ClientPermit>,
}

/// Serves `router` until `stop`, then finishes the responses that have begun. Stalled connections are dropped.
pub async fn serve(
    listener: Listener,
    web: Arc<WebSource>,
    router: Router,
    proxies: TrustedProxies,
    metrics: ServerMetrics,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let few_files = usize::try_from(files::descriptor_limit() / DESCRIPTOR_SHARE).unwrap_or(MAX_CONNECTIONS);
    let max = MAX_CONNECTIONS.min(few_files).max(1);
    let few = max / FEW_FREE;
    let max_of_client = MAX_CONNECTIONS_PER_CLIENT.min(max / FEW_FREE).max(1);
    let (all, of_clients) = (Arc::new(Semaphore::new(max)), ClientPermits::new(max_of_client));
    let port = Port::new(web, router, stop.clone());
    let permits = ConnectionPermits { all, of_clients, proxies, refused: LogInterval::default() };
    let mut connections = JoinSet::new();
    let failed = LogInterval::default();
    loop {
        let next = async { (permits.all.clone().acquire_owned().await, listener.accept().await) };
        let Some((permit, accepted)) = stop.run_until_cancelled(next).await else { break };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, address)) => {
                if let Some(permit) = permits.take(permit?, address) {
                    let (port, all) = (port.clone(), permits.all.clone());
                    connections.spawn(async move {
                        let are_permits_short = || all.available_permits() < few;
                        Connection { stream, address }.serve(&port, are_permits_short).await;
                        drop(permit);
                    });
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                metrics.accept_failed();
                if failed.is_due(clock::instant()) {
                    tracing::error!(%error, "cannot accept connections; trying again; more failures are not logged for a minute");
                }
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_TIMEOUT, drained).await.is_err() {
        tracing::warn!("shutdown: dropped connections that were still reading their response");
    }
    Ok(())
}

/// Whether accepting failed because this client is gone; the next one can be accepted at once.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

impl ConnectionPermits {
    /// The permit of a connection; `None` when its client has too many.
    fn take(&self, permit: OwnedSemaphorePermit, address: IpAddr) -> Option<ConnectionPermit> {
        let client = Client::new(address);
        let of_client = self.of_clients.take(client);
        if of_client.is_none() && !self.proxies.has(address) {
            if self.refused.is_due(clock::instant()) {
                tracing::warn!(
                    client.address = %client,
                    limit = MAX_CONNECTIONS_PER_CLIENT,
                    "connection closed: this address has too many; more of them are not logged for a minute. \
                     If it is a proxy, add it to --web.trusted-proxies"
                );
            }
            return None;
        }
        Some(ConnectionPermit { _permit: permit, _of_client: of_client })
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use axum::body::Body;
    use axum::routing::get;
    use futures_util::stream;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::server::connection::WRITE_TIMEOUT;
    use crate::supervise::Tasks;

    async fn serve_all(listener: TcpListener, router: Router, stop: CancellationToken) -> anyhow::Result<()> {
        let (listener, web) = (Listener::from_tcp(listener), Arc::new(WebSource::none()));
        serve(listener, web, router, TrustedProxies::default(), ServerMetrics::default(), stop).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stops_reading_is_dropped() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let endless =
            || Body::from_stream(stream::iter(std::iter::repeat_with(|| io::Result::Ok(vec![b'x'; 1 << 16]))));
        let router = Router::new().route("/", get(async move || endless()));
        let mut tasks = Tasks::default();
        tasks.start("server".to_owned(), serve_all(listener, router, stop.clone()));
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        // The paused clock advances when every future waits, as the server does when its client stops reading.
        tokio::time::sleep(2 * WRITE_TIMEOUT).await;
        let mut read = 0;
        let end = loop {
            if read > 64 << 20 {
                break Ok(());
            }
            match socket.read(&mut vec![0; 1 << 16]).await {
                Ok(0) => break Ok(()),
                Ok(some) => read += some,
                Err(error) => break Err(error.kind()),
            }
        };
        assert!(read < 64 << 20 && matches!(end, Ok(()) | Err(io::ErrorKind::ConnectionReset)), "{read} {end:?}");
        stop.cancel();
        tasks.run(stop, Duration::from_secs(5)).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_without_a_complete_request_is_dropped() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let mut tasks = Tasks::default();
        let router = Router::new().route("/", get(|| async { "well" }));
        tasks.start("server".to_owned(), serve_all(listener, router, stop.clone()));
        let mut answers = Vec::new();
        for sent in ["GET / HTTP/1.1\r\nHost: x\r\nA: ", "", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"] {
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.write_all(sent.as_bytes()).await.unwrap();
            let mut answer = String::new();
            // The paused clock advances only when every future waits.
            socket.read_to_string(&mut answer).await.unwrap();
            answers.push(answer.ends_with("well"));
        }
        assert_eq!(
            answers,
            [false, false, true],
            "every connection was closed, and only the complete request was answered"
        );
        stop.cancel();
        tasks.run(stop, Duration::from_secs(5)).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_survives_a_scrape_interval_of_a_minute() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let mut tasks = Tasks::default();
        let router = Router::new().route("/", get(|| async { "well" }));
        tasks.start("server".to_owned(), serve_all(listener, router, stop.clone()));
        let mut socket = TcpStream::connect(address).await.unwrap();
        for _ in 0..3 {
            socket.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"well") {
                assert_ne!(socket.read_buf(&mut answer).await.unwrap(), 0, "the connection was closed");
            }
            tokio::time::sleep(Duration::from_mins(1)).await;
        }
        stop.cancel();
        tasks.run(stop, Duration::from_secs(5)).await.unwrap();
    }
}
