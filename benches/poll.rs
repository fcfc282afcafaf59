//! CPU time of a poll: `cargo bench --bench poll [-- upstreams=N cpus=LIST blackbox=PROGRAM]`.
//!
//! Runs the program against a gateway in this process: HTTP/1.1, then HTTP/2 over TLS. The variants alternate. The figures include
//! all CPU time of the measured process.
//!
//! - `upstreams=N` divides the tasks among N upstreams. Each has an actor, and the actors use one thread per CPU: on two CPUs,
//!   `upstreams=2` runs two busy actor threads, the default `upstreams=1` runs one.
//! - `cpus=LIST` binds the program to these CPUs with `taskset`. `upstreams=2 cpus=0` runs two actors on one thread.
//! - `blackbox=PROGRAM` also measures probes of the same URLs by `blackbox_exporter`. `benches/peers` fetches it.

#![expect(clippy::disallowed_methods, reason = "spawned tasks end with the benchmark")]

mod common;
#[path = "common/gateway.rs"]
mod gateway;

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Folder, Process, run, start, usage};
use gateway::{gateway, targets};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// Active tasks; each is polled every [`INTERVAL`] seconds.
const TASKS: usize = 10_000;
const INTERVAL: usize = 5;

/// Length of a measurement.
const WINDOW: Duration = Duration::from_secs(10);

/// Measurements per variant; the median counts.
const ROUNDS: usize = 3;

/// Concurrent probes of `blackbox_exporter`.
const PROBES: usize = 8;

/// Requests that a gateway has answered.
type Served = Arc<AtomicUsize>;

/// One measurement of a variant.
struct Measurement {
    name: String,
    /// CPU time per request, in microseconds.
    cpu: f64,
    /// Requests per second.
    rate: f64,
    /// Resident memory in MiB.
    resident: f64,
}

/// How the program is run.
struct Setup {
    upstreams: usize,
    /// A CPU list for `taskset`.
    cpus: Option<String>,
}

/// Creates a certificate for 127.0.0.1, and writes it to `ca.pem` for the clients.
fn acceptor(folder: &Folder) -> TlsAcceptor {
    let issued = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    folder.write("ca.pem", &issued.cert.pem());
    let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![issued.cert.der().clone()], key);
    let mut config = config.expect("a configuration");
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// Starts the program for the tasks of this gateway.
fn exporter(folder: &Folder, url: &str, setup: &Setup) -> Process {
    let tls = if url.starts_with("https") { "tls_config: {ca_file: ca.pem}, " } else { "" };
    let upstream = |n| {
        format!("{{name: sim{n}, provider: new_api, base_url: '{url}', {tls}file_sd_configs: [{{files: [ids.json]}}]}}")
    };
    let upstreams: Vec<String> = (1..=setup.upstreams).map(upstream).collect();
    let config = format!(
        "state: {{memory: {{}}}}\n\
         polling: {{interval: {INTERVAL}s, min_interval: 1s, max_interval: {INTERVAL}s, requests_per_second: 100000, burst: 1000, max_in_flight: 64}}\n\
         upstreams: [{}]\n",
        upstreams.join(", ")
    );
    let config = format!("--config.file={}", folder.write("c.yml", &config).display());
    let args = [config.as_str(), "--web.listen-address=127.0.0.1:10479"];
    let Some(cpus) = &setup.cpus else { return start(&args) };
    // `taskset` becomes the program and keeps its process id.
    run(Command::new("taskset").args(["-c", cpus, common::PROGRAM]).args(args))
}

/// Starts `blackbox_exporter`.
fn blackbox(program: &str, folder: &Folder) -> Process {
    let module = "modules: {task: {prober: http, timeout: 5s, http: {preferred_ip_protocol: ip4, tls_config: {insecure_skip_verify: true}}}}\n";
    let config = folder.write("blackbox.yml", module);
    let config = format!("--config.file={}", config.display());
    run(Command::new(program).args([&config, "--web.listen-address=127.0.0.1:10489"]))
}

/// Requests probes of all tasks from `blackbox_exporter`, again and again.
async fn probe(url: String) {
    let client = reqwest::Client::new();
    let probing = (0..PROBES).map(|first| {
        let (client, url) = (client.clone(), &url);
        async move {
            for n in (first..).step_by(PROBES) {
                let ask =
                    format!("http://127.0.0.1:10489/probe?module=task&target={url}/v1/video/generations/{}", n % TASKS);
                if let Ok(response) = client.get(ask).send().await {
                    let text = response.text().await.expect("a page");
                    assert!(text.contains("probe_success 1"), "{text}");
                }
            }
        }
    });
    futures_util::future::join_all(probing).await;
}

/// Measures a process for [`WINDOW`].
async fn measure(name: String, pid: u32, served: &Served) -> Measurement {
    let count = || f64::from(u32::try_from(served.load(Ordering::Relaxed)).expect("a small number"));
    let (before, cpu) = (count(), usage(pid).0);
    sleep(WINDOW).await;
    let (requests, (after, resident)) = (count() - before, usage(pid));
    Measurement { name, cpu: (after - cpu) * 1e6 / requests, rate: requests / WINDOW.as_secs_f64(), resident }
}

#[tokio::main]
async fn main() {
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    let argument = |name: &str| std::env::args().find_map(|arg| arg.strip_prefix(name).map(str::to_owned));
    let program = argument("blackbox=");
    let upstreams = argument("upstreams=").map_or(1, |count| count.parse().expect("upstreams= is a number"));
    let setup = Setup { upstreams, cpus: argument("cpus=") };
    let folder = Folder::new("poll");
    folder.write("ids.json", &targets(TASKS / setup.upstreams));
    let mut gateways: Vec<(&str, SocketAddr, Served)> = Vec::new();
    for (scheme, tls) in [("http", None), ("https", Some(acceptor(&folder)))] {
        let served = Served::default();
        let count = served.clone();
        let address = gateway(tls, move || _ = count.fetch_add(1, Ordering::Relaxed)).await;
        gateways.push((scheme, address, served));
    }
    let mut measurements: Vec<Measurement> = Vec::new();
    for _ in 0..ROUNDS {
        for (scheme, address, served) in &gateways {
            let url = format!("{scheme}://{address}");
            let running = exporter(&folder, &url, &setup);
            // Let the program discover all tasks and poll each once.
            sleep(Duration::from_secs(INTERVAL as u64 + 4)).await;
            measurements.push(measure(format!("videogen-exporter, {scheme}"), running.0.id(), served).await);
            drop(running);
            if let Some(program) = &program {
                let running = blackbox(program, &folder);
                let probing = tokio::spawn(probe(url));
                sleep(Duration::from_secs(2)).await;
                measurements.push(measure(format!("blackbox_exporter, {scheme}"), running.0.id(), served).await);
                probing.abort();
            }
        }
    }
    println!("{:<28} {:>14} {:>12} {:>14}", "", "CPU us a poll", "polls a s", "resident MiB");
    measurements.sort_by(|a, b| (&a.name, a.cpu).partial_cmp(&(&b.name, b.cpu)).expect("numbers"));
    let medians = measurements.chunks(ROUNDS).map(|same| &same[ROUNDS / 2]);
    for Measurement { name, cpu, rate, resident } in medians {
        println!("{name:<28} {cpu:>14.1} {rate:>12.0} {resident:>14.1}");
    }
}
