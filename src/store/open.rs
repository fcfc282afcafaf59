//! Opening the state: one process at a time, nothing touched that is damaged or of another program, old schemas brought up.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::domain::Timestamp;

/// Where the state is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In this file, and beside it `-wal`, `-shm` and `.lock`.
    File(PathBuf),
    /// Nowhere: it ends with the process.
    Memory,
}

/// Why the state cannot be used, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "the state {0} is in use by another videogen-exporter; stop that one first, or give this one another `state.sqlite.path`"
    )]
    InUse(PathBuf),
    /// The file system says no.
    #[error(
        "the state {0} cannot be opened: {1}; its folder has to be there and writable, `state.sqlite.path` says where it is"
    )]
    Io(PathBuf, String),
    /// Another program has it open.
    #[error("the state {0} is locked by another program, such as a database shell or a backup; end that one first")]
    Locked(PathBuf),
    /// Some other file.
    #[error(
        "{0} is no state of videogen-exporter: {1}; it was left as it is. Choose another `state.sqlite.path`, or move the file \
         away with its -wal file"
    )]
    Foreign(PathBuf, String),
    /// Of a later version.
    #[error(
        "the state {0} has schema {1}, this program knows up to {SCHEMA}; run the newer program, or move the file away to begin a new state"
    )]
    Newer(PathBuf, i64),
    /// Broken.
    #[error(
        "the state {0} is damaged: {1}; it was left as it is. Move it away with its -wal file to begin a new state (counters \
         begin at 0 then), put a backup in its place, or mend a copy of it as docs/state.md shows"
    )]
    Damaged(PathBuf, String),
}

/// What the file is marked with: "VGX1". See <https://www.sqlite.org/pragma.html#pragma_application_id>.
const APPLICATION_ID: i64 = 0x5647_5831;

/// The schema of this program.
const SCHEMA: i64 = 2;

/// How each schema is made from the one before it; the first one from nothing.
const MIGRATIONS: &[&str] = &[include_str!("schema.sql"), include_str!("timeline.sql")];

/// How long a statement waits for another process, such as a shell that reads or writes.
const BUSY: Duration = Duration::from_millis(500);

/// How long a process that was just killed may take to let go of the state, in milliseconds.
const DYING: u32 = 1000;

/// How often that is looked at, in milliseconds.
const LOOK_AGAIN: u32 = 50;

/// Prepared statements that are kept: all there are.
const STATEMENTS: usize = 64;

/// An open state, locked to this process.
pub struct Opened {
    /// The connection that writes.
    pub connection: Connection,
    /// When the state was made.
    pub first_start: Timestamp,
    /// Held for as long as the state is open.
    pub lock: Option<File>,
}

/// Opens the state, or makes a new one.
///
/// # Errors
/// With what is wrong and what to do about it.
pub fn open(place: &Place, now: Timestamp) -> Result<Opened, OpenError> {
    let (connection, lock, path) = match place {
        Place::Memory => (Connection::open_in_memory(), None, PathBuf::from(":memory:")),
        Place::File(path) => {
            // By whatever name it is called, it is one file with one lock.
            let path = real(path);
            inspect(&path)?;
            let lock = lock(&path)?;
            (Connection::open(&path), Some(lock), path)
        }
    };
    let told = |error: rusqlite::Error| told(&path, &error);
    let mut connection = connection.map_err(told)?;
    connection.busy_timeout(BUSY).map_err(told)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    let journal: String = connection.query_row("pragma journal_mode = wal", [], |row| row.get(0)).map_err(told)?;
    if !["wal", "memory"].contains(&journal.as_str()) {
        tracing::warn!(journal, "this file system cannot share memory: commits are slower, and readers hold them up");
    }
    // Durable at each commit, also against a loss of power.
    let rules = "pragma synchronous = full; pragma foreign_keys = on; pragma journal_size_limit = 16777216;";
    connection.execute_batch(rules).map_err(told)?;
    let first_start = migrate(&mut connection, MIGRATIONS, now).map_err(told)?;
    Ok(Opened { connection, first_start, lock })
}

/// The path without symbolic links, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let beside = || Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(beside).unwrap_or_else(|| path.to_owned())
}

/// Takes the state for this process, until that ends in whatever way.
fn lock(path: &Path) -> Result<File, OpenError> {
    // A file of its own: a lock on the database itself would be lost with the first other handle on it that is closed.
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let io = |error: std::io::Error| OpenError::Io(path.to_owned(), error.to_string());
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(beside).map_err(io)?;
    let mut patience = DYING / LOOK_AGAIN;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if patience == 0 => return Err(OpenError::InUse(path.to_owned())),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(LOOK_AGAIN.into())),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        patience -= 1;
    }
}

/// Looks at a file that is there, without writing to it.
fn inspect(path: &Path) -> Result<(), OpenError> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(OpenError::Io(path.to_owned(), error.to_string())),
        Ok(found) if !found.is_file() => return Err(OpenError::Foreign(path.to_owned(), "not a file".to_owned())),
        // A start that was cut off right away.
        Ok(found) if found.len() == 0 => return Ok(()),
        Ok(_) => {}
    }
    let told = |error: rusqlite::Error| told(path, &error);
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(told)?;
    connection.busy_timeout(BUSY).map_err(told)?;
    let number = |pragma: &str| connection.query_row(&format!("pragma {pragma}"), [], |row| row.get::<_, i64>(0));
    let (application, schema) = (number("application_id").map_err(told)?, number("user_version").map_err(told)?);
    let tables: i64 = connection.query_row("select count(*) from sqlite_schema", [], |row| row.get(0)).map_err(told)?;
    if tables == 0 && application == 0 && schema == 0 {
        return Ok(());
    }
    if application != APPLICATION_ID {
        return Err(OpenError::Foreign(path.to_owned(), "it is the database of something else".to_owned()));
    }
    if schema > SCHEMA {
        return Err(OpenError::Newer(path.to_owned(), schema));
    }
    let whole: String = connection.query_row("pragma quick_check(1)", [], |row| row.get(0)).map_err(told)?;
    if whole == "ok" { Ok(()) } else { Err(OpenError::Damaged(path.to_owned(), whole)) }
}

fn told(path: &Path, error: &rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => {
            OpenError::Foreign(path, "it is no SQLite database, or its head is damaged".to_owned())
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Locked(path),
        Some(ErrorCode::DatabaseCorrupt) => OpenError::Damaged(path, error.to_string()),
        _ => OpenError::Io(path, error.to_string()),
    }
}

/// Brings the schema up, all of it or nothing, and says when the state was made.
fn migrate(connection: &mut Connection, steps: &[&str], now: Timestamp) -> rusqlite::Result<Timestamp> {
    let transaction = connection.transaction()?;
    let found: i64 = transaction.query_row("pragma user_version", [], |row| row.get(0))?;
    let done = usize::try_from(found).unwrap_or(0);
    // A state that is as it should be is not written to: it can be started from also while its disk is full.
    if done < steps.len() {
        for step in &steps[done..] {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", i64::try_from(steps.len()).unwrap_or(i64::MAX))?;
        transaction.execute("insert or ignore into meta values ('first_start', ?1)", [now.as_millis()])?;
    }
    let made: i64 = transaction.query_row("select value from meta where key = 'first_start'", [], |row| row.get(0))?;
    transaction.commit()?;
    Ok(Timestamp::from_millis(made))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_as_many_steps_as_there_are() {
        assert_eq!(MIGRATIONS.len(), usize::try_from(SCHEMA).unwrap());
    }

    #[test]
    fn an_old_schema_is_brought_up_with_what_is_in_it_or_not_at_all() {
        let mut connection = Connection::open_in_memory().unwrap();
        let at = Timestamp::from_secs;
        assert_eq!(migrate(&mut connection, MIGRATIONS, at(5)).unwrap(), at(5));
        connection.execute("insert into upstreams (name) values ('u')", []).unwrap();
        let broken = [MIGRATIONS[0], MIGRATIONS[1], "alter table upstreams add column note text", "no sql"];
        migrate(&mut connection, &broken, at(6)).unwrap_err();
        let version = |connection: &Connection| -> i64 {
            connection.query_row("pragma user_version", [], |row| row.get(0)).unwrap()
        };
        assert_eq!(version(&connection), 2);
        assert_eq!(migrate(&mut connection, &broken[..3], at(7)).unwrap(), at(5), "the first start stays");
        assert_eq!(version(&connection), 3);
        let note: Option<String> = connection.query_row("select note from upstreams", [], |row| row.get(0)).unwrap();
        assert_eq!(note, None);
    }
}
