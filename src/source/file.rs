//! Task ids in files of Prometheus's `file_sd` format, YAML or JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;

use super::groups::{self, TargetList, too_many_targets};
use super::invalid_ids::InvalidIds;
use super::listing::Listing;
use super::watch::Watch;
use crate::config::{self, from_text};
use crate::domain::NewTask;
use crate::files;

/// Wait after a notification, for the writer to finish.
const SETTLE_TIME: Duration = Duration::from_millis(50);

/// Wait after a change in the parent of a missing folder.
const SETTLE_TIME_ABOVE: Duration = Duration::from_millis(500);

/// How long reading the files may take.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Larger files are rejected.
const MAX_FILE_SIZE: u64 = 64 << 20;

/// Reads the files that match some patterns.
pub struct FileSource {
    config: config::FileSourceSettings,
    watch: Option<Watch>,
    files: Arc<Mutex<Files>>,
}

/// Last read contents by path. A file that cannot be parsed keeps its last good tasks.
type Files = BTreeMap<PathBuf, FileState>;

#[derive(Default)]
struct FileState {
    /// Hash of the text, to detect changes.
    digest: Option<u64>,
    tasks: Vec<NewTask>,
    invalid_ids: InvalidIds,
    parse_error: Option<String>,
}

impl FileSource {
    /// From a checked entry. Reads nothing yet.
    pub fn new(config: config::FileSourceSettings) -> Self {
        Self { config, watch: None, files: Arc::default() }
    }

    pub(super) fn identity(&self) -> String {
        let names = self.config.patterns.iter().map(|pattern| pattern.display().to_string());
        format!("file:{}", names.collect::<Vec<_>>().join("|"))
    }

    pub(super) fn inherit(&mut self, earlier: Self) {
        self.files = earlier.files;
    }

    pub(super) async fn wait_until_due(&mut self) {
        let patterns = &self.config.patterns;
        let had_all_folders = self.watch.as_ref().map(|watch| watch.has_all_folders);
        if had_all_folders != Some(true) {
            self.watch = Some(Watch::new(patterns));
        }
        let Some(watch) = &self.watch else { return };
        if had_all_folders == Some(false) && watch.has_all_folders {
            return; // A folder was created; files may have been written before it was watched.
        }
        if tokio::time::timeout(self.config.refresh_interval, watch.changed()).await.is_ok() {
            // A parent folder may change often.
            tokio::time::sleep(if watch.has_all_folders { SETTLE_TIME } else { SETTLE_TIME_ABOVE }).await;
        }
    }

    /// Reads on a blocking thread: a hanging disk must not delay polls or the shutdown.
    pub(super) async fn read(&mut self) -> Listing {
        let (config, known) = (self.config.clone(), self.files.clone());
        let read = move || match known.try_lock() {
            Ok(mut known) => Ok(read_all(&config, &mut known)),
            Err(TryLockError::Poisoned(known)) => Ok(read_all(&config, &mut known.into_inner())),
            Err(TryLockError::WouldBlock) => Err(io::Error::other("an earlier read has not ended yet")),
        };
        files::in_background(READ_TIMEOUT, read).await.flatten().unwrap_or_else(|error| {
            let mut listing = Listing::default();
            listing.add_failure(error.to_string());
            listing
        })
    }
}

fn read_all(config: &config::FileSourceSettings, known: &mut Files) -> Listing {
    let mut listing = Listing { is_complete: true, ..Listing::default() };
    let found = find_files(&config.patterns, &mut listing);
    known.retain(|path, _| found.contains(path));
    listing.is_absent = found.is_empty();
    let mut total: usize = known.values().map(|state| state.tasks.len()).sum();
    for path in found {
        match files::read_text(&path, MAX_FILE_SIZE) {
            Ok(text) => {
                let state = known.entry(path.clone()).or_default();
                let others = total - state.tasks.len();
                state.apply_text(&path, &text, (config.max_targets, others), &mut listing);
                total = others + state.tasks.len();
            }
            Err(error) => listing.add_failure(format!("{}: {error}", path.display())),
        }
    }
    listing.tasks = known.values().flat_map(|state| state.tasks.iter().cloned()).collect();
    listing
}

fn find_files(patterns: &[PathBuf], listing: &mut Listing) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for pattern in patterns {
        // The patterns are valid; they were checked with the configuration.
        for path in glob::glob(&pattern.to_string_lossy()).into_iter().flatten() {
            match path {
                Ok(path) => _ = found.insert(path),
                Err(error) => listing.add_failure(error.to_string()),
            }
        }
    }
    found
}

impl FileState {
    /// Reads the text, unless it is known. `others` is the number of tasks in the other files.
    fn apply_text(&mut self, path: &Path, text: &str, (max_targets, others): (usize, usize), listing: &mut Listing) {
        let digest = Some(groups::hash_text(text.as_bytes()));
        if self.digest != digest {
            self.digest = digest;
            self.parse_error = None;
            let room = max_targets.saturating_sub(others);
            match parse_text(path, text, room) {
                Ok(TargetList { mut tasks, invalid_ids, .. }) => {
                    groups::share_ids(&mut tasks, &self.tasks);
                    self.tasks = tasks;
                    // Counted once for each version of the file.
                    listing.errors += invalid_ids.count;
                    self.invalid_ids = invalid_ids;
                }
                Err(error) => {
                    let is_full = error == too_many_targets(room);
                    // Other files may leave more room the next time.
                    self.digest = digest.filter(|_| !is_full);
                    let error = if is_full { too_many_targets(max_targets) } else { error };
                    self.parse_error = Some(format!("{}: {error}", path.display()));
                }
            }
        }
        if self.invalid_ids.count > 0 {
            listing.messages.push(format!("{}: {}", path.display(), self.invalid_ids));
        }
        if let Some(message) = self.parse_error.clone() {
            listing.add_failure(message);
        }
    }
}

/// The tasks of a file, with at most so many ids.
fn parse_text(path: &Path, text: &str, max_targets: usize) -> Result<TargetList, String> {
    if path.extension().is_some_and(|extension| extension == "json") {
        groups::parse_json(text.as_bytes(), max_targets)
    } else {
        groups::parse_groups(from_text(text)?, max_targets)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn ids(listing: &Listing) -> Vec<&str> {
        listing.tasks.iter().map(|task| task.id.as_str()).collect()
    }

    #[tokio::test]
    async fn an_invalid_file_keeps_its_last_good_list_and_others_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let patterns = vec![folder.path().join("*.yml"), folder.path().join("*.json")];
        let config = config::FileSourceSettings { patterns, refresh_interval: Duration::from_secs(30), max_targets: 5 };
        let mut source = FileSource::new(config);
        assert_eq!(
            source.read().await,
            Listing { is_complete: true, is_absent: true, ..Listing::default() },
            "no file is no error"
        );

        write("a.yml", "- targets: [t1, 0123]\n  labels: {team: x}\n");
        write("b.json", r#"[{"targets": ["t2", "../x?y=1", "bad\nid", ""], "labels": {}}]"#);
        let listing = source.read().await;
        assert_eq!(ids(&listing), ["t1", "0123", "t2", "../x?y=1"]);
        assert_eq!((listing.errors, listing.is_complete), (2, true));
        assert!(listing.messages[0].ends_with("b.json: skipped 2 invalid task ids"), "{:?}", listing.messages);
        let again = source.read().await;
        assert_eq!((again.errors, again.messages), (0, listing.messages), "an unchanged file is not counted again");

        write("a.yml", "- targets: [t1\n");
        write("b.json", r#"[{"targets": ["t3"]}]"#);
        for _ in 0..2 {
            let listing = source.read().await;
            assert_eq!(ids(&listing), ["t1", "0123", "t3"]);
            assert_eq!((listing.errors, listing.is_complete), (1, false));
        }
        write("a.yml", "- targets: [t9]\n");
        assert_eq!(ids(&source.read().await), ["t9", "t3"]);
        // All files together have at most 5 targets.
        write("a.yml", "- targets: [t4, t5, t6, t7, t8]\n");
        let listing = source.read().await;
        assert_eq!((ids(&listing), listing.errors, listing.is_complete), (vec!["t9", "t3"], 1, false));
        assert!(listing.messages[0].contains("a.yml: more than 5 task ids"), "{:?}", listing.messages);
        write("b.json", "[]");
        source.read().await;
        assert_eq!(source.read().await.tasks.len(), 5, "an unchanged file is read when there is room for it");
        write("a.yml", "- targets: [t9]\n");
        write("b.json", r#"[{"targets": ["t3"]}]"#);
        source.read().await;
        fs::remove_file(folder.path().join("a.yml")).unwrap();
        assert_eq!(ids(&source.read().await), ["t3"]);
    }

    #[test]
    fn errors_name_the_line_and_the_key() {
        for (name, text, message) in [
            ("a.yml", "targets: [x]\n", "1:1: found a mapping, expected"),
            ("a.yml", "- targets: [x]\n  label: {}\n", "2:3: 0.label: unknown key"),
            ("a.yml", "- targets: [{}]\n", "1:13: 0.targets.0: found a mapping, expected a string"),
            ("a.yml", "- targets: [x]\n  labels: {'9a': b}\n", "0.labels: a label name must match"),
            ("a.json", "[{\"targets\": 5}]", "1:14: not a list of target groups"),
            ("a.json", "", "1:0: not a list of target groups"),
        ] {
            let error = parse_text(Path::new(name), text, 9).err().unwrap();
            assert!(error.starts_with(message), "{text:?}: {error}");
        }
    }
}
