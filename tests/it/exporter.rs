//! The exporter in the process of the tests.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use videogen_exporter::app::{App, Options, Reload};
use videogen_exporter::config::{self, Config};
use videogen_exporter::http::{self, Client, Method, Request, Tls};
use videogen_exporter::server::{Listener, ReloadRequest, WebOptions, WebSource};
use videogen_exporter::telemetry::LogCounts;

/// The time limit for a change to appear on the page.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// The head of most configurations: short intervals and no zero hold.
pub const QUICK: &str = "polling: {interval: 100ms, min_interval: 50ms, max_interval: 400ms, timeout: 1s, \
    requests_per_second: 500, burst: 500}\nmetrics: {zero_hold: 0s}\n";

/// A running exporter.
pub struct Exporter {
    pub address: SocketAddr,
    stop: CancellationToken,
    reload_sender: Option<mpsc::Sender<ReloadRequest>>,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Exporter {
    /// Runs with the configuration `text` of a file in `folder`; the state is in memory unless `text` configures another.
    pub async fn start(text: &str, folder: &Path) -> Self {
        let text = if text.contains("state:") { text.to_owned() } else { format!("state: {{memory: {{}}}}\n{text}") };
        let text = text.as_str();
        let web = WebOptions { enable_lifecycle: true, ..WebOptions::default() };
        Self::start_with(text, folder, web).await
    }

    /// Runs with options of the HTTP server.
    pub async fn start_with(text: &str, folder: &Path, web: WebOptions) -> Self {
        Self::start_port(text, folder, web, WebSource::none()).await
    }

    /// Runs with a web configuration.
    pub async fn start_port(text: &str, folder: &Path, options: WebOptions, web: WebSource) -> Self {
        let config = config::parse(text, &folder.join("test.yml")).unwrap_or_else(|error| panic!("{error}"));
        Self::run(config, None, options, web).await
    }

    /// Runs with a file, which can be reloaded.
    pub async fn start_file(file: &Path) -> Self {
        let config = config::load(file).unwrap_or_else(|error| panic!("{error}"));
        let web = WebOptions { enable_lifecycle: true, ..WebOptions::default() };
        Self::run(config, Some(file.to_owned()), web, WebSource::none()).await
    }

    async fn run(config: Config, file: Option<PathBuf>, options: WebOptions, web: WebSource) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let reload = file.map(Reload::new);
        let reload_sender = reload.as_ref().map(|reload| reload.sender.clone());
        let listeners = vec![(Listener::from_tcp(listener), Arc::new(web))];
        let options = Options { listeners, web: options, reload };
        let app = App::open(config, LogCounts::default()).await.unwrap_or_else(|error| panic!("{error:#}"));
        let running = tokio::spawn(app.run(options, stop.clone()));
        Self { address, stop, reload_sender, running }
    }

    /// Requests a reload.
    pub async fn reload(&self) {
        self.reload_sender.as_ref().unwrap().send(None).await.unwrap();
    }

    /// Reloads and waits until the configuration is active.
    pub async fn reload_and_wait(&self) {
        let (sender, reply) = tokio::sync::oneshot::channel();
        self.reload_sender.as_ref().unwrap().send(Some(sender)).await.unwrap();
        reply.await.unwrap().unwrap();
    }

    /// The HTTP status and the body of `path`.
    pub async fn get(&self, path: &str) -> (u16, String) {
        get(self.address, path).await
    }

    /// The page of metrics.
    pub async fn page(&self) -> String {
        self.get("metrics").await.1
    }

    /// Waits until the page has all of `lines`; returns that page.
    pub async fn wait_for(&self, lines: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let page = self.page().await;
            let missing: Vec<_> = lines.iter().filter(|line| !page.lines().any(|l| l == **line)).collect();
            if missing.is_empty() {
                return page;
            }
            assert!(Instant::now() < deadline, "missing lines: {missing:#?}\nin\n{page}");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Stops the exporter and expects success.
    pub async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
    }
}

/// An HTTP client for a server.
pub fn client(address: SocketAddr) -> Client {
    let options = http::Options {
        has_large_bodies: false,
        max_idle: 1,
        base_url: format!("http://{address}"),
        timeout: Duration::from_secs(10),
        max_body_size: 1 << 30,
        tls: Tls::default(),
        proxy: None,
    };
    Client::new(&options).unwrap()
}

/// The HTTP status and the body of a path without a query.
pub async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let response = client(address).send(&Request::get(path.split('/')), None).await.unwrap();
    (response.status, String::from_utf8(response.body.unwrap()).unwrap())
}

/// The HTTP status and the body of the response to a POST.
pub async fn post(address: SocketAddr, path: &str, body: &str) -> (u16, String) {
    let request = Request { method: Method::Post, body: Some(body.to_owned()), ..Request::get(path.split('/')) };
    let response = client(address).send(&request, None).await.unwrap();
    (response.status, String::from_utf8(response.body.unwrap()).unwrap())
}

/// The value of the sample whose series is written exactly like `series`.
pub fn value(page: &str, series: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}
