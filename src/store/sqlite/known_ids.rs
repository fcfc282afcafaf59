//! Ids that were named by a source at some time, so that none is taken for a new task; and sources that were read.

use std::collections::HashSet;

use rusqlite::{Connection, params};

use super::statement::{UPSTREAM, execute, upstream_id};
use crate::domain::Timestamp;
use crate::store::command::{Cursor, KnownId, KnownIdsPage};

/// Stores that a source names this id now, or no longer names it since now.
pub fn touch(db: &Connection, upstream: &str, id: &str, now: Timestamp) -> rusqlite::Result<()> {
    let sql = format!("update ledger set named = ?3 where upstream = {UPSTREAM} and task_id = ?2");
    execute(db, &sql, params![upstream, id, now.as_millis()]).map(drop)
}

/// Of the next `limit` ids after `after`, those last named at or before `before`.
pub fn page(db: &Connection, before: Timestamp, after: &Cursor, limit: usize) -> rusqlite::Result<KnownIdsPage> {
    let mut statement = db.prepare_cached(
        "select l.upstream, l.task_id, l.named, u.name, t.task_id is not null from ledger l \
         join upstreams u on u.id = l.upstream left join tasks t on t.upstream = l.upstream and t.task_id = l.task_id \
         where (l.upstream, l.task_id) > (?1, ?2) order by l.upstream, l.task_id limit ?3",
    )?;
    let mut rows = statement.query(params![after.0, after.1, i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let (mut ids, mut last, mut seen) = (Vec::new(), None, 0);
    while let Some(row) = rows.next()? {
        seen += 1;
        last = Some((row.get(0)?, row.get(1)?));
        let named = Timestamp::from_millis(row.get(2)?);
        if named <= before {
            let upstream: String = row.get(3)?;
            ids.push(KnownId { upstream: upstream.into(), id: row.get(1)?, named, has_row: row.get(4)? });
        }
    }
    Ok(KnownIdsPage { ids, next: last.filter(|_| seen == limit) })
}

/// Forgets an id, unless a source has named it since `before`.
pub fn forget(db: &Connection, upstream: &str, id: &str, before: Timestamp) -> rusqlite::Result<()> {
    let sql = format!("delete from ledger where upstream = {UPSTREAM} and task_id = ?2 and named <= ?3");
    if execute(db, &sql, params![upstream, id, before.as_millis()])? {
        let sql = format!("delete from tasks where upstream = {UPSTREAM} and task_id = ?2");
        execute(db, &sql, params![upstream, id])?;
    }
    Ok(())
}

/// A source was read completely.
pub fn mark_loaded(db: &Connection, upstream: &str, identity: &str) -> rusqlite::Result<()> {
    let upstream = upstream_id(db, upstream)?;
    execute(db, "insert or ignore into loads values (?1, ?2)", params![upstream, identity]).map(drop)
}

/// Identities of an upstream's sources that were read completely at least once.
pub fn loaded_sources(db: &Connection, upstream: &str) -> rusqlite::Result<HashSet<String>> {
    let sql = format!("select identity from loads where upstream = {UPSTREAM}");
    db.prepare_cached(&sql)?.query_map([upstream], |row| row.get(0))?.collect()
}
