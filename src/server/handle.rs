//! What the HTTP handlers share with the program.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use axum::http::StatusCode;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::access::Access;
use super::browser::AllowedHosts;
use super::client::{Network, TrustedProxies};
use super::client_permits::ClientPermits;
use super::error::HttpError;
use super::web::WebSource;
use crate::agent::Agent;
use crate::config::Config;
use crate::liveness::Liveness;

/// Most scrapes at a time: each holds memory until its page is sent.
pub const MAX_SCRAPES: usize = 64;

/// A request for a reload. The sender, if any, receives the settings that need a restart, or why nothing has changed.
pub type ReloadRequest = Option<oneshot::Sender<Result<Vec<String>, String>>>;

/// Most scrapes of one client, so that a client that reads slowly cannot hold all of them.
const MAX_SCRAPES_PER_CLIENT: usize = 16;

/// Most requests of one client at a time.
const MAX_REQUESTS_PER_CLIENT: usize = 128;

/// What the command line sets for the HTTP server.
#[derive(Debug, Clone)]
pub struct WebOptions {
    /// The path of the metrics.
    pub telemetry_path: String,
    /// `POST /-/reload` is allowed.
    pub enable_lifecycle: bool,
    /// Names under which browsers may read the pages, besides private ones.
    pub allowed_hosts: Vec<String>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// The address of Grafana, for links.
    pub grafana_url: Option<String>,
    /// What the path of every request begins with, such as `/videogen`; empty for nothing.
    pub route_prefix: String,
    /// What every link on a page begins with, in the same form.
    pub link_prefix: String,
}

impl Default for WebOptions {
    fn default() -> Self {
        Self {
            telemetry_path: "/metrics".to_owned(),
            enable_lifecycle: false,
            allowed_hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            grafana_url: None,
            route_prefix: String::new(),
            link_prefix: String::new(),
        }
    }
}

/// State of the HTTP handlers.
pub struct Handle {
    /// The agent.
    pub agent: Arc<Agent>,
    /// Which parts of the program move.
    pub liveness: Liveness,
    /// The path of the metrics.
    pub telemetry_path: String,
    /// `POST /-/reload` is allowed.
    pub enable_lifecycle: bool,
    /// Names under which browsers may read the pages.
    pub allowed_hosts: AllowedHosts,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: TrustedProxies,
    /// The address of Grafana, for links.
    pub grafana_url: Option<String>,
    /// What the path of every request begins with.
    pub route_prefix: String,
    /// What every link on a page begins with.
    pub link_prefix: String,
    /// The web configuration of each listener.
    web_sources: Vec<Arc<WebSource>>,
    /// Receives requests for a reload; `None` without a configuration file.
    pub reload: Option<mpsc::Sender<ReloadRequest>>,
    /// Held while a request reloads: a second one is refused.
    pub reloading: tokio::sync::Mutex<()>,
    /// Held while a request registers tasks, so that each sees those of the one before.
    pub registering: tokio::sync::Mutex<()>,
    /// Rates of keys and clients.
    pub access: Access,
    /// The last one that was loaded, also while the program stops.
    config: RwLock<Option<Arc<Config>>>,
    is_stopping: AtomicBool,
    was_ready: AtomicBool,
    /// Permits for scrapes.
    pub scrape_permits: Arc<Semaphore>,
    /// Scrapes of each client.
    pub client_scrapes: Arc<ClientPermits>,
    /// Requests of each client.
    pub client_requests: Arc<ClientPermits>,
    /// Work that continues when its client disconnects.
    running: TaskTracker,
}

impl Handle {
    /// A handle that is not ready: it has no configuration yet.
    pub fn new(
        agent: Arc<Agent>,
        liveness: Liveness,
        web: WebOptions,
        web_sources: Vec<Arc<WebSource>>,
        reload: Option<mpsc::Sender<ReloadRequest>>,
    ) -> Self {
        let access = Access::new(agent.metrics().clone());
        Self {
            agent,
            liveness,
            telemetry_path: web.telemetry_path,
            enable_lifecycle: web.enable_lifecycle,
            allowed_hosts: AllowedHosts::new(web.allowed_hosts),
            trusted_proxies: TrustedProxies::new(web.trusted_proxies),
            grafana_url: web.grafana_url,
            route_prefix: web.route_prefix,
            link_prefix: web.link_prefix,
            web_sources,
            reload,
            reloading: tokio::sync::Mutex::default(),
            registering: tokio::sync::Mutex::default(),
            access,
            config: RwLock::new(None),
            is_stopping: AtomicBool::new(false),
            was_ready: AtomicBool::new(false),
            scrape_permits: Arc::new(Semaphore::new(MAX_SCRAPES)),
            client_scrapes: ClientPermits::new(MAX_SCRAPES_PER_CLIENT),
            client_requests: ClientPermits::new(MAX_REQUESTS_PER_CLIENT),
            running: TaskTracker::new(),
        }
    }

    /// Replaces the active configuration.
    pub fn set_config(&self, config: Arc<Config>) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Some(config);
    }

    /// The program stops: there is no active configuration any more.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    /// Exports whether the web configurations are in force as their files are now.
    pub fn export_web_config(&self) {
        let states: Vec<bool> = self.web_sources.iter().filter_map(|source| source.is_stale()).collect();
        if !states.is_empty() {
            self.agent.metrics().server.web_config_checked(!states.contains(&true));
        }
    }

    /// The last configuration, whose keys hold also while the program stops.
    pub fn last_config(&self) -> Option<Arc<Config>> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The active configuration; an error while the program stops.
    pub fn active_config(&self) -> Result<Arc<Config>, HttpError> {
        let active = self.last_config().filter(|_| !self.is_stopping.load(Ordering::Relaxed));
        let stopping = || HttpError::new(StatusCode::SERVICE_UNAVAILABLE, "the exporter is stopping");
        active.ok_or_else(|| stopping().with_retry_after(1))
    }

    /// Whether every source was read once, and the state can be written. A reload that adds unread sources does not make the exporter unready again.
    pub fn is_ready(&self) -> bool {
        if self.active_config().is_err() || self.agent.metrics().store.is_failing() {
            return false;
        }
        let is_ready = self.agent.is_ready();
        self.was_ready.fetch_or(is_ready, Ordering::Relaxed) || is_ready
    }

    /// Runs work to its end even when the client disconnects: a change must not be left half done.
    pub async fn run_to_completion<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, HttpError>> + Send + 'static,
    ) -> Result<T, HttpError> {
        let message = "internal error; see the log of the exporter";
        let panicked = |_| Err(HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, message));
        self.running.spawn(work).await.unwrap_or_else(panicked)
    }

    /// Waits for all work of [`Handle::run_to_completion`].
    pub async fn finish_running(&self) {
        self.running.close();
        self.running.wait().await;
    }
}
