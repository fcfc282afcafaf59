//! What an upstream's actor can be asked to do, as data with a channel for the answer.

use tokio::sync::oneshot;

use super::request::SendRequest;
use super::settings::UpstreamSettings;
use super::source_registry::SourceKey;
use crate::counters::CounterSnapshot;
use crate::domain::{Answer, NewTask, TaskId};
use crate::source::Listing;
use crate::store::StoreError;

/// A command.
pub enum Command {
    /// A source was read.
    Discovered(Box<Discovered>),
    /// Track these tasks.
    Register {
        /// The tasks.
        tasks: Vec<NewTask>,
        /// Their results, in the same order.
        reply: oneshot::Sender<Result<Vec<Registration>, StoreError>>,
    },
    /// Stop tracking a task, and remove it from the page; what was counted stays.
    Forget {
        /// Its id.
        id: TaskId,
        /// Whether it was tracked.
        reply: oneshot::Sender<Result<bool, StoreError>>,
    },
    /// The upstream called back about a task.
    Callback {
        /// Its id.
        id: TaskId,
        /// What the upstream says; `None` when only a poll can tell.
        answer: Option<Box<Answer>>,
        /// What came of it.
        reply: oneshot::Sender<CallbackOutcome>,
    },
    /// Which of these ids do the sources name now?
    AreNamed {
        /// The ids.
        ids: Vec<TaskId>,
        /// For each id, in the same order; `None` while a source was not read yet.
        reply: oneshot::Sender<Option<Vec<bool>>>,
    },
    /// Another configuration is in force.
    Reconfigure {
        /// The configuration.
        settings: Box<UpstreamSettings>,
        /// Sends its requests.
        send: SendRequest,
        /// The counters that the state has for its aggregate labels, if those have changed.
        counters: Vec<CounterSnapshot>,
        /// Answered once it is in force.
        reply: oneshot::Sender<()>,
    },
    /// Stop: finish what has begun, within limits.
    Stop {
        /// The whole program stops: polls in flight may take their time-out.
        is_final: bool,
    },
}

/// A source as it was read.
pub struct Discovered {
    /// The source.
    pub source: SourceKey,
    /// What it names.
    pub listing: Listing,
    /// It is sent again because the store had failed: what was wrong with the listing was reported.
    pub is_retry: bool,
    /// Gets the listing back if the store fails.
    pub reply: oneshot::Sender<Result<(), Listing>>,
}

/// The result of registering one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// It is new, and tracked from now on.
    New,
    /// It was tracked before.
    Tracked,
    /// It was tracked until it ended, or was forgotten for good.
    Past,
}

impl Registration {
    /// Its word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "registered",
            Self::Tracked => "watched",
            Self::Past => "past",
        }
    }
}

/// What came of a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallbackOutcome {
    /// It is applied, or checked by a poll.
    Accepted,
    /// Its task is not tracked.
    UnknownTask,
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Too many commands are waiting.
    #[error("too many commands are waiting for this upstream")]
    Busy,
    /// There is no such upstream, or it is stopping.
    #[error("the upstream is stopping")]
    Stopped,
}
