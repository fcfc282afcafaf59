//! Reads the sources of one upstream, each again and again, and sends what they name to the upstream's actor.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::command::{Command, Discovered};
use super::source_registry::SourceKey;
use super::threads::panicked;
use crate::config::Upstream;
use crate::metrics::UpstreamMetrics;
use crate::source::{ListDemand, Listing, Source};

/// How long a source waits at the start for the one before it.
const STARTUP_PATIENCE: Duration = Duration::from_secs(2);

/// How long until a listing is sent again that the store could not take.
const RETRY: Duration = Duration::from_secs(1);

/// The running readers of one upstream.
#[derive(Default)]
pub struct SourceReaders {
    readers: JoinSet<(SourceKey, Source)>,
    stop: CancellationToken,
}

/// A source's place in the order of first reads: sources are read in their order first, so that which source discovers a task
/// first does not change from start to start.
struct StartupOrder {
    previous: Option<oneshot::Receiver<()>>,
    /// Dropped after the first read, for which the next source waits.
    _next: oneshot::Sender<()>,
}

/// Reads one source.
struct SourceReader {
    source: SourceKey,
    upstream: Arc<str>,
    /// Weak: the actor ends when nobody else can command it.
    commands: mpsc::WeakSender<Command>,
    metrics: UpstreamMetrics,
    stop: CancellationToken,
}

/// The sources of an upstream, with their keys.
pub fn sources_of(upstream: &Upstream) -> Vec<(SourceKey, Source)> {
    let key = |(label, source): (String, Source)| (SourceKey { label, identity: source.identity() }, source);
    Source::from_upstream(upstream).into_iter().map(key).collect()
}

impl StartupOrder {
    fn after(previous: Option<oneshot::Receiver<()>>) -> (Self, oneshot::Receiver<()>) {
        let (next, read) = oneshot::channel();
        (Self { previous, _next: next }, read)
    }

    async fn wait(&mut self) {
        if let Some(previous) = self.previous.take() {
            let _ = tokio::time::timeout(STARTUP_PATIENCE, previous).await;
        }
    }
}

impl SourceReaders {
    /// Stops the readers, and returns their sources with what those have read.
    pub async fn stop(&mut self) -> BTreeMap<String, Source> {
        self.stop.cancel();
        let mut sources = BTreeMap::new();
        while let Some(ended) = self.readers.join_next().await {
            if let Ok((key, source)) = ended {
                sources.insert(key.identity, source);
            }
        }
        sources
    }

    /// Starts a reader of every source of an upstream. A source continues with what an earlier one of its identity has read.
    pub fn start(
        &mut self,
        upstream: &Upstream,
        mut earlier: BTreeMap<String, Source>,
        demands: &BTreeMap<String, watch::Receiver<ListDemand>>,
        commands: &mpsc::WeakSender<Command>,
        metrics: &UpstreamMetrics,
    ) {
        self.stop = CancellationToken::new();
        let mut previous = None;
        for (key, mut source) in sources_of(upstream) {
            if let Some(earlier) = earlier.remove(&key.identity) {
                source.inherit(earlier);
            }
            if let Some(demand) = demands.get(&key.label) {
                source.follow(demand.clone());
            }
            let (order, read) = StartupOrder::after(previous);
            previous = Some(read);
            let reader = SourceReader {
                source: key,
                upstream: upstream.name.clone(),
                commands: commands.clone(),
                metrics: metrics.clone(),
                stop: self.stop.clone(),
            };
            self.readers.spawn(reader.run(source, order));
        }
    }

    /// Waits until a reader panics; forever when none does.
    pub async fn panicked(&mut self) -> anyhow::Error {
        panicked(&mut self.readers).await
    }
}

impl SourceReader {
    async fn run(self, mut source: Source, order: StartupOrder) -> (SourceKey, Source) {
        let stop = self.stop.clone();
        // Whatever is being read or sent when it stops is read again.
        let _ = stop.run_until_cancelled(self.read_repeatedly(&mut source, order)).await;
        (self.source, source)
    }

    async fn read_repeatedly(&self, source: &mut Source, mut order: StartupOrder) {
        order.wait().await;
        let mut order = Some(order);
        source.resume().await;
        loop {
            let listing = source.read().await;
            let is_whole = !listing.has_more;
            if !self.send(listing).await {
                return; // The actor has ended.
            }
            if is_whole {
                drop(order.take());
            }
            if let Some(delayed) = source.wait_until_due().await {
                self.metrics.throttled(&self.upstream, delayed);
            }
        }
    }

    /// Sends a listing until it is stored; false when nobody takes it any more.
    async fn send(&self, mut listing: Listing) -> bool {
        let mut is_retry = false;
        loop {
            let (reply, replied) = oneshot::channel();
            let discovered = Discovered { source: self.source.clone(), listing, is_retry, reply };
            let Some(commands) = self.commands.upgrade() else { return false };
            if commands.send(Command::Discovered(Box::new(discovered))).await.is_err() {
                return false;
            }
            drop(commands);
            match replied.await {
                Ok(Ok(())) => return true,
                Ok(Err(refused)) => (listing, is_retry) = (refused, true),
                Err(_) => return false,
            }
            sleep(RETRY).await;
        }
    }
}
