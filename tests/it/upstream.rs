//! A fake upstream server: each task id has a script of responses, and the last one repeats.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A scripted response.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A status and a body.
    Body(u16, String),
    /// A status with `Retry-After`.
    RetryAfter(u16, String),
    /// A status and a body with a `Date`.
    Dated(u16, String, String),
    /// A redirect to a URL.
    Redirect(String),
    /// The connection breaks within the body.
    Reset,
    /// No response for this long.
    Hang(Duration),
    /// A status and a body after this delay.
    Late(Duration, u16, String),
}

/// A request that was received.
#[derive(Debug, Clone)]
pub struct ReceivedRequest {
    /// The escaped path.
    pub path: String,
    /// GET or POST.
    pub method: String,
    /// The query string.
    pub query: String,
    /// The body.
    pub body: String,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    headers: HeaderMap,
    /// The time of arrival.
    pub at: Instant,
}

impl ReceivedRequest {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<String> {
        Some(self.headers.get(name)?.to_str().unwrap().to_owned())
    }
}

#[derive(Default)]
struct Script {
    replies: HashMap<String, Vec<Reply>>,
    requests: Vec<ReceivedRequest>,
}

/// The server; it stops when it is dropped.
pub struct Upstream {
    pub address: SocketAddr,
    script: Arc<Mutex<Script>>,
    server: JoinHandle<()>,
}

impl Upstream {
    /// Listens on an address; port 0 is any free port.
    #[expect(clippy::disallowed_methods, reason = "the server is owned by this value and aborted with it")]
    pub async fn start(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Mutex::new(Script::default()));
        let router = Router::new().fallback(answer).with_state(script.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, script, server }
    }

    /// Sets the responses of `id`.
    pub fn script(&self, id: &str, replies: Vec<Reply>) {
        self.script.lock().unwrap().replies.insert(id.to_owned(), replies);
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.script.lock().unwrap().requests.clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(script): State<Arc<Mutex<Script>>>, headers: HeaderMap, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let id = path.rsplit('/').next().unwrap_or_default().replace("%20", " ");
    let (method, query) = (request.method().to_string(), request.uri().query().unwrap_or_default().to_owned());
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let reply = {
        let mut script = script.lock().unwrap();
        let authorization = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
        script.requests.push(ReceivedRequest { path, method, query, body, authorization, headers, at: Instant::now() });
        match script.replies.get_mut(&id) {
            Some(replies) if replies.len() > 1 => replies.remove(0),
            Some(replies) => replies[0].clone(),
            None => not_exist(),
        }
    };
    match reply {
        Reply::Body(status, body) => {
            (StatusCode::from_u16(status).unwrap(), body.replace(POLLED_ID, &id)).into_response()
        }
        Reply::RetryAfter(status, after) => {
            (StatusCode::from_u16(status).unwrap(), [(header::RETRY_AFTER, after)], "").into_response()
        }
        Reply::Dated(status, body, date) => {
            (StatusCode::from_u16(status).unwrap(), [(header::DATE, date)], body).into_response()
        }
        Reply::Redirect(to) => (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, to)]).into_response(),
        Reply::Reset => {
            let broken = [Ok("{\"code\":"), Err(std::io::Error::other("planned"))];
            Body::from_stream(futures_util::stream::iter(broken)).into_response()
        }
        Reply::Hang(time) => {
            tokio::time::sleep(time).await;
            StatusCode::GATEWAY_TIMEOUT.into_response()
        }
        Reply::Late(time, status, body) => {
            tokio::time::sleep(time).await;
            (StatusCode::from_u16(status).unwrap(), body.replace(POLLED_ID, &id)).into_response()
        }
    }
}

/// Stands for the polled id in a scripted body.
const POLLED_ID: &str = "{polled id}";

/// The response of new-api to an unknown id.
pub fn not_exist() -> Reply {
    Reply::Body(400, json!({"code": "task_not_exist", "message": "task_not_exist", "data": null}).to_string())
}

/// A row in the envelope of a gateway.
pub fn row(row: &Value) -> Reply {
    Reply::Body(200, json!({"code": "success", "message": "", "data": row}).to_string())
}

/// A minimal row of the polled task, with a status.
pub fn status(word: &str) -> Reply {
    row(&json!({"task_id": POLLED_ID, "status": word, "progress": "50%", "properties": {"origin_model_name": "m"}}))
}
