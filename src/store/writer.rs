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
    /// Why the state cannot be written.
    trouble: Option<StoreError>,
    attempted: Instant,
}

impl Writer {
    /// Ready to run.
    pub fn new(connection: Connection, jobs: Receiver<AnyJob>, watch: Box<dyn Fn(Event) + Send>) -> Self {
        Self { connection, jobs, watch, waiting: Vec::new(), trouble: None, attempted: clock::instant() }
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
            let writes = self.take(jobs);
            if !writes.is_empty() || clock::instant().saturating_duration_since(self.attempted) >= period {
                self.attempt(writes);
            }
        }
        if !self.waiting.is_empty() {
            self.attempt(Vec::new());
        }
        for job in std::mem::take(&mut self.waiting) {
            job.answer(Err(StoreError::Closed));
        }
    }

    /// Answers what only reads, and gives back what is to be written now; in times of trouble that is nothing.
    fn take(&mut self, jobs: Vec<AnyJob>) -> Vec<AnyJob> {
        let mut writes = Vec::new();
        for mut job in jobs {
            if job.kind() == Kind::Read {
                let outcome = job.run(&mut Batch::new(&self.connection));
                job.answer(outcome.map_err(|error| StoreError::of(&error)));
            } else if self.trouble.is_some() {
                self.refuse(job);
            } else {
                writes.push(job);
            }
        }
        writes
    }

    /// Puts a job that was not committed where it belongs.
    fn refuse(&mut self, job: AnyJob) {
        let patient = |job: &AnyJob| if let Kind::Patient(transitions) = job.kind() { transitions } else { 0 };
        let waiting: usize = self.waiting.iter().map(patient).sum();
        if patient(&job) > 0 && waiting + patient(&job) <= MAX_WAITING {
            self.waiting.push(job);
        } else {
            job.answer(Err(self.trouble.clone().unwrap_or(StoreError::Closed)));
        }
    }

    /// One transaction with everything that waits.
    fn attempt(&mut self, new: Vec<AnyJob>) {
        let begun = clock::instant();
        let mut jobs = std::mem::take(&mut self.waiting);
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
                for job in jobs {
                    self.refuse(job);
                }
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
