//! Why the state store cannot be opened, read or written.

use std::path::PathBuf;

/// Why a command failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database failed; nothing of the command may be counted.
    #[error("the state store is unavailable: {0}")]
    Unavailable(String),
    /// Too many commands are waiting.
    #[error("too many commands are waiting for the state store")]
    Full,
    /// The store was closed.
    #[error("the state store is closed")]
    Closed,
}

/// Why the state cannot be opened, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "the state {0} is in use by another videogen-exporter; stop that one first, or set another `state.sqlite.path`"
    )]
    InUse(PathBuf),
    /// The file system refuses.
    #[error("the state {0} cannot be opened: {1}; the folder of `state.sqlite.path` must exist and be writable")]
    Io(PathBuf, String),
    /// The system has no thread left.
    #[error(
        "the thread of the state store cannot be started: {0}; raise the limit of processes (ulimit -u, or pids of the container)"
    )]
    NoThread(String),
    /// Another program has it open.
    #[error("the state {0} is locked by another program, such as a database shell or a backup; end that one first")]
    Locked(PathBuf),
    /// Some other file.
    #[error(
        "{0} is not a state of videogen-exporter: {1}; it was not changed. Set another `state.sqlite.path`, or move the file and \
         its -wal file away"
    )]
    Foreign(PathBuf, String),
    /// Of a later version.
    #[error(
        "the state {0} has schema {1}, this program knows up to {2}; run the newer program, or move the file away to start with \
         an empty state"
    )]
    Newer(PathBuf, i64, i64),
    /// Broken.
    #[error(
        "the state {0} is damaged: {1}; it was not changed. Move it and its -wal file away to start with an empty state (counters \
         start at 0), restore a backup, or repair a copy as docs/state.md shows"
    )]
    Damaged(PathBuf, String),
}

/// Why a state cannot be copied.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is none.
    #[error(
        "there is no state at {0}: the exporter has not run with this configuration and this $STATE_DIRECTORY, which a relative path \
         of the state begins with"
    )]
    Missing(PathBuf),
    /// It cannot be read.
    #[error(transparent)]
    State(#[from] OpenError),
    /// The copy cannot be written.
    #[error("the copy {0} cannot be written: {1}")]
    Target(PathBuf, String),
    /// There is the state of an exporter at its place.
    #[error("{0} is the state of an exporter, for it has files beside it, and is not replaced; name another file")]
    InUse(PathBuf),
    /// There is something else at its place.
    #[error("{0} is no backup of a state, and is not replaced; name another file")]
    Foreign(PathBuf),
}
