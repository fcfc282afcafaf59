//! The thread of the store: what waits is committed together; what cannot be committed now waits or is refused.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::command::{Command, Handling, Output, Reply};
use super::error::StoreError;
use super::event::Event;
use super::sqlite::Engine;
use crate::clock;

/// Most commands in one transaction.
const MAX_BATCH: usize = 1000;

/// Most transitions that wait while the store cannot be written; later ones are refused, and their tasks polled again.
pub const MAX_WAITING: usize = 10_000;

/// How often a store that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How often the store is written when there is nothing to write, so that a failure shows before something has to wait for it.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// A command, and who is told how it ended.
pub struct Job {
    /// The command.
    pub command: Command,
    /// Receives it back with its result.
    pub reply: oneshot::Sender<Reply>,
}

impl Job {
    /// Replies.
    pub fn answer(self, result: Result<Output, StoreError>) {
        // Whoever asked may be gone.
        let _ = self.reply.send(Reply { command: self.command, result });
    }
}

/// The state of the thread.
pub struct Writer {
    engine: Engine,
    jobs: Receiver<Job>,
    watch: Box<dyn Fn(Event) + Send>,
    /// Commits that wait, the oldest first.
    waiting: Vec<Job>,
    /// Transitions in them.
    waiting_transitions: usize,
    /// Why the store cannot be written.
    failure: Option<StoreError>,
    attempted: Instant,
}

impl Writer {
    /// Ready to run.
    pub fn new(engine: Engine, jobs: Receiver<Job>, watch: Box<dyn Fn(Event) + Send>) -> Self {
        Self {
            engine,
            jobs,
            watch,
            waiting: Vec::new(),
            waiting_transitions: 0,
            failure: None,
            attempted: clock::instant(),
        }
    }

    /// Works until every handle is dropped.
    pub fn run(mut self) {
        loop {
            let period = if self.failure.is_some() { RETRY } else { HEARTBEAT };
            let wait = period.saturating_sub(clock::instant().saturating_duration_since(self.attempted));
            (self.watch)(Event::Waiting { pending: self.waiting_transitions, bytes: self.engine.bytes() });
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
            let is_read = |job: &Job| matches!(job.command.handling(), Handling::Read | Handling::ReadCommitted);
            let (reads, writes): (Vec<_>, Vec<_>) = jobs.into_iter().partition(is_read);
            let writes = if self.failure.is_some() {
                self.defer(writes);
                Vec::new()
            } else {
                writes
            };
            if !writes.is_empty() || clock::instant().saturating_duration_since(self.attempted) >= period {
                self.commit(writes);
            }
            self.read(reads);
        }
        if !self.waiting.is_empty() {
            self.commit(Vec::new());
        }
        for job in std::mem::take(&mut self.waiting) {
            job.answer(Err(StoreError::Closed));
        }
    }

    fn read(&self, jobs: Vec<Job>) {
        for job in jobs {
            let result = if job.command.handling() == Handling::ReadCommitted && !self.waiting.is_empty() {
                Err(self.reason())
            } else {
                self.engine.read(&job.command)
            };
            job.answer(result);
        }
    }

    /// Lets commits of ends wait and refuses everything else.
    fn defer(&mut self, jobs: Vec<Job>) {
        for job in jobs {
            match job.command.handling() {
                Handling::Wait(transitions) if self.waiting_transitions + transitions <= MAX_WAITING => {
                    self.waiting_transitions += transitions;
                    self.waiting.push(job);
                }
                _ => job.answer(Err(self.reason())),
            }
        }
    }

    fn reason(&self) -> StoreError {
        self.failure.clone().unwrap_or(StoreError::Closed)
    }

    /// One transaction with everything that waits and with `new`.
    fn commit(&mut self, new: Vec<Job>) {
        let begun = clock::instant();
        let mut jobs = std::mem::take(&mut self.waiting);
        self.waiting_transitions = 0;
        jobs.extend(new);
        let outcome = self.engine.commit(jobs.iter().map(|job| &job.command), &self.watch);
        self.attempted = clock::instant();
        match outcome {
            Ok(outputs) => {
                (self.watch)(Event::Committed(self.attempted.saturating_duration_since(begun)));
                if self.failure.take().is_some() {
                    tracing::info!(commands = jobs.len(), "state store recovered");
                }
                for (job, output) in jobs.into_iter().zip(outputs) {
                    job.answer(Ok(output));
                }
            }
            Err(error) => {
                (self.watch)(Event::Failed);
                if self.failure.is_none() {
                    tracing::error!(%error, "state store write failed; counters paused until it recovers");
                }
                self.failure = Some(error);
                self.defer(jobs);
            }
        }
    }
}
