//! What the statements of several tables share.

use rusqlite::{Connection, OptionalExtension as _, Params};

/// The `id` of the upstream whose name is the first parameter.
pub const UPSTREAM: &str = "(select id from upstreams where name = ?1)";

/// Executes one statement; whether it changed a row.
pub fn execute(db: &Connection, sql: &str, params: impl Params) -> rusqlite::Result<bool> {
    Ok(db.prepare_cached(sql)?.execute(params)? > 0)
}

/// The row of an upstream, created if it is new.
pub fn upstream_id(db: &Connection, name: &str) -> rusqlite::Result<i64> {
    let mut find = db.prepare_cached("select id from upstreams where name = ?1")?;
    if let Some(id) = find.query_row([name], |row| row.get(0)).optional()? {
        return Ok(id);
    }
    execute(db, "insert into upstreams (name) values (?1)", [name])?;
    Ok(db.last_insert_rowid())
}
