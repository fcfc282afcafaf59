//! The exporter in this process, and its page as a user sees it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use videogen_exporter::app::{App, Options, Reload};
use videogen_exporter::config::{self, Config};
use videogen_exporter::http::{self, Client, Method, Request, Tls};
use videogen_exporter::server::ReloadRequest;
use videogen_exporter::telemetry::LogCounts;

/// How long anything may take to show up on the page.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Quick polls and nothing held back: what most tests begin their configuration with.
pub const QUICK: &str = "polling: {interval: 100ms, min_interval: 50ms, max_interval: 400ms, timeout: 1s, \
    requests_per_second: 500, burst: 500}\nmetrics: {zero_hold: 0s}\n";

/// A running exporter.
pub struct Exporter {
    pub address: SocketAddr,
    stop: CancellationToken,
    ask: Option<mpsc::Sender<ReloadRequest>>,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Exporter {
    /// Runs under the configuration `text`, as if it stood in `folder`; nothing survives unless it says where.
    pub async fn start(text: &str, folder: &Path) -> Self {
        let text = if text.contains("state:") { text.to_owned() } else { format!("state: {{memory: {{}}}}\n{text}") };
        let text = text.as_str();
        Self::run(config::parse(text, &folder.join("test.yml")).unwrap_or_else(|error| panic!("{error}")), None).await
    }

    /// Runs under a file, which can be loaded again.
    pub async fn start_file(file: &Path) -> Self {
        Self::run(config::load(file).unwrap_or_else(|error| panic!("{error}")), Some(file.to_owned())).await
    }

    async fn run(config: Config, file: Option<PathBuf>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let reload = file.map(Reload::new);
        let ask = reload.as_ref().map(|reload| reload.sender.clone());
        let options = Options { listeners: vec![listener], telemetry_path: "/metrics".to_owned(), reload };
        let app = App::open(config, LogCounts::default()).await.unwrap_or_else(|error| panic!("{error:#}"));
        let running = tokio::spawn(app.run(options, stop.clone()));
        Self { address, stop, ask, running }
    }

    /// Asks it to load its file again.
    pub async fn reload(&self) {
        self.ask.as_ref().unwrap().send(None).await.unwrap();
    }

    /// The same, and waits until it is in force.
    pub async fn reloaded(&self) {
        let (who, told) = tokio::sync::oneshot::channel();
        self.ask.as_ref().unwrap().send(Some(who)).await.unwrap();
        told.await.unwrap().unwrap();
    }

    /// What is at `path`, with its HTTP status.
    pub async fn get(&self, path: &str) -> (u16, String) {
        get(self.address, path).await
    }

    /// The page of metrics.
    pub async fn page(&self) -> String {
        self.get("metrics").await.1
    }

    /// Waits until every one of `lines` is on the page, and gives that page back.
    pub async fn until(&self, lines: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let page = self.page().await;
            let missing: Vec<_> = lines.iter().filter(|line| !page.lines().any(|l| l == **line)).collect();
            if missing.is_empty() {
                return page;
            }
            assert!(Instant::now() < deadline, "never shown: {missing:#?}\nin\n{page}");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Stops it and expects that to be clean.
    pub async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
    }
}

/// A client of a server.
pub fn client(address: SocketAddr) -> Client {
    let options = http::Options {
        base_url: format!("http://{address}"),
        timeout: Duration::from_secs(10),
        max_body_size: 1 << 30,
        tls: Tls::default(),
        proxy_url: None,
    };
    Client::new(&options).unwrap()
}

/// What a server answers for a path without query.
pub async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let response = client(address).send(&Request::get(path.split('/')), None).await.unwrap();
    (response.status, String::from_utf8(response.body.unwrap()).unwrap())
}

/// What a server answers to a POST of a body.
pub async fn post(address: SocketAddr, path: &str, body: &str) -> (u16, String) {
    let request = Request { method: Method::Post, body: Some(body.to_owned()), ..Request::get(path.split('/')) };
    let response = client(address).send(&request, None).await.unwrap();
    (response.status, String::from_utf8(response.body.unwrap()).unwrap())
}

/// The value of a sample that is written exactly so.
pub fn value(page: &str, series: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}
