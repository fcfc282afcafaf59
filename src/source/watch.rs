//! Being told by the file system that files may have changed.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use glob::Pattern;
use notify::event::ModifyKind;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
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
        let names: Vec<Pattern> = patterns.iter().filter_map(|pattern| name(pattern)).collect();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| matters(&event, &names)) {
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

/// What a file has to be called.
fn name(pattern: &Path) -> Option<Pattern> {
    Pattern::new(&pattern.file_name()?.to_string_lossy()).ok()
}

/// True for what may have changed what the patterns name. Whatever comes or goes may be a link on the way there; but what is written
/// into other files is nothing to us, and the state may well lie in the same folder. (That a link leads to one of them is seen at the
/// source's interval.)
fn matters(event: &Event, names: &[Pattern]) -> bool {
    let is_named = |path: &PathBuf| {
        let has_name = |file: &OsStr| names.iter().any(|name| name.matches(&file.to_string_lossy()));
        path.file_name().is_none_or(has_name) || path.is_dir()
    };
    if event.need_rescan() {
        return true;
    }
    match event.kind {
        EventKind::Access(_) => false,
        EventKind::Modify(ModifyKind::Name(_)) | EventKind::Create(_) | EventKind::Remove(_) => true,
        _ => event.paths.is_empty() || event.paths.iter().any(is_named),
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
    use notify::event::{AccessKind, CreateKind, DataChange, Flag, RenameMode};

    use super::*;

    #[test]
    fn what_is_written_into_other_files_is_nothing_to_us() {
        let names: Vec<Pattern> = ["tasks/*.json", "a/b.yml"].iter().filter_map(|text| name(Path::new(text))).collect();
        let data = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        for (kind, path, expected) in [
            (data, "/tasks/x.json", true),
            (data, "/a/b.yml", true),
            (data, "/tasks/state.db-wal", false),
            // Its permissions may have been repaired.
            (data, "/tmp", true),
            (EventKind::Access(AccessKind::Any), "/a/b.yml", false),
            (EventKind::Create(CreateKind::Any), "/tasks/..data", true),
            (EventKind::Modify(ModifyKind::Name(RenameMode::To)), "/tasks/..data", true),
        ] {
            assert_eq!(matters(&Event::new(kind).add_path(path.into()), &names), expected, "{kind:?} {path}");
        }
        assert!(matters(&Event::new(EventKind::Other), &names), "who knows what it was");
        let missed = Event::new(data).add_path("/tasks/state.db-wal".into()).set_flag(Flag::Rescan);
        assert!(matters(&missed, &names), "nor what was not told");
    }

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
