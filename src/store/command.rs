//! What the store can be asked to do, as data: any engine executes the same commands.

use std::collections::HashSet;
use std::sync::Arc;

use super::error::StoreError;
use crate::clock::Jump;
use crate::counters::{CounterSnapshot, SourceCounters, ZeroHold};
use crate::domain::budget::Spending;
use crate::domain::latency::LatencySample;
use crate::domain::{CounterKey, FailureClass, Increment, LabelSet, Status, Task, TaskId, Timestamp, Transition};

/// An upstream and its provider.
pub type UpstreamKey = (Arc<str>, &'static str);

/// Where a page of known ids begins; the default is before all of them.
pub type Cursor = (i64, String);

/// One thing to do.
#[derive(Debug, Clone)]
pub enum Command {
    /// Reads everything about an upstream, with the counters that have exactly these aggregate labels. Refused while commits
    /// are waiting.
    Load(UpstreamKey, Vec<Arc<str>>),
    /// Reads an upstream's counters that have exactly these aggregate labels. Refused while commits are waiting.
    LoadCounters(UpstreamKey, Vec<Arc<str>>),
    /// Reads what the tasks of all upstreams but these have spent of budgets.
    LoadOtherSpending(Vec<Arc<str>>),
    /// Reads the timeline of a task.
    Timeline(Arc<str>, TaskId),
    /// Reads a page of known ids: of the next `limit` after `after`, those last named at or before `named_before`.
    KnownIds {
        /// Latest time at which they were named.
        named_before: Timestamp,
        /// Where the page begins.
        after: Cursor,
        /// Its size.
        limit: usize,
    },
    /// Stores what a source discovered.
    Add(Arc<Discovery>),
    /// Makes transitions durable together with what they count. Ends wait while the store cannot be written.
    Commit(Vec<Transition>, ZeroHold),
    /// Stops tracking a task; it stays known.
    Forget(UpstreamKey, TaskId, Timestamp),
    /// Stores the latest readings of tasks, which count nothing.
    Save(Vec<Arc<Task>>),
    /// Creates label sets, with these series at 0.
    CreateLabelSets(Vec<LabelSet>, ZeroHold, Vec<Increment>),
    /// Records that the values of label sets and of sources of an upstream are exported from now on.
    Release {
        /// Label sets; created if they are new.
        label_sets: Vec<LabelSet>,
        /// Late series of label sets.
        series: Vec<(LabelSet, CounterKey)>,
        /// The upstream of `sources`.
        upstream: Arc<str>,
        /// Labels of sources; created if they are new.
        sources: Vec<String>,
        /// The current time.
        now: Timestamp,
    },
    /// Records that tracked tasks have these label sets now.
    MarkUsed(Vec<LabelSet>, Timestamp),
    /// Drops label sets that no task has had since then, of this configuration or an earlier one; and what was spent and measured
    /// before.
    DropUnused(Timestamp),
    /// Drops the rows of tasks; they stay known.
    DropEnded {
        /// Of those whose end was read before then.
        before: Timestamp,
        /// But only of those lost tasks that were first seen before then: the others can be registered again.
        lost_before: Timestamp,
    },
    /// Stores what is known of upstreams' health, by upstream and key.
    SaveHealth(Vec<(Arc<str>, String, i64)>),
    /// Puts forward what was recorded before the clock was put forward.
    PutForward(Jump),
    /// Updates known ids.
    UpdateKnownIds {
        /// Ids that a source names now.
        named: Vec<KnownId>,
        /// The current time.
        now: Timestamp,
        /// To be forgotten, unless a source has named them since `before`.
        forgotten: Vec<KnownId>,
        /// See `forgotten`.
        before: Timestamp,
    },
}

/// What a command returns.
#[derive(Debug)]
pub enum Output {
    /// Nothing.
    Done,
    /// Of [`Command::Load`].
    Loaded(Loaded),
    /// Of [`Command::LoadCounters`].
    Counters(Vec<CounterSnapshot>),
    /// Of [`Command::LoadOtherSpending`].
    Spending(Vec<Spending>),
    /// Of [`Command::Timeline`], oldest first.
    Timeline(Vec<Step>),
    /// Of [`Command::KnownIds`].
    KnownIds(KnownIdsPage),
    /// Of [`Command::Add`]: tasks that were not known before, and known ones that are to be tracked.
    Added {
        /// Not known before.
        new: Vec<Arc<Task>>,
        /// Known, active and to be tracked.
        known: Vec<Arc<Task>>,
        /// Lost ones that were requested again: the upstream is to be asked for them.
        lost: Vec<Arc<Task>>,
    },
    /// Of [`Command::Commit`]: the positions of transitions whose task had changed in the state, so that nothing was counted;
    /// with the task of the state, if it has one.
    Stale(Vec<(usize, Option<Task>)>),
    /// Of [`Command::Forget`]: the task was tracked.
    WasTracked(bool),
}

/// A command that was executed, or not, returned with its result.
#[derive(Debug)]
pub struct Reply {
    /// The command.
    pub command: Command,
    /// Its result.
    pub result: Result<Output, StoreError>,
}

/// Everything that the state has of an upstream.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Its tasks.
    pub tasks: Vec<Arc<Task>>,
    /// Its counters.
    pub counters: Vec<CounterSnapshot>,
    /// Tasks by source.
    pub sources: Vec<SourceCounters>,
    /// Identities of sources that were read completely at least once.
    pub loaded_sources: HashSet<String>,
    /// Rows that could not be read and were set aside.
    pub skipped: usize,
    /// What was spent of budgets.
    pub spending: Vec<Spending>,
    /// Latencies of its last succeeded tasks, with their models; the oldest first.
    pub samples: Vec<(Arc<str>, LatencySample)>,
    /// What was known of its health, by key.
    pub health: Vec<(String, i64)>,
}

/// What a source names, compared with what it named before.
#[derive(Debug, Clone)]
pub struct Discovery {
    /// The upstream.
    pub upstream: Arc<str>,
    /// The source's label.
    pub source: String,
    /// Exactly these tasks were requested: those that were forgotten on request are tracked again.
    pub is_requested: bool,
    /// The source's identity, when this is its first complete read.
    pub first_load: Option<String>,
    /// Tasks that are not tracked.
    pub tasks: Vec<Arc<Task>>,
    /// Ids of tasks that are tracked.
    pub tracked: Vec<TaskId>,
    /// Ids that the source no longer names.
    pub gone: Vec<TaskId>,
    /// The zero hold of new label sets.
    pub zero_hold: ZeroHold,
    /// Increments of 0: the late series that new label sets have from the start.
    pub born: Vec<Increment>,
    /// When the source was read.
    pub now: Timestamp,
}

impl Discovery {
    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.first_load.is_none() && self.tasks.is_empty() && self.tracked.is_empty() && self.gone.is_empty()
    }
}

/// An id that was named by a source at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownId {
    /// Name of the upstream.
    pub upstream: Arc<str>,
    /// The id.
    pub id: String,
    /// When a source last named it, as far as the state knows.
    pub named: Timestamp,
    /// It has a row: its task is active, or ended within the retention.
    pub has_row: bool,
}

/// A page of known ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownIdsPage {
    /// The ids.
    pub ids: Vec<KnownId>,
    /// Where the next page begins, if there is one.
    pub next: Option<Cursor>,
}

/// One step of a task's timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// When it was read.
    pub at: Timestamp,
    /// The task's status.
    pub status: Status,
    /// The gateway's status.
    pub gateway_status: Option<Status>,
    /// The status of the provider behind it.
    pub upstream_status: Option<Status>,
    /// Why it had ended without success.
    pub failure: Option<FailureClass>,
    /// The provider's error code.
    pub error_code: Option<String>,
    /// The provider's error message, scrubbed.
    pub error_message: Option<String>,
}

/// How a command is handled while the store cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handling {
    /// It only reads, and is executed.
    Read,
    /// It only reads, and must see every commit: it fails while commits are waiting.
    ReadCommitted,
    /// It fails.
    Write,
    /// It waits, with so many transitions.
    Wait(usize),
}

impl Command {
    /// How it is handled while the store cannot be written.
    pub fn handling(&self) -> Handling {
        match self {
            Self::Timeline(..) | Self::KnownIds { .. } | Self::LoadOtherSpending(_) => Handling::Read,
            Self::Load(..) | Self::LoadCounters(..) => Handling::ReadCommitted,
            Self::Commit(transitions, _) if transitions.iter().all(|transition| transition.task.status.is_end()) => {
                Handling::Wait(transitions.len())
            }
            _ => Handling::Write,
        }
    }
}
