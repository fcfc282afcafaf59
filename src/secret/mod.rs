//! A text that cannot be printed, and where it comes from.

mod credentials;
mod token;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::clock;

pub use credentials::Credentials;
pub use token::Signer;

/// A mark of a text that may hold a secret, by which that text is known again: the beginning of its SHA-256, in hex.
pub fn mark(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&digest.as_ref()[..8]);
    format!("{:016x}", u64::from_be_bytes(first))
}

/// A key. It has no `Debug`, `Display` or `Serialize`: it can only be exposed on purpose.
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// Takes a text; one trailing line break and surrounding blanks belong to the file, not to the key.
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

    /// Whether somebody has given this key; it takes as long whatever they gave.
    pub fn is(&self, given: &str) -> bool {
        use subtle::ConstantTimeEq as _;
        let digest = |text: &str| ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        digest(&self.0).as_ref().ct_eq(digest(given).as_ref()).into()
    }

    /// The text itself, for the one header it goes into.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Why there is no key; says where, never what.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read {0}: {1}")]
    Unreadable(PathBuf, std::io::Error),
    /// The variable is not set.
    #[error("environment variable {0} is not set")]
    Unset(String),
    /// Nothing in it.
    #[error("it is empty")]
    Empty,
    /// It could not go into a header.
    #[error("it has a character that cannot go into a header")]
    Unprintable,
}

/// How long a file is trusted before it is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long a request waits for its key to be looked at again.
const PATIENCE: Duration = Duration::from_millis(200);

/// Where a key comes from, read as text and again when its file changes.
pub struct SecretSource {
    file: Option<PathBuf>,
    held: Mutex<Held>,
}

struct Held {
    secret: Secret,
    stamp: Option<(SystemTime, u64)>,
    looked: Instant,
    looking: bool,
}

impl SecretSource {
    /// Reads the file now.
    pub fn file(path: &Path) -> Result<Self, SecretError> {
        let stamp = stamp(path);
        let secret = read(path)?;
        let held = Held { secret, stamp, looked: clock::instant(), looking: false };
        Ok(Self { file: Some(path.to_owned()), held: Mutex::new(held) })
    }

    /// Reads the variable now; it cannot change later.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads a secret from the environment")]
    pub fn variable(name: &str) -> Result<Self, SecretError> {
        let text = std::env::var(name).map_err(|_| SecretError::Unset(name.to_owned()))?;
        let held = Held { secret: Secret::new(&text)?, stamp: None, looked: clock::instant(), looking: false };
        Ok(Self { file: None, held: Mutex::new(held) })
    }

    /// The key as it is now; the last good one while its file cannot be read, or while reading it hangs.
    pub async fn get(self: &Arc<Self>) -> Secret {
        if self.is_due() {
            let source = self.clone();
            // Off the runtime's threads, and only for a moment: a hanging disk must hold up nobody.
            let looked = tokio::task::spawn_blocking(move || source.look_again());
            let _ = tokio::time::timeout(PATIENCE, looked).await;
        }
        self.held().secret.clone()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True once in a while, for a file that nobody is looking at.
    fn is_due(&self) -> bool {
        let now = clock::instant();
        let mut held = self.held();
        let due = self.file.is_some() && !held.looking && now.duration_since(held.looked) >= LOOK_AGAIN;
        held.looking |= due;
        due
    }

    /// Reads the file if it has changed; the lock is not held meanwhile.
    fn look_again(&self) {
        let Some(path) = &self.file else { return };
        let before = self.held().stamp;
        let stamp = stamp(path);
        let found = (stamp != before).then(|| read(path));
        let mut held = self.held();
        held.looking = false;
        held.looked = clock::instant();
        match found {
            Some(Ok(secret)) => {
                held.secret = secret;
                held.stamp = stamp;
                tracing::info!(file = %path.display(), "read the key again: its file has changed");
            }
            Some(Err(error)) => tracing::warn!(%error, "keeping the last good key"),
            None => {}
        }
    }
}

fn read(path: &Path) -> Result<Secret, SecretError> {
    let text = fs::read_to_string(path).map_err(|error| SecretError::Unreadable(path.to_owned(), error))?;
    Secret::new(&text)
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_trimmed_and_a_bad_one_is_named_without_being_shown() {
        assert_eq!(Secret::new("sk-1 2\n").ok().map(|s| s.expose().to_owned()).as_deref(), Some("sk-1 2"));
        assert_eq!(Secret::new(" \n").err().map(|e| e.to_string()).as_deref(), Some("it is empty"));
        let error = Secret::new("sk-a\nb").err().map(|e| e.to_string()).unwrap();
        assert!(error.contains("header") && !error.contains("sk-a"), "{error}");
    }
}
