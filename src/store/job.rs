//! What the writer is given to do, and what it answers.

use tokio::sync::oneshot;

use super::batch::Batch;
use super::writer::{Job, Kind};
use crate::domain::{Birth, Task, TaskId, Transition};

/// Why something was not committed, or not read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database said no; what was to be committed must not be counted.
    #[error("the state cannot be written: {0}")]
    Unavailable(String),
    /// What is in it makes no sense.
    #[error("the state has a row that cannot be read: {0}; mend it or delete it with the sqlite3 shell")]
    Unreadable(String),
    /// More waits for it than may.
    #[error("too much waits for the state")]
    Full,
    /// It was closed.
    #[error("the state is closed")]
    Closed,
}

impl StoreError {
    /// Of a statement or a commit that failed.
    pub(super) fn of(error: &rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::FromSqlConversionFailure(_, _, why) => Self::Unreadable(why.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

/// How transitions ended.
#[derive(Debug)]
pub enum Settled {
    /// They are durable.
    Committed {
        /// Those that are.
        transitions: Vec<Transition>,
        /// Tasks that were not any more as they were when they moved, so that nothing was counted: as the state has them, if it does.
        otherwise: Vec<(TaskId, Option<Task>)>,
        /// How their label sets were born, if they are new.
        birth: Birth,
    },
    /// Nothing is durable.
    Refused(Vec<Transition>, StoreError),
}

/// A job with one answer.
pub struct Ask<T, F> {
    kind: Kind,
    work: F,
    found: Option<T>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Ask<T, F> {
    /// Not done yet.
    pub fn new(kind: Kind, work: F, answer: oneshot::Sender<Result<T, StoreError>>) -> Self {
        Self { kind, work, found: None, answer }
    }
}

impl<T: Send, F: FnMut(&mut Batch<'_>) -> rusqlite::Result<T> + Send> Job for Ask<T, F> {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn run(&mut self, batch: &mut Batch<'_>) -> rusqlite::Result<()> {
        self.found = Some((self.work)(batch)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        let _ = self.answer.send(outcome.and(self.found.ok_or(StoreError::Closed)));
    }
}

/// Transitions on their way.
pub struct Moves {
    transitions: Vec<Transition>,
    birth: Birth,
    /// By place, what the state knew better.
    stale: Vec<(usize, Option<Task>)>,
    answer: oneshot::Sender<Settled>,
}

impl Moves {
    /// Not committed yet.
    pub fn new(transitions: Vec<Transition>, birth: Birth, answer: oneshot::Sender<Settled>) -> Self {
        Self { transitions, birth, stale: Vec::new(), answer }
    }
}

impl Job for Moves {
    fn kind(&self) -> Kind {
        if self.transitions.iter().all(|transition| transition.task.status.is_end()) {
            Kind::Patient(self.transitions.len())
        } else {
            Kind::Write
        }
    }

    fn run(&mut self, batch: &mut Batch<'_>) -> rusqlite::Result<()> {
        self.stale.clear();
        for (place, transition) in self.transitions.iter().enumerate() {
            if !batch.moved(transition, self.birth)? {
                let task = &transition.task;
                let key = (task.home.upstream.clone(), task.home.provider);
                // A row that cannot be read must not hold up everybody else.
                self.stale.push((place, batch.task(&key, &task.id).unwrap_or_default()));
            }
        }
        Ok(())
    }

    fn answer(mut self: Box<Self>, outcome: Result<(), StoreError>) {
        let settled = if let Err(error) = outcome {
            Settled::Refused(self.transitions, error)
        } else {
            let mut otherwise = Vec::new();
            for (place, task) in self.stale.into_iter().rev() {
                otherwise.push((self.transitions.remove(place).task.id, task));
            }
            Settled::Committed { transitions: self.transitions, otherwise, birth: self.birth }
        };
        let _ = self.answer.send(settled);
    }
}
