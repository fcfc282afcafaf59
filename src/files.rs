//! Reads files that others write. What is not a file cannot block it, and a file is read up to a limit.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setpriority_process, setrlimit};
use tokio::sync::Semaphore;

use crate::clock;

/// Interval between two looks at a file whose changes are noticed.
const RECHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a caller waits for such a look; then it uses what was last read.
const RECHECK_TIMEOUT: Duration = Duration::from_millis(200);

/// Most calls at a time that may hang. Fewer than there are threads for blocking calls.
static SLOTS: Semaphore = Semaphore::const_new(8);

/// The priority of threads whose work can wait, from -20 to 19; the lower ones go first.
const LOW_PRIORITY: i32 = 10;

/// Opens a file for reading: a regular one, after following links. A pipe or a device is refused without waiting for it.
///
/// # Errors
/// When it cannot be opened, or is no regular file.
pub fn open(path: &Path) -> io::Result<File> {
    // A pipe would wait for a writer here.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

/// Reads a file of at most `limit` bytes, whatever size it claims to have.
///
/// # Errors
/// As [`open`], and when it is larger.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {} KiB", limit >> 10)));
    }
    Ok(bytes)
}

/// Reads a text file of at most `limit` bytes.
///
/// # Errors
/// As [`read`], and when it is not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(read(path, limit)?).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

/// Works on a thread for blocking calls: a disk that hangs must delay nobody for longer than `patience`.
///
/// # Errors
/// When the work does not end in time, or panics.
pub async fn in_background<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let slot_and_work = async {
        // A disk that hangs takes no more threads than this: others need them too.
        let slot = SLOTS.acquire().await;
        tokio::task::spawn_blocking(move || {
            let done = work();
            drop(slot);
            done
        })
        .await
    };
    match tokio::time::timeout(patience, slot_and_work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(io::Error::other(error)),
        Err(_) => {
            let message = format!("the disk has not answered within {} s", patience.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, message))
        }
    }
}

/// Whether every user of this machine can read a file.
pub fn is_readable_by_others(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

/// Whether the process runs as root.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Others go before the calling thread from now on.
pub fn lower_thread_priority() {
    // On Linux each thread has a priority of its own. Without this, only the others have to wait longer.
    let _ = setpriority_process(None, LOW_PRIORITY);
}

/// Raises the soft limit of open files to the hard one, and returns it. Sockets count, too.
pub fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).is_err() {
        tracing::warn!(limit = limit.current, "limit of open files cannot be raised");
    }
    descriptor_limit()
}

/// Most open files of this process.
pub fn descriptor_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Decides when a file is looked at again: every second, and never twice at the same time.
#[derive(Clone)]
pub struct Recheck(Arc<Mutex<(Instant, bool)>>);

/// The right to look at a file now, until it is dropped.
struct RecheckTurn(Recheck);

impl Default for Recheck {
    /// The file was just read.
    fn default() -> Self {
        Self(Arc::new(Mutex::new((clock::instant(), false))))
    }
}

impl Drop for RecheckTurn {
    fn drop(&mut self) {
        *self.0.state() = (clock::instant(), false);
    }
}

impl Recheck {
    fn state(&self) -> MutexGuard<'_, (Instant, bool)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the file when it is due. A disk that hangs delays the caller only shortly, and is not asked twice.
    pub async fn run(&self, look: impl FnOnce() + Send + 'static) {
        let Some(turn) = self.claim() else { return };
        let work = move || {
            look();
            drop(turn);
        };
        // After a timeout or a panic the caller keeps what it has.
        let _ = in_background(RECHECK_TIMEOUT, work).await;
    }

    /// Whether the caller has to look at the file now.
    fn claim(&self) -> Option<RecheckTurn> {
        let now = clock::instant();
        let mut state = self.state();
        let is_due = !state.1 && now.duration_since(state.0) >= RECHECK_INTERVAL;
        state.1 |= is_due;
        is_due.then(|| RecheckTurn(self.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_devices_folders_and_large_files_are_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let pipe = at("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        std::fs::write(at("small"), "12345").unwrap();
        std::fs::write(at("bytes"), [0xff]).unwrap();
        std::os::unix::fs::symlink(at("small"), at("link")).unwrap();
        let why = |path: &Path| read_text(path, 5).map_err(|error| error.to_string());
        for path in [&pipe, Path::new("/dev/zero"), folder.path()] {
            assert_eq!(why(path), Err("it is not a regular file".to_owned()), "{}", path.display());
        }
        assert_eq!(why(&at("link")), Ok("12345".to_owned()));
        assert_eq!(read(&at("small"), 4).unwrap_err().to_string(), "it is larger than 0 KiB");
        assert_eq!(why(&at("bytes")), Err("it is not UTF-8".to_owned()));
        assert!(why(&at("nothing")).is_err());
    }

    #[tokio::test]
    async fn a_disk_that_hangs_is_waited_for_only_so_long() {
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let hangs = in_background(Duration::from_millis(1), move || ended.recv());
        assert_eq!(hangs.await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(end);
    }
}
