//! Ids in files of Prometheus's `file_sd` format, YAML or JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::groups;
use super::listing::Listing;
use super::watch::Watch;
use crate::config::{self, from_text};
use crate::domain::NewTask;

/// After a change is told of, the writer gets this long to finish.
const SETTLE: Duration = Duration::from_millis(50);

/// The same for changes in a folder above one that is not there yet.
const SETTLE_ABOVE: Duration = Duration::from_millis(500);

/// Files larger than this are not task lists.
const MAX_FILE: u64 = 64 << 20;

/// The source.
pub struct FileSource {
    config: config::FileSource,
    watch: Option<Watch>,
    files: Arc<Mutex<Files>>,
}

/// By path: what the text that was read last named; a broken text keeps the tasks of the last good one.
type Files = BTreeMap<PathBuf, Held>;

#[derive(Default)]
struct Held {
    /// Of the text, to know whether it has changed.
    digest: Option<u64>,
    tasks: Vec<NewTask>,
    /// Ids in it that are none.
    refused: u64,
    broken: Option<String>,
}

impl FileSource {
    /// Of a checked entry; reads nothing yet.
    pub fn new(config: config::FileSource) -> Self {
        Self { config, watch: None, files: Arc::default() }
    }

    pub(super) fn identity(&self) -> String {
        let names = self.config.patterns.iter().map(|pattern| pattern.display().to_string());
        format!("file:{}", names.collect::<Vec<_>>().join("|"))
    }

    pub(super) fn inherit(&mut self, earlier: Self) {
        self.files = earlier.files;
    }

    pub(super) async fn changed(&mut self) {
        let patterns = &self.config.patterns;
        let was_whole = self.watch.as_ref().map(|watch| watch.whole);
        if was_whole != Some(true) {
            self.watch = Some(Watch::new(patterns));
        }
        let Some(watch) = &self.watch else { return };
        if was_whole == Some(false) && watch.whole {
            return; // A folder has come: what was put into it before it was watched is read now.
        }
        if tokio::time::timeout(self.config.refresh_interval, watch.changed()).await.is_ok() {
            // A folder above may be a busy one.
            tokio::time::sleep(if watch.whole { SETTLE } else { SETTLE_ABOVE }).await;
        }
    }

    /// Reads off the runtime's threads: a hanging disk must hold up neither polls nor the end.
    pub(super) async fn read(&mut self) -> Listing {
        let (patterns, files) = (self.config.patterns.clone(), self.files.clone());
        let read = move || read_all(&patterns, &mut files.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| {
            let mut listing = Listing::default();
            listing.failed(error.to_string());
            listing
        })
    }
}

fn read_all(patterns: &[PathBuf], files: &mut Files) -> Listing {
    let mut listing = Listing { complete: true, ..Listing::default() };
    let found = found(patterns, &mut listing);
    files.retain(|path, _| found.contains(path));
    listing.absent = found.is_empty();
    for path in found {
        match read(&path) {
            Ok(text) => files.entry(path.clone()).or_default().take(&path, &text, &mut listing),
            Err(error) => listing.failed(format!("{}: {error}", path.display())),
        }
    }
    listing.tasks = files.values().flat_map(|held| held.tasks.iter().cloned()).collect();
    listing
}

fn found(patterns: &[PathBuf], listing: &mut Listing) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for pattern in patterns {
        // The pattern was checked with the configuration; a folder that cannot be read is an error of this read.
        for path in glob::glob(&pattern.to_string_lossy()).into_iter().flatten() {
            match path {
                Ok(path) => _ = found.insert(path),
                Err(error) => listing.failed(error.to_string()),
            }
        }
    }
    found
}

impl Held {
    fn take(&mut self, path: &Path, text: &str, listing: &mut Listing) {
        let digest = Some(groups::digest(text.as_bytes()));
        if self.digest != digest {
            self.digest = digest;
            self.broken = None;
            match decode(path, text) {
                Ok((mut tasks, refused)) => {
                    groups::share_ids(&mut tasks, &self.tasks);
                    self.tasks = tasks;
                    self.refused = refused;
                    // Once for each text, however often it is read.
                    listing.errors += refused;
                }
                Err(error) => self.broken = Some(format!("{}: {error}", path.display())),
            }
        }
        if self.refused > 0 {
            listing.messages.push(format!("{}: left out {} that are no task ids", path.display(), self.refused));
        }
        if let Some(message) = self.broken.clone() {
            listing.failed(message);
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    let size = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > MAX_FILE {
        return Err(format!("it is larger than {} MiB", MAX_FILE >> 20));
    }
    fs::read_to_string(path).map_err(|error| error.to_string())
}

/// The tasks of a text, and how many of its ids are none.
fn decode(path: &Path, text: &str) -> Result<(Vec<NewTask>, u64), String> {
    if path.extension().is_some_and(|extension| extension == "json") {
        groups::of_json(text.as_bytes())
    } else {
        groups::tasks(from_text(text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(listing: &Listing) -> Vec<&str> {
        listing.tasks.iter().map(|task| task.id.as_str()).collect()
    }

    #[tokio::test]
    async fn a_broken_file_keeps_its_last_good_list_and_the_others_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let patterns = vec![folder.path().join("*.yml"), folder.path().join("*.json")];
        let config = config::FileSource { patterns, refresh_interval: Duration::from_secs(30) };
        let mut source = FileSource::new(config);
        assert_eq!(
            source.read().await,
            Listing { complete: true, absent: true, ..Listing::default() },
            "no file is no error"
        );

        write("a.yml", "- targets: [t1, 0123]\n  labels: {team: x}\n");
        write("b.json", r#"[{"targets": ["t2", "../x?y=1", "bad\nid", ""], "labels": {}}]"#);
        let listing = source.read().await;
        assert_eq!(ids(&listing), ["t1", "0123", "t2", "../x?y=1"]);
        assert_eq!((listing.errors, listing.complete), (2, true));
        assert!(listing.messages[0].ends_with("b.json: left out 2 that are no task ids"), "{:?}", listing.messages);
        let again = source.read().await;
        assert_eq!((again.errors, again.messages), (0, listing.messages), "an unchanged file is not counted again");

        write("a.yml", "- targets: [t1\n");
        write("b.json", r#"[{"targets": ["t3"]}]"#);
        for _ in 0..2 {
            let listing = source.read().await;
            assert_eq!(ids(&listing), ["t1", "0123", "t3"]);
            assert_eq!((listing.errors, listing.complete), (1, false));
        }
        write("a.yml", "- targets: [t9]\n");
        assert_eq!(ids(&source.read().await), ["t9", "t3"]);
        fs::remove_file(folder.path().join("a.yml")).unwrap();
        assert_eq!(ids(&source.read().await), ["t3"]);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_place() {
        for (name, text, message) in [
            ("a.yml", "targets: [x]\n", "1:1: found a mapping, expected"),
            ("a.yml", "- targets: [x]\n  label: {}\n", "2:3: 0.label: unknown key"),
            ("a.yml", "- targets: [{}]\n", "1:13: 0.targets.0: found a mapping, expected a text"),
            ("a.yml", "- targets: [x]\n  labels: {'9a': b}\n", "a label name is"),
            ("a.json", "[{\"targets\": 5}]", "1:14: not a list of target groups"),
            ("a.json", "", "1:0: not a list of target groups"),
        ] {
            let error = decode(Path::new(name), text).unwrap_err();
            assert!(error.starts_with(message), "{text:?}: {error}");
        }
    }
}
