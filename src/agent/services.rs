//! What all actors share.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use crate::clock::Clock;
use crate::liveness::Liveness;
use crate::metrics::{Metrics, SeriesSelection};
use crate::store::Store;

/// What the actors share.
#[derive(Clone)]
pub struct Services {
    /// The state store.
    pub store: Arc<Store>,
    /// The metrics of the process.
    pub metrics: Arc<Metrics>,
    /// The clock.
    pub clock: Clock,
    /// A permit for each request in flight, over all upstreams: each takes an open file, and some have to be left for pages.
    pub requests: Arc<Semaphore>,
    /// Which actors move.
    pub liveness: Liveness,
    /// The tasks that have per-task series.
    pub series: watch::Receiver<Arc<SeriesSelection>>,
}

/// Which part of the open files requests in flight may take, in eighths; idle connections and pages take the others.
const REQUEST_SHARE: u64 = 3;

/// Most requests in flight, however many files may be open.
const MAX_REQUESTS: u64 = 100_000;

/// The permits for requests of a process that may have so many open files.
pub fn request_permits(descriptors: u64) -> Arc<Semaphore> {
    let permits = (descriptors / 8 * REQUEST_SHARE).clamp(1, MAX_REQUESTS);
    Arc::new(Semaphore::new(usize::try_from(permits).unwrap_or(1)))
}
