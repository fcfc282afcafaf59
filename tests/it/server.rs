//! A server whose responses are those of a function.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

type Answer = Arc<dyn Fn(&Request) -> Response + Send + Sync>;

/// A server that answers requests with a function; it stops when it is dropped.
pub struct Server(pub SocketAddr, JoinHandle<()>);

impl Server {
    #[expect(clippy::disallowed_methods, reason = "the server is owned by this value and aborted with it")]
    /// Listens on any free port.
    pub async fn start(answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer: Answer = Arc::new(answer);
        let router = Router::new()
            .fallback(|State(answer): State<Answer>, request: Request| async move { answer(&request) })
            .with_state(answer);
        Self(address, tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.1.abort();
    }
}
