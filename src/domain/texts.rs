//! What many tasks have in common is kept once: a fleet has a handful of models, resolutions and sets of labels.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use super::Task;
use super::task::{AggregateLabels, Home, Video};

/// Most values of a kind that are kept; more stay each with its task.
const MAX_SHARED: usize = 1000;

/// The values that tasks share.
#[derive(Default)]
pub struct Texts {
    aggregate_labels: HashSet<AggregateLabels>,
    homes: HashSet<Arc<Home>>,
    videos: HashSet<Arc<Video>>,
}

impl Texts {
    /// Lets a task share what others have, too.
    pub fn share(&mut self, task: &mut Task) {
        let mut labels = task.home.aggregate_labels.clone();
        share(&mut self.aggregate_labels, &mut labels);
        if !Arc::ptr_eq(&labels, &task.home.aggregate_labels) {
            Arc::make_mut(&mut task.home).aggregate_labels = labels;
        }
        share(&mut self.homes, &mut task.home);
        share(&mut self.videos, &mut task.video);
    }
}

impl Texts {
    /// Forgets what no task has any more: its place is another's.
    pub fn tidy(&mut self) {
        self.homes.retain(|home| Arc::strong_count(home) > 1);
        self.videos.retain(|video| Arc::strong_count(video) > 1);
        self.aggregate_labels.retain(|labels| Arc::strong_count(labels) > 1);
    }
}

fn share<T: Hash + Eq + ?Sized>(known: &mut HashSet<Arc<T>>, value: &mut Arc<T>) {
    match known.get(value) {
        Some(shared) => *value = shared.clone(),
        None if known.len() < MAX_SHARED => _ = known.insert(value.clone()),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one_and_there_are_only_so_many() {
        let mut known = HashSet::new();
        let mut shared = |text: &str| {
            let mut value: Arc<str> = text.into();
            share(&mut known, &mut value);
            value
        };
        assert!(Arc::ptr_eq(&shared("a"), &shared("a")));
        for n in 0..2 * MAX_SHARED {
            shared(&n.to_string());
        }
        assert!(Arc::ptr_eq(&shared("a"), &shared("a")));
        assert!(!Arc::ptr_eq(&shared("1999"), &shared("1999")));
    }
}
