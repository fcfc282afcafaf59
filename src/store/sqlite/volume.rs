//! The files of the state on their volume: whether they are still there, and how much room is left for the write-ahead log.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::store::error::StoreError;

/// Size of a page, in bytes.
const PAGE: u64 = 4096;

/// The log is copied into the database when it has this many pages: SQLite's default.
const MAX_PAGES: u64 = 1000;

/// It is never copied before it has this many pages.
const MIN_PAGES: u64 = 16;

/// Which part of the free room the log may take.
const SHARE: u64 = 8;

/// Device and number of a file.
type Identity = (u64, u64);

/// The files of an open state.
pub struct Volume {
    path: PathBuf,
    log_path: PathBuf,
    database: Identity,
    /// Of the write-ahead log, once there is one.
    log: Option<Identity>,
    /// After how many pages the log is copied.
    pages: u64,
    /// Size of both, in bytes.
    bytes: u64,
}

/// Which file this is, and its size.
fn identity(path: &Path) -> io::Result<(Identity, u64)> {
    let found = std::fs::metadata(path)?;
    Ok(((found.dev(), found.ino()), found.len()))
}

impl Volume {
    /// Of the database at `path`.
    ///
    /// # Errors
    /// When it is not there.
    pub fn new(path: PathBuf) -> io::Result<Self> {
        let (database, bytes) = identity(&path)?;
        let mut log_path = path.clone().into_os_string();
        log_path.push("-wal");
        Ok(Self { path, log_path: log_path.into(), database, log: None, pages: MAX_PAGES, bytes })
    }

    /// Checks that the database and its log are still those that were opened: what is written to a file that was removed or
    /// replaced is lost.
    ///
    /// # Errors
    /// When they are not.
    pub fn check(&mut self) -> Result<(), StoreError> {
        let (log, log_bytes) = identity(&self.log_path).ok().unzip();
        let (database, bytes) = identity(&self.path).ok().unzip();
        let is_same = database == Some(self.database);
        self.bytes = bytes.unwrap_or_default() + log_bytes.unwrap_or_default();
        if !is_same || (self.log.is_some() && log != self.log) {
            return Err(StoreError::Unavailable(format!(
                "{} or its -wal file was removed or replaced while in use; stop the exporter, put the file back or remove both, \
                 and start it again",
                self.path.display()
            )));
        }
        self.log = log;
        Ok(())
    }

    /// Size of both files at the last check, in bytes.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Lets the log take no more than a part of the room that is left.
    pub fn make_room(&mut self, connection: &Connection) {
        let Ok(found) = rustix::fs::statvfs(&self.path) else { return };
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        let pages = (free / SHARE / PAGE).clamp(MIN_PAGES, MAX_PAGES);
        // Not for every small change.
        if 2 * pages <= self.pages || pages >= 2 * self.pages {
            self.pages = pages;
            let limits =
                format!("pragma wal_autocheckpoint = {pages}; pragma journal_size_limit = {}", 4 * pages * PAGE);
            if let Err(error) = connection.execute_batch(&limits) {
                tracing::debug!(%error, "write-ahead log cannot be limited");
            }
        }
    }
}
