//! Signed tokens of Kling: always valid, renewed in time, and signed again when the key changes.

use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use videogen_exporter::config;
use videogen_exporter::domain::TaskId;
use videogen_exporter::http::Credentials;

/// A fake Kling server with a clock that the test sets.
struct Kling {
    address: SocketAddr,
    state: Arc<KlingState>,
    server: JoinHandle<()>,
}

struct KlingState {
    now: AtomicU64,
    secret: Mutex<String>,
    tokens: Mutex<HashSet<String>>,
}

impl Kling {
    #[expect(clippy::disallowed_methods, reason = "the server is owned by this value and aborted with it")]
    async fn start(secret: &str) -> Self {
        let state = Arc::new(KlingState {
            now: AtomicU64::new(0),
            secret: Mutex::new(secret.to_owned()),
            tokens: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(state.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, state, server }
    }
}

impl Drop for Kling {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(state): State<Arc<KlingState>>, headers: HeaderMap) -> Response {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    if let Err(code) = token.map_or(Err(1001), |token| check(token, &state)) {
        return (StatusCode::UNAUTHORIZED, json!({"code": code, "message": "auth"}).to_string()).into_response();
    }
    state.tokens.lock().unwrap().insert(token.unwrap().to_owned());
    let data = json!({"task_id": "1", "task_status": "processing", "created_at": 1_795_132_800_000_i64,
        "updated_at": 1_795_132_800_000_i64});
    json!({"code": 0, "message": "SUCCEED", "data": data}).to_string().into_response()
}

/// The documented error codes: 1000 wrong signature, 1003 not valid yet, 1004 expired.
fn check(token: &str, state: &KlingState) -> Result<(), u16> {
    let (signed, tag) = token.rsplit_once('.').ok_or(1002u16)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, state.secret.lock().unwrap().as_bytes());
    hmac::verify(&key, signed.as_bytes(), &URL_SAFE_NO_PAD.decode(tag).unwrap()).map_err(|_| 1000u16)?;
    let part = |text: &str| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap() };
    let (head, claims) = signed.split_once('.').unwrap();
    let (head, claims) = (part(head), part(claims));
    assert_eq!(head, json!({"alg": "HS256", "typ": "JWT"}));
    assert_eq!(claims["iss"], "access");
    let now = state.now.load(Ordering::SeqCst);
    if claims["nbf"].as_u64().unwrap() > now {
        return Err(1003);
    }
    if claims["exp"].as_u64().unwrap() <= now { Err(1004) } else { Ok(()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_always_valid_and_is_reused_until_it_expires() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("access"), "access\n").unwrap();
    fs::write(folder.path().join("secret"), "s3cret\n").unwrap();
    let kling = Kling::start("s3cret").await;
    let text = format!(
        "upstreams: [{{name: k, provider: kling, base_url: 'http://{}', authorization: {{access_key_file: access, secret_key_file: secret}}}}]",
        kling.address
    );
    let config = config::parse(&text, &folder.path().join("x.yml")).unwrap();
    let upstream = &config.upstreams[0];
    let (client, key) = (&upstream.client, upstream.key.as_ref());
    let request = upstream.dialect.request(&TaskId::parse("866900000000000001").unwrap()).unwrap();
    let ask = async |now: u64| {
        kling.state.now.store(now, Ordering::SeqCst);
        let token = Credentials::key(key, UNIX_EPOCH + Duration::from_secs(now)).await.unwrap();
        let response = client.send(&request, token.as_ref()).await.unwrap();
        upstream.dialect.read(response.status, &response.body.unwrap()).map_err(|error| error.code)
    };
    let day = 1_795_132_800;
    for now in (day..day + 86_400).step_by(97) {
        assert!(ask(now).await.is_ok(), "{} s into the day", now - day);
    }
    let signed = kling.state.tokens.lock().unwrap().len();
    assert!((48..=60).contains(&signed), "{signed} tokens in a day");
    assert!(ask(day).await.is_ok(), "a clock that was set back is tolerated");

    *kling.state.secret.lock().unwrap() = "another".to_owned();
    assert_eq!(ask(day + 10).await.unwrap_err().as_deref(), Some("1000"));
    fs::write(folder.path().join("secret"), "another").unwrap();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert!(ask(day + 20).await.is_ok(), "the new key is used");
}

/// The exporter with the real clock.
#[tokio::test(flavor = "multi_thread")]
async fn the_exporter_signs_its_requests() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("access"), "access").unwrap();
    fs::write(folder.path().join("secret"), "s3cret").unwrap();
    let kling = Kling::start("s3cret").await;
    kling.state.now.store(UNIX_EPOCH.elapsed().unwrap().as_secs(), Ordering::SeqCst);
    let text = format!(
        "{}upstreams: [{{name: k, provider: kling, model: kling-v2, base_url: 'http://{}', authorization: {{access_key_file: access, \
         secret_key_file: secret}}, static_configs: [{{targets: ['1']}}]}}]",
        super::exporter::QUICK,
        kling.address
    );
    let exporter = super::exporter::Exporter::start(&text, Path::new(folder.path())).await;
    let page = exporter.wait_for(&["videogen_task_status{upstream=\"k\",task_id=\"1\",status=\"running\"} 1"]).await;
    let token = kling.state.tokens.lock().unwrap().iter().next().unwrap().clone();
    assert!(!page.contains(&token) && !page.contains("s3cret"));
    let (_, config) = exporter.get("config").await;
    assert!(!config.contains("s3cret") && config.contains("\"has_key\": true"));
    exporter.stop().await;
}
