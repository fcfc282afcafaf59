//! Where a life stands at a moment, as one of its two layers sees it.

use super::life::{End, Life};
use crate::domain::Timestamp;

/// Where a life stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Accepted.
    Queued,
    /// Begun.
    Running,
    /// Over.
    Ended,
}

/// A life at a moment.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The life.
    pub life: &'a Life,
    /// Where it stands.
    pub phase: Phase,
    /// From 0 to nearly 1 while it is worked on.
    pub done: f64,
    /// When it was created, by the provider's clock, in Unix milliseconds.
    pub created_ms: i64,
    /// When work began.
    pub started_ms: i64,
    /// When it was last changed; the end of one that has ended.
    pub updated_ms: i64,
}

impl<'a> View<'a> {
    /// As its provider sees it; `None` for a task that is not there yet, or no more.
    pub fn new(life: &'a Life, now: Timestamp) -> Option<Self> {
        let phase = if now >= life.finish {
            Phase::Ended
        } else if now >= life.start {
            Phase::Running
        } else {
            Phase::Queued
        };
        if now < life.submit || (phase == Phase::Ended && life.end == End::Forgotten) {
            return None;
        }
        let updated = if phase == Phase::Ended { life.finish } else { now };
        Some(Self {
            life,
            phase,
            done: share_done(life, now),
            created_ms: life.submit.as_millis(),
            started_ms: life.start.as_millis(),
            updated_ms: updated.as_millis(),
        })
    }

    /// The same task inside a gateway: created a little earlier, and over before the gateway noticed.
    pub fn inside(self) -> Self {
        Self { created_ms: self.created_ms - 2000, updated_ms: self.updated_ms - 1000, ..self }
    }

    /// True once it has ended well.
    pub fn succeeded(&self) -> bool {
        self.phase == Phase::Ended && self.life.end == End::Succeeded
    }

    /// Code and message of a failure that has happened.
    pub fn failure(&self) -> Option<(&'static str, &'static str)> {
        match (self.phase, self.life.end) {
            (Phase::Ended, End::Failed(code, message)) => Some((code, message)),
            _ => None,
        }
    }

    /// The word for where it stands, of queued, running, succeeded, failed, cancelled and expired.
    pub fn word(&self, words: [&'static str; 6]) -> &'static str {
        match (self.phase, self.life.end) {
            (Phase::Queued, _) => words[0],
            (Phase::Running, _) | (Phase::Ended, End::Swept | End::Forgotten) => words[1],
            (Phase::Ended, End::Succeeded) => words[2],
            (Phase::Ended, End::Failed(..)) => words[3],
            (Phase::Ended, End::Cancelled) => words[4],
            (Phase::Ended, End::Expired) => words[5],
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of a life")]
fn share_done(life: &Life, now: Timestamp) -> f64 {
    let whole = (life.finish.as_millis() - life.start.as_millis()).max(1) as f64;
    ((now.as_millis() - life.start.as_millis()) as f64 / whole).clamp(0.0, 0.99)
}
