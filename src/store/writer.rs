//! The one thread that writes: whatever waits is committed together, and what cannot be committed now waits or is refused.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};

use super::batch::Batch;
use super::job::StoreError;
use crate::clock;

/// Most jobs in one transaction.
const MAX_BATCH: usize = 1000;

/// Most transitions that wait for a state that cannot be written; those that come later are refused, and polled again.
pub const MAX_WAITING: usize = 10_000;

/// How often a state that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How often it is written to when there is nothing to write, so that trouble is seen before something has to wait for it.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// What happens to a transaction, in this order; `Failed` at any point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It holds the state's write lock.
    Begun,
    /// Everything is in it, and nothing is durable.
    Written,
    /// All of it is durable, after this long.
    Committed(Duration),
    /// None of it is.
    Failed,
}

/// How a job meets a state that cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only reads.
    Read,
    /// It only reads, and everything that was asked for before has to be committed: while something waits it is refused.
    ReadAll,
    /// It is refused.
    Write,
    /// It waits, with this many transitions.
    Patient(usize),
}

/// Something to do in a transaction.
pub trait Job: Send {
    /// How it meets trouble.
    fn kind(&self) -> Kind;
    /// Does it; once more when the transaction was rolled back and it is patient.
    fn run(&mut self, batch: &mut Batch<'_>) -> rusqlite::Result<()>;
    /// Tells whoever waits for it how it ended.
    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
}

/// A job that stands alone.
pub type AnyJob = Box<dyn Job>;

/// The thread's state.
pub struct Writer {
    connection: Connection,
    jobs: Receiver<AnyJob>,
    watch: Box<dyn Fn(Event) + Send>,
    /// Patient jobs that were not committed, the oldest first.
    waiting: Vec<AnyJob>,
    /// How many transitions are in them.
    waiting_transitions: usize,
    /// Why the state cannot be written.
    trouble: Option<StoreError>,
    attempted: Instant,
}

impl Writer {
    /// Ready to run.
    pub fn new(connection: Connection, jobs: Receiver<AnyJob>, watch: Box<dyn Fn(Event) + Send>) -> Self {
        Self {
            connection,
            jobs,
            watch,
            waiting: Vec::new(),
            waiting_transitions: 0,
            trouble: None,
            attempted: clock::instant(),
        }
    }

    /// Works until nobody can ask for anything any more.
    pub fn run(mut self) {
        loop {
            let period = if self.trouble.is_some() { RETRY } else { HEARTBEAT };
            let wait = period.saturating_sub(clock::instant().saturating_duration_since(self.attempted));
            let mut jobs = Vec::new();
            match self.jobs.recv_timeout(wait) {
                Ok(job) => jobs.push(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while jobs.len() < MAX_BATCH
                && let Ok(job) = self.jobs.try_recv()
            {
                jobs.push(job);
            }
            let (reads, writes): (Vec<_>, Vec<_>) =
                jobs.into_iter().partition(|job| matches!(job.kind(), Kind::Read | Kind::ReadAll));
            let writes = if self.trouble.is_some() { self.refuse(writes) } else { writes };
            if !writes.is_empty() || clock::instant().saturating_duration_since(self.attempted) >= period {
                self.attempt(writes);
            }
            self.read(reads);
        }
        if !self.waiting.is_empty() {
            self.attempt(Vec::new());
        }
        for job in std::mem::take(&mut self.waiting) {
            job.answer(Err(StoreError::Closed));
        }
    }

    /// Answers what only reads.
    fn read(&self, jobs: Vec<AnyJob>) {
        for mut job in jobs {
            let outcome = if job.kind() == Kind::ReadAll && !self.waiting.is_empty() {
                Err(self.why())
            } else {
                job.run(&mut Batch::new(&self.connection)).map_err(|error| StoreError::of(&error))
            };
            job.answer(outcome);
        }
    }

    /// Puts jobs that were not committed where they belong; nothing of them is to be written now.
    fn refuse(&mut self, jobs: Vec<AnyJob>) -> Vec<AnyJob> {
        for job in jobs {
            match job.kind() {
                Kind::Patient(transitions) if self.waiting_transitions + transitions <= MAX_WAITING => {
                    self.waiting_transitions += transitions;
                    self.waiting.push(job);
                }
                _ => job.answer(Err(self.why())),
            }
        }
        Vec::new()
    }

    fn why(&self) -> StoreError {
        self.trouble.clone().unwrap_or(StoreError::Closed)
    }

    /// One transaction with everything that waits.
    fn attempt(&mut self, new: Vec<AnyJob>) {
        let begun = clock::instant();
        let mut jobs = std::mem::take(&mut self.waiting);
        self.waiting_transitions = 0;
        jobs.extend(new);
        let outcome = self.transact(&mut jobs);
        self.attempted = clock::instant();
        match outcome {
            Ok(()) => {
                (self.watch)(Event::Committed(self.attempted.saturating_duration_since(begun)));
                if self.trouble.take().is_some() {
                    tracing::info!(committed = jobs.len(), "the state can be written again");
                }
                for job in jobs {
                    job.answer(Ok(()));
                }
            }
            Err(error) => {
                (self.watch)(Event::Failed);
                let error = StoreError::of(&error);
                if self.trouble.is_none() {
                    tracing::error!(%error, "nothing new is counted until it can");
                }
                self.trouble = Some(error);
                self.refuse(jobs);
            }
        }
    }

    fn transact(&mut self, jobs: &mut [AnyJob]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        (self.watch)(Event::Begun);
        let mut batch = Batch::new(&transaction);
        for job in jobs {
            job.run(&mut batch)?;
        }
        batch.finish(clock::now().into())?;
        (self.watch)(Event::Written);
        transaction.commit()
    }
}
