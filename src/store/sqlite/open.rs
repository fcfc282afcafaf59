//! Opens the database: for one process at a time, without touching a damaged or foreign file; migrates older schemas.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::OFlags;

use super::volume::Volume;
use super::{ALIVE, Engine, SKEW, STEADY};
use crate::clock::{Clock, SavedClock};
use crate::domain::Timestamp;
use crate::store::error::OpenError;

/// The application id of the file: "VGX1". See <https://www.sqlite.org/pragma.html#pragma_application_id>.
const APPLICATION_ID: i64 = 0x5647_5831;

/// The schema of this program.
const SCHEMA: i64 = 4;

/// Creates each schema from the one before it.
const MIGRATIONS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("timeline.sql"),
    include_str!("timeline_errors.sql"),
    include_str!("costs.sql"),
];

/// How long a statement waits for another process, such as a shell that reads or writes.
const BUSY: Duration = Duration::from_millis(500);

/// Mode of the files: their owner reads and writes them.
const PRIVATE: u32 = 0o600;

/// How long a process that was just killed may keep the lock, in milliseconds.
const LOCK_PATIENCE: u32 = 1000;

/// How often the lock is tried meanwhile, in milliseconds.
const LOCK_INTERVAL: u32 = 50;

/// Cached prepared statements: all there are.
const STATEMENTS: usize = 64;

/// An open state, locked to this process.
pub struct Opened {
    /// Executes commands on it.
    pub engine: Engine,
    /// When the state was created.
    pub first_start: Timestamp,
    /// Held for as long as the state is open.
    pub lock: Option<File>,
}

/// Opens the state at `path`, or creates it; in memory without a path.
///
/// # Errors
/// With what is wrong and what to do about it.
pub fn open(path: Option<&Path>, clock: &Clock) -> Result<Opened, OpenError> {
    let (connection, lock, path) = match path {
        None => (Connection::open_in_memory(), None, PathBuf::from(":memory:")),
        Some(path) => {
            // Whatever links lead to it, it is one file with one lock.
            let path = real(path);
            inspect(&path)?;
            let lock = lock(&path)?;
            make_private(&path)?;
            (Connection::open(&path), Some(lock), path)
        }
    };
    let failed = |error: rusqlite::Error| open_error(&path, &error);
    let mut connection = connection.map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    let journal: String = connection.query_row("pragma journal_mode = wal", [], |row| row.get(0)).map_err(failed)?;
    if !["wal", "memory"].contains(&journal.as_str()) {
        tracing::warn!(journal, "file system without shared memory: commits are slower, and readers block them");
    }
    // Durable at each commit, also against power loss.
    let rules = "pragma synchronous = full; pragma foreign_keys = on; pragma journal_size_limit = 16777216;";
    connection.execute_batch(rules).map_err(failed)?;
    let first_start = migrate(&mut connection, MIGRATIONS, clock.now().steady).map_err(failed)?;
    clock.resume(saved_clock(&connection).map_err(failed)?);
    let io = |error: std::io::Error| OpenError::Io(path.clone(), error.to_string());
    let volume = lock.is_some().then(|| Volume::new(path.clone())).transpose().map_err(io)?;
    Ok(Opened { engine: Engine::new(connection, clock.clone(), volume), first_start, lock })
}

/// The path without symbolic links, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let beside = || Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(beside).unwrap_or_else(|| path.to_owned())
}

/// Locks the state for this process, until it ends in whatever way.
fn lock(path: &Path) -> Result<File, OpenError> {
    // A file of its own: a lock on the database itself would be lost when any other handle on it is closed.
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let io = |error: std::io::Error| OpenError::Io(path.to_owned(), error.to_string());
    let lock = open_private(Path::new(&beside)).map_err(io)?;
    let mut patience = LOCK_PATIENCE / LOCK_INTERVAL;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if patience == 0 => return Err(OpenError::InUse(path.to_owned())),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(LOCK_INTERVAL.into())),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        patience -= 1;
    }
}

/// Opens or creates a file that only this user may read: ids and labels are nobody else's business. A pipe is not waited for.
fn open_private(path: &Path) -> std::io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(PRIVATE).custom_flags(flags);
    let file = options.open(path)?;
    if file.metadata()?.mode() & 0o777 & !PRIVATE != 0
        && let Err(error) = file.set_permissions(Permissions::from_mode(PRIVATE))
    {
        tracing::warn!(file = %path.display(), %error, "other users may read this file of the state");
    }
    Ok(file)
}

/// Makes the database and what an earlier run left beside it private. SQLite gives new files the mode of the database.
fn make_private(path: &Path) -> Result<(), OpenError> {
    let io = |error: std::io::Error| OpenError::Io(path.to_owned(), error.to_string());
    open_private(path).map_err(io)?;
    for suffix in ["-wal", "-shm"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(suffix);
        if Path::new(&beside).is_file() {
            open_private(Path::new(&beside)).map_err(io)?;
        }
    }
    Ok(())
}

/// Checks an existing file without writing to it.
pub(super) fn inspect(path: &Path) -> Result<(), OpenError> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(OpenError::Io(path.to_owned(), error.to_string())),
        Ok(found) if !found.is_file() => return Err(OpenError::Foreign(path.to_owned(), "not a file".to_owned())),
        // An earlier start was interrupted.
        Ok(found) if found.len() == 0 => return Ok(()),
        Ok(_) => {}
    }
    let failed = |error: rusqlite::Error| open_error(path, &error);
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    let number = |pragma: &str| connection.query_row(&format!("pragma {pragma}"), [], |row| row.get::<_, i64>(0));
    let (application, schema) = (number("application_id").map_err(failed)?, number("user_version").map_err(failed)?);
    let tables: i64 =
        connection.query_row("select count(*) from sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    if tables == 0 && application == 0 && schema == 0 {
        return Ok(());
    }
    if application != APPLICATION_ID {
        return Err(OpenError::Foreign(path.to_owned(), "it is the database of something else".to_owned()));
    }
    if schema > SCHEMA {
        return Err(OpenError::Newer(path.to_owned(), schema, SCHEMA));
    }
    let whole: String = connection.query_row("pragma quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if whole == "ok" { Ok(()) } else { Err(OpenError::Damaged(path.to_owned(), whole)) }
}

pub(super) fn open_error(path: &Path, error: &rusqlite::Error) -> OpenError {
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

/// What the state remembers of the clock.
fn saved_clock(connection: &Connection) -> rusqlite::Result<SavedClock> {
    let mut saved = SavedClock::default();
    let mut meta = connection.prepare("select key, value from meta")?;
    let mut rows = meta.query([])?;
    while let Some(row) = rows.next()? {
        let (key, value): (String, i64) = (row.get(0)?, row.get(1)?);
        match key.as_str() {
            ALIVE => saved.wall = Some(Timestamp::from_millis(value)),
            STEADY => saved.steady = Some(Timestamp::from_millis(value)),
            _ => {
                let upstream = key.strip_prefix(SKEW);
                saved.skews.extend(upstream.map(|upstream| (upstream.into(), value)));
            }
        }
    }
    Ok(saved)
}

/// Migrates the schema, completely or not at all; returns when the state was created.
fn migrate(connection: &mut Connection, steps: &[&str], now: Timestamp) -> rusqlite::Result<Timestamp> {
    let transaction = connection.transaction()?;
    let found: i64 = transaction.query_row("pragma user_version", [], |row| row.get(0))?;
    let done = usize::try_from(found).unwrap_or(0);
    // A current schema is not written: the program can start while the disk is full.
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
    fn the_schema_version_is_the_number_of_migrations() {
        assert_eq!(MIGRATIONS.len(), usize::try_from(SCHEMA).unwrap());
    }

    #[test]
    fn a_migration_keeps_all_data_or_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        let at = Timestamp::from_secs;
        assert_eq!(migrate(&mut connection, MIGRATIONS, at(5)).unwrap(), at(5));
        connection.execute("insert into upstreams (name) values ('u')", []).unwrap();
        let note = "alter table upstreams add column note text";
        let broken = [MIGRATIONS, &[note, "no sql"]].concat();
        migrate(&mut connection, &broken, at(6)).unwrap_err();
        let version = |connection: &Connection| -> i64 {
            connection.query_row("pragma user_version", [], |row| row.get(0)).unwrap()
        };
        assert_eq!(version(&connection), SCHEMA);
        assert_eq!(
            migrate(&mut connection, &broken[..=MIGRATIONS.len()], at(7)).unwrap(),
            at(5),
            "the first start does not change"
        );
        assert_eq!(version(&connection), SCHEMA + 1);
        let note: Option<String> = connection.query_row("select note from upstreams", [], |row| row.get(0)).unwrap();
        assert_eq!(note, None);
    }
}
