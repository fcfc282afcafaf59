//! The handle of the store: sends commands to its thread.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;

use tokio::sync::oneshot;

use super::command::{Command, Output, Reply, Step};
use super::error::{OpenError, StoreError};
use super::event::Event;
use super::sqlite::{self, Opened};
use super::writer::{Job, Writer};
use crate::clock::Clock;
use crate::counters::ZeroHold;
use crate::domain::{Task, TaskId, Timestamp, Transition};

/// Most commands that wait for the thread; more are refused.
const QUEUE: usize = 8192;

/// Where the state is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// In this SQLite file, and beside it `-wal`, `-shm` and `.lock`.
    File(PathBuf),
    /// In memory, until the process ends.
    Memory,
}

/// The store of one process.
pub struct Store {
    first_start: Timestamp,
    jobs: SyncSender<Job>,
}

/// How a commit ended.
#[derive(Debug)]
pub enum Settled {
    /// It is durable.
    Committed {
        /// What was committed and counted.
        transitions: Vec<Transition>,
        /// Tasks that had changed in the state, so that nothing was counted: as the state has them, if it does.
        stale: Vec<(TaskId, Option<Task>)>,
        /// The zero hold of new label sets.
        zero_hold: ZeroHold,
    },
    /// Nothing is durable.
    Refused(Vec<Transition>, StoreError),
}

impl Store {
    /// Opens the store and starts its thread; `watch` is called for each event of its transactions. The receiver hears when
    /// the thread has ended, which is after the store was dropped and everything is written.
    ///
    /// # Errors
    /// With what is wrong and what to do about it.
    pub fn open(
        location: &Location,
        clock: &Clock,
        watch: impl Fn(Event) + Send + 'static,
    ) -> Result<(Self, oneshot::Receiver<()>), OpenError> {
        let path = match location {
            Location::File(path) => Some(path.as_path()),
            Location::Memory => None,
        };
        let Opened { engine, first_start, lock } = sqlite::open(path, clock)?;
        let (jobs, queue) = sync_channel(QUEUE);
        let (ends, ended) = oneshot::channel();
        let writer = Writer::new(engine, queue, Box::new(watch));
        let work = move || {
            writer.run();
            // The connection is closed by now: another process may open the state.
            drop(lock);
            let _ = ends.send(());
        };
        let started = thread::Builder::new().name("state".to_owned()).spawn(work);
        started.map_err(|error| OpenError::NoThread(error.to_string()))?;
        Ok((Self { first_start, jobs }, ended))
    }

    /// When this state was created.
    pub const fn first_start(&self) -> Timestamp {
        self.first_start
    }

    /// Sends a command at once; the reply comes later.
    pub fn send(&self, command: Command) -> oneshot::Receiver<Reply> {
        let (reply, replied) = oneshot::channel();
        match self.jobs.try_send(Job { command, reply }) {
            Ok(()) => {}
            Err(TrySendError::Full(job)) => job.answer(Err(StoreError::Full)),
            Err(TrySendError::Disconnected(job)) => job.answer(Err(StoreError::Closed)),
        }
        replied
    }

    /// Sends a command and waits for its output.
    ///
    /// # Errors
    /// When the command failed; nothing of it is in the state then.
    pub async fn execute(&self, command: Command) -> Result<Output, StoreError> {
        self.send(command).await.map_or(Err(StoreError::Closed), |reply| reply.result)
    }

    /// The timeline of a task, oldest step first.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn timeline(&self, upstream: Arc<str>, id: TaskId) -> Result<Vec<Step>, StoreError> {
        match self.execute(Command::Timeline(upstream, id)).await? {
            Output::Timeline(steps) => Ok(steps),
            _ => Err(StoreError::Closed),
        }
    }
}

impl Settled {
    /// Of the reply to a [`Command::Commit`]; `None` for another command's.
    pub fn from_reply(Reply { command, result }: Reply) -> Option<Self> {
        let Command::Commit(mut transitions, zero_hold) = command else { return None };
        Some(match result {
            Ok(Output::Stale(positions)) => {
                let remove = |(position, task): (usize, _)| (transitions.remove(position).task.id, task);
                let stale = positions.into_iter().rev().map(remove).collect();
                Self::Committed { transitions, stale, zero_hold }
            }
            Ok(_) => Self::Refused(transitions, StoreError::Closed),
            Err(error) => Self::Refused(transitions, error),
        })
    }
}
