//! The port: TLS that is changed under load, client certificates, sockets of paths and of systemd, and a prefix.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use videogen_exporter::http::{self, Client, Request, Tls};
use videogen_exporter::server::WebOptions;

use crate::access::{ask, basic};
use crate::certificates::Ca;
use crate::exporter::{Exporter, PATIENCE};
use crate::program::{Running, program};
use crate::prometheus::{assert_is_real_test, free_port};

const CONFIG: &str = "state: {memory: {}}\nupstreams: [{name: a, provider: new_api, base_url: 'http://127.0.0.1:9'}]\n";

fn config(folder: &Path) -> PathBuf {
    let file = folder.join("config.yml");
    fs::write(&file, CONFIG).unwrap();
    file
}

/// The program with these options, on a free port.
fn start(folder: &Path, options: &[String]) -> Running {
    let mut command = program();
    command.arg(format!("--config.file={}", config(folder).display())).args(options);
    if !options.iter().any(|option| option.starts_with("--web.listen-address")) {
        command.arg("--web.listen-address=127.0.0.1:0");
    }
    Running::spawn(&mut command)
}

/// A client that trusts the certificates in a file, with a certificate of its own beside that.
fn client(running: &Running, ca: &Path, own: Option<&str>, max_idle: usize) -> Client {
    let own = |extension: &str| own.map(|name| ca.with_file_name(format!("{name}.{extension}")));
    let options = http::Options {
        base_url: format!("https://localhost:{}", running.address.port()),
        timeout: Duration::from_secs(30),
        max_body_size: 1 << 20,
        has_large_bodies: false,
        max_idle,
        tls: Tls { ca_file: Some(ca.to_owned()), cert_file: own("crt"), key_file: own("key"), server_name: None },
        proxy: None,
    };
    Client::new(&options).unwrap()
}

fn get(path: &str, login: Option<(&str, &str)>) -> Request {
    let mut request = Request::get([path]);
    if let Some((name, password)) = login {
        let line = basic(name, password);
        let value = line.trim_end().split_once(": ").unwrap().1;
        request.headers.push(("Authorization".to_owned(), value.to_owned()));
    }
    request
}

/// Writes a file in one step, as `mv` does.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, file).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_and_users_are_changed_under_load_without_a_lost_request() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // Each is signed by a CA of its own, so that a client can tell which one is served.
    let names = ["one", "two", "three"];
    let cas = names.map(|name| {
        let ca = Ca::new(folder.path(), &format!("ca-{name}"));
        ca.sign_server(name);
        ca.file
    });
    fs::write(at("all.crt"), cas.iter().map(|file| fs::read_to_string(file).unwrap()).collect::<String>()).unwrap();
    let (one, two) = (bcrypt::hash("one", 4).unwrap(), bcrypt::hash("two", 4).unwrap());
    let web = |certificate: &str, users: &str| {
        format!(
            "tls_server_config: {{cert_file: {certificate}.crt, key_file: {certificate}.key}}\nbasic_auth_users: {{{users}}}\n"
        )
    };
    replace(&at("web.yml"), &web("one", &format!("dave: {one}")));
    let running = start(folder.path(), &[format!("--web.config.file={}", at("web.yml").display())]);
    let (is_done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut readers = Vec::new();
    // Some keep their connection, the others make a handshake for each request.
    for max_idle in [0, 0, 1, 1] {
        let client = client(&running, &at("all.crt"), None, max_idle);
        let (is_done, answered) = (is_done.clone(), answered.clone());
        readers.push(tokio::spawn(async move {
            while !is_done.load(Ordering::Relaxed) {
                let response = client.send(&get("metrics", Some(("dave", "one"))), None).await;
                assert_eq!(response.map(|response| response.status).ok(), Some(200));
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    let other = client(&running, &at("all.crt"), None, 0);
    let serves = async |n: usize| client(&running, &cas[n], None, 0).send(&get("-/healthy", None), None).await.is_ok();
    for round in 0..4 {
        let (certificate, with_two) = [("two", true), ("one", false)][round % 2];
        let both = format!("dave: {one}, carol: {two}");
        let users = if with_two { both } else { format!("dave: {one}") };
        replace(&at("web.yml"), &web(certificate, &users));
        let expected = if with_two { 200 } else { 401 };
        let deadline = Instant::now() + PATIENCE;
        while other.send(&get("metrics", Some(("carol", "two"))), None).await.unwrap().status != expected {
            assert!(Instant::now() < deadline, "the users of round {round} are not in force");
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        let before = answered.load(Ordering::Relaxed);
        while answered.load(Ordering::Relaxed) < before + 50 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!([serves(0).await, serves(1).await], [!with_two, with_two], "round {round}");
    }
    // The certificate is replaced before its key: until both fit, the last pair stays.
    fs::copy(at("three.crt"), at("one.crt")).unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let before = answered.load(Ordering::Relaxed);
    while answered.load(Ordering::Relaxed) < before + 50 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    fs::copy(at("three.key"), at("one.key")).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !serves(2).await {
        assert!(Instant::now() < deadline, "the third certificate is not served");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    is_done.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn client_certificates_are_checked_as_the_kinds_say() {
    const ALL: [&str; 6] = ["none", "prometheus", "stranger", "listed", "expired", "for-servers"];
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (ca, strangers) = (Ca::new(folder.path(), "ca"), Ca::new(folder.path(), "strangers"));
    ca.sign_server("server");
    ca.sign_client("prometheus");
    // A certificate for servers is none for clients.
    ca.sign_server("for-servers");
    strangers.sign_client("stranger");
    // A certificate that stands in client_ca itself, of a client and of a CA.
    strangers.sign_client("listed");
    strangers.sign_expired("expired");
    let listed =
        ["ca", "listed", "expired", "for-servers"].map(|name| fs::read_to_string(at(&format!("{name}.crt"))).unwrap());
    fs::write(at("clients.crt"), listed.concat()).unwrap();
    for (kind, with_ca, accepted) in [
        ("NoClientCert", false, ALL.as_slice()),
        ("RequestClientCert", true, &ALL),
        ("RequireAnyClientCert", true, &ALL[1..]),
        ("VerifyClientCertIfGiven", true, &["none", "prometheus", "listed"]),
        ("RequireAndVerifyClientCert", true, &["prometheus", "listed"]),
    ] {
        let client_ca = if with_ca { ", client_ca_file: clients.crt" } else { "" };
        let text = format!(
            "tls_server_config: {{cert_file: server.crt, key_file: server.key, client_auth_type: {kind}{client_ca}}}\n"
        );
        fs::write(at("web.yml"), text).unwrap();
        let running = start(folder.path(), &[format!("--web.config.file={}", at("web.yml").display())]);
        for name in ALL {
            let own = Some(name).filter(|name| *name != "none");
            let answer = client(&running, &ca.file, own, 0).send(&get("metrics", None), None).await;
            assert_eq!(answer.is_ok(), accepted.contains(&name), "{kind} with {name}: {answer:?}");
        }
        if kind == "RequireAndVerifyClientCert" {
            // A file that is half written, as it may be for a moment, does not let others in.
            let head = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";
            for rest in [
                "",
                "  client_auth_type: RequireAndVerifyClientCert\n",
                "  client_auth_type: VerifyClientCertIfGiven\n",
            ] {
                fs::write(at("web.yml"), format!("{head}{rest}")).unwrap();
                tokio::time::sleep(Duration::from_millis(1300)).await;
                for _ in 0..3 {
                    assert!(
                        client(&running, &ca.file, None, 0).send(&get("metrics", None), None).await.is_err(),
                        "{rest}"
                    );
                }
                let page = client(&running, &ca.file, Some("prometheus"), 0).send(&get("metrics", None), None).await;
                let page = String::from_utf8(page.unwrap().body.unwrap()).unwrap();
                assert!(page.contains("videogen_exporter_web_config_last_reload_successful 0\n"), "{rest}: {page}");
            }
        }
    }
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http2_a_client_that_takes_nothing_is_closed() {
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new(folder.path(), "ca");
    ca.sign_server("server");
    let web = folder.path().join("web.yml");
    fs::write(&web, "tls_server_config: {cert_file: server.crt, key_file: server.key}\n").unwrap();
    let running = start(folder.path(), &[format!("--web.config.file={}", web.display())]);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&ca.file).unwrap()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(running.address).await.unwrap();
    let mut stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
    // The window of each stream is 0: a response has headers and no body.
    let settings = frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let request = frame(1, 5, 1, b"\x82\x87\x01\x01x\x04\x08/metrics");
    let preface: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    stream.write_all(&[preface, &settings, &request].concat()).await.unwrap();
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    assert!(closed.is_ok() && answer.windows(5).any(|bytes| bytes[3] == 1), "no headers came, or it is still open");
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_is_spoken_over_tls_and_a_slow_or_plain_client_gets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let ca = Ca::new(folder.path(), "ca");
    ca.sign_server("server");
    fs::write(at("web.yml"), "tls_server_config: {cert_file: server.crt, key_file: server.key}\n").unwrap();
    let running = start(folder.path(), &[format!("--web.config.file={}", at("web.yml").display())]);
    let mut slow = TcpStream::connect(running.address).await.unwrap();
    slow.write_all(&[0x16, 0x03, 0x01]).await.unwrap();
    let mut plain = TcpStream::connect(running.address).await.unwrap();
    plain.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
    // Many at once on one connection.
    let client = Arc::new(client(&running, &ca.file, None, 1));
    let requests: Vec<_> = (0..150)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.send(&get("metrics", None), None).await.map(|response| response.status) })
        })
        .collect();
    let mut codes = std::collections::BTreeMap::new();
    for request in requests {
        *codes.entry(request.await.unwrap().unwrap_or(0)).or_insert(0) += 1;
    }
    // An address may have 128 requests in progress.
    assert!(codes[&200] >= 128 && codes.keys().all(|code| [200, 429].contains(code)), "{codes:?}");
    answer.clear();
    // It is closed after ten seconds, without a word.
    let _ = tokio::time::timeout(PATIENCE, slow.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_arrives_although_the_body_was_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let ca = Ca::new(folder.path(), "ca");
    ca.sign_server("server");
    let tls = "tls_server_config: {cert_file: server.crt, key_file: server.key}\n";
    for (http2, size) in [(true, 60), (true, 40_000), (false, 60), (false, 40_000), (false, 900_000)] {
        fs::write(at("web.yml"), format!("{tls}http_server_config: {{http2: {http2}}}\n")).unwrap();
        let running = start(folder.path(), &[format!("--web.config.file={}", at("web.yml").display())]);
        for n in 0..15 {
            let client = client(&running, &ca.file, None, 0);
            for path in ["api/v1/tasks", "webhooks/a/wrong", "-/reload", "nothing"] {
                let body = Some("x".repeat(size));
                let request = Request { method: http::Method::Post, body, ..Request::get(path.split('/')) };
                let status = client.send(&request, None).await.map(|response| response.status);
                assert!(matches!(status, Ok(403..=405)), "{n}: HTTP/2 {http2}, {size} bytes to {path}: {status:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_address_has_its_own_file_and_a_socket_of_a_path_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let ca = Ca::new(folder.path(), "ca");
    ca.sign_server("server");
    let login = bcrypt::hash("secret", 4).unwrap();
    let text = format!(
        "tls_server_config: {{cert_file: server.crt, key_file: server.key}}\nbasic_auth_users: {{dave: {login}}}\n"
    );
    fs::write(at("web.yml"), text).unwrap();
    let (inside, outside) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let socket = at("socket");
    let mut running = start(
        folder.path(),
        &[
            // The program is known to listen by its first address.
            format!("--web.listen-address={inside}"),
            format!("--web.listen-address={outside}"),
            format!("--web.listen-address=unix:{socket}"),
            format!("--web.config.file={outside}={}", at("web.yml")),
        ],
    );
    let deadline = Instant::now() + PATIENCE;
    while UnixStream::connect(&socket).await.is_err() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(ask(inside.parse().unwrap(), "GET /metrics", "", "").await.status, 200);
    running.address = outside.parse().unwrap();
    let client = client(&running, &ca.file, None, 0);
    for (login, expected) in [(None, 401), (Some(("dave", "secret")), 200)] {
        assert_eq!(client.send(&get("metrics", login), None).await.unwrap().status, expected);
    }
    let mut stream = UnixStream::connect(&socket).await.unwrap();
    stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    running.signal("TERM");
    assert_eq!(running.wait_for_exit(PATIENCE), Some(0));
    assert!(!Path::new(&socket).exists(), "the socket is left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn below_a_prefix_every_link_and_redirect_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("{CONFIG}  ").replace("base_url", "static_configs: [{targets: [id-1]}], base_url");
    for (route, link) in
        [("", "/tools/videogen"), ("/tools/videogen", "/tools/videogen"), ("/inner", "/tools/videogen")]
    {
        let options = WebOptions { route_prefix: route.into(), link_prefix: link.into(), ..WebOptions::default() };
        let exporter = Exporter::start_with(&text, folder.path(), options).await;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if ask(exporter.address, &format!("GET {route}/tasks/a/id-1"), "", "").await.status == 200 {
                break;
            }
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut checked = 0;
        for page in ["/", "/tasks/a/id-1", "/tasks/a/nothing", "/?status=nothing"] {
            let html = ask(exporter.address, &format!("GET {route}{page}"), "", "").await.body;
            for attribute in ["href='", "src='"] {
                for target in html.split(attribute).skip(1).map(|rest| rest.split('\'').next().unwrap()) {
                    let Some(path) = target.strip_prefix(link) else {
                        assert!(target.starts_with('?'), "{page} links to {target}");
                        continue;
                    };
                    // What people reach below the link is served below the route.
                    let status = ask(exporter.address, &format!("GET {route}{path}"), "", "").await.status;
                    assert!(status == 200 || path == "/-/ready", "{page} links to {target}: {status}");
                    checked += 1;
                }
            }
        }
        assert!(checked > 25, "{checked} links were followed");
        if !route.is_empty() {
            for path in ["/", route] {
                let answer = ask(exporter.address, &format!("GET {path}"), "", "").await;
                assert!(
                    answer.status == 303 && answer.head.contains(&format!("location: {link}/\r")),
                    "{}",
                    answer.head
                );
            }
            assert_eq!(ask(exporter.address, "GET /metrics", "", "").await.status, 404);
        }
        exporter.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_systemd_sockets_are_taken_over() {
    assert_is_real_test();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    // What systemd does for a unit with two sockets (sd_listen_fds(3)).
    let activate = "import os, socket, sys\n\
        path, program = sys.argv[1], sys.argv[2:]\n\
        tcp = socket.socket(); tcp.bind(('127.0.0.1', 0)); tcp.listen()\n\
        unix = socket.socket(socket.AF_UNIX); unix.bind(path); unix.listen()\n\
        a, b = os.dup(tcp.fileno()), os.dup(unix.fileno())\n\
        os.dup2(a, 3); os.dup2(b, 4)\n\
        os.environ.update(LISTEN_FDS='2', LISTEN_PID=str(os.getpid()))\n\
        os.execv(program[0], program)\n";
    let exporter = program();
    let mut command = Command::new("python3");
    command.args(["-c", activate]).arg(&socket).arg(exporter.get_program()).arg("--web.systemd-socket");
    command.arg(format!("--config.file={}", config(folder.path()).display()));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = Running::spawn(&mut command);
    assert_eq!(ask(running.address, "GET /-/healthy", "", "").await.status, 200);
    let mut stream = UnixStream::connect(&socket).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    let mut without = program();
    without.arg("--web.systemd-socket").arg(format!("--config.file={}", config(folder.path()).display()));
    let output = without.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(3) && said.contains("systemd has given no socket"), "{said}");
}
