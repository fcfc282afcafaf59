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
    use crate::domain::{NewTask, TaskId, Timestamp};

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

    #[test]
    fn what_no_task_has_any_more_makes_room_for_others() {
        let mut texts = Texts::default();
        let mut task = |model: &str| {
            let new = NewTask::new(TaskId::parse("t").unwrap());
            let mut task = Task::new("u".into(), "new_api", new, Timestamp::from_secs(0));
            task.video = Arc::new(Video { model: Some(model.into()), ..Video::default() });
            task.relabel(Arc::new([("label_team".into(), "a".into())]));
            texts.share(&mut task);
            (task, texts.videos.len())
        };
        let (kept, _) = task("kept");
        for n in 0..2 * MAX_SHARED {
            task(&n.to_string());
        }
        let (late, held) = task("late");
        let (other, _) = task("late");
        assert!(held == MAX_SHARED && !Arc::ptr_eq(&late.video, &other.video), "there is no room");
        assert!(Arc::ptr_eq(&late.home, &other.home) && Arc::ptr_eq(&late.home, &kept.home));
        texts.tidy();
        assert_eq!(texts.videos.len(), 1, "that of the task that is still there");
        assert!(texts.videos.contains(&kept.video));
    }
}
