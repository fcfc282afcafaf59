//! Ends that a row has shown without the provider's body: their tasks are first asked for once alone, for tokens, length and
//! error code.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::domain::{Answer, TaskId, Timestamp};

/// An end counts without the provider's body after this long.
const PATIENCE: Duration = Duration::from_mins(1);

/// The ends of one upstream's tasks.
#[derive(Default)]
pub struct HeldEnds {
    ends: HashMap<TaskId, HeldEnd>,
}

/// The end that a row has shown.
pub struct HeldEnd {
    /// The row.
    pub row: Answer,
    /// When it was asked for.
    pub asked: Timestamp,
    until: Instant,
}

impl HeldEnds {
    /// Holds the end that a row has shown; whether it is the first one of its task.
    pub fn hold(&mut self, id: &TaskId, row: Answer, asked: Timestamp, now: Instant) -> bool {
        let until = self.ends.get(id).map_or(now + PATIENCE, |held| held.until);
        self.ends.insert(id.clone(), HeldEnd { row, asked, until }).is_none()
    }

    /// Whether an end of this task is held.
    pub fn has(&self, id: &TaskId) -> bool {
        self.ends.contains_key(id)
    }

    /// An answer about the task alone has come: the reading that counts, completed by what only the row tells. An answer that does
    /// not know of the end is older than it at the gateway.
    pub fn complete(&mut self, id: &TaskId, answer: Answer) -> Answer {
        match self.ends.remove(id).map(|held| held.row) {
            None => answer,
            Some(row) if !answer.status().is_end() => Answer { asked: answer.asked, ..row },
            Some(row) => Answer {
                model_upstream: answer.model_upstream.or(row.model_upstream),
                model_origin: answer.model_origin.or(row.model_origin),
                credits: answer.credits.or(row.credits),
                row: row.row,
                times: if answer.times.finish.is_some() { answer.times } else { row.times },
                ..answer
            },
        }
    }

    /// A task has ended by another reading, or is gone.
    pub fn forget(&mut self, id: &TaskId) {
        if !self.ends.is_empty() {
            self.ends.remove(id);
        }
    }

    /// The ends that count now.
    pub fn take_due(&mut self, now: Instant) -> Vec<(TaskId, HeldEnd)> {
        self.ends.extract_if(|_, held| held.until <= now).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::domain::Status;

    #[test]
    fn an_end_waits_for_an_answer_or_a_minute() {
        let now = clock::instant();
        let (id, asked) = (TaskId::parse("t").unwrap(), Timestamp::from_secs(0));
        let row = Answer { credits: Some(7.0), ..Answer::new(Status::Failed) };
        let mut held = HeldEnds::default();
        assert!(held.hold(&id, row.clone(), asked, now));
        assert!(!held.hold(&id, row.clone(), asked, now + PATIENCE / 2), "a later row does not delay it");
        assert!(held.take_due(now + PATIENCE / 2).is_empty());
        assert_eq!(held.take_due(now + PATIENCE).len(), 1);
        held.hold(&id, row.clone(), asked, now);
        let whole = held.complete(&id, Answer { video_seconds: Some(5.0), ..Answer::new(Status::Failed) });
        assert_eq!((whole.video_seconds, whole.credits), (Some(5.0), Some(7.0)));
        held.hold(&id, row, asked, now);
        assert_eq!(
            held.complete(&id, Answer::new(Status::Running)).status(),
            Status::Failed,
            "the gateway has the end"
        );
        assert!(held.take_due(now + PATIENCE).is_empty());
    }
}
