//! Limits for each client: connections, scrapes and failed requests; and browsers that other web sites control.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use videogen_exporter::server::WebOptions;

use crate::exporter::{Exporter, PATIENCE, QUICK, get, value};
use crate::program::{Running, program};

const ALICE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const BOB: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const KEY: &str = "Authorization: Bearer k-all-0123456789\r\n";
const WRONG: &str = "Authorization: Bearer k-all-0123456788\r\n";

/// A connection from an address of this machine. The receive buffer is small, so that a page does not fit into it.
async fn connect(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Sends a request from an address; returns the status, 0 when the connection is closed, and the whole response.
async fn send(from: Ipv4Addr, to: SocketAddr, line: &str, headers: &str) -> (u16, String) {
    let mut socket = connect(from, to).await;
    let host = if headers.contains("Host:") { "" } else { "Host: x\r\n" };
    let head = format!("{line} HTTP/1.1\r\n{host}{headers}Connection: close\r\n\r\n");
    let _ = socket.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    (answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0), answer)
}

fn config(folder: &Path, api: &str) -> String {
    fs::write(folder.join("all.key"), "k-all-0123456789\n").unwrap();
    fs::write(folder.join("blue.key"), "k-blue-0123456789\n").unwrap();
    format!(
        "{QUICK}state: {{memory: {{}}}}\napi: {{authorization: [{{credentials_file: all.key{api}}}, {{credentials_file: blue.key, upstreams: [blue]}}]}}\n\
         upstreams:\n- {{name: red, provider: new_api, base_url: 'http://127.0.0.1:9'}}\n- {{name: blue, provider: new_api, base_url: 'http://127.0.0.1:9'}}\n"
    )
}

async fn start(folder: &Path, web: WebOptions) -> Exporter {
    Exporter::start_with(&config(folder, ""), folder, web).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_with_too_many_connections_is_refused_and_others_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let exporter = start(folder.path(), WebOptions::default()).await;
    let mut held = Vec::new();
    for _ in 0..128 {
        let mut socket = connect(ALICE, exporter.address).await;
        socket.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nA: ").await.unwrap();
        held.push(socket);
    }
    assert_eq!(send(ALICE, exporter.address, "GET /-/healthy", "").await.0, 0);
    assert_eq!(send(BOB, exporter.address, "GET /-/healthy", "").await.0, 200);
    // The connections of a trusted proxy belong to many clients; the requests in progress of each are limited.
    let web = WebOptions { trusted_proxies: vec!["127.0.0.1".parse().unwrap()], ..WebOptions::default() };
    let behind_proxy = start(folder.path(), web).await;
    let mut behind = Vec::new();
    for _ in 0..128 {
        let mut socket = connect(ALICE, behind_proxy.address).await;
        let head = format!(
            "POST /api/v1/tasks HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\n{KEY}Content-Length: 9\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        behind.push(socket);
    }
    let mut refused = (0, String::new());
    // The requests are counted when the server has read their headers.
    while refused.0 != 429 {
        refused = send(ALICE, behind_proxy.address, "GET /-/healthy", "X-Forwarded-For: 192.0.2.1\r\n").await;
    }
    assert!(refused.1.contains("requests of this address are in progress"), "{}", refused.1);
    assert_eq!(send(ALICE, behind_proxy.address, "GET /-/healthy", "X-Forwarded-For: 192.0.2.2\r\n").await.0, 200);
    drop((held, behind));
    exporter.stop().await;
    behind_proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_headers_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let exporter = start(folder.path(), WebOptions::default()).await;
    let header = |bytes: usize| format!("A: {}\r\n", "x".repeat(bytes));
    assert_eq!(send(ALICE, exporter.address, "GET /-/healthy", &header(60_000)).await.0, 200);
    assert!(matches!(send(ALICE, exporter.address, "GET /-/healthy", &header(140_000)).await.0, 0 | 431));
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_reads_slowly_does_not_keep_others_from_scraping() {
    let folder = tempfile::tempdir().unwrap();
    let ids: Vec<_> = (0..1500).map(|n| format!("task-{n}")).collect();
    let text = format!(
        "upstreams:\n- {{name: many, provider: new_api, base_url: 'http://127.0.0.1:9', static_configs: [{{targets: {ids:?}}}]}}\n"
    );
    let exporter = Exporter::start(&text, folder.path()).await;
    let page = exporter
        .wait_for(&["videogen_tasks{upstream=\"many\",provider=\"new_api\",model=\"unknown\",status=\"unknown\"} 1500"])
        .await;
    assert!(page.len() > 1 << 20, "the page fits into the buffers of a connection: {}", page.len());
    let mut slow = Vec::new();
    for _ in 0..16 {
        let mut socket = connect(ALICE, exporter.address).await;
        socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut first = [0; 12];
        socket.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        slow.push(socket);
    }
    let (code, answer) = send(ALICE, exporter.address, "GET /metrics", "").await;
    assert!(code == 503 && answer.contains("too many scrapes"), "{code} {}", answer.len());
    assert_eq!(send(ALICE, exporter.address, "GET /-/healthy", "").await.0, 200);
    assert_eq!(send(BOB, exporter.address, "GET /metrics", "").await.0, 200);
    drop(slow);
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_guesses_keys_learns_nothing_and_others_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let exporter = start(folder.path(), WebOptions::default()).await;
    let line = "DELETE /api/v1/tasks/red/x";
    let page = exporter.page().await;
    for reason in ["missing", "wrong", "rate_limited", "scope"] {
        let born = format!("videogen_exporter_auth_failures_total{{reason=\"{reason}\"}} 0");
        assert!(page.lines().any(|found| found == born), "no {born}");
    }
    assert_eq!(send(ALICE, exporter.address, line, "").await.0, 401);
    let blue = "Authorization: Bearer k-blue-0123456789\r\n";
    assert_eq!(send(ALICE, exporter.address, line, blue).await.0, 403);
    assert_eq!(send(ALICE, exporter.address, line, KEY).await.0, 404, "the right key, before the flood");
    // On a slow machine the rate recovers between two requests.
    let mut right_key_refused = false;
    for _ in 0..1000 {
        send(ALICE, exporter.address, line, WRONG).await;
        right_key_refused |= send(ALICE, exporter.address, line, KEY).await.0 == 429;
        if right_key_refused {
            break;
        }
    }
    assert!(right_key_refused, "the right key is told apart during a flood");
    assert_eq!(send(BOB, exporter.address, line, KEY).await.0, 404, "another address is not locked out");
    let page = exporter.page().await;
    let failures = |reason: &str| {
        crate::exporter::value(&page, &format!("videogen_exporter_auth_failures_total{{reason=\"{reason}\"}}")).unwrap()
    };
    assert_eq!((failures("missing"), failures("scope")), (1.0, 1.0));
    assert!(failures("wrong") >= 19.0 && failures("rate_limited") >= 1.0);
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_cannot_take_all_tasks_and_label_names() {
    let folder = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(&config(folder.path(), ", max_tasks: 3"), folder.path()).await;
    let register = async |tasks: serde_json::Value| {
        let body = tasks.to_string();
        let mut socket = connect(ALICE, exporter.address).await;
        let head = format!(
            "POST /api/v1/tasks HTTP/1.1\r\nHost: x\r\n{KEY}Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let task = |id: &str| json!({"upstream": "red", "task_id": id});
    assert!(register(json!([task("a"), task("b")])).await.starts_with("HTTP/1.1 200"));
    let answer = register(json!([task("c"), task("d")])).await;
    assert!(answer.starts_with("HTTP/1.1 429") && answer.contains("api.authorization.max_tasks"), "{answer}");
    let labels: serde_json::Map<_, _> = (0..32).map(|n| (format!("a{n}"), json!("x"))).collect();
    let labeled = json!({"upstream": "blue", "task_id": "c", "labels": labels});
    assert!(register(labeled).await.starts_with("HTTP/1.1 200"));
    assert!(register(json!([task("a"), task("b")])).await.starts_with("HTTP/1.1 200"), "they are tracked already");
    assert!(register(task("e")).await.starts_with("HTTP/1.1 429"));
    let forgotten = send(ALICE, exporter.address, "DELETE /api/v1/tasks/red/a", KEY).await;
    assert_eq!(forgotten.0, 200, "{}", forgotten.1);
    assert!(register(task("e")).await.starts_with("HTTP/1.1 200"));
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_not_served_under_public_names_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let web = WebOptions { allowed_hosts: vec!["vgx.example.com".to_owned()], ..WebOptions::default() };
    let exporter = start(folder.path(), web).await;
    let evil = "Host: evil.example:10470\r\n";
    for path in ["/", "/config", "/api/v1/tasks", "/api/v1/tasks/red/x", "/tasks/red/x"] {
        let (code, answer) = send(ALICE, exporter.address, &format!("GET {path}"), evil).await;
        assert!(code == 421 && answer.contains("--web.allowed-host"), "{path}: {code}");
        let (code, _) = send(ALICE, exporter.address, &format!("GET {path}"), "Host: vgx.example.com\r\n").await;
        assert_ne!(code, 421, "{path}");
        assert_ne!(send(ALICE, exporter.address, &format!("GET {path}"), &format!("{evil}{KEY}")).await.0, 421);
    }
    for path in ["/metrics", "/-/healthy"] {
        assert_eq!(send(ALICE, exporter.address, &format!("GET {path}"), evil).await.0, 200);
    }
    assert_eq!(send(ALICE, exporter.address, "POST /webhooks/red/x", evil).await.0, 404);
    let cross = format!("{KEY}Sec-Fetch-Site: cross-site\r\n");
    assert_eq!(send(ALICE, exporter.address, "DELETE /api/v1/tasks/red/x", &cross).await.0, 403);
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_over_http_is_off_by_default_and_refuses_other_sites() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.yml");
    let text = config(folder.path(), "");
    fs::write(&file, &text).unwrap();
    let reload = async |address, headers: &str| send(ALICE, address, "POST /-/reload", headers).await;
    let running = Running::spawn(
        program().arg("--web.listen-address=127.0.0.1:0").arg(format!("--config.file={}", file.display())),
    );
    let (code, answer) = reload(running.address, "").await;
    assert!(code == 403 && answer.contains("--web.enable-lifecycle"), "{answer}");
    let exporter = Exporter::start_file(&file).await;
    let address = exporter.address;
    assert_eq!(reload(address, "Origin: https://evil.example\r\n").await.0, 403);
    assert_eq!(reload(address, "Sec-Fetch-Site: cross-site\r\n").await.0, 403);
    assert_eq!(reload(address, "Origin: http://x\r\n").await.0, 200);
    // A file that is a pipe is refused, and does not hold the reload.
    fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    let (code, answer) = reload(address, "").await;
    assert!(code == 500 && answer.contains("not a regular file"), "{answer}");
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_cannot_be_accepted_are_logged_and_do_not_end_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.yml");
    fs::write(&file, config(folder.path(), "")).unwrap();
    let mut child = program()
        .arg("--web.listen-address=127.0.0.1:0")
        .arg(format!("--config.file={}", file.display()))
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.find(|line| line.contains("listening")).unwrap();
    let address: SocketAddr = line.rsplit("address=").next().unwrap().trim().parse().unwrap();
    let running = Running { child, address };
    assert_eq!(get(address, "-/healthy").await.0, 200);
    let limit = |nofile: &str| {
        let pid = running.child.id().to_string();
        let done = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={nofile}:")]).status().unwrap();
        assert!(done.success());
    };
    let open = fs::read_dir(format!("/proc/{}/fd", running.child.id())).unwrap().count();
    limit(&open.to_string());
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(connect(BOB, address).await);
    }
    let logged = tokio::task::spawn_blocking(move || {
        let found = lines.find(|line| line.contains("cannot accept connections"));
        std::thread::spawn(move || lines.for_each(drop));
        found
    });
    let logged = tokio::time::timeout(PATIENCE, logged).await.unwrap().unwrap();
    assert!(logged.is_some_and(|line| line.contains("level=error")));
    limit("1024");
    drop(held);
    assert_eq!(get(address, "-/healthy").await.0, 200);
    assert!(value(&get(address, "metrics").await.1, "videogen_exporter_accept_errors_total") >= Some(1.0));
}

#[test]
fn key_files_that_others_can_read_are_warned_about() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.yml");
    fs::write(&file, config(folder.path(), "")).unwrap();
    let warnings = |mode: u32| {
        for key in ["all.key", "blue.key"] {
            fs::set_permissions(folder.path().join(key), fs::Permissions::from_mode(mode)).unwrap();
        }
        let output = program().args(["check", &format!("--config.file={}", file.display())]).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().filter(|line| line.starts_with("warning: ")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(warnings(0o600), [""; 0]);
    let found = warnings(0o644);
    assert!(found.len() == 2 && found[0].contains("api.authorization.0.credentials_file: every user"), "{found:?}");
}

#[test]
fn flags_of_the_server_are_checked() {
    for (flag, message) in [
        ("--web.trusted-proxies=10.0.0.0/8,proxy", "expected an IP address, or a network"),
        ("--web.allowed-host=http://x", "expected a host name"),
        ("--web.external-url=x.example.com", "expected a URL such as"),
    ] {
        let output = program().arg(flag).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && text.contains(message), "{flag}: {text}");
    }
}
