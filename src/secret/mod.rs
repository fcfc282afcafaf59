//! Secrets that cannot be printed, and the files and environment variables they are read from.

mod credentials;
mod token;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::clock;

pub use credentials::Credentials;
pub use token::Signer;

/// Identifies a text that may contain a secret: the first 8 bytes of its SHA-256, in hex.
pub fn fingerprint(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&digest.as_ref()[..8]);
    format!("{:016x}", u64::from_be_bytes(first))
}

/// A key. It has no `Debug`, `Display` or `Serialize`, so it cannot be printed by accident.
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// From a text; surrounding whitespace is removed.
    pub fn new(text: &str) -> Result<Self, SecretError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(SecretError::Empty);
        }
        if !text.bytes().all(|byte| (b'!'..=b'~').contains(&byte) || byte == b' ') {
            return Err(SecretError::Unprintable);
        }
        Ok(Self(text.into()))
    }

    /// Whether `given` is this key; compared in constant time.
    pub fn matches(&self, given: &str) -> bool {
        use subtle::ConstantTimeEq as _;
        let digest = |text: &str| ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        digest(&self.0).as_ref().ct_eq(digest(given).as_ref()).into()
    }

    /// The text of the key; use it only to send it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Why a secret cannot be used; never contains the secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read {0}: {1}")]
    Unreadable(PathBuf, std::io::Error),
    /// The variable is not set.
    #[error("environment variable {0} is not set")]
    Unset(String),
    /// The secret is empty.
    #[error("the secret is empty")]
    Empty,
    /// The secret has a character that a header cannot contain.
    #[error("the secret has a character that is not allowed in an HTTP header")]
    Unprintable,
}

/// Interval between checks whether the file has changed.
const RECHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a request waits for the check; then it uses the last good key.
const REREAD_TIMEOUT: Duration = Duration::from_millis(200);

/// A secret from a file or an environment variable; a changed file is read again.
pub struct SecretSource {
    file: Option<PathBuf>,
    cached: Mutex<CachedSecret>,
}

struct CachedSecret {
    secret: Secret,
    version: Option<(SystemTime, u64)>,
    checked_at: Instant,
    is_rereading: bool,
}

impl SecretSource {
    /// Reads a file.
    pub fn from_file(path: &Path) -> Result<Self, SecretError> {
        let version = file_version(path);
        let secret = read_file(path)?;
        let cached = CachedSecret { secret, version, checked_at: clock::instant(), is_rereading: false };
        Ok(Self { file: Some(path.to_owned()), cached: Mutex::new(cached) })
    }

    /// Reads an environment variable; it cannot change later.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads a secret from the environment")]
    pub fn from_env(name: &str) -> Result<Self, SecretError> {
        let text = std::env::var(name).map_err(|_| SecretError::Unset(name.to_owned()))?;
        let cached = CachedSecret {
            secret: Secret::new(&text)?,
            version: None,
            checked_at: clock::instant(),
            is_rereading: false,
        };
        Ok(Self { file: None, cached: Mutex::new(cached) })
    }

    /// The current key; the last good one while the file cannot be read or reading it hangs.
    pub async fn get(self: &Arc<Self>) -> Secret {
        if self.claim_check() {
            let source = self.clone();
            // On a blocking thread and with a time-out: a hanging disk must not delay polls.
            let reread = tokio::task::spawn_blocking(move || source.reread_if_changed());
            let _ = tokio::time::timeout(REREAD_TIMEOUT, reread).await;
        }
        self.lock_cache().secret.clone()
    }

    /// The length of the current key.
    pub fn char_count(&self) -> usize {
        self.lock_cache().secret.0.chars().count()
    }

    fn lock_cache(&self) -> MutexGuard<'_, CachedSecret> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the caller has to check the file now; nobody else does at the same time.
    fn claim_check(&self) -> bool {
        let now = clock::instant();
        let mut cached = self.lock_cache();
        let due =
            self.file.is_some() && !cached.is_rereading && now.duration_since(cached.checked_at) >= RECHECK_INTERVAL;
        cached.is_rereading |= due;
        due
    }

    /// Reads the file if it has changed, without holding the lock.
    fn reread_if_changed(&self) {
        let Some(path) = &self.file else { return };
        let before = self.lock_cache().version;
        let version = file_version(path);
        let found = (version != before).then(|| read_file(path));
        let mut cached = self.lock_cache();
        cached.is_rereading = false;
        cached.checked_at = clock::instant();
        match found {
            Some(Ok(secret)) => {
                cached.secret = secret;
                cached.version = version;
                tracing::info!(file = %path.display(), "key file changed; key reloaded");
            }
            Some(Err(error)) => tracing::warn!(%error, "cannot reload the key file; the last good key stays in use"),
            None => {}
        }
    }
}

fn read_file(path: &Path) -> Result<Secret, SecretError> {
    let text = fs::read_to_string(path).map_err(|error| SecretError::Unreadable(path.to_owned(), error))?;
    Secret::new(&text)
}

fn file_version(path: &Path) -> Option<(SystemTime, u64)> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_trimmed_and_errors_do_not_show_it() {
        assert_eq!(Secret::new("sk-1 2\n").ok().map(|s| s.expose().to_owned()).as_deref(), Some("sk-1 2"));
        assert_eq!(Secret::new(" \n").err().map(|e| e.to_string()).as_deref(), Some("the secret is empty"));
        let error = Secret::new("sk-a\nb").err().map(|e| e.to_string()).unwrap();
        assert!(error.contains("header") && !error.contains("sk-a"), "{error}");
    }
}
