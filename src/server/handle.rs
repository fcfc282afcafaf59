//! What the HTTP handlers share with the program.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use axum::http::StatusCode;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::access::Access;
use super::error::HttpError;
use crate::agent::Agent;
use crate::config::Config;
use crate::liveness::Liveness;

/// Most scrapes at a time: each holds memory until its page is sent.
pub const MAX_SCRAPES: usize = 64;

/// A request for a reload. The sender, if any, receives the settings that need a restart, or why nothing has changed.
pub type ReloadRequest = Option<oneshot::Sender<Result<Vec<String>, String>>>;

/// State of the HTTP handlers.
pub struct Handle {
    /// The agent.
    pub agent: Arc<Agent>,
    /// Which parts of the program move.
    pub liveness: Liveness,
    /// The path of the metrics.
    pub telemetry_path: String,
    /// Receives requests for a reload; `None` without a configuration file.
    pub reload: Option<mpsc::Sender<ReloadRequest>>,
    active: RwLock<Option<Arc<ActiveConfig>>>,
    was_ready: AtomicBool,
    /// Permits for scrapes.
    pub scrape_permits: Arc<Semaphore>,
    /// Work that continues when its client disconnects.
    running: TaskTracker,
}

/// The configuration in force.
pub struct ActiveConfig {
    pub config: Arc<Config>,
    pub access: Access,
}

impl Handle {
    /// A handle that is not ready: it has no configuration yet.
    pub fn new(
        agent: Arc<Agent>,
        liveness: Liveness,
        telemetry_path: String,
        reload: Option<mpsc::Sender<ReloadRequest>>,
    ) -> Self {
        Self {
            agent,
            liveness,
            telemetry_path,
            reload,
            active: RwLock::new(None),
            was_ready: AtomicBool::new(false),
            scrape_permits: Arc::new(Semaphore::new(MAX_SCRAPES)),
            running: TaskTracker::new(),
        }
    }

    /// Replaces the active configuration; with `None` while the program stops.
    pub fn set_config(&self, config: Option<Arc<Config>>) {
        let active = config.map(|config| {
            let access = Access::new(&config.api);
            Arc::new(ActiveConfig { config, access })
        });
        *self.active.write().unwrap_or_else(PoisonError::into_inner) = active;
    }

    /// The active configuration; an error while the program stops.
    pub fn active_config(&self) -> Result<Arc<ActiveConfig>, HttpError> {
        let active = self.active.read().unwrap_or_else(PoisonError::into_inner).clone();
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
