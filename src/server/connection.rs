//! One connection: its TLS, its requests, and when it is closed.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::ready;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_util::sync::{CancellationToken, PollSemaphore};
use tower_service::Service as _;

use super::activity::{Activity, CHECK_INTERVAL, ResponseBody, Verdict};
use super::listener::Stream;
use super::log_interval::LogInterval;
use super::streams::Streams;
use super::unread::SharedBody;
use super::watched_stream::WatchedStream;
use super::web::WebSource;
use crate::clock;

/// Largest headers of a request, in bytes.
const MAX_HEADER_BYTES: usize = 64 << 10;

/// Requests of one HTTP/2 connection at a time.
const MAX_STREAMS: u32 = 100;

/// Most of a response that waits in memory for an HTTP/2 client, in bytes.
const MAX_SEND_BUFFER: usize = 64 << 10;

/// How long a write to a connection may make no progress. Prometheus aborts a scrape after 10 s by default.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The address that a request came from. It may be a proxy's.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// What the connections of one listener share.
#[derive(Clone)]
pub struct Port {
    web: Arc<WebSource>,
    router: Router,
    /// Held while a handshake computes: one at a time, so that very many leave time to those who are connected.
    handshake: Arc<Semaphore>,
    failed: Arc<LogInterval>,
    stop: CancellationToken,
}

impl Port {
    /// Serves `router` until `stop`.
    pub fn new(web: Arc<WebSource>, router: Router, stop: CancellationToken) -> Self {
        Self { web, router, handshake: Arc::new(Semaphore::new(1)), failed: Arc::default(), stop }
    }
}

/// A connection that was accepted.
pub struct Connection {
    /// The bytes.
    pub stream: Box<dyn Stream>,
    /// Where it comes from.
    pub address: IpAddr,
}

impl Connection {
    /// Serves it until it ends, or is closed because it holds its permit for nothing.
    pub async fn serve(self, port: &Port, are_permits_short: impl Fn() -> bool) {
        let Self { stream, address } = self;
        let mut stream = Box::pin(TimeoutStream::new(stream));
        stream.as_mut().set_write_timeout_pinned(Some(WRITE_TIMEOUT));
        let Some(tls) = port.web.get().await.tls.clone() else {
            return serve_requests(stream, false, (address, port), are_permits_short).await;
        };
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, accept_tls(stream, tls, &port.handshake));
        // A client that does not finish it, or speaks plain HTTP, gets no answer.
        let error = match port.stop.run_until_cancelled(handshake).await {
            Some(Ok(Ok((stream, is_http2)))) => {
                return serve_requests(stream, is_http2, (address, port), are_permits_short).await;
            }
            // It was closed without a word, as by probes of the port.
            Some(Ok(Err(error))) if error.kind() == io::ErrorKind::UnexpectedEof => return,
            Some(Ok(Err(error))) => error.to_string(),
            Some(Err(_)) => format!("it has not ended within {} s", HANDSHAKE_TIMEOUT.as_secs()),
            None => return,
        };
        if port.failed.is_due(clock::instant()) {
            tracing::warn!(client.address = %address, error, "TLS handshake failed; more of them are not logged for a minute");
        }
    }
}

/// The handshake: the stream within TLS, and whether it speaks HTTP/2.
async fn accept_tls(
    stream: impl Stream,
    config: Arc<ServerConfig>,
    turn: &Arc<Semaphore>,
) -> io::Result<(impl Stream, bool)> {
    // A slow client is waited for before it takes a turn.
    let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
    let mut accepting = pin!(hello.into_stream(config));
    // Each step may have what is costly: a key exchange, a signature, the certificate of a client.
    let mut turn = PollSemaphore::new(turn.clone());
    let stream = poll_fn(|cx| {
        let permit = ready!(turn.poll_acquire(cx));
        let polled = accepting.as_mut().poll(cx);
        drop(permit);
        polled
    })
    .await?;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok((stream, is_http2))
}

async fn serve_requests(
    stream: impl Stream,
    is_http2: bool,
    (address, port): (IpAddr, &Port),
    are_permits_short: impl Fn() -> bool,
) {
    let activity = Activity::new(is_http2);
    let stream = WatchedStream::new(stream, activity.clone());
    let begun = activity.clone();
    let (router, web) = (port.router.clone(), port.web.clone());
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let guard = begun.begin_request();
        let (mut router, web) = (router.clone(), web.clone());
        async move {
            let (parts, body) = request.into_parts();
            let is_continue_expected = parts.headers.contains_key(header::EXPECT);
            let body = SharedBody::new(body);
            let mut request = Request::from_parts(parts, Body::new(body.clone()));
            request.extensions_mut().insert(Peer(address.to_canonical()));
            request.extensions_mut().insert(web.get().await);
            name_host(&mut request);
            let response = router.call(request).await;
            body.discard(is_continue_expected).await;
            response.map(|response| response.map(|body| Body::new(ResponseBody::new(body, guard))))
        }
    });
    let builder = builder(is_http2);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut checks = tokio::time::interval(CHECK_INTERVAL);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    checks.reset();
    let mut is_stopping = false;
    loop {
        tokio::select! {
            biased;
            // It fails when the client disconnects, which needs no action.
            _ = connection.as_mut() => break,
            () = port.stop.cancelled(), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = checks.tick() => match activity.check(are_permits_short()) {
                Verdict::Keep => {}
                Verdict::Finish => connection.as_mut().graceful_shutdown(),
                Verdict::Drop => break,
            }
        }
    }
}

fn builder(is_http2: bool) -> auto::Builder<Streams> {
    let mut builder = auto::Builder::new(Streams::default());
    if is_http2 {
        builder = builder.http2_only();
        let mut http2 = builder.http2();
        http2.timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS).max_send_buf_size(MAX_SEND_BUFFER);
        http2.max_header_list_size(u32::try_from(MAX_HEADER_BYTES).unwrap_or(u32::MAX));
    } else {
        builder = builder.http1_only();
        // hyper's own time-out also counts while a connection is idle.
        builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(MAX_HEADER_BYTES);
    }
    builder
}

/// Over HTTP/2 the host is in the address of a request: it is given the header that is looked at.
fn name_host(request: &mut Request) {
    if let Some(authority) = request.uri().authority()
        && !request.headers().contains_key(header::HOST)
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(header::HOST, host);
    }
}
