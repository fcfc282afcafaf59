//! Copies a state, also while another process writes it.

use std::fs::File;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::open::{inspect, open_error};
use crate::store::error::BackupError;

/// How long it waits for the writer.
const BUSY: Duration = Duration::from_secs(10);

/// Copies the state at `from` to a file. The copy is that of one moment, and replaces an older backup when it is complete.
///
/// # Errors
/// When there is no state, or it cannot be copied. What is at `to` stays as it is then; what is no backup is never replaced.
pub fn backup(from: &Path, to: &Path) -> Result<(), BackupError> {
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.len());
    if size(from) == 0 {
        return Err(BackupError::Missing(from.to_owned()));
    }
    inspect(from)?;
    if to.exists() && (is_same(from, to) || size(to) == 0 || inspect(to).is_err()) {
        return Err(BackupError::Foreign(to.to_owned()));
    }
    // The state of an exporter has files beside it, a backup has none.
    if ["-wal", "-shm", ".lock"].iter().any(|suffix| beside(to, suffix).exists()) {
        return Err(BackupError::InUse(to.to_owned()));
    }
    let partial = beside(to, &format!(".{}.partial", std::process::id()));
    let target = |why: String| BackupError::Target(to.to_owned(), why);
    let copied =
        copy(from, &partial, target).and_then(|()| finish(&partial, to).map_err(|error| target(error.to_string())));
    if copied.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    copied
}

/// Whether both are one file.
fn is_same(from: &Path, to: &Path) -> bool {
    let id = |path: &Path| std::fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    id(from).is_some() && id(from) == id(to)
}

/// The path with this suffix.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Copies to `partial`; `target` makes an error about the copy.
fn copy(from: &Path, partial: &Path, target: impl Fn(String) -> BackupError) -> Result<(), BackupError> {
    // SQLite accepts an empty file; made here, nobody else can ever read it.
    let made = File::options().write(true).create_new(true).mode(0o600).open(partial);
    made.map_err(|error| target(error.to_string()))?;
    let name = partial.to_str().ok_or_else(|| target("its path is not UTF-8".to_owned()))?;
    let failed = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => target("its disk is full".to_owned()),
        _ => BackupError::State(open_error(from, &error)),
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(from, flags).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    // Reads one snapshot: the writer goes on meanwhile.
    connection.execute("vacuum into ?1", [name]).map_err(failed)?;
    inspect(partial).map_err(|error| target(error.to_string()))
}

/// Names the copy when it is on the disk.
fn finish(partial: &Path, to: &Path) -> std::io::Result<()> {
    // SQLite leaves this to others.
    File::open(partial)?.sync_all()?;
    std::fs::rename(partial, to)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
