//! Being told by the file system that files may have changed.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

/// Watches the folders of some patterns; folders and not files, because files are replaced by renaming.
pub struct Watch {
    changed: Arc<Notify>,
    /// Every folder is there; else the nearest one above it is watched for its coming.
    pub whole: bool,
    _watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Begins to watch. Where the file system cannot tell, nothing is told and the source's interval has to do.
    pub fn new(patterns: &[PathBuf]) -> Self {
        let changed = Arc::new(Notify::new());
        let told = changed.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !matches!(event.kind, EventKind::Access(_))) {
                told.notify_one();
            }
        });
        let mut watcher =
            watcher.inspect_err(|error| tracing::warn!(%error, "files are not watched, only read now and then")).ok();
        let mut whole = true;
        for folder in patterns.iter().map(|pattern| folder(pattern)).collect::<BTreeSet<_>>() {
            whole &= folder.is_dir();
            let there = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
            if let Some(Err(error)) = watcher.as_mut().map(|watcher| watcher.watch(there, RecursiveMode::NonRecursive))
            {
                tracing::warn!(folder = %folder.display(), %error, "this folder is not watched, only read now and then");
            }
        }
        Self { changed, whole, _watcher: watcher }
    }

    /// Waits for the next change.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// The deepest folder of a pattern before its first wildcard.
fn folder(pattern: &Path) -> PathBuf {
    let parent = pattern.parent().unwrap_or(Path::new(""));
    let plain = |part: &Component<'_>| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    let folder: PathBuf = parent.components().take_while(plain).collect();
    if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_before_the_first_wildcard_is_watched() {
        for (pattern, expected) in [
            ("tasks/*.yml", "tasks"),
            ("a/*/b.yml", "a"),
            ("x.json", "."),
            ("/etc/t/?/x.yml", "/etc/t"),
            ("*.yml", "."),
        ] {
            assert_eq!(folder(Path::new(pattern)), PathBuf::from(expected), "{pattern}");
        }
    }
}
