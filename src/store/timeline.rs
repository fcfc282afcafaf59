//! What people ask of single tasks: their past, and not to be watched any more.

use std::sync::Arc;

use rusqlite::{Row, params};

use super::batch::{Batch, UPSTREAM, UpstreamKey};
use crate::domain::{Status, Task, TaskId, Timestamp};

/// Most steps of a task that are kept: the last ones.
const MAX_STEPS: u32 = 500;

/// What was seen of a task at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// When we read it.
    pub at: Timestamp,
    /// Where the task stood.
    pub status: Status,
    /// The gateway's word.
    pub gateway_status: Option<Status>,
    /// The word of the provider behind it.
    pub upstream_status: Option<Status>,
}

impl Step {
    fn words(&self) -> (Status, Option<Status>, Option<Status>) {
        (self.status, self.gateway_status, self.upstream_status)
    }
}

impl Batch<'_> {
    /// Notes where a task stands since its last transition, or since it was first named.
    pub(super) fn note_step(&self, task: &Task, at: Timestamp) -> rusqlite::Result<()> {
        let word = |status: Option<Status>| status.map(Status::as_str);
        let sql = format!("insert or ignore into timeline values ({UPSTREAM}, ?2, ?3, ?4, ?5, ?6, ?7)");
        let (gateway, upstream) = (word(task.gateway_status), word(task.upstream_status));
        let (id, status) = (task.id.as_str(), task.status.as_str());
        self.execute(&sql, params![task.home.upstream, id, task.revision, at.as_millis(), status, gateway, upstream])?;
        if let Some(oldest) = task.revision.checked_sub(MAX_STEPS) {
            // A task that never comes to rest.
            let sql = format!("delete from timeline where upstream = {UPSTREAM} and task_id = ?2 and revision <= ?3");
            self.execute(&sql, params![task.home.upstream, id, oldest])?;
        }
        Ok(())
    }

    /// What was seen of a task, from the first to the last; what repeats the step before is left out.
    pub fn timeline(&self, upstream: &str, id: &TaskId) -> rusqlite::Result<Vec<Step>> {
        let sql = format!(
            "select at, status, gateway_status, upstream_status from timeline where upstream = {UPSTREAM} and task_id = ?2 \
             order by revision"
        );
        let word =
            |row: &Row<'_>, n| row.get::<_, Option<String>>(n).map(|word| word.and_then(|word| Status::of_word(&word)));
        let step = |row: &Row<'_>| {
            Ok(Step {
                at: Timestamp::from_millis(row.get(0)?),
                status: word(row, 1)?.unwrap_or(Status::Unknown),
                gateway_status: word(row, 2)?,
                upstream_status: word(row, 3)?,
            })
        };
        let mut steps = self
            .db
            .prepare_cached(&sql)?
            .query_map(params![upstream, id.as_str()], step)?
            .collect::<Result<Vec<_>, _>>()?;
        steps.dedup_by_key(|step| step.words());
        Ok(steps)
    }

    /// Watches a task no longer; it stays known. False when it is not known, or not watched.
    pub fn drop_task(&self, key: &UpstreamKey, id: &TaskId, now: Timestamp) -> rusqlite::Result<bool> {
        let Some(mut task) = self.task(key, id)?.filter(|task| !task.dropped) else { return Ok(false) };
        let before = task.revision;
        // A transition that is on its way finds another row than it comes from.
        task.revision = before.wrapping_add(1);
        task.dropped = true;
        let active = task.is_active();
        self.write(&task, before)?;
        if active {
            // It goes when an ended one would: until then it can be taken up again where it was.
            let sql = format!("update tasks set ended = ?3 where upstream = {UPSTREAM} and task_id = ?2");
            self.execute(&sql, params![key.0, id.as_str(), now.as_millis()])?;
        }
        Ok(true)
    }

    /// The task of a row that was dropped, watched again if it had not ended.
    pub(super) fn take_up_again(&self, mut task: Task) -> rusqlite::Result<Option<Arc<Task>>> {
        if !task.is_active() {
            return Ok(None);
        }
        if task.dropped {
            let before = task.revision;
            task.revision = before.wrapping_add(1);
            (task.dropped, task.ended_seen) = (false, None);
            self.write(&task, before)?;
        }
        Ok(Some(Arc::new(task)))
    }
}
