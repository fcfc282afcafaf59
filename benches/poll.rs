//! What a poll costs, by the real program: `cargo bench --bench poll [-- blackbox=PROGRAM]`.
//!
//! Beside it a probe of `blackbox_exporter` of the same URLs, if one is named; `benches/peers` fetches it and names it. The gateway
//! is a server in this process, once HTTP/1.1 and once HTTP/2 over TLS. The variants take turns; all CPU of each process counts.

#![expect(clippy::disallowed_methods, reason = "what is spawned here ends with the benchmark")]

mod common;
#[path = "common/gateway.rs"]
mod gateway;

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Folder, Killed, start, usage};
use gateway::{gateway, targets};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// Active tasks, each of which is asked every [`INTERVAL`] seconds.
const TASKS: usize = 10_000;
const INTERVAL: usize = 5;

/// How long is counted, and how often each variant has its turn.
const WINDOW: Duration = Duration::from_secs(10);
const ROUNDS: usize = 3;

/// Probes on their way at the same time.
const PROBES: usize = 8;

type Served = Arc<AtomicUsize>;

/// One turn of a variant.
struct Turn {
    name: String,
    /// Microseconds for each request that was served.
    cpu: f64,
    /// Requests a second.
    rate: f64,
    /// MiB.
    resident: f64,
}

/// A certificate for this machine, written for those who have to trust it.
fn acceptor(folder: &Folder) -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    folder.write("ca.pem", &made.cert.pem());
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key);
    let mut config = config.expect("a configuration");
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// Starts our program for these tasks.
fn exporter(folder: &Folder, url: &str) -> Killed {
    let tls = if url.starts_with("https") { "tls_config: {ca_file: ca.pem}, " } else { "" };
    let config = format!(
        "state: {{memory: {{}}}}\n\
         polling: {{interval: {INTERVAL}s, min_interval: 1s, max_interval: {INTERVAL}s, requests_per_second: 100000, burst: 1000, max_in_flight: 64}}\n\
         upstreams: [{{name: sim, provider: new_api, base_url: '{url}', {tls}file_sd_configs: [{{files: [ids.json]}}]}}]\n"
    );
    let config = folder.write("c.yml", &config);
    start(&[&format!("--config.file={}", config.display()), "--web.listen-address=127.0.0.1:10479"])
}

/// Starts `blackbox_exporter`.
fn blackbox(program: &str, folder: &Folder) -> Killed {
    let module = "modules: {task: {prober: http, timeout: 5s, http: {preferred_ip_protocol: ip4, tls_config: {insecure_skip_verify: true}}}}\n";
    let config = folder.write("blackbox.yml", module);
    let mut command = Command::new(program);
    command.arg(format!("--config.file={}", config.display())).arg("--web.listen-address=127.0.0.1:10489");
    Killed(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("blackbox_exporter starts"))
}

/// Asks it for probes, so many at a time, until it is let go of.
async fn probe(url: String) {
    let client = reqwest::Client::new();
    let probing = (0..PROBES).map(|first| {
        let (client, url) = (client.clone(), &url);
        async move {
            for n in (first..).step_by(PROBES) {
                let ask =
                    format!("http://127.0.0.1:10489/probe?module=task&target={url}/v1/video/generations/{}", n % TASKS);
                if let Ok(said) = client.get(ask).send().await {
                    let text = said.text().await.expect("a page");
                    assert!(text.contains("probe_success 1"), "{text}");
                }
            }
        }
    });
    futures_util::future::join_all(probing).await;
}

/// Watches a process for a while.
async fn counted(name: String, pid: u32, served: &Served) -> Turn {
    let count = || f64::from(u32::try_from(served.load(Ordering::Relaxed)).expect("not so many"));
    let (before, cpu) = (count(), usage(pid).0);
    sleep(WINDOW).await;
    let (made, (after, resident)) = (count() - before, usage(pid));
    Turn { name, cpu: (after - cpu) * 1e6 / made, rate: made / WINDOW.as_secs_f64(), resident }
}

#[tokio::main]
async fn main() {
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    let program = std::env::args().find_map(|arg| arg.strip_prefix("blackbox=").map(str::to_owned));
    let folder = Folder::new("poll");
    folder.write("ids.json", &targets(TASKS));
    let mut gateways: Vec<(&str, SocketAddr, Served)> = Vec::new();
    for (scheme, tls) in [("http", None), ("https", Some(acceptor(&folder)))] {
        let served = Served::default();
        let count = served.clone();
        let address = gateway(tls, move || _ = count.fetch_add(1, Ordering::Relaxed)).await;
        gateways.push((scheme, address, served));
    }
    let mut turns: Vec<Turn> = Vec::new();
    for _ in 0..ROUNDS {
        for (scheme, address, served) in &gateways {
            let url = format!("{scheme}://{address}");
            let running = exporter(&folder, &url);
            // By then all are known, and asked once.
            sleep(Duration::from_secs(INTERVAL as u64 + 4)).await;
            turns.push(counted(format!("videogen-exporter, {scheme}"), running.0.id(), served).await);
            drop(running);
            if let Some(program) = &program {
                let running = blackbox(program, &folder);
                let probing = tokio::spawn(probe(url));
                sleep(Duration::from_secs(2)).await;
                turns.push(counted(format!("blackbox_exporter, {scheme}"), running.0.id(), served).await);
                probing.abort();
            }
        }
    }
    println!("{:<28} {:>14} {:>12} {:>14}", "", "CPU us a poll", "polls a s", "resident MiB");
    turns.sort_by(|a, b| (&a.name, a.cpu).partial_cmp(&(&b.name, b.cpu)).expect("numbers"));
    for Turn { name, cpu, rate, resident } in turns.chunks(ROUNDS).map(|turns| &turns[ROUNDS / 2]) {
        println!("{name:<28} {cpu:>14.1} {rate:>12.0} {resident:>14.1}");
    }
}
