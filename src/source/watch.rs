//! File system notifications that task files may have changed.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::{io, thread};

use glob::Pattern;
use notify::event::ModifyKind;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

/// Watches the folders of file patterns. Watching files would miss files that are replaced by renaming.
pub struct Watch {
    changed: Arc<Notify>,
    /// Every folder exists. For a missing folder, the nearest existing parent is watched.
    pub has_all_folders: bool,
    _watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Starts watching. Where that fails, only the refresh interval detects changes.
    pub fn new(patterns: &[PathBuf]) -> Self {
        let changed = Arc::new(Notify::new());
        let signal = changed.clone();
        let names: Vec<Pattern> = patterns.iter().filter_map(|pattern| file_name_pattern(pattern)).collect();
        let on_event = move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| is_relevant(&event, &names)) {
                signal.notify_one();
            }
        };
        // A watcher that cannot start its thread would panic later.
        let watcher = try_thread().map_err(notify::Error::io).and_then(|()| notify::recommended_watcher(on_event));
        let mut watcher = watcher
            .inspect_err(
                |error| tracing::warn!(%error, "cannot watch files; reading them every refresh_interval instead"),
            )
            .ok();
        let mut has_all_folders = true;
        for folder in patterns.iter().map(|pattern| base_folder(pattern)).collect::<BTreeSet<_>>() {
            has_all_folders &= folder.is_dir();
            let existing = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
            if let Some(Err(error)) =
                watcher.as_mut().map(|watcher| watcher.watch(existing, RecursiveMode::NonRecursive))
            {
                tracing::warn!(folder = %folder.display(), %error, "cannot watch this folder; reading it every refresh_interval instead");
            }
        }
        Self { changed, has_all_folders, _watcher: watcher }
    }

    /// Waits for the next change.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// Whether the system has a thread left.
fn try_thread() -> io::Result<()> {
    thread::Builder::new().spawn(|| ()).map(|thread| drop(thread.join()))
}

/// Pattern of the file name alone.
fn file_name_pattern(pattern: &Path) -> Option<Pattern> {
    Pattern::new(&pattern.file_name()?.to_string_lossy()).ok()
}

/// Whether an event may have changed the matching files.
///
/// Created, removed or renamed entries always may: they may be symbolic links in the path. Writes to other files do not:
/// the state database may be in the same folder. A link's changed target is detected at the refresh interval.
fn is_relevant(event: &Event, names: &[Pattern]) -> bool {
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

/// The deepest folder in front of a pattern's first wildcard.
fn base_folder(pattern: &Path) -> PathBuf {
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
    fn writes_to_other_files_are_ignored() {
        let names: Vec<Pattern> =
            ["tasks/*.json", "a/b.yml"].iter().filter_map(|text| file_name_pattern(Path::new(text))).collect();
        let data = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        for (kind, path, expected) in [
            (data, "/tasks/x.json", true),
            (data, "/a/b.yml", true),
            (data, "/tasks/state.db-wal", false),
            // A folder's permissions may have been fixed.
            (data, "/tmp", true),
            (EventKind::Access(AccessKind::Any), "/a/b.yml", false),
            (EventKind::Create(CreateKind::Any), "/tasks/..data", true),
            (EventKind::Modify(ModifyKind::Name(RenameMode::To)), "/tasks/..data", true),
        ] {
            assert_eq!(is_relevant(&Event::new(kind).add_path(path.into()), &names), expected, "{kind:?} {path}");
        }
        assert!(is_relevant(&Event::new(EventKind::Other), &names), "an unknown event may be relevant");
        let missed = Event::new(data).add_path("/tasks/state.db-wal".into()).set_flag(Flag::Rescan);
        assert!(is_relevant(&missed, &names), "events may have been missed");
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
            assert_eq!(base_folder(Path::new(pattern)), PathBuf::from(expected), "{pattern}");
        }
    }
}
