//! Interner: what many tasks have in common (models, resolutions, labels) is kept once.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use super::label_set::AggregateLabels;
use super::task::{Task, TaskOrigin, Video};

/// Most values of a kind; further ones are not shared.
const MAX_SHARED: usize = 1000;

/// Shared values.
#[derive(Default)]
pub struct Interner {
    aggregate_labels: HashSet<AggregateLabels>,
    origins: HashSet<Arc<TaskOrigin>>,
    videos: HashSet<Arc<Video>>,
}

impl Interner {
    /// Replaces a task's values by equal ones of other tasks.
    pub fn intern(&mut self, task: &mut Task) {
        let mut labels = task.origin.aggregate_labels.clone();
        share(&mut self.aggregate_labels, &mut labels);
        if !Arc::ptr_eq(&labels, &task.origin.aggregate_labels) {
            Arc::make_mut(&mut task.origin).aggregate_labels = labels;
        }
        share(&mut self.origins, &mut task.origin);
        share(&mut self.videos, &mut task.video);
    }

    /// Drops values that no task has any more.
    pub fn drop_unused(&mut self) {
        self.origins.retain(|origin| Arc::strong_count(origin) > 1);
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
    use crate::domain::{NewTask, TaskId, Timestamp};

    #[test]
    fn equal_values_are_shared_up_to_a_limit() {
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

    #[test]
    fn unused_values_make_room_for_others() {
        let mut interner = Interner::default();
        let mut task = |model: &str| {
            let new = NewTask::new(TaskId::parse("t").unwrap());
            let mut task = Task::new("u".into(), "new_api", new, Timestamp::from_secs(0));
            task.video = Arc::new(Video { model: Some(model.into()), ..Video::default() });
            Arc::make_mut(&mut task.origin).aggregate_labels = Arc::new([("label_team".into(), "a".into())]);
            interner.intern(&mut task);
            (task, interner.videos.len())
        };
        let (kept, _) = task("kept");
        for n in 0..2 * MAX_SHARED {
            task(&n.to_string());
        }
        let (late, held) = task("late");
        let (other, _) = task("late");
        assert!(held == MAX_SHARED && !Arc::ptr_eq(&late.video, &other.video), "the limit is reached");
        assert!(Arc::ptr_eq(&late.origin, &other.origin) && Arc::ptr_eq(&late.origin, &kept.origin));
        interner.drop_unused();
        assert_eq!(interner.videos.len(), 1, "that of the remaining task");
        assert!(interner.videos.contains(&kept.video));
    }
}
