//! Connections: so many at most, none of them held for ever by somebody who does not say what they want.

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

/// Most connections of one address at once; more wait until one of them is closed.
const MAX_CONNECTIONS: usize = 1024;

/// How long a request's headers may take. A connection that is kept for the next request waits no longer either, and scrapes are
/// up to a minute apart.
const HEADERS_PATIENCE: Duration = Duration::from_secs(90);

/// How long a reader may take next to nothing while there is something for it: Prometheus gives a scrape up after 10 s as a rule.
const SEND_PATIENCE: Duration = Duration::from_secs(15);

/// What a connection may have waiting in the system. It takes more only when a part of that is gone, which is what readers are judged
/// by.
const SEND_BUFFER: usize = 256 << 10;

/// How long answers that have begun may take to be read at the end.
const LINGER: Duration = Duration::from_secs(3);

/// Serves `router` until `stop`, then finishes what has begun; a reader that stalls is left.
pub async fn serve(mut listener: TcpListener, router: Router, stop: CancellationToken) -> anyhow::Result<()> {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADERS_PATIENCE);
    loop {
        let next = async { (room.clone().acquire_owned().await, Listener::accept(&mut listener).await) };
        let Some((place, (stream, _))) = stop.run_until_cancelled(next).await else { break };
        // A system that refuses has a size of its own.
        let _ = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER);
        let mut stream = Box::pin(TimeoutStream::new(stream));
        stream.as_mut().set_write_timeout_pinned(Some(SEND_PATIENCE));
        let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            // That a peer has gone is its own affair.
            let _ = connection.await;
            drop(place);
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    if tokio::time::timeout(LINGER, graceful.shutdown()).await.is_err() {
        tracing::warn!("closed connections whose readers have stalled");
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
    async fn who_does_not_read_is_not_waited_for() {
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
        // The clock of this test leaps on when all wait, as the server does when nobody reads.
        tokio::time::sleep(2 * SEND_PATIENCE).await;
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
    async fn who_does_not_say_what_they_want_is_not_waited_for() {
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
            // The clock of this test stands still while anybody has anything to do, and leaps on when all wait.
            socket.read_to_string(&mut answer).await.unwrap();
            answers.push(answer.ends_with("well"));
        }
        assert_eq!(answers, [false, false, true], "each was closed in the end, and what was asked was answered");
        stop.cancel();
        tasks.run(stop, Duration::from_secs(5)).await.unwrap();
    }
}
