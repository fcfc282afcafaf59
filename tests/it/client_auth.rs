//! How the exporter authenticates to upstreams, to servers of task ids and to proxies, with real servers.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use videogen_exporter::config;
use videogen_exporter::http::{Credentials, Key};
use videogen_exporter::source::Source;

use crate::exporter::{Exporter, PATIENCE, QUICK, value};
use crate::program::{Running, program};
use crate::server::Server;
use crate::upstream::{Reply, Upstream, status};

const CLIENT_SECRET: &str = "S3CRET client/secret+1";

/// How a token server wants a client's id and secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Header,
    Body,
}

struct TokenState {
    style: Style,
    expires_in: Option<u64>,
    delay: Duration,
    /// The status of each answer, or 0 for tokens.
    status: AtomicU16,
    secret: Mutex<String>,
    issued: Mutex<Vec<String>>,
    requests: Mutex<Vec<(Instant, String)>>,
}

/// A token endpoint; it stops when it is dropped.
struct TokenServer {
    address: SocketAddr,
    state: Arc<TokenState>,
    server: JoinHandle<()>,
}

impl Drop for TokenServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl TokenServer {
    async fn start(style: Style, expires_in: Option<u64>, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(TokenState {
            style,
            expires_in,
            delay,
            status: AtomicU16::new(0),
            secret: Mutex::new(CLIENT_SECRET.to_owned()),
            issued: Mutex::default(),
            requests: Mutex::default(),
        });
        let router = Router::new().fallback(issue).with_state(state.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, state, server }
    }

    fn issued(&self) -> Vec<String> {
        self.state.issued.lock().unwrap().clone()
    }

    fn requests(&self) -> Vec<(Instant, String)> {
        self.state.requests.lock().unwrap().clone()
    }

    /// The keys of `oauth2`; the client's secret is in the file `client`.
    fn oauth2(&self) -> String {
        format!(
            "oauth2: {{client_id: 'me:1', client_secret_file: client, token_url: 'http://{}/token?tenant=a', scopes: [read, list], \
             endpoint_params: {{audience: 'https://a.example/'}}}}",
            self.address
        )
    }
}

async fn issue(
    State(state): State<Arc<TokenState>>,
    headers: HeaderMap,
    uri: axum::http::Uri,
    body: String,
) -> Response {
    state.requests.lock().unwrap().push((Instant::now(), body.clone()));
    tokio::time::sleep(state.delay).await;
    let secret = state.secret.lock().unwrap().clone();
    match state.status.load(Ordering::SeqCst) {
        0 => {}
        code => return (StatusCode::from_u16(code).unwrap(), format!("{{\"error\":\"{secret}\"}}")).into_response(),
    }
    let form: Vec<(String, String)> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let field = |name: &str| form.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
    assert_eq!(headers[header::CONTENT_TYPE], "application/x-www-form-urlencoded");
    assert_eq!((uri.path(), uri.query()), ("/token", Some("tenant=a")));
    assert_eq!(field("grant_type"), Some("client_credentials"));
    assert_eq!((field("scope"), field("audience")), (Some("read list"), Some("https://a.example/")));
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", encode("me:1"), encode(&secret))));
    let is_known = match state.style {
        Style::Header => headers.get(header::AUTHORIZATION).is_some_and(|value| *value == *basic),
        Style::Body => field("client_id") == Some("me:1") && field("client_secret") == Some(&secret),
    };
    if !is_known {
        let code = if state.style == Style::Header { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
        return (code, r#"{"error":"invalid_client"}"#).into_response();
    }
    let mut issued = state.issued.lock().unwrap();
    let token = format!("S3CRET-token-{}", issued.len());
    issued.push(token.clone());
    let mut answer = json!({"access_token": token, "token_type": "bearer"});
    if let Some(seconds) = state.expires_in {
        answer["expires_in"] = seconds.into();
    }
    answer.to_string().into_response()
}

/// A gateway that answers 401 unless a request has an accepted `Authorization` header.
struct Guarded {
    server: Server,
    accepted: Arc<Mutex<Vec<String>>>,
    /// `Authorization` of each request, and whether it was accepted.
    seen: Arc<Mutex<Vec<(String, bool)>>>,
}

impl Guarded {
    async fn start(accepted: &[String]) -> Self {
        let accepted = Arc::new(Mutex::new(accepted.to_vec()));
        let seen: Arc<Mutex<Vec<(String, bool)>>> = Arc::default();
        let (known, log) = (accepted.clone(), seen.clone());
        let server = Server::start(move |request| {
            let sent = request.headers().get(header::AUTHORIZATION).map_or("", |value| value.to_str().unwrap());
            let is_accepted = known.lock().unwrap().iter().any(|known| known == sent);
            log.lock().unwrap().push((sent.to_owned(), is_accepted));
            if !is_accepted {
                return (StatusCode::UNAUTHORIZED, "{}").into_response();
            }
            let body =
                json!({"code": "success", "data": {"status": "IN_PROGRESS", "progress": "50%", "fail_reason": sent}});
            body.to_string().into_response()
        })
        .await;
        Self { server, accepted, seen }
    }

    fn accept(&self, accepted: &[String]) {
        *self.accepted.lock().unwrap() = accepted.to_vec();
    }

    fn seen(&self) -> Vec<(String, bool)> {
        self.seen.lock().unwrap().clone()
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn bearer(n: usize) -> String {
    format!("Bearer S3CRET-token-{n}")
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// One upstream `gw` with the task `t`.
fn one(base_url: &str, keys: &str) -> String {
    format!(
        "{QUICK}upstreams: [{{name: gw, provider: new_api, base_url: '{base_url}', {keys}, static_configs: [{{targets: [t]}}]}}]\n"
    )
}

fn one_at(address: SocketAddr, keys: &str) -> String {
    one(&format!("http://{address}"), keys)
}

const RUNNING: &str = "videogen_task_status{upstream=\"gw\",task_id=\"t\",status=\"running\"} 1";

async fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The credentials of the upstream of a configuration.
fn credentials(folder: &Path, keys: &str) -> Credentials {
    let text = one("http://127.0.0.1:1", keys);
    let config = config::parse(&text, &folder.join("c.yml")).unwrap_or_else(|error| panic!("{error}"));
    config.upstreams[0].key.clone().unwrap()
}

async fn header_of(credentials: &Credentials) -> Result<String, String> {
    match Credentials::key(Some(credentials), std::time::SystemTime::now()).await {
        Ok(Some(Key::Header(header))) => Ok(header.value()),
        Ok(_) => panic!("no header"),
        Err(error) => Err(error.to_string()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn basic_auth_is_sent_and_a_changed_password_is_used() {
    let gateway = Guarded::start(&[basic("me", "S3CRET-1 x")]).await;
    let folder = folder(&[("user", "me\n"), ("password", "S3CRET-1 x\n")]);
    let text = one_at(gateway.server.0, "basic_auth: {username_file: user, password_file: password}");
    let exporter = Exporter::start(&text, folder.path()).await;
    exporter.wait_for(&[RUNNING, "videogen_upstream_up{upstream=\"gw\"} 1"]).await;
    gateway.accept(&[basic("me", "S3CRET-2")]);
    fs::write(folder.path().join("password"), "S3CRET-2").unwrap();
    wait_until("the new password is sent", || gateway.seen().contains(&(basic("me", "S3CRET-2"), true))).await;
    exporter.wait_for(&["videogen_upstream_up{upstream=\"gw\"} 1"]).await;
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_token_serves_many_polls_whichever_way_the_client_is_identified() {
    for (style, requests) in [(Style::Header, 1), (Style::Body, 2)] {
        let tokens = TokenServer::start(style, Some(3600), Duration::ZERO).await;
        let gateway = Guarded::start(&[bearer(0)]).await;
        let folder = folder(&[("client", CLIENT_SECRET)]);
        let exporter = Exporter::start(&one_at(gateway.server.0, &tokens.oauth2()), folder.path()).await;
        exporter.wait_for(&[RUNNING]).await;
        wait_until("many polls", || gateway.seen().len() >= 8).await;
        exporter.stop().await;
        assert!(gateway.seen().iter().all(|(header, is_accepted)| *header == bearer(0) && *is_accepted), "{style:?}");
        assert_eq!((tokens.requests().len(), tokens.issued().len()), (requests, 1), "{style:?}");
        let last = tokens.requests().pop().unwrap().1;
        assert_eq!(last.contains("client_secret="), style == Style::Body, "{style:?}: {last}");
    }
}

/// A provider with a key header of its own gets the token as a bearer token.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_a_bearer_token_at_any_provider() {
    let tokens = TokenServer::start(Style::Header, None, Duration::ZERO).await;
    let gateway = Upstream::start("127.0.0.1:0").await;
    let folder = folder(&[("client", CLIENT_SECRET)]);
    let text = format!(
        "{QUICK}upstreams: [{{name: fal, provider: veo, base_url: 'http://{}', {}, static_configs: [{{targets: [models/m/operations/t]}}]}}]\n",
        gateway.address,
        tokens.oauth2()
    );
    let exporter = Exporter::start(&text, folder.path()).await;
    wait_until("a poll", || !gateway.requests().is_empty()).await;
    exporter.stop().await;
    let request = gateway.requests().remove(0);
    assert_eq!((request.authorization.clone(), request.header("x-goog-api-key")), (Some(bearer(0)), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_replaced_before_it_expires() {
    let tokens = TokenServer::start(Style::Body, Some(2), Duration::ZERO).await;
    let accepted: Vec<_> = (0..1000).map(bearer).collect();
    let gateway = Guarded::start(&accepted).await;
    let folder = folder(&[("client", CLIENT_SECRET)]);
    let exporter = Exporter::start(&one_at(gateway.server.0, &tokens.oauth2()), folder.path()).await;
    wait_until("four tokens", || tokens.issued().len() >= 4).await;
    exporter.stop().await;
    let seen = gateway.seen();
    assert!(seen.iter().all(|(_, is_accepted)| *is_accepted), "{seen:?}");
    for n in 0..3 {
        assert!(seen.contains(&(bearer(n), true)), "token {n} was used: {seen:?}");
    }
    let requests = tokens.requests();
    assert_eq!(requests.len(), tokens.issued().len() + 1, "the style that works is remembered");
    let times: Vec<_> = requests.iter().skip(1).map(|(at, _)| *at).collect();
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| *gap >= Duration::from_millis(900)), "{gaps:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_is_replaced_but_not_at_each_request() {
    let tokens = TokenServer::start(Style::Header, None, Duration::ZERO).await;
    let gateway = Guarded::start(&[bearer(0)]).await;
    let folder = folder(&[("client", CLIENT_SECRET)]);
    let text = one_at(gateway.server.0, &tokens.oauth2()).replace("max_interval: 400ms", "max_interval: 100ms");
    let exporter = Exporter::start(&text, folder.path()).await;
    exporter.wait_for(&[RUNNING]).await;
    gateway.accept(&[bearer(1)]);
    wait_until("the second token is accepted", || gateway.seen().contains(&(bearer(1), true))).await;
    exporter.wait_for(&["videogen_upstream_up{upstream=\"gw\"} 1"]).await;
    gateway.accept(&[]);
    wait_until("a third and a fourth token", || tokens.issued().len() >= 4).await;
    exporter.stop().await;
    let times: Vec<_> = tokens.requests().into_iter().map(|(at, _)| at).collect();
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| *gap >= Duration::from_millis(4900)), "{gaps:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_at_the_same_time_fetch_one_token_and_a_failure_is_remembered() {
    let tokens = TokenServer::start(Style::Header, Some(3600), Duration::from_millis(200)).await;
    let folder = folder(&[("client", CLIENT_SECRET)]);
    let access = credentials(folder.path(), &tokens.oauth2());
    let many = async || {
        let calls = (0..50).map(|_| {
            let access = access.clone();
            tokio::spawn(async move { header_of(&access).await })
        });
        let mut answers = Vec::new();
        for call in calls.collect::<Vec<_>>() {
            answers.push(call.await.unwrap());
        }
        answers
    };
    tokens.state.status.store(503, Ordering::SeqCst);
    let failed = many().await;
    assert!(
        failed.iter().all(|answer| *answer == Err("server_error: token endpoint: HTTP 503".to_owned())),
        "{failed:?}"
    );
    assert_eq!(tokens.requests().len(), 1);
    tokens.state.status.store(0, Ordering::SeqCst);
    assert!(header_of(&access).await.is_err(), "the failure is remembered");
    // Another secret may help, so it is tried at once.
    *tokens.state.secret.lock().unwrap() = "S3CRET-2".to_owned();
    fs::write(folder.path().join("client"), "S3CRET-2").unwrap();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert!(many().await.iter().all(|answer| *answer == Ok(bearer(0))));
    assert_eq!(tokens.requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_endpoint_that_gives_none_is_shown_and_left_in_peace() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let broken = TokenServer::start(Style::Header, None, Duration::ZERO).await;
    broken.state.status.store(404, Ordering::SeqCst);
    let wrong = TokenServer::start(Style::Body, None, Duration::ZERO).await;
    *wrong.state.secret.lock().unwrap() = "S3CRET-another".to_owned();
    let (broken_auth, wrong_auth) = (broken.oauth2(), wrong.oauth2());
    let down_auth = broken_auth.replace(&broken.address.to_string(), &nobody.to_string());
    let cases = [
        (down_auth, "connect", format!("token endpoint: refused {nobody}"), None),
        (broken_auth, "unauthorized", "token endpoint: HTTP 404".to_owned(), Some((&broken, 1))),
        (wrong_auth, "unauthorized", "token endpoint: HTTP 400, invalid_client".to_owned(), Some((&wrong, 2))),
    ];
    for (auth, reason, cause, server) in cases {
        let gateway = Guarded::start(&[]).await;
        let folder = folder(&[("client", CLIENT_SECRET)]);
        let exporter = Exporter::start(&one_at(gateway.server.0, &auth), folder.path()).await;
        exporter.wait_for(&["videogen_upstream_up{upstream=\"gw\"} 0"]).await;
        let series =
            format!("videogen_upstream_request_errors_total{{operation=\"get\",reason=\"{reason}\",upstream=\"gw\"}}");
        let begun = Instant::now();
        while value(&exporter.page().await, &series).is_none_or(|count| count < 4.0) {
            assert!(begun.elapsed() < PATIENCE, "{}", exporter.page().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let page = exporter.get("").await.1;
        assert!(page.contains(&cause), "no {cause:?} in {page}");
        let page = exporter.page().await;
        assert!(page.contains("task_id=\"t\"") && !page.contains("status=\"lost\"} 1"), "the task is not lost: {page}");
        if let Some((server, per_fetch)) = server {
            let most = (begun.elapsed().as_secs() / 5 + 2) * per_fetch;
            let found = server.requests().len() as u64;
            assert!(found <= most, "{found} requests for tokens in {:?}", begun.elapsed());
        }
        assert!(gateway.seen().is_empty(), "nothing is sent without a token");
        exporter.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_authenticate_as_upstreams_do() {
    let tokens = TokenServer::start(Style::Header, None, Duration::ZERO).await;
    let folder = folder(&[("client", CLIENT_SECRET), ("password", "S3CRET"), ("key", "sk-S3CRET-upstream")]);
    let ways = [
        ("basic_auth: {username: me, password_file: password}".to_owned(), basic("me", "S3CRET")),
        (tokens.oauth2(), "Bearer S3CRET-token-".to_owned()),
        ("authorization: {credentials_file: password}".to_owned(), "Bearer S3CRET".to_owned()),
    ];
    for (auth, header) in &ways {
        let gateway = Guarded::start(&[]).await;
        let own = format!("base_url: 'http://{}', authorization: {{credentials_file: key}}", gateway.server.0);
        let inherited = format!("base_url: 'http://{}', {auth}", gateway.server.0);
        for keys in [
            format!("{own}, http_sd_configs: [{{url: 'http://{}/ids', {auth}}}]", gateway.server.0),
            format!("{own}, list_configs: [{{requests_per_second: 1000, {auth}}}]"),
            format!("{inherited}, list_configs: [{{requests_per_second: 1000}}]"),
        ] {
            let text = format!("upstreams: [{{name: u, provider: tokenhot, {keys}}}]\n");
            let config = config::parse(&text, &folder.path().join("c.yml")).unwrap_or_else(|error| panic!("{error}"));
            let mut source = Source::from_upstream(&config.upstreams[0]).remove(0).1;
            let before = gateway.seen().len();
            source.read().await;
            let seen = gateway.seen();
            assert_eq!(seen.len(), before + 1, "{keys}");
            assert!(seen[before].0.starts_with(header), "{keys}: {seen:?}");
        }
    }
    // A source tells what is wrong as well.
    let auth = tokens.oauth2().replace("client_secret_file: client", "client_secret_file: password");
    let text = format!(
        "upstreams: [{{name: u, provider: tokenhot, http_sd_configs: [{{url: 'http://127.0.0.1:1/', {auth}}}], list_configs: [{{{auth}}}]}}]"
    );
    let config = config::parse(&text, &folder.path().join("c.yml")).unwrap();
    let mut sources = Source::from_upstream(&config.upstreams[0]);
    let listing = sources.remove(0).1.read().await;
    assert!(
        listing.messages.iter().any(|text| text.contains("token endpoint: HTTP 401, invalid_client")),
        "{:?}",
        listing.messages
    );
    let listing = sources.remove(0).1.read().await;
    assert_eq!(listing.requests[0].cause.as_deref(), Some("token endpoint: HTTP 401, invalid_client"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_gets_its_user_and_a_changed_password() {
    let folder = folder(&[("password", "S3CRET-1")]);
    let proxy = Upstream::start("127.0.0.1:0").await;
    proxy.script("t", vec![status("IN_PROGRESS")]);
    let (url, with_user) = (format!("http://{}", proxy.address), format!("http://u:S3CRET%2F0@{}", proxy.address));
    let sent = |header: String| {
        proxy.requests().iter().any(|request| request.header("proxy-authorization") == Some(header.clone()))
    };
    let text = one("http://gateway.invalid", &format!("proxy_url: '{with_user}'"));
    let exporter = Exporter::start(&text, folder.path()).await;
    exporter.wait_for(&[RUNNING]).await;
    exporter.stop().await;
    assert!(sent(basic("u", "S3CRET/0")), "{:?}", proxy.requests());
    let keys = format!("proxy_url: '{url}', proxy_authorization: {{username: u, password_file: password}}");
    let exporter = Exporter::start(&one("http://gateway.invalid", &keys), folder.path()).await;
    exporter.wait_for(&[RUNNING]).await;
    assert!(sent(basic("u", "S3CRET-1")));
    fs::write(folder.path().join("password"), "S3CRET-2\n").unwrap();
    wait_until("the new password is sent", || sent(basic("u", "S3CRET-2"))).await;
    exporter.stop().await;
    assert!(proxy.requests().iter().all(|request| request.authorization.is_none()));
}

/// To reach an upstream over TLS, a tunnel is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_is_asked_for_with_the_proxys_user() {
    let folder = folder(&[("password", "S3CRET-1")]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = heads.clone();
    let server = tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let length = socket.read(&mut head).await.unwrap_or(0);
            log.lock().unwrap().push(String::from_utf8_lossy(&head[..length]).to_lowercase());
            let _ = socket.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    let (in_url, own) = (
        format!("proxy_url: 'http://u:S3CRET-1@{proxy}'"),
        format!("proxy_url: 'http://{proxy}', proxy_authorization: {{username: u, password_file: password}}"),
    );
    for keys in [in_url, own] {
        heads.lock().unwrap().clear();
        let exporter = Exporter::start(&one("https://gateway.invalid", &keys), folder.path()).await;
        exporter.wait_for(&["videogen_upstream_up{upstream=\"gw\"} 0"]).await;
        exporter.stop().await;
        let head = heads.lock().unwrap()[0].clone();
        let header = format!("proxy-authorization: {}", basic("u", "S3CRET-1")).to_lowercase();
        assert!(head.starts_with("connect gateway.invalid:443 ") && head.contains(&header), "{head}");
    }
    server.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_of_no_proxy_are_reached_without_the_proxy() {
    for (no_proxy, is_bypassed) in [("127.0.0.0/8,internal.example", true), ("10.0.0.0/8,internal.example", false)] {
        let (proxy, gateway) = (Upstream::start("127.0.0.1:0").await, Upstream::start("127.0.0.1:0").await);
        let tokens = TokenServer::start(Style::Header, None, Duration::ZERO).await;
        proxy.script("t", vec![status("IN_PROGRESS")]);
        proxy.script("token", vec![Reply::Body(200, json!({"access_token": "by-proxy"}).to_string())]);
        gateway.script("t", vec![status("IN_PROGRESS")]);
        let settings = format!("proxy_url: 'http://{}', no_proxy: '{no_proxy}'", proxy.address);
        let oauth2 = tokens.oauth2();
        let oauth2 = format!("{}, {settings}}}", oauth2.strip_suffix('}').unwrap());
        let folder = folder(&[("client", CLIENT_SECRET)]);
        let exporter = Exporter::start(&one_at(gateway.address, &format!("{oauth2}, {settings}")), folder.path()).await;
        exporter.wait_for(&[RUNNING]).await;
        exporter.stop().await;
        assert_eq!(
            (proxy.requests().is_empty(), gateway.requests().is_empty()),
            (is_bypassed, !is_bypassed),
            "{no_proxy}"
        );
        assert_eq!(tokens.requests().is_empty(), !is_bypassed, "{no_proxy}");
    }
}

/// A token endpoint whose certificate becomes trusted while the exporter runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_ca_of_the_token_endpoint_is_read_again() {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let tls = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    let (acceptor, listener) = (TlsAcceptor::from(Arc::new(tls)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            // A client that does not trust the certificate disconnects.
            let Ok(mut socket) = acceptor.accept(socket).await else { continue };
            let mut request = vec![0; 4096];
            if socket.read(&mut request).await.is_ok() {
                let body = r#"{"access_token":"S3CRET-token-0"}"#;
                let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                let _ = socket.write_all((head + body).as_bytes()).await;
                let _ = socket.shutdown().await;
            }
        }
    });
    let other = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let folder = folder(&[("client", CLIENT_SECRET), ("ca.pem", &other.cert.pem())]);
    let gateway = Guarded::start(&[bearer(0)]).await;
    let keys = format!(
        "oauth2: {{client_id: me, client_secret_file: client, token_url: 'https://{address}/token', tls_config: {{ca_file: ca.pem}}}}"
    );
    let exporter = Exporter::start(&one_at(gateway.server.0, &keys), folder.path()).await;
    exporter.wait_for(&["videogen_upstream_up{upstream=\"gw\"} 0"]).await;
    let page = exporter.get("").await.1;
    assert!(page.contains("last error: tls (get): token endpoint: certificate"), "{page}");
    fs::write(folder.path().join("ca.pem"), cert.pem()).unwrap();
    exporter.wait_for(&[RUNNING]).await;
    exporter.stop().await;
    server.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_on_a_page_or_in_the_log() {
    let tokens = TokenServer::start(Style::Header, Some(2), Duration::ZERO).await;
    let refusing = TokenServer::start(Style::Header, None, Duration::ZERO).await;
    refusing.state.status.store(400, Ordering::SeqCst);
    let proxy = Upstream::start("127.0.0.1:0").await;
    let accepted: Vec<_> = (0..1000).map(bearer).chain([basic("me", "S3CRET-pass")]).collect();
    let gateway = Guarded::start(&accepted).await;
    let folder = folder(&[("client", CLIENT_SECRET), ("password", "S3CRET-pass")]);
    let entry = |name: &str, keys: &str| {
        format!(
            "- {{name: {name}, provider: new_api, base_url: 'http://{}', {keys}, static_configs: [{{targets: [t]}}]}}\n",
            gateway.server.0
        )
    };
    let basic_auth = "basic_auth: {username: me, password_file: password}";
    let proxied = format!(
        "{basic_auth}, proxy_url: 'http://{}', proxy_authorization: {{username: me, password_file: password}}",
        proxy.address
    );
    let text = [
        format!("state: {{memory: {{}}}}\n{QUICK}upstreams:\n"),
        entry("gw", basic_auth),
        entry(
            "tokens",
            &format!(
                "{}, http_sd_configs: [{{url: 'http://{}/ids', {basic_auth}}}]",
                tokens.oauth2(),
                gateway.server.0
            ),
        ),
        entry("refusing", &refusing.oauth2()),
        entry("proxied", &proxied),
    ]
    .concat();
    let file = folder.path().join("c.yml");
    fs::write(&file, text).unwrap();
    let log = folder.path().join("log");
    let mut command = program();
    command
        .args(["--web.listen-address=127.0.0.1:0", "--log.level=trace"])
        .arg(format!("--config.file={}", file.display()));
    let child = command.stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
    let address = || {
        let text = fs::read_to_string(&log).unwrap();
        let line = text.lines().find(|line| line.contains("listening"))?;
        line.rsplit("address=").next()?.trim().parse().ok()
    };
    wait_until("the program listens", || address().is_some()).await;
    let mut running = Running { child, address: address().unwrap() };
    wait_until("several tokens", || tokens.issued().len() >= 3 && refusing.requests().len() >= 2).await;
    wait_until("the proxy is used", || proxy.requests().len() >= 2).await;
    fs::write(folder.path().join("password"), "S3CRET-pass-2").unwrap();
    wait_until("the new password is sent", || gateway.seen().contains(&(basic("me", "S3CRET-pass-2"), false))).await;
    gateway.accept(&accepted.into_iter().chain([basic("me", "S3CRET-pass-2")]).collect::<Vec<_>>());
    let secrets = [
        "S3CRET".to_owned(),
        basic("me", "S3CRET-pass")[6..].to_owned(),
        basic("me", "S3CRET-pass-2")[6..].to_owned(),
        form_urlencoded::byte_serialize(CLIENT_SECRET.as_bytes()).collect(),
    ];
    for path in ["", "metrics", "config", "api/v1/tasks", "tasks/gw/t", "tasks/refusing/t", "api/v1/tasks/tokens/t"] {
        let (code, page) = crate::exporter::get(running.address, path).await;
        assert_eq!(code, 200, "{path}");
        assert!(!secrets.iter().any(|secret| page.contains(secret)), "{path}: {page}");
    }
    let shown = crate::exporter::get(running.address, "config").await.1;
    assert_eq!(shown.matches("\"has_key\": true").count(), 4, "{shown}");
    for (upstream, header) in
        [("gw", "Authorization: Basic <redacted>"), ("tokens", "Authorization: Bearer <redacted>")]
    {
        let output =
            program().args(["probe", &format!("--config.file={}", file.display()), upstream, "t"]).output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        assert!(text.contains(header), "{text}");
        assert!(!secrets.iter().any(|secret| text.contains(secret)), "{text}");
    }
    running.signal("TERM");
    assert_eq!(running.wait_for_exit(Duration::from_secs(30)), Some(0));
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.contains("no token from the token endpoint") && text.contains("listening"), "{text}");
    assert!(!secrets.iter().any(|secret| text.contains(secret)), "{text}");
}
