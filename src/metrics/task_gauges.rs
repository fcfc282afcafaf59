//! Gauges that a scrape computes from the tasks: they cannot contain tasks that are gone.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::contents::Contents;
use super::encoder::Extra;
use super::families;
use super::head::Head;
use super::tasks::TaskContext;
use super::text::to_f64;
use crate::domain::task::TaskOrigin;
use crate::domain::time::WallOffset;
use crate::domain::{LabelSet, Status, Task, Timestamp};
use crate::view::UpstreamView;

/// The gauges, by label set.
#[derive(Debug, Default)]
pub struct TaskGauges {
    groups: BTreeMap<LabelSet, TaskGroup>,
}

/// The tasks of one label set.
#[derive(Debug, Clone, Default)]
struct TaskGroup {
    counts: [u64; Status::ALL.len()],
    /// By status, the submit time of the oldest active task.
    oldest: [Option<Timestamp>; Status::ALL.len()],
    /// Of the last polls of its active tasks, the earliest one.
    polled: Option<Timestamp>,
    disagreements: BTreeMap<(Status, Status), u64>,
    stuck: u64,
}

fn keep_earliest(current: &mut Option<Timestamp>, time: Option<Timestamp>) {
    *current = match (*current, time) {
        (Some(current), Some(time)) => Some(current.min(time)),
        (current, time) => current.or(time),
    };
}

impl TaskGroup {
    fn add(&mut self, task: &Task, context: &TaskContext) {
        self.stuck += u64::from(context.outlook.is_stuck(task, context.now));
        let status = task.status.index();
        self.counts[status] += 1;
        if task.is_active() {
            keep_earliest(&mut self.oldest[status], Some(task.age_start()));
            keep_earliest(&mut self.polled, task.last_poll.or(Some(task.first_seen)));
        }
        if let Some(statuses) = task.disagreement() {
            *self.disagreements.entry(statuses).or_default() += 1;
        }
    }

    fn merge(&mut self, other: Self) {
        for (current, count) in self.counts.iter_mut().zip(other.counts) {
            *current += count;
        }
        for (current, time) in self.oldest.iter_mut().zip(other.oldest) {
            keep_earliest(current, time);
        }
        keep_earliest(&mut self.polled, other.polled);
        self.stuck += other.stuck;
        for (statuses, count) in other.disagreements {
            *self.disagreements.entry(statuses).or_default() += count;
        }
    }
}

impl TaskGauges {
    /// Computes them from tasks; `wall_offset` leads from our own times to those of the wall clock.
    pub fn from_tasks<'a>(tasks: impl Iterator<Item = (&'a Task, &'a TaskContext)>, wall_offset: WallOffset) -> Self {
        // Tasks of one label set share its strings, so that addresses can be compared, which is cheaper.
        let mut known_groups: HashMap<(usize, usize, usize), usize> = HashMap::new();
        let mut groups: Vec<(LabelSet, TaskGroup)> = Vec::new();
        let mut last = None;
        for (task, context) in tasks {
            let TaskOrigin { upstream, aggregate_labels, .. } = &*task.origin;
            let model = task.video.model.as_ref().map_or(0, |model| model.as_ptr().addr());
            let key = (upstream.as_ptr().addr(), aggregate_labels.as_ptr().addr(), model);
            let group = match last {
                Some((known, group)) if known == key => group,
                _ => *known_groups.entry(key).or_insert_with(|| {
                    groups.push((task.label_set(), TaskGroup::default()));
                    groups.len() - 1
                }),
            };
            last = Some((key, group));
            groups[group].1.add(&task.by_wall(wall_offset), context);
        }
        let mut gauges = Self::default();
        for (label_set, group) in groups {
            gauges.groups.entry(label_set).or_default().merge(group);
        }
        gauges
    }

    /// Adds them to a page, also for label sets without a task. A page of only tasks has none of label sets that are not in
    /// the counters of its views, and no gauges of the oldest task.
    pub fn add_to(mut self, head: &mut Head, views: &[Arc<UpstreamView>], contents: Contents) {
        if contents == Contents::Tasks {
            self.groups.retain(|label_set, _| views.iter().any(|view| view.counters.has(label_set)));
        }
        for (label_set, _) in views.iter().flat_map(|view| view.counters.sets()) {
            if !self.groups.contains_key(label_set) {
                self.groups.insert(label_set.clone(), TaskGroup::default());
            }
        }
        let mut polled: BTreeMap<Arc<str>, Option<Timestamp>> = BTreeMap::new();
        for (label_set, group) in self.groups.iter().filter(|(_, group)| group.polled.is_some()) {
            keep_earliest(polled.entry(label_set.upstream.clone()).or_default(), group.polled);
        }
        let polled: Vec<_> = polled.into_iter().filter_map(|(upstream, poll)| Some((upstream, poll?))).collect();
        let groups: Arc<[(LabelSet, TaskGroup)]> = self.groups.into_iter().collect();
        head.family(&families::TASKS, groups.clone(), |out, (label_set, group)| {
            for status in Status::ALL {
                let labels = label_set.with(&[("status", status.as_str())]);
                out.row(&labels, to_f64(group.counts[status.index()]), Extra::default());
            }
        });
        if contents == Contents::Everything {
            head.family(&families::OLDEST_SUBMIT, groups.clone(), |out, (label_set, group)| {
                let oldest = Status::ALL.iter().zip(group.oldest);
                for (status, submit) in oldest.filter_map(|(status, submit)| Some((status, submit?))) {
                    let labels = label_set.with(&[("status", status.as_str())]);
                    out.row(&labels, submit.as_secs_f64(), Extra::default());
                }
            });
        }
        head.family(&families::TASKS_STUCK, groups.clone(), |out, (label_set, group)| {
            out.row(&label_set.with(&[]), to_f64(group.stuck), Extra::default());
        });
        if contents == Contents::Everything {
            head.family(&families::OLDEST_POLL, polled, |out, (upstream, poll)| {
                out.row(&[("upstream", upstream)], poll.as_secs_f64(), Extra::default());
            });
        }
        head.family(&families::DISAGREEMENTS, groups, |out, (label_set, group)| {
            for ((gateway, upstream), count) in &group.disagreements {
                let statuses = [("gateway_status", gateway.as_str()), ("upstream_status", upstream.as_str())];
                out.row(&label_set.with(&statuses), to_f64(*count), Extra::default());
            }
        });
    }
}
