//! A simulated task at one time, as the vendor or the gateway sees it.

use super::task::{Outcome, SimulatedTask};
use crate::domain::Timestamp;

/// The phase of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Submitted.
    Queued,
    /// Started.
    Running,
    /// Finished.
    Ended,
}

/// A task at one time.
#[derive(Debug, Clone, Copy)]
pub struct TaskView<'a> {
    /// The task.
    pub task: &'a SimulatedTask,
    /// Its phase.
    pub phase: Phase,
    /// From 0 to 0.99.
    pub progress: f64,
    /// When it was created, in Unix milliseconds.
    pub created_ms: i64,
    /// When it started.
    pub started_ms: i64,
    /// When it last changed; for an ended task, its finish time.
    pub updated_ms: i64,
    /// The gateway has settled its quota, which it does after it has stored the end.
    pub is_settled: bool,
}

/// How long a gateway takes to settle the quota of a task, in milliseconds.
const SETTLING_MS: i64 = 1000;

impl<'a> TaskView<'a> {
    /// The task as its vendor sees it; `None` before it is submitted and after it is forgotten.
    pub fn new(task: &'a SimulatedTask, now: Timestamp) -> Option<Self> {
        let phase = if now >= task.finish {
            Phase::Ended
        } else if now >= task.start {
            Phase::Running
        } else {
            Phase::Queued
        };
        if now < task.submit || (phase == Phase::Ended && task.outcome == Outcome::Forgotten) {
            return None;
        }
        let updated = if phase == Phase::Ended { task.finish } else { now };
        Some(Self {
            task,
            phase,
            progress: progress(task, now),
            created_ms: task.submit.as_millis(),
            started_ms: task.start.as_millis(),
            updated_ms: updated.as_millis(),
            is_settled: now.as_millis() >= task.finish.as_millis() + SETTLING_MS,
        })
    }

    /// The vendor's task inside a gateway's row: it finished a second before the gateway noticed.
    pub fn as_nested(self) -> Self {
        Self { created_ms: self.created_ms - 2000, updated_ms: self.updated_ms - 1000, ..self }
    }

    /// Whether it ended with a video.
    pub fn has_succeeded(&self) -> bool {
        self.phase == Phase::Ended && self.task.outcome == Outcome::Succeeded
    }

    /// Code and message, if it has failed.
    pub fn failure(&self) -> Option<(&'static str, &'static str)> {
        match (self.phase, self.task.outcome) {
            (Phase::Ended, Outcome::Failed(code, message)) => Some((code, message)),
            _ => None,
        }
    }

    /// Its status word, from the words for queued, running, succeeded, failed, cancelled and expired.
    pub fn status_word(&self, words: [&'static str; 6]) -> &'static str {
        match (self.phase, self.task.outcome) {
            (Phase::Queued, _) => words[0],
            (Phase::Running, _) | (Phase::Ended, Outcome::Swept | Outcome::Forgotten) => words[1],
            (Phase::Ended, Outcome::Succeeded) => words[2],
            (Phase::Ended, Outcome::Failed(..)) => words[3],
            (Phase::Ended, Outcome::Cancelled) => words[4],
            (Phase::Ended, Outcome::Expired) => words[5],
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a duration in milliseconds fits 53 bits")]
fn progress(task: &SimulatedTask, now: Timestamp) -> f64 {
    let whole = (task.finish.as_millis() - task.start.as_millis()).max(1) as f64;
    ((now.as_millis() - task.start.as_millis()) as f64 / whole).clamp(0.0, 0.99)
}
