//! Why a task failed, and why its last poll did, as they are kept in its record.

use serde::{Deserialize, Serialize};

use crate::domain::reading::PollError;
use crate::domain::task::{FailedPoll, TaskError};
use crate::domain::{FailureClass, Reason, Timestamp};

/// The last error in an answer.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorRecord {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<String>,
}

/// The last poll that failed; its time is in Unix milliseconds.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FailedPollRecord {
    at: i64,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
}

impl ErrorRecord {
    /// Of this error.
    pub fn new(error: &TaskError) -> Self {
        let class = error.class.map(|class| class.as_str().to_owned());
        Self { code: error.code.clone(), message: error.message.clone(), class }
    }

    /// The error.
    ///
    /// # Errors
    /// When its class is not known.
    pub fn read(self) -> Result<TaskError, String> {
        let class = |word: &str| FailureClass::from_word(word).ok_or_else(|| format!("unknown failure class `{word}`"));
        let class = self.class.as_deref().map(class).transpose()?;
        Ok(TaskError { code: self.code, message: self.message, class })
    }
}

impl FailedPollRecord {
    /// Of this poll.
    pub fn new(poll: &FailedPoll) -> Self {
        let reason = poll.error.reason.as_str().to_owned();
        Self { at: poll.at.as_millis(), reason, cause: poll.error.cause.clone() }
    }

    /// The poll.
    ///
    /// # Errors
    /// When its reason is not known.
    pub fn read(self) -> Result<FailedPoll, String> {
        let reason = Reason::from_word(&self.reason).ok_or_else(|| format!("unknown reason `{}`", self.reason))?;
        let error = PollError { reason, cause: self.cause };
        Ok(FailedPoll { error, at: Timestamp::from_millis(self.at) })
    }
}
