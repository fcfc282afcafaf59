//! Exemplars: from a number to a task that is in it.

use std::borrow::Cow;

use crate::domain::time::WallOffset;
use crate::domain::{TaskId, Timestamp};

/// The last task that was counted in a series.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    /// Its id.
    pub task_id: TaskId,
    /// What was counted of it.
    pub value: f64,
    /// When.
    pub at: Timestamp,
}

impl Exemplar {
    /// The name of its one label.
    pub const LABEL: &'static str = "task_id";

    /// Most characters of label names and values together (OpenMetrics 1.0.0).
    const MAX_CHARS: usize = 128;

    /// With its time by the wall clock.
    pub fn by_wall(&self, offset: WallOffset) -> Cow<'_, Self> {
        if offset.is_none() {
            Cow::Borrowed(self)
        } else {
            Cow::Owned(Self { at: offset.apply(self.at), ..self.clone() })
        }
    }

    /// Whether a task's id is short enough to be an exemplar.
    pub fn is_allowed(task_id: &TaskId) -> bool {
        Self::LABEL.len() + task_id.as_str().len() <= Self::MAX_CHARS
    }
}
