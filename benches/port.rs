//! What attacks on the port cost those who use it: handshakes, slow ones, renegotiation, wrong passwords. And whether the time of
//! an answer tells which users exist.
//!
//! `cargo bench --bench port [-- SECONDS]`, ten seconds for each load by default. `docs/performance.md` quotes the figures. With
//! `openssl` on PATH, an RSA certificate is measured as well, and renegotiation is tried.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock itself")]

mod common;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use common::{Folder, start, usage};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

const GATEWAY: &str = "127.0.0.1:10476";
/// Plain HTTP, for reading what happens.
const INSIDE: &str = "127.0.0.1:10475";
const OUTSIDE: &str = "127.0.0.1:10474";

/// Handshakes a second.
const HANDSHAKES: u32 = 1000;
const SLOW: usize = 100;
const PASSWORDS: usize = 10_000;
/// Clients that send wrong passwords at the same time.
const GUESSERS: usize = 16;

fn outside() -> SocketAddr {
    OUTSIDE.parse().expect("an address")
}

fn basic(name: &str, password: &str) -> String {
    format!("Authorization: Basic {}\r\n", base64::prelude::BASE64_STANDARD.encode(format!("{name}:{password}")))
}

#[derive(Clone)]
struct Tls(TlsConnector);

impl Tls {
    fn trusting(file: &Path) -> Self {
        let pem = std::fs::read(file).expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&pem).expect("PEM")).expect("a certificate");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().expect("versions").with_root_certificates(roots);
        let mut config = config.with_no_client_auth();
        // Each handshake is a whole one.
        config.resumption = Resumption::disabled();
        Self(TlsConnector::from(Arc::new(config)))
    }

    async fn connect(&self, from: Ipv4Addr) -> Option<TlsStream<TcpStream>> {
        let socket = TcpSocket::new_v4().ok()?;
        socket.bind((from, 0).into()).ok()?;
        let stream = socket.connect(outside()).await.ok()?;
        let name = ServerName::try_from("localhost").ok()?;
        self.0.connect(name, stream).await.ok()
    }

    /// One request on a connection of its own; the status and the time without the handshake.
    async fn ask(&self, from: Ipv4Addr, path: &str, headers: &str) -> (u16, Duration) {
        let Some(mut stream) = self.connect(from).await else { return (0, Duration::ZERO) };
        let begun = Instant::now();
        (request(&mut stream, path, headers).await, begun.elapsed())
    }
}

/// The status of an answer to the last request of a connection.
async fn request(stream: &mut TlsStream<TcpStream>, path: &str, headers: &str) -> u16 {
    let text = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
    if stream.write_all(text.as_bytes()).await.is_err() {
        return 0;
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

/// How many polls were answered.
async fn polls() -> f64 {
    let mut stream = TcpStream::connect(INSIDE).await.expect("the exporter listens");
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.expect("the request is sent");
    let mut page = String::new();
    stream.read_to_string(&mut page).await.expect("a page");
    let counts = page.lines().filter(|line| line.starts_with("videogen_upstream_requests_total"));
    counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

/// Reads pages with a right login while something goes on; prints what that is like.
async fn measure(label: &str, (tls, pid): (&Tls, u32), seconds: u64, load: impl Future<Output = String>) {
    let (before, (cpu, _), begun) = (polls().await, usage(pid), Instant::now());
    let is_done = Arc::new(AtomicBool::new(false));
    let reader = {
        let (tls, is_done) = (tls.clone(), is_done.clone());
        tokio::spawn(async move {
            let (mut took, mut refused) = (Vec::new(), 0);
            while !is_done.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let (status, _) = tls.ask(Ipv4Addr::LOCALHOST, "/", &basic("dave", "dave123")).await;
                if status == 200 {
                    took.push(begun.elapsed());
                } else {
                    refused += 1;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            took.sort();
            (took, refused)
        })
    };
    let said = tokio::join!(load, tokio::time::sleep(Duration::from_secs(seconds))).0;
    is_done.store(true, Ordering::Relaxed);
    let (took, refused) = reader.await.expect("the reader ends");
    let elapsed = begun.elapsed().as_secs_f64();
    let (rate, (cpu_after, memory)) = ((polls().await - before) / elapsed, usage(pid));
    let at = |part: usize| took.get(took.len() * part / 100).map_or(f64::NAN, |took| took.as_secs_f64() * 1e3);
    println!(
        "{label:<28} {rate:>6.0} polls/s   pages: median {:>6.1} ms, p99 {:>6.1} ms, {refused} of {} refused   {:>4.0} % of a core, {memory:.0} MiB   {said}",
        at(50),
        at(99),
        took.len() + refused,
        100.0 * (cpu_after - cpu) / elapsed
    );
}

/// Whole handshakes, so many a second.
async fn handshakes(tls: &Tls, seconds: u64) -> String {
    let done = Arc::new(AtomicUsize::new(0));
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / HANDSHAKES);
    let mut running = tokio::task::JoinSet::new();
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut n = 0u32;
    while Instant::now() < end {
        ticks.tick().await;
        let (tls, done) = (tls.clone(), done.clone());
        // Of several addresses: one alone may have 128 connections.
        n += 1;
        let from = Ipv4Addr::new(127, 0, 1, (n % 200) as u8 + 1);
        running.spawn(async move { done.fetch_add(usize::from(tls.connect(from).await.is_some()), Ordering::Relaxed) });
        while running.try_join_next().is_some() {}
    }
    format!("{} handshakes/s", done.load(Ordering::Relaxed) as u64 / seconds)
}

/// Connections that begin a handshake and say no more.
async fn slow_handshakes(seconds: u64) -> String {
    let mut held = Vec::new();
    for _ in 0..SLOW {
        let mut stream = TcpStream::connect(outside()).await.expect("a connection");
        stream.write_all(&[0x16, 0x03, 0x01]).await.expect("some bytes are sent");
        held.push(stream);
    }
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    format!("{} held", held.len())
}

/// Asks for a new handshake within a connection of TLS 1.2, with openssl.
async fn renegotiation(seconds: u64) -> String {
    let attempts = tokio::task::spawn_blocking(move || {
        let (mut tried, mut done) = (0, 0);
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end {
            let child = Command::new("openssl")
                .args(["s_client", "-connect", OUTSIDE, "-tls1_2", "-legacy_renegotiation"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn();
            let Ok(mut child) = child else { return (0, 0) };
            std::thread::sleep(Duration::from_millis(100));
            let _ = child.stdin.as_mut().map(|stdin| stdin.write_all(b"R\n"));
            std::thread::sleep(Duration::from_millis(200));
            drop(child.stdin.take());
            let output = child.wait_with_output().expect("openssl ends");
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert!(said.contains("RENEGOTIATING"), "{said}");
            tried += 1;
            done += usize::from(!said.contains("no renegotiation") && !said.contains("alert"));
        }
        (tried, done)
    });
    let (tried, done) = attempts.await.expect("it ends");
    format!("{done} of {tried} renegotiated")
}

/// Wrong passwords of three users, one of whom does not exist, from one address.
async fn wrong_passwords(tls: &Tls) -> String {
    let begun = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..GUESSERS {
        let (tls, next) = (tls.clone(), next.clone());
        running.spawn(async move {
            let mut codes = BTreeMap::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= PASSWORDS {
                    return codes;
                }
                let name = ["dave", "bob", "nobody"][n % 3];
                let (status, _) = tls.ask(Ipv4Addr::LOCALHOST, "/", &basic(name, &format!("wrong{n}"))).await;
                *codes.entry(status).or_insert(0) += 1;
            }
        });
    }
    let mut codes = BTreeMap::new();
    while let Some(some) = running.join_next().await {
        for (code, count) in some.expect("a guesser ends") {
            *codes.entry(code).or_insert(0) += count;
        }
    }
    format!("{PASSWORDS} in {:.0} s: {codes:?}", begun.elapsed().as_secs_f64())
}

/// The median time of an answer to a wrong password, for a user that exists and for one that does not.
async fn timing(tls: &Tls) {
    let mut took = [Vec::new(), Vec::new(), Vec::new()];
    for n in 0..60u8 {
        for (kind, (name, password)) in [
            ("carol", "wrong".to_owned() + &n.to_string()),
            (&*format!("nobody{n}"), "wrong".to_owned()),
            ("eve", "eve123".to_owned()),
        ]
        .into_iter()
        .enumerate()
        {
            // A right password is remembered, so that only its first check counts.
            if kind == 2 && n > 0 {
                continue;
            }
            // An address each, so that none has failed too often.
            let from = Ipv4Addr::new(127, 0, [2, 3, 4][kind], n + 1);
            let (status, time) = tls.ask(from, "/-/page.js", &basic(name, &password)).await;
            assert_eq!(status, if kind == 2 { 200 } else { 401 }, "{name}");
            took[kind].push(time);
        }
    }
    let [known, unknown, right] = took.map(|mut took| {
        took.sort();
        let at = |part: usize| took[(took.len() - 1) * part / 100].as_secs_f64() * 1e3;
        format!("median {:.1} ms (quartiles {:.1} to {:.1})", at(50), at(25), at(75))
    });
    println!(
        "a wrong password of a user:     {known}\nof nobody:                      {unknown}\na right one, for the first time: {right}"
    );
}

fn run(folder: &Folder, certificate: &str, seconds: u64) {
    let hash = |password: &str, cost| bcrypt::hash(password, cost).expect("a hash");
    let slow = hash("bob123", 4).replacen("$04$", "$18$", 1);
    let users: String =
        [("dave", hash("dave123", 10)), ("carol", hash("carol123", 10)), ("eve", hash("eve123", 10)), ("bob", slow)]
            .map(|(name, hash)| format!("  {name}: {hash}\n"))
            .concat();
    let web = folder.write(
        "web.yml",
        &format!("tls_server_config: {{cert_file: {certificate}.crt, key_file: {certificate}.key}}\nbasic_auth_users:\n{users}"),
    );
    let config = folder.write(
        "vgx.yml",
        &format!(
            "polling: {{interval: 5s, min_interval: 5s, max_interval: 5s, requests_per_second: 2000, burst: 200}}\nstate: {{memory: {{}}}}\n\
             upstreams: [{{name: sim, provider: new_api, base_url: 'http://{GATEWAY}', file_sd_configs: [{{files: [ids.json]}}]}}]\n"
        ),
    );
    let exporter = start(&[
        &format!("--config.file={}", config.display()),
        &format!("--web.listen-address={INSIDE}"),
        &format!("--web.listen-address={OUTSIDE}"),
        &format!("--web.config.file={OUTSIDE}={}", web.display()),
    ]);
    let pid = exporter.0.id();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let tls = Tls::trusting(&folder.0.join(format!("{certificate}.crt")));
    runtime.block_on(async {
        tokio::time::sleep(Duration::from_secs(8)).await;
        println!("certificate: {certificate}");
        measure("nothing else", (&tls, pid), seconds, async { String::new() }).await;
        measure("handshakes", (&tls, pid), seconds, handshakes(&tls, seconds)).await;
        measure("slow handshakes", (&tls, pid), seconds, slow_handshakes(seconds)).await;
        if Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_ok() {
            measure("renegotiation", (&tls, pid), seconds, renegotiation(seconds)).await;
        }
        measure("wrong passwords", (&tls, pid), seconds, wrong_passwords(&tls)).await;
        timing(&tls).await;
    });
}

fn main() {
    let seconds = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(10);
    let folder = Folder::new("port");
    let targets = format!("--targets-file={}", folder.0.join("ids.json").display());
    let _gateway = start(&["simulate", "--tasks=1000", "--speed=0.1", &format!("--listen={GATEWAY}"), &targets]);
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    folder.write("ecdsa-p256.crt", &key.cert.pem());
    folder.write("ecdsa-p256.key", &key.signing_key.serialize_pem());
    run(&folder, "ecdsa-p256", seconds);
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "rsa-2048.key", "-out", "rsa-2048.crt"])
        .current_dir(&folder.0)
        .stderr(Stdio::null())
        .status();
    if made.is_ok_and(|status| status.success()) {
        run(&folder, "rsa-2048", seconds);
    }
}
