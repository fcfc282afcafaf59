//! Gauges that a scrape computes from the tasks: they cannot contain tasks that are gone.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::encoder::{Encoder, Extra};
use super::families;
use super::text::to_f64;
use crate::domain::task::TaskOrigin;
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
}

fn keep_earliest(current: &mut Option<Timestamp>, time: Option<Timestamp>) {
    *current = match (*current, time) {
        (Some(current), Some(time)) => Some(current.min(time)),
        (current, time) => current.or(time),
    };
}

impl TaskGroup {
    fn add(&mut self, task: &Task) {
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
        for (statuses, count) in other.disagreements {
            *self.disagreements.entry(statuses).or_default() += count;
        }
    }
}

impl TaskGauges {
    /// Computes them from tasks.
    pub fn from_tasks<'a>(tasks: impl Iterator<Item = &'a Task>) -> Self {
        // Tasks of one label set share its strings, so that addresses can be compared, which is cheaper.
        let mut known_groups: HashMap<(usize, usize, usize), usize> = HashMap::new();
        let mut groups: Vec<(LabelSet, TaskGroup)> = Vec::new();
        let mut last = None;
        for task in tasks {
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
            groups[group].1.add(task);
        }
        let mut gauges = Self::default();
        for (label_set, group) in groups {
            gauges.groups.entry(label_set).or_default().merge(group);
        }
        gauges
    }

    /// Writes them, also for label sets without a task.
    pub fn write(mut self, out: &mut Encoder, views: &[Arc<UpstreamView>]) {
        for (label_set, _) in views.iter().flat_map(|view| view.counters.sets()) {
            if !self.groups.contains_key(label_set) {
                self.groups.insert(label_set.clone(), TaskGroup::default());
            }
        }
        let groups = &self.groups;
        if groups.is_empty() {
            return;
        }
        out.header(&families::TASKS);
        for (label_set, group) in groups {
            for status in Status::ALL {
                let labels = label_set.with(&[("status", status.as_str())]);
                out.row(&labels, to_f64(group.counts[status.index()]), Extra::default());
            }
        }
        let oldest = groups.iter().flat_map(|(label_set, group)| {
            Status::ALL.iter().filter_map(move |status| Some((label_set, *status, group.oldest[status.index()]?)))
        });
        out.rows(&families::OLDEST_SUBMIT, oldest, |out, (label_set, status, submit)| {
            let labels = label_set.with(&[("status", status.as_str())]);
            out.row(&labels, submit.as_secs_f64(), Extra::default());
        });
        let mut polled: BTreeMap<&str, Option<Timestamp>> = BTreeMap::new();
        for (label_set, group) in groups.iter().filter(|(_, group)| group.polled.is_some()) {
            keep_earliest(polled.entry(&label_set.upstream).or_default(), group.polled);
        }
        let polled = polled.into_iter().filter_map(|(upstream, poll)| Some((upstream, poll?)));
        out.rows(&families::OLDEST_POLL, polled, |out, (upstream, poll)| {
            out.row(&[("upstream", upstream)], poll.as_secs_f64(), Extra::default());
        });
        let disagreements = groups.iter().flat_map(|(label_set, group)| {
            group.disagreements.iter().map(move |(statuses, count)| (label_set, *statuses, *count))
        });
        out.rows(&families::DISAGREEMENTS, disagreements, |out, (label_set, (gateway, upstream), count)| {
            let statuses = [("gateway_status", gateway.as_str()), ("upstream_status", upstream.as_str())];
            out.row(&label_set.with(&statuses), to_f64(count), Extra::default());
        });
    }
}
