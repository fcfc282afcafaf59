//! Accepts connections, with limits on their number and on slow clients.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

/// Most connections of one listener; further ones wait until one is closed.
const MAX_CONNECTIONS: usize = 1024;

/// How long request headers may take to arrive. It also limits idle keep-alive connections, and scrapes are up to a minute
/// apart.
const HEADER_TIMEOUT: Duration = Duration::from_secs(90);

/// How long a write to a connection may make no progress. Prometheus aborts a scrape after 10 s by default.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);

/// Send buffer of a connection, in bytes. It is limited so that a client that stops reading soon blocks the writes.
const SEND_BUFFER: usize = 256 << 10;

/// How long responses may take to finish after `stop`.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// Serves `router` until `stop`, then finishes the responses that have begun. Stalled connections are dropped.
pub async fn serve(mut listener: TcpListener, router: Router, stop: CancellationToken) -> anyhow::Result<()> {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    loop {
        let next = async { (permits.clone().acquire_owned().await, Listener::accept(&mut listener).await) };
        let Some((permit, (stream, _))) = stop.run_until_cancelled(next).await else { break };
        // On failure the system's default size applies.
        let _ = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER);
        let mut stream = Box::pin(TimeoutStream::new(stream));
        stream.as_mut().set_write_timeout_pinned(Some(WRITE_TIMEOUT));
        let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            // It fails when the client disconnects, which needs no action.
            let _ = connection.await;
            drop(permit);
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("shutdown: dropped connections that were still reading their response");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io;

    use axum::body::Body;
    use axum::routing::get;
    use futures_util::stream;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;
    use crate::supervise::Tasks;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stops_reading_is_dropped() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let endless =
            || Body::from_stream(stream::iter(std::iter::repeat_with(|| io::Result::Ok(vec![b'x'; 1 << 16]))));
        let router = Router::new().route("/", get(async move || endless()));
        let mut tasks = Tasks::default();
        tasks.start("server".to_owned(), serve(listener, router, stop.clone()));
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
        tasks.start("server".to_owned(), serve(listener, router, stop.clone()));
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
}
