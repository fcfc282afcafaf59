//! The files that a web configuration names, with what tells whether one of them has changed.

use std::io;
use std::path::{Path, PathBuf};

use crate::files;
use crate::secret::crypto::sha256_hex;

/// Largest accepted file, in bytes.
const MAX_SIZE: u64 = 4 << 20;

/// Reads files, and remembers what it has read.
pub struct Files {
    folder: PathBuf,
    /// The digest of each file, or why it could not be read.
    seen: Vec<(PathBuf, String)>,
}

impl Files {
    /// Relative paths are below this folder.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), seen: Vec::new() }
    }

    /// Reads a file.
    pub fn read(&mut self, path: &str) -> (PathBuf, io::Result<Vec<u8>>) {
        let path = self.folder.join(path);
        let read = files::read(&path, MAX_SIZE);
        self.seen.push((path.clone(), state(&read)));
        (path, read)
    }

    /// Whether every file is still what it was; false when none was read.
    pub fn are_unchanged(&self) -> bool {
        !self.seen.is_empty() && self.seen.iter().all(|(path, seen)| *seen == state(&files::read(path, MAX_SIZE)))
    }
}

fn state(read: &io::Result<Vec<u8>>) -> String {
    match read {
        Ok(bytes) => sha256_hex(bytes),
        Err(error) => error.to_string(),
    }
}
