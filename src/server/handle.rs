//! What the routes see of the program.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use axum::http::StatusCode;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::access::Access;
use super::problem::Refusal;
use crate::agent::Agent;
use crate::config::{Config, Upstream};

/// Most metrics pages that are being sent at the same time: each holds its chunks of rows.
pub const MAX_PAGES: usize = 64;

/// A request for a reload. The sender, if any, receives the settings that need a restart, or why nothing has changed.
pub type ReloadRequest = Option<oneshot::Sender<Result<Vec<String>, String>>>;

/// What the server may see of the program.
pub struct Handle {
    /// The agent.
    pub agent: Arc<Agent>,
    /// The path of the metrics.
    pub telemetry_path: String,
    /// Receives requests for a reload; `None` without a configuration file.
    pub reload: Option<mpsc::Sender<ReloadRequest>>,
    in_force: RwLock<Option<Arc<InForce>>>,
    was_ready: AtomicBool,
    /// Places for pages of metrics.
    pub pages: Arc<Semaphore>,
    /// What goes on to its end, whoever still waits for it.
    begun: TaskTracker,
}

/// The configuration in force.
pub struct InForce {
    pub config: Arc<Config>,
    pub access: Access,
}

impl InForce {
    pub fn upstream(&self, name: &str) -> Option<&Upstream> {
        self.config.upstreams.iter().find(|upstream| *upstream.name == *name)
    }
}

impl Handle {
    /// Of a program whose agent has not started yet: not ready.
    pub fn new(agent: Arc<Agent>, telemetry_path: String, reload: Option<mpsc::Sender<ReloadRequest>>) -> Self {
        Self {
            agent,
            telemetry_path,
            reload,
            in_force: RwLock::new(None),
            was_ready: AtomicBool::new(false),
            pages: Arc::new(Semaphore::new(MAX_PAGES)),
            begun: TaskTracker::new(),
        }
    }

    /// This configuration is in force; none while the program stops.
    pub fn put_in_force(&self, config: Option<Arc<Config>>) {
        let in_force = config.map(|config| {
            let access = Access::new(&config.api);
            Arc::new(InForce { config, access })
        });
        *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = in_force;
    }

    /// The configuration in force; refuses while the program stops.
    pub fn in_force(&self) -> Result<Arc<InForce>, Refusal> {
        let in_force = self.in_force.read().unwrap_or_else(PoisonError::into_inner).clone();
        in_force.ok_or_else(|| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the program is stopping").after(1))
    }

    /// Once it was, it is for good: a new configuration may have sources that were not read yet, but nothing is amiss.
    pub fn is_ready(&self) -> bool {
        if self.in_force().is_err() {
            return false;
        }
        let is_ready = self.agent.is_ready();
        self.was_ready.fetch_or(is_ready, Ordering::Relaxed) || is_ready
    }

    /// Does what must not be left half done because nobody waits for the answer any more.
    pub async fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    ) -> Result<T, Refusal> {
        let panicked = |_| Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the program is at fault; see its log"));
        self.begun.spawn(work).await.unwrap_or_else(panicked)
    }

    /// Waits for the end of what has begun.
    pub async fn finish(&self) {
        self.begun.close();
        self.begun.wait().await;
    }
}
