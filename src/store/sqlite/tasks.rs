//! The rows of tasks, and their timelines.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::known_ids;
use super::statement::{UPSTREAM, execute, upstream_id};
use crate::domain::{FailureClass, Interner, Status, Task, TaskId, Timestamp};
use crate::store::command::{Step, UpstreamKey};
use crate::store::record::{self, Columns};

/// Most steps of a timeline; older ones are dropped.
const MAX_STEPS: u32 = 500;

/// What the state has of a task that a source names.
pub enum AddOutcome {
    /// Nothing before; it has a row now.
    New,
    /// An active task, to be tracked.
    Active(Arc<Task>),
    /// A lost task that is requested again: the upstream is to be asked for it.
    Lost(Arc<Task>),
    /// A task that has ended or was forgotten, or a row that cannot be read.
    Untracked,
}

/// Stores the row of a task that a source names, unless it is known. One that was forgotten on request is only tracked again
/// when that is requested.
pub fn add(db: &Connection, task: &Task, is_requested: bool, now: Timestamp) -> rusqlite::Result<AddOutcome> {
    let upstream = upstream_id(db, &task.origin.upstream)?;
    let id = task.id.as_str();
    let insert = "insert into ledger values (?1, ?2, ?3) on conflict do nothing";
    if execute(db, insert, params![upstream, id, now.as_millis()])? {
        let insert = "insert into tasks values (?1, ?2, ?3, null, ?4)";
        execute(db, insert, params![upstream, id, task.revision, record::write(task)])?;
        add_step(db, task, now)?;
        return Ok(AddOutcome::New);
    }
    known_ids::touch(db, &task.origin.upstream, id, now)?;
    let key = (task.origin.upstream.clone(), task.origin.provider);
    let is_lost = |task: &Task| task.status == Status::Lost && is_requested;
    let known = find(db, &key, &task.id)?
        .filter(|task| is_lost(task) || task.is_active() && (is_requested || !task.is_forgotten));
    let Some(mut known) = known else { return Ok(AddOutcome::Untracked) };
    let before = known.revision;
    if is_lost(&known) {
        known.search_again(now);
        known.revision = before.wrapping_add(1);
        update(db, &known, before)?;
        return Ok(AddOutcome::Lost(Arc::new(known)));
    }
    if known.is_forgotten {
        known.revision = before.wrapping_add(1);
        (known.is_forgotten, known.ended_seen) = (false, None);
        update(db, &known, before)?;
    }
    Ok(AddOutcome::Active(Arc::new(known)))
}

/// Updates a task's row, if its revision is `before`.
pub fn update(db: &Connection, task: &Task, before: u32) -> rusqlite::Result<bool> {
    let sql = format!(
        "update tasks set revision = ?3, ended = ?4, record = ?5 where upstream = {UPSTREAM} and task_id = ?2 and revision = ?6"
    );
    let ended = task.ended_seen.map(Timestamp::as_millis);
    let record = record::write(task);
    execute(db, &sql, params![task.origin.upstream, task.id.as_str(), task.revision, ended, record, before])
}

/// Stops tracking a task, which stays known; false when it was not tracked.
pub fn forget(db: &Connection, key: &UpstreamKey, id: &TaskId, now: Timestamp) -> rusqlite::Result<bool> {
    let Some(mut task) = find(db, key, id)?.filter(|task| !task.is_forgotten) else { return Ok(false) };
    let before = task.revision;
    // A transition that is being committed finds another revision.
    task.revision = before.wrapping_add(1);
    task.is_forgotten = true;
    update(db, &task, before)?;
    if task.is_active() {
        // Its row is dropped when that of an ended task would be: until then it can be tracked again.
        let sql = format!("update tasks set ended = ?3 where upstream = {UPSTREAM} and task_id = ?2");
        execute(db, &sql, params![key.0, id.as_str(), now.as_millis()])?;
    }
    Ok(true)
}

/// Drops the rows of tasks whose end was read before then; of lost ones only those that were first seen before `lost_before`.
pub fn drop_ended(db: &Connection, before: Timestamp, lost_before: Timestamp) -> rusqlite::Result<()> {
    // A damaged record is not valid JSON.
    let sql = "delete from tasks where ended <= ?1 and case when json_valid(record) \
               then json_extract(record, '$.status') is not 'lost' or json_extract(record, '$.first_seen') <= ?2 else true end";
    execute(db, sql, [before.as_millis(), lost_before.as_millis()]).map(drop)
}

/// A task's row; `None` when there is none, or it cannot be read.
pub fn find(db: &Connection, key: &UpstreamKey, id: &TaskId) -> rusqlite::Result<Option<Task>> {
    let sql =
        format!("select task_id, revision, ended, record from tasks where upstream = {UPSTREAM} and task_id = ?2");
    let row = db.prepare_cached(&sql)?.query_row(params![key.0, id.as_str()], |row| read(row, key)).optional()?;
    Ok(row.flatten())
}

/// All tasks of an upstream that are to be tracked, and how many of its rows cannot be read.
pub fn all(db: &Connection, key: &UpstreamKey) -> rusqlite::Result<(Vec<Arc<Task>>, usize)> {
    let sql = format!("select task_id, revision, ended, record from tasks where upstream = {UPSTREAM}");
    let (mut tasks, mut skipped) = (Vec::new(), 0);
    // Otherwise each row has its own copy of its model and labels until the actor takes it.
    let mut interner = Interner::default();
    for task in db.prepare(&sql)?.query_map([&key.0], |row| read(row, key))? {
        match task? {
            Some(mut task) if !task.is_forgotten => {
                interner.intern(&mut task);
                tasks.push(Arc::new(task));
            }
            Some(_) => {}
            None => skipped += 1,
        }
    }
    Ok((tasks, skipped))
}

/// The task of a row; `None`, and a log line, when it cannot be read.
fn read(row: &Row<'_>, (upstream, provider): &UpstreamKey) -> rusqlite::Result<Option<Task>> {
    let task_id: String = row.get(0)?;
    let columns = || -> Result<_, rusqlite::Error> {
        let (upstream, task_id) = (upstream.clone(), task_id.clone());
        let columns = Columns { upstream, provider, task_id, revision: row.get(1)?, ended: row.get(2)? };
        Ok((columns, row.get::<_, String>(3)?))
    };
    let columns = columns().map_err(|error| error.to_string());
    match columns.and_then(|(columns, text)| record::read(columns, &text)) {
        Ok(task) => Ok(Some(task)),
        Err(error) => {
            tracing::error!(upstream.name = %upstream, task.id = task_id, error, "row of the state cannot be read; set aside");
            Ok(None)
        }
    }
}

/// Adds a step to a task's timeline.
pub fn add_step(db: &Connection, task: &Task, at: Timestamp) -> rusqlite::Result<()> {
    let word = |status: Option<Status>| status.map(Status::as_str);
    let sql = format!("insert or ignore into timeline values ({UPSTREAM}, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)");
    let (gateway, upstream) = (word(task.gateway_status), word(task.upstream_status));
    let (id, status) = (task.id.as_str(), task.status.as_str());
    let class = task.failure.map(FailureClass::as_str);
    let error = task.error.as_deref();
    let (code, message) =
        (error.and_then(|error| error.code.as_deref()), error.and_then(|error| error.message.as_deref()));
    let times = (task.revision, at.as_millis());
    let step = params![task.origin.upstream, id, times.0, times.1, status, gateway, upstream, class, code, message];
    execute(db, &sql, step)?;
    if let Some(oldest) = task.revision.checked_sub(MAX_STEPS) {
        let sql = format!("delete from timeline where upstream = {UPSTREAM} and task_id = ?2 and revision <= ?3");
        execute(db, &sql, params![task.origin.upstream, id, oldest])?;
    }
    Ok(())
}

/// A task's timeline, oldest step first, without steps that repeat the one before.
pub fn timeline(db: &Connection, upstream: &str, id: &TaskId) -> rusqlite::Result<Vec<Step>> {
    let sql = format!(
        "select at, status, gateway_status, upstream_status, failure_class, error_code, error_message from timeline where upstream = {UPSTREAM} and task_id = ?2 \
         order by revision"
    );
    let status =
        |row: &Row<'_>, n| row.get::<_, Option<String>>(n).map(|word| word.and_then(|word| Status::from_word(&word)));
    let step = |row: &Row<'_>| {
        Ok(Step {
            at: Timestamp::from_millis(row.get(0)?),
            status: status(row, 1)?.unwrap_or(Status::Unknown),
            gateway_status: status(row, 2)?,
            upstream_status: status(row, 3)?,
            failure: row.get::<_, Option<String>>(4)?.and_then(|word| FailureClass::from_word(&word)),
            error_code: row.get(5)?,
            error_message: row.get(6)?,
        })
    };
    let mut statement = db.prepare_cached(&sql)?;
    let mut steps: Vec<Step> = statement.query_map(params![upstream, id.as_str()], step)?.collect::<Result<_, _>>()?;
    steps.dedup_by(|step, before| Step { at: before.at, ..step.clone() } == *before);
    Ok(steps)
}
