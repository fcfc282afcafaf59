//! The eight states of a task.

/// Where a task stands, in the exporter's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Accepted and not started.
    Queued,
    /// Being worked on.
    Running,
    /// Ended with a result.
    Succeeded,
    /// Ended without one.
    Failed,
    /// Ended because somebody asked for it.
    Cancelled,
    /// Ended because its time was up.
    Expired,
    /// The upstream no longer knows it, or we stopped asking.
    Lost,
    /// The upstream said something we do not know, or has not answered yet.
    Unknown,
}

impl Status {
    /// Every state, in the order of its numeric code.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
        Self::Lost,
        Self::Unknown,
    ];

    /// The five ends.
    pub const ENDS: [Self; 5] = [Self::Succeeded, Self::Failed, Self::Cancelled, Self::Expired, Self::Lost];

    /// The states of a task that is still polled.
    pub const ACTIVE: [Self; 3] = [Self::Queued, Self::Running, Self::Unknown];

    /// The word of every state, in the same order.
    pub const WORDS: &'static [&'static str] =
        &["queued", "running", "succeeded", "failed", "cancelled", "expired", "lost", "unknown"];

    /// The word used as a label value.
    pub const fn as_str(self) -> &'static str {
        Self::WORDS[self.index()]
    }

    /// The state behind a word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Place in [`Status::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The number shown by `videogen_task_status_code`: 1 for queued to 8 for unknown.
    pub const fn code(self) -> usize {
        self as usize + 1
    }

    /// True for the five states that a task does not leave by itself.
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled | Self::Expired | Self::Lost)
    }

    /// How far along a task is: 0 while nobody knows, 3 at any of its ends.
    pub const fn stage(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Queued => 1,
            Self::Running => 2,
            _ => 3,
        }
    }
}
