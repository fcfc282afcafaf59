//! Secrets that cannot be printed, and the files and environment variables they are read from.

mod basic;
pub mod crypto;
mod token;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::files::{self, Recheck};

pub use basic::{BasicAuth, BasicCredentials, Username, encode_basic};
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

/// Where systemd puts the credentials of this service.
fn credentials_directory() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

/// That folder, if this process may not see what is in it.
pub fn hidden_credentials_directory() -> Option<PathBuf> {
    let is_hidden =
        |folder: &PathBuf| folder.read_dir().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    credentials_directory().filter(is_hidden)
}

/// Why a secret cannot be used; never contains the secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read {0}: {1}")]
    Unreadable(PathBuf, io::Error),
    /// The variable is not set.
    #[error("environment variable {0} is not set")]
    Unset(String),
    /// There are no credentials of systemd.
    #[error(
        "$CREDENTIALS_DIRECTORY is not set; start the exporter with systemd, and set LoadCredential={0}:PATH in its unit"
    )]
    NoCredentials(String),
    /// systemd does not let this process see the credentials of its service.
    #[error(
        "systemd hides the credential from this command, as from ExecReload= before systemd 254; it is not checked"
    )]
    HiddenCredentials,
    /// Not a name of a credential.
    #[error("a credential's name is the name of a file, without a folder")]
    CredentialName,
    /// The secret is too short.
    #[error("the secret is too short, and could be guessed")]
    Short,
    /// The secret is empty.
    #[error("the secret is empty")]
    Empty,
    /// The secret has a character that a header cannot contain.
    #[error("the secret has a character that is not allowed in an HTTP header")]
    Unprintable,
}

/// Largest accepted file, in bytes.
const MAX_SIZE: u64 = 64 << 10;

/// A secret from a file or an environment variable; a changed file is read again.
pub struct SecretSource {
    file: Option<PathBuf>,
    recheck: Recheck,
    min_chars: usize,
    cached: Mutex<CachedSecret>,
}

struct CachedSecret {
    secret: Secret,
    /// Why the file could not be read the last time; logged once.
    failure: Option<String>,
}

impl SecretSource {
    fn new(file: Option<PathBuf>, secret: Secret) -> Self {
        Self {
            file,
            recheck: Recheck::default(),
            min_chars: 0,
            cached: Mutex::new(CachedSecret { secret, failure: None }),
        }
    }

    /// Reads a file.
    pub fn from_file(path: &Path) -> Result<Self, SecretError> {
        Ok(Self::new(Some(path.to_owned()), read_file(path)?))
    }

    /// Refuses secrets with fewer characters from now on: a file that is read again keeps the last good one then.
    #[must_use]
    pub fn with_min_chars(mut self, min: usize) -> Self {
        self.min_chars = min;
        self
    }

    /// Reads an environment variable; it cannot change later.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads a secret from the environment")]
    pub fn from_env(name: &str) -> Result<Self, SecretError> {
        let text = std::env::var(name).map_err(|_| SecretError::Unset(name.to_owned()))?;
        Ok(Self::new(None, Secret::new(&text)?))
    }

    /// Reads a credential that systemd passes to the service (`LoadCredential=`, systemd.exec(5)): a file in
    /// `$CREDENTIALS_DIRECTORY`.
    pub fn from_credential(name: &str) -> Result<Self, SecretError> {
        if matches!(name, "" | "." | "..") || name.contains('/') {
            return Err(SecretError::CredentialName);
        }
        let folder = credentials_directory().ok_or_else(|| SecretError::NoCredentials(name.to_owned()))?;
        if hidden_credentials_directory().is_some() {
            return Err(SecretError::HiddenCredentials);
        }
        Self::from_file(&folder.join(name))
    }

    /// In the place of a secret that cannot be read, for a check that sends nothing.
    pub fn unread() -> Self {
        Self::new(None, Secret("a secret that was not read".into()))
    }

    /// The file that it is read from.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The current key; the last good one while the file cannot be read or reading it hangs.
    pub async fn get(self: &Arc<Self>) -> Secret {
        if self.file.is_some() {
            let source = self.clone();
            self.recheck.run(move || source.reread()).await;
        }
        self.current()
    }

    /// The key as it was read last.
    pub fn current(&self) -> Secret {
        self.lock_cache().secret.clone()
    }

    /// The length of the current key.
    pub fn char_count(&self) -> usize {
        self.lock_cache().secret.0.chars().count()
    }

    fn lock_cache(&self) -> MutexGuard<'_, CachedSecret> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the file again, if there is one. Blocks.
    // Without holding the lock. Its time and size do not tell whether it has changed.
    pub fn reread(&self) {
        let Some(path) = &self.file else { return };
        let is_long = |secret: &Secret| secret.expose().chars().count() >= self.min_chars;
        let found =
            read_file(path).and_then(|secret| if is_long(&secret) { Ok(secret) } else { Err(SecretError::Short) });
        let mut cached = self.lock_cache();
        match found {
            Ok(secret) => {
                if secret.expose() != cached.secret.expose() {
                    tracing::info!(file = %path.display(), "key file changed; key reloaded");
                }
                *cached = CachedSecret { secret, failure: None };
            }
            Err(error) => {
                let failure = Some(error.to_string());
                if cached.failure != failure {
                    tracing::warn!(%error, "cannot reload the key file; the last good key stays in use");
                }
                cached.failure = failure;
            }
        }
    }
}

fn read_file(path: &Path) -> Result<Secret, SecretError> {
    let text = files::read_text(path, MAX_SIZE).map_err(|error| SecretError::Unreadable(path.to_owned(), error))?;
    Secret::new(&text)
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
