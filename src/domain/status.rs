//! The status of a task.

/// The status of a task; providers' words are mapped to these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Submitted and not started.
    Queued,
    /// Started and not ended.
    Running,
    /// Ended with a result.
    Succeeded,
    /// Ended without one.
    Failed,
    /// Ended on request.
    Cancelled,
    /// Ended because its time limit passed.
    Expired,
    /// The upstream no longer knows it, or the exporter gave it up.
    Lost,
    /// Not polled yet, or the upstream reports an unknown word.
    Unknown,
}

impl Status {
    /// Every status, in the order of its numeric code.
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

    /// The statuses of an ended task.
    pub const ENDS: [Self; 5] = [Self::Succeeded, Self::Failed, Self::Cancelled, Self::Expired, Self::Lost];

    /// The statuses of an active task.
    pub const ACTIVE: [Self; 3] = [Self::Queued, Self::Running, Self::Unknown];

    /// The word of every status, in the same order.
    pub const WORDS: &'static [&'static str] =
        &["queued", "running", "succeeded", "failed", "cancelled", "expired", "lost", "unknown"];

    /// The word used as a label value.
    pub const fn as_str(self) -> &'static str {
        Self::WORDS[self.index()]
    }

    /// The status of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Position in [`Status::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The value of `videogen_task_status_code`: 1 for queued to 8 for unknown.
    pub const fn code(self) -> usize {
        self as usize + 1
    }

    /// Whether it is the status of an ended task.
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled | Self::Expired | Self::Lost)
    }

    /// The order of statuses: 0 unknown, 1 queued, 2 running, 3 ended.
    pub const fn stage(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Queued => 1,
            Self::Running => 2,
            _ => 3,
        }
    }
}
