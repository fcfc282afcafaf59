//! A gateway in this process. It answers that every task is running.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// The answer for every task.
const ROW: &str = include_str!("../../tests/fixtures/providers/new_api/running.json");

/// Serves HTTP/2 over TLS, or HTTP/1.1 without TLS. Calls `on_request` for each request. Returns its address.
pub async fn gateway(tls: Option<TlsAcceptor>, on_request: impl Fn() + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a local port");
    let (address, on_request) = (listener.local_addr().expect("a local port"), Arc::new(on_request));
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            stream.set_nodelay(true).expect("the socket is open");
            let (tls, on_request) = (tls.clone(), on_request.clone());
            tokio::spawn(async move {
                let answer = service_fn(move |_: Request<hyper::body::Incoming>| {
                    on_request();
                    let body = http_body_util::Full::new(Bytes::from_static(ROW.as_bytes()));
                    let response = Response::builder().header("Content-Type", "application/json").body(body);
                    async move { Ok::<_, Infallible>(response.expect("a valid response")) }
                });
                // An error means that the client has closed the connection.
                match tls {
                    None => {
                        let http = hyper::server::conn::http1::Builder::new();
                        _ = http.serve_connection(TokioIo::new(stream), answer).await;
                    }
                    Some(tls) => {
                        let Ok(stream) = tls.accept(stream).await else { return };
                        let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        _ = http.serve_connection(TokioIo::new(stream), answer).await;
                    }
                }
            });
        }
    });
    address
}

/// A targets file with the ids of this many tasks.
pub fn targets(tasks: usize) -> String {
    let ids: Vec<String> = (0..tasks).map(|n| format!("task_{:032x}", n * 0x9e37_79b9)).collect();
    serde_json::json!([{ "targets": ids }]).to_string()
}
