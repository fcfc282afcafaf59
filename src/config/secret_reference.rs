//! References to secrets: `NAME_file`, `NAME_env` or `NAME_credential`. The configuration never contains a secret.

use std::path::Path;

use super::problem::Problems;
use super::scalars::Text;
use crate::files;
use crate::secret::{SecretError, SecretSource};

/// Shortest secret that others send to us.
const MIN_OWN_SECRET: usize = 16;

/// The keys of a section that say where one secret is.
pub(super) struct SecretReference<'a> {
    /// What the keys begin with, such as `credentials`.
    name: &'static str,
    /// The keys that are set, with their values.
    set: Vec<(Kind, &'a str)>,
}

#[derive(Clone, Copy)]
enum Kind {
    File,
    Env,
    Credential,
}

impl Kind {
    const ALL: [Self; 3] = [Self::File, Self::Env, Self::Credential];

    const fn suffix(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Env => "env",
            Self::Credential => "credential",
        }
    }
}

impl<'a> SecretReference<'a> {
    /// From the values of `NAME_file`, `NAME_env` and `NAME_credential`.
    pub fn new(name: &'static str, values: [&'a Option<Text>; 3]) -> Self {
        let set =
            Kind::ALL.into_iter().zip(values).filter_map(|(kind, value)| Some((kind, value.as_ref()?.0.as_str())));
        Self { name, set: set.collect() }
    }

    /// Whether a key is set.
    pub fn is_set(&self) -> bool {
        !self.set.is_empty()
    }

    /// Whether exactly one key is set.
    pub fn is_single(&self) -> bool {
        self.set.len() == 1
    }

    /// The first key that is set, or the usual one.
    pub fn key(&self) -> String {
        let kind = self.set.first().map_or(Kind::File, |(kind, _)| *kind);
        format!("{}_{}", self.name, kind.suffix())
    }

    /// The value of that key: a path or a name.
    pub fn value(&self) -> &'a str {
        self.set.first().map_or("", |(_, value)| value)
    }

    /// Loads the secret. Exactly one key must be set.
    pub fn load(&self, at: &str, folder: &Path, problems: &mut Problems) -> Option<SecretSource> {
        let [(kind, value)] = self.set.as_slice() else {
            let name = self.name;
            problems.add(at, format!("set exactly one of {name}_file, {name}_env and {name}_credential"));
            return None;
        };
        let source = match kind {
            Kind::File => {
                let path = folder.join(value);
                if files::is_readable_by_others(&path) {
                    let message = "every user of this machine can read the file; give it mode 0600, or 0440 in Kubernetes (defaultMode)";
                    problems.warn(format!("{at}.{}", self.key()), message);
                }
                SecretSource::from_file(&path)
            }
            Kind::Env => SecretSource::from_env(value),
            Kind::Credential => SecretSource::from_credential(value),
        };
        match source {
            Ok(source) => Some(source),
            Err(error @ SecretError::HiddenCredentials) if problems.allows_hidden_credentials() => {
                problems.warn(format!("{at}.{}", self.key()), error.to_string());
                Some(SecretSource::unread())
            }
            Err(error) => {
                problems.add(format!("{at}.{}", self.key()), error.to_string());
                None
            }
        }
    }

    /// Like [`Self::load`], for a secret that others send to us: it must be long enough that nobody guesses it.
    pub fn load_own(&self, at: &str, folder: &Path, problems: &mut Problems) -> Option<SecretSource> {
        let secret = self.load(at, folder, problems)?;
        if secret.char_count() < MIN_OWN_SECRET {
            let message =
                "the secret has less than 16 characters and could be guessed; create one with `openssl rand -hex 32`";
            problems.add(format!("{at}.{}", self.key()), message);
        }
        Some(secret.with_min_chars(MIN_OWN_SECRET))
    }
}
