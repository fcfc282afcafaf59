//! Which ids the sources of an upstream name now. An id that is named is never forgotten, whatever the clock says.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::domain::{NewTask, TaskId};
use crate::provider::Dialect;
use crate::source::Listing;

/// A source: its label, such as `file/0`, and the identity of what it reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceKey {
    /// The `source` label.
    pub label: String,
    /// What it reads, wherever it stands in the configuration.
    pub identity: String,
}

/// The sources of one upstream.
#[derive(Default)]
pub struct SourceRegistry {
    sources: BTreeMap<SourceKey, SourceIds>,
    /// Identities of sources that were read completely before, as the state knows.
    loaded: HashSet<String>,
}

/// What is known of one source.
#[derive(Default)]
struct SourceIds {
    names: HashSet<TaskId>,
    /// Its first read is done.
    is_read: bool,
    /// It was never read completely in the life of the state.
    is_first_load: bool,
    /// Ids of its last read that the provider cannot have.
    rejected: u64,
    /// What was wrong with its last read, in words.
    messages: Vec<String>,
}

/// A listing compared with what its source named before.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ListingDiff {
    /// Tasks that it did not name before.
    pub new: Vec<NewTask>,
    /// Ids that it no longer names.
    pub gone: Vec<TaskId>,
    /// How many different ids it names.
    pub count: usize,
}

impl SourceRegistry {
    /// Continues with the sources that the state knows.
    pub fn new(loaded: HashSet<String>) -> Self {
        Self { sources: BTreeMap::new(), loaded }
    }

    /// These are the sources from now on; those that stay keep what they name.
    pub fn configure(&mut self, sources: impl IntoIterator<Item = SourceKey>) {
        let mut before = std::mem::take(&mut self.sources);
        let loaded = &self.loaded;
        let with_ids = |key: SourceKey| {
            // Of two sources with one identity, such as two groups of static ids, each has a first load of its own.
            let new = || SourceIds { is_first_load: !loaded.contains(&key.identity), ..SourceIds::default() };
            (key.clone(), before.remove(&key).unwrap_or_else(new))
        };
        self.sources = sources.into_iter().map(with_ids).collect();
    }

    /// Whether every source was read.
    pub fn is_ready(&self) -> bool {
        self.sources.values().all(|source| source.is_read)
    }

    /// Whether a source is configured: a listing may arrive after its source has gone.
    pub fn has(&self, source: &SourceKey) -> bool {
        self.sources.contains_key(source)
    }

    /// Whether a source was never read completely in the life of the state.
    pub fn is_first_load(&self, source: &SourceKey) -> bool {
        self.sources.get(source).is_some_and(|known| known.is_first_load)
    }

    /// Whether some source names this id.
    pub fn is_named(&self, id: &TaskId) -> bool {
        self.sources.values().any(|source| source.names.contains(id))
    }

    /// Removes ids that the provider cannot have from a listing. Only the increase over the last read counts as errors. Known
    /// ids were checked before.
    pub fn reject_ids(&mut self, source: &SourceKey, listing: &mut Listing, dialect: &Dialect) {
        let Some(known) = self.sources.get_mut(source) else { return };
        let rejected = listing.reject_ids(dialect, |id| known.names.contains(id));
        // Only a whole listing says how many there are.
        if !listing.has_more {
            listing.errors += rejected.saturating_sub(std::mem::replace(&mut known.rejected, rejected));
        }
    }

    /// What is wrong with a listing and was not wrong with the one before, in words.
    pub fn new_messages<'a>(&mut self, source: &SourceKey, listing: &'a Listing) -> &'a [String] {
        match self.sources.get_mut(source) {
            Some(known) if known.messages != listing.messages => {
                known.messages.clone_from(&listing.messages);
                &listing.messages
            }
            _ => &[],
        }
    }

    /// Compares a listing with what its source named before. A partial listing never removes ids.
    pub fn compare(&self, source: &SourceKey, listing: &Listing) -> ListingDiff {
        let Some(known) = self.sources.get(source) else { return ListingDiff::default() };
        // Of an id that is listed twice, the first entry counts.
        let mut listed: HashMap<&TaskId, &NewTask> = HashMap::with_capacity(listing.tasks.len());
        for task in &listing.tasks {
            _ = listed.entry(&task.id).or_insert(task);
        }
        let gone = known.names.iter().filter(|id| !listing.has_more && !listed.contains_key(id));
        let new: BTreeMap<_, _> = listed.iter().filter(|(id, _)| !known.names.contains(id)).collect();
        ListingDiff {
            gone: gone.cloned().collect(),
            new: new.into_values().map(|task| (*task).clone()).collect(),
            count: listed.len(),
        }
    }

    /// A listing is stored: it names these ids besides, and no longer the ones that are gone.
    pub fn update(&mut self, source: &SourceKey, new: impl Iterator<Item = TaskId>, gone: &[TaskId], is_whole: bool) {
        if let Some(known) = self.sources.get_mut(source) {
            for id in gone {
                known.names.remove(id);
            }
            known.names.extend(new);
            known.is_read |= is_whole;
        }
    }

    /// A source was read completely.
    pub fn mark_loaded(&mut self, source: &SourceKey) {
        if let Some(known) = self.sources.get_mut(source) {
            known.is_first_load = false;
        }
        self.loaded.insert(source.identity.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider;

    fn key(label: &str) -> SourceKey {
        SourceKey { label: label.to_owned(), identity: format!("identity of {label}") }
    }

    fn listing(ids: &[&str], more: bool) -> Listing {
        let tasks = ids.iter().map(|id| NewTask::new(TaskId::parse(id).unwrap())).collect();
        Listing { tasks, has_more: more, ..Listing::default() }
    }

    fn ids<'a>(ids: impl Iterator<Item = &'a TaskId>) -> Vec<&'a str> {
        let mut ids: Vec<_> = ids.map(TaskId::as_str).collect();
        ids.sort_unstable();
        ids
    }

    /// Takes a listing as the actor does.
    fn take(registry: &mut SourceRegistry, source: &SourceKey, listing: &Listing) -> ListingDiff {
        let diff = registry.compare(source, listing);
        let new: Vec<_> = diff.new.iter().map(|task| task.id.clone()).collect();
        registry.update(source, new.into_iter(), &diff.gone, !listing.has_more);
        diff
    }

    #[test]
    fn a_listing_is_compared_with_the_one_before() {
        let mut registry = SourceRegistry::default();
        let source = key("file/0");
        registry.configure([source.clone(), key("file/1")]);
        let diff = take(&mut registry, &source, &listing(&["a", "b", "a"], false));
        assert_eq!((ids(diff.new.iter().map(|task| &task.id)), diff.gone.len()), (vec!["a", "b"], 0));
        assert!(!registry.is_ready(), "the other source was not read");
        let part = take(&mut registry, &source, &listing(&["c"], true));
        assert_eq!((ids(part.new.iter().map(|task| &task.id)), part.gone.len()), (vec!["c"], 0));
        let diff = take(&mut registry, &source, &listing(&["b"], false));
        assert_eq!((diff.new.len(), ids(diff.gone.iter())), (0, vec!["a", "c"]));
        assert!(registry.is_named(&TaskId::parse("b").unwrap()) && !registry.is_named(&TaskId::parse("a").unwrap()));
        take(&mut registry, &key("file/1"), &listing(&[], false));
        assert!(registry.is_ready());
    }

    #[test]
    fn another_configuration_keeps_what_the_remaining_sources_name() {
        let mut registry = SourceRegistry::new(HashSet::from([key("file/1").identity]));
        registry.configure([key("file/0"), key("file/1")]);
        assert!(registry.is_first_load(&key("file/0")) && !registry.is_first_load(&key("file/1")));
        for source in ["file/0", "file/1"] {
            take(&mut registry, &key(source), &listing(&[source], false));
        }
        registry.configure([key("file/1"), key("http/0")]);
        assert!(!registry.is_named(&TaskId::parse("file/0").unwrap()));
        assert_eq!(take(&mut registry, &key("file/1"), &listing(&["file/1"], false)).new, []);
        assert!(!registry.is_ready(), "the new source was not read");
        assert_eq!(
            take(&mut registry, &key("file/0"), &listing(&["x"], false)),
            ListingDiff::default(),
            "not configured"
        );
    }

    #[test]
    fn each_of_two_sources_with_one_identity_has_a_first_load() {
        let mut registry = SourceRegistry::default();
        let group = |n: u32| SourceKey { label: format!("static/{n}"), identity: "static".to_owned() };
        registry.configure([group(0), group(1)]);
        registry.mark_loaded(&group(0));
        assert!(!registry.is_first_load(&group(0)) && registry.is_first_load(&group(1)));
        registry.configure([group(0), group(1), group(2)]);
        assert!(registry.is_first_load(&group(1)), "a reload is no load");
        assert!(!registry.is_first_load(&group(2)), "ids that are added later are new");
    }

    #[test]
    fn ids_that_the_provider_cannot_have_are_rejected_and_counted_once() {
        let dialect = Dialect::from_provider(provider::by_name("veo").unwrap()).unwrap();
        let mut registry = SourceRegistry::default();
        registry.configure([key("file/0")]);
        let mut errors = Vec::new();
        for ids in [&["x", "models/m/operations/1"][..], &["x"], &["x", "y"], &[]] {
            let mut listing = listing(ids, false);
            registry.reject_ids(&key("file/0"), &mut listing, &dialect);
            assert!(listing.tasks.len() <= 1);
            errors.push((listing.errors, registry.new_messages(&key("file/0"), &listing).len()));
        }
        assert_eq!(errors, [(1, 1), (0, 0), (1, 1), (0, 0)]);
    }
}
