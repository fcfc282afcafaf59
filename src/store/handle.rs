//! The handle of the state: what can be asked of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;

use tokio::sync::oneshot;

use super::batch::{Batch, Cursor, LedgerPage, Named, Seen, UpstreamKey};
use super::job::{Ask, Moves, Settled, StoreError};
use super::open::{self, OpenError, Place};
use super::timeline::Step;
use super::writer::{AnyJob, Event, Kind, Writer};
use crate::domain::tally::SourceTally;
use crate::domain::task::Agg;
use crate::domain::{Birth, Tally, Task, TaskId, Timestamp, Transition};

/// Most jobs that wait for the thread; more are refused.
const QUEUE: usize = 8192;

/// The state of one process.
pub struct Store {
    first_start: Timestamp,
    jobs: SyncSender<AnyJob>,
}

/// What the state knows of some upstreams.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Their tasks.
    pub tasks: Vec<Arc<Task>>,
    /// What was counted.
    pub tallies: Vec<Tally>,
    /// What their sources brought.
    pub sources: Vec<SourceTally>,
}

/// What a source brings.
pub struct Found {
    /// Name of the upstream.
    pub upstream: Arc<str>,
    /// The source's label.
    pub source: String,
    /// Somebody asks for exactly these: also for what they had asked not to watch any more.
    pub asked_for: bool,
    /// What the source is known by, when it was read well.
    pub identity: Option<String>,
    /// The tasks that it names, had not named before, and that are not tracked.
    pub tasks: Vec<Arc<Task>>,
    /// Those that are.
    pub also: Vec<TaskId>,
    /// Those that it no longer names.
    pub gone: Vec<TaskId>,
    /// How new label sets are born.
    pub birth: Birth,
    /// When it was read.
    pub now: Timestamp,
}

impl Found {
    /// Nothing has changed.
    pub fn is_nothing(&self) -> bool {
        self.identity.is_none() && self.tasks.is_empty() && self.also.is_empty() && self.gone.is_empty()
    }
}

impl Store {
    /// Opens the state and starts its thread; `watch` is told of each of its transactions. The receiver hears when the thread
    /// has ended, which is once the store is dropped and everything is written.
    ///
    /// # Errors
    /// With what is wrong and what to do about it.
    pub fn open(
        place: &Place,
        now: Timestamp,
        watch: impl Fn(Event) + Send + 'static,
    ) -> Result<(Self, oneshot::Receiver<()>), OpenError> {
        let opened = open::open(place, now)?;
        let (jobs, asked) = sync_channel(QUEUE);
        let (ends, ended) = oneshot::channel();
        let writer = Writer::new(opened.connection, asked, Box::new(watch));
        let lock = opened.lock;
        let work = move || {
            writer.run();
            // Not before the last connection is closed: then the state may have another owner.
            drop(lock);
            let _ = ends.send(());
        };
        let started = thread::Builder::new().name("state".to_owned()).spawn(work);
        started.map_err(|error| OpenError::Io(PathBuf::from("thread"), error.to_string()))?;
        Ok((Self { first_start: opened.first_start, jobs }, ended))
    }

    /// When this state was started for the first time.
    pub const fn first_start(&self) -> Timestamp {
        self.first_start
    }

    fn send(&self, job: AnyJob) {
        match self.jobs.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(job)) => job.answer(Err(StoreError::Full)),
            Err(TrySendError::Disconnected(job)) => job.answer(Err(StoreError::Closed)),
        }
    }

    async fn ask<T: Send + 'static>(
        &self,
        kind: Kind,
        work: impl FnMut(&mut Batch<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(Box::new(Ask::new(kind, work, answer)));
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Everything about these upstreams, with the counters that carry exactly `labels`; after all that was asked for before.
    pub async fn load(&self, upstreams: Vec<UpstreamKey>, labels: Vec<Arc<str>>) -> Result<Loaded, StoreError> {
        let read = move |batch: &mut Batch<'_>| {
            let mut loaded = Loaded::default();
            for key in &upstreams {
                loaded.tasks.extend(batch.tasks(key)?);
                loaded.tallies.extend(batch.tallies(&key.0, &labels)?);
                loaded.sources.extend(batch.source_tallies(&key.0)?);
            }
            Ok(loaded)
        };
        self.ask(Kind::ReadAll, read).await
    }

    /// What was counted of these upstreams, under exactly these labels.
    pub async fn tallies(&self, upstreams: Vec<Arc<str>>, labels: Vec<Arc<str>>) -> Result<Vec<Tally>, StoreError> {
        let read = move |batch: &mut Batch<'_>| {
            let tallies: Result<Vec<_>, _> = upstreams.iter().map(|name| batch.tallies(name, &labels)).collect();
            Ok(tallies?.into_iter().flatten().collect())
        };
        self.ask(Kind::ReadAll, read).await
    }

    /// True while this source was never read well in the life of this state.
    pub async fn is_first_load(&self, upstream: Arc<str>, identity: String) -> Result<bool, StoreError> {
        self.ask(Kind::Read, move |batch| Ok(!batch.is_loaded(&upstream, &identity)?)).await
    }

    /// Notes what a source names. Gives back the tasks that nobody had named before, which have a row now, and then those that
    /// the state watches already.
    pub async fn add(&self, found: Arc<Found>) -> Result<(Vec<Arc<Task>>, Vec<Arc<Task>>), StoreError> {
        let write = move |batch: &mut Batch<'_>| {
            let Found { upstream, source, asked_for, identity, tasks, also, gone, birth, now } = &*found;
            let (mut new, mut there) = (Vec::new(), Vec::new());
            for task in tasks {
                match batch.named(task, *asked_for, *birth, *now)? {
                    Named::New => new.push(task.clone()),
                    Named::There(task) => there.push(task),
                    Named::Past => {}
                }
            }
            for id in also.iter().chain(gone) {
                batch.touch(upstream, id.as_str(), *now)?;
            }
            if !new.is_empty() {
                batch.discovered(upstream, source, new.len(), *birth)?;
            }
            if let Some(identity) = identity {
                batch.loaded(upstream, identity)?;
            }
            Ok((new, there))
        };
        self.ask(Kind::Write, write).await
    }

    /// What was seen of a task, from the first to the last.
    pub async fn timeline(&self, upstream: Arc<str>, id: TaskId) -> Result<Vec<Step>, StoreError> {
        self.ask(Kind::Read, move |batch| batch.timeline(&upstream, &id)).await
    }

    /// Watches a task no longer; false when it is not known, or was not watched.
    pub async fn drop_task(&self, key: UpstreamKey, id: TaskId, now: Timestamp) -> Result<bool, StoreError> {
        self.ask(Kind::Write, move |batch| batch.drop_task(&key, &id, now)).await
    }

    /// Makes transitions durable together with what they count, all of them or none. Ends wait for a state that cannot be
    /// written, [`MAX_WAITING`](super::MAX_WAITING) of them; everything else is refused then.
    pub fn commit(&self, transitions: Vec<Transition>, birth: Birth) -> oneshot::Receiver<Settled> {
        let (answer, answered) = oneshot::channel();
        self.send(Box::new(Moves::new(transitions, birth, answer)));
        answered
    }

    /// Writes the last readings of tasks, which count nothing, for the next start to go on from.
    pub async fn save(&self, tasks: Vec<Arc<Task>>) -> Result<(), StoreError> {
        let write =
            move |batch: &mut Batch<'_>| tasks.iter().try_for_each(|task| batch.write(task, task.revision).map(drop));
        self.ask(Kind::Write, write).await
    }

    /// Label sets come into being; nobody waits for it.
    pub fn born(&self, aggs: Vec<Agg>, birth: Birth) {
        let write = move |batch: &mut Batch<'_>| {
            for agg in &aggs {
                batch.born(agg.clone(), birth);
            }
            Ok(())
        };
        self.send(Box::new(Ask::new(Kind::Write, write, oneshot::channel().0)));
    }

    /// These label sets, and these counters of sources, may be shown with their values from now on; they are born now if they
    /// have not been.
    pub async fn show(
        &self,
        aggs: Vec<Agg>,
        sources: Vec<(Arc<str>, String)>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let birth = Birth { created: now, shown: true };
        let write = move |batch: &mut Batch<'_>| {
            aggs.iter().try_for_each(|agg| batch.shown(agg, birth).map(drop))?;
            sources.iter().try_for_each(|(upstream, source)| batch.source_shown(upstream, source, now).map(drop))
        };
        self.ask(Kind::Write, write).await
    }

    /// Tracked tasks have these label sets now; those that none has had since `unused_since` go.
    pub async fn used(&self, aggs: Vec<Agg>, now: Timestamp, unused_since: Timestamp) -> Result<(), StoreError> {
        let birth = Birth { created: now, shown: false };
        let write = move |batch: &mut Batch<'_>| {
            aggs.iter().try_for_each(|agg| batch.used(agg, birth).map(drop))?;
            batch.drop_unused(unused_since).map(drop)
        };
        self.ask(Kind::Write, write).await
    }

    /// Drops the rows of tasks whose end was read before then; they are still known.
    pub async fn retire(&self, ended_before: Timestamp) -> Result<(), StoreError> {
        self.ask(Kind::Write, move |batch| batch.retire(ended_before).map(drop)).await
    }

    /// Of one page of the ledger, `limit` ids after `after`, those that were last known to be named at or before `before`.
    pub async fn ledger(&self, before: Timestamp, after: Cursor, limit: usize) -> Result<LedgerPage, StoreError> {
        self.ask(Kind::Read, move |batch| batch.ledger(before, &after, limit)).await
    }

    /// Sources name `named` at this moment, and nobody has named `forgotten` since `before`: these are forgotten.
    pub async fn settle_ledger(
        &self,
        (named, now): (Vec<Seen>, Timestamp),
        (forgotten, before): (Vec<Seen>, Timestamp),
    ) -> Result<(), StoreError> {
        let write = move |batch: &mut Batch<'_>| {
            named.iter().try_for_each(|seen| batch.touch(&seen.upstream, &seen.id, now).map(drop))?;
            forgotten.iter().try_for_each(|seen| batch.forget(&seen.upstream, &seen.id, before).map(drop))
        };
        self.ask(Kind::Write, write).await
    }
}
