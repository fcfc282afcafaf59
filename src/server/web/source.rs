//! The web configuration in force: its file, and those it names, are looked at again while they are used.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::files::Files;
use super::settings::{WebConfig, load};
use crate::config::ConfigError;
use crate::files::Recheck;

/// How long changed files have to stay as they are before they are taken. A request waits for it.
const SETTLE_TIME: Duration = Duration::from_millis(50);

/// The configuration of one listener.
pub struct WebSource {
    /// `None` without a file.
    file: Option<PathBuf>,
    recheck: Recheck,
    current: Mutex<Current>,
}

struct Current {
    config: Arc<WebConfig>,
    /// What it was read from.
    files: Files,
    /// The files are not valid now: an older configuration is in force.
    is_stale: bool,
}

impl WebSource {
    /// Plain HTTP for everybody.
    pub fn none() -> Self {
        Self::new(None, WebConfig::none(), Files::new(Path::new("")))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is not valid.
    pub fn from_file(path: PathBuf) -> Result<Self, ConfigError> {
        let (files, loaded) = load(&path);
        Ok(Self::new(Some(path), loaded?, files))
    }

    fn new(file: Option<PathBuf>, config: WebConfig, files: Files) -> Self {
        Self {
            file,
            recheck: Recheck::default(),
            current: Mutex::new(Current { config: Arc::new(config), files, is_stale: false }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The configuration in force: the last good one while the files are not valid, or reading them hangs.
    pub async fn get(self: &Arc<Self>) -> Arc<WebConfig> {
        if self.file.is_some() {
            let source = self.clone();
            self.recheck.run(move || source.reload()).await;
        }
        self.current()
    }

    /// The configuration as it was read last.
    pub fn current(&self) -> Arc<WebConfig> {
        self.lock().config.clone()
    }

    /// Whether a file is not valid now; `None` without a file.
    pub fn is_stale(&self) -> Option<bool> {
        self.file.as_ref().map(|_| self.lock().is_stale)
    }

    /// Reads the files again. A file that is being written may be empty for a moment: it must not open the port to everybody.
    fn reload(&self) {
        let Some(path) = &self.file else { return };
        // No request waits for this: the lock is not held while files are read.
        let files = std::mem::replace(&mut self.lock().files, Files::new(Path::new("")));
        if files.are_unchanged() {
            self.lock().files = files;
            return;
        }
        let (new, loaded) = load(path);
        // A file that is being written may be valid, and say less than it will.
        std::thread::sleep(SETTLE_TIME);
        if !new.are_unchanged() {
            self.lock().files = files;
            return;
        }
        let files = new;
        let loaded = loaded.map_err(|error| error.to_string()).and_then(|new| {
            let old = self.current();
            let (old, now) = (old.protections(), new.protections());
            let lost = old.iter().zip(now).find(|((_, was), (_, is))| *was && !is).map(|((name, _), _)| *name);
            lost.map_or(Ok(new), |lost| {
                Err(format!("the file has no {lost} any more; restart the exporter if that is meant"))
            })
        });
        let mut current = self.lock();
        current.files = files;
        current.is_stale = loaded.is_err();
        match loaded {
            Ok(config) => {
                for warning in &config.warnings {
                    tracing::warn!(file = %path.display(), "{warning}");
                }
                current.config = Arc::new(config);
                tracing::info!(file = %path.display(), "web configuration reloaded");
            }
            Err(error) => {
                tracing::error!(file = %path.display(), error, "web configuration not reloaded; the last good one stays in force");
            }
        }
    }
}
