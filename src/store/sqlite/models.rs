//! Reads which models a state has counted, beside the process that writes it.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::statement::UPSTREAM;
use crate::store::error::StoreError;

/// How long it waits for the writer.
const BUSY: Duration = Duration::from_secs(2);

/// The models of an upstream that a state has counted.
///
/// # Errors
/// When the file cannot be read as a state.
pub fn counted_models(path: &Path, upstream: &str) -> Result<Vec<String>, StoreError> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    db.busy_timeout(BUSY)?;
    let sql = format!("select distinct model from aggregates where upstream = {UPSTREAM} order by model");
    let models = db.prepare(&sql)?.query_map([upstream], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(models)
}
