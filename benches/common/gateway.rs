//! A gateway in this process, which says of every task that it is at work.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Its answer.
const ROW: &str = include_str!("../../tests/fixtures/providers/new_api/running.json");

/// Serves, HTTP/2 over TLS or HTTP/1.1 without, and tells of every request; where it is.
pub async fn gateway(tls: Option<TlsAcceptor>, asked: impl Fn() + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (address, asked) = (listener.local_addr().expect("a port"), Arc::new(asked));
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            stream.set_nodelay(true).expect("a socket");
            let (tls, asked) = (tls.clone(), asked.clone());
            tokio::spawn(async move {
                let answer = service_fn(move |_: Request<hyper::body::Incoming>| {
                    asked();
                    let body = http_body_util::Full::new(Bytes::from_static(ROW.as_bytes()));
                    let response = Response::builder().header("Content-Type", "application/json").body(body);
                    async move { Ok::<_, Infallible>(response.expect("an answer")) }
                });
                // That a client has gone is its own affair.
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

/// Ids of so many tasks, as a file of targets.
pub fn targets(tasks: usize) -> String {
    let ids: Vec<String> = (0..tasks).map(|n| format!("task_{:032x}", n * 0x9e37_79b9)).collect();
    serde_json::json!([{ "targets": ids }]).to_string()
}
