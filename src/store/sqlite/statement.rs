//! What the statements of several tables share.

use rusqlite::{Connection, Params};

/// The `id` of the upstream whose name is the first parameter.
pub const UPSTREAM: &str = "(select id from upstreams where name = ?1)";

/// Executes one statement; whether it changed a row.
pub fn execute(db: &Connection, sql: &str, params: impl Params) -> rusqlite::Result<bool> {
    Ok(db.prepare_cached(sql)?.execute(params)? > 0)
}
