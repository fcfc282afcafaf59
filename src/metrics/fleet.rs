//! Gauges that are computed from the tasks at scrape: nothing that is gone can linger in them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::encoder::{Encoder, Extra};
use super::families;
use super::text::to_f64;
use crate::domain::task::TaskOrigin;
use crate::domain::{LabelSet, Status, Task, Timestamp};
use crate::view::UpstreamView;

/// Counts of tasks by label set.
#[derive(Debug, Default)]
pub struct Fleet {
    groups: BTreeMap<LabelSet, Group>,
}

/// The tasks of one label set.
#[derive(Debug, Clone, Default)]
struct Group {
    counts: [u64; Status::ALL.len()],
    /// By status, when the oldest active task was submitted.
    oldest: [Option<Timestamp>; Status::ALL.len()],
    /// The longest ago that an active task was last polled.
    polled: Option<Timestamp>,
    disagreements: BTreeMap<(Status, Status), u64>,
}

fn earliest(held: &mut Option<Timestamp>, moment: Option<Timestamp>) {
    *held = match (*held, moment) {
        (Some(held), Some(moment)) => Some(held.min(moment)),
        (held, moment) => held.or(moment),
    };
}

impl Group {
    fn add(&mut self, task: &Task) {
        let status = task.status.index();
        self.counts[status] += 1;
        if task.is_active() {
            earliest(&mut self.oldest[status], Some(task.age_start()));
            earliest(&mut self.polled, task.last_poll.or(Some(task.first_seen)));
        }
        if let Some(words) = task.disagreement() {
            *self.disagreements.entry(words).or_default() += 1;
        }
    }

    fn merge(&mut self, other: Self) {
        for (held, count) in self.counts.iter_mut().zip(other.counts) {
            *held += count;
        }
        for (held, moment) in self.oldest.iter_mut().zip(other.oldest) {
            earliest(held, moment);
        }
        earliest(&mut self.polled, other.polled);
        for (words, count) in other.disagreements {
            *self.disagreements.entry(words).or_default() += count;
        }
    }
}

impl Fleet {
    /// Of these tasks.
    pub fn of<'a>(tasks: impl Iterator<Item = &'a Task>) -> Self {
        // Tasks share the texts of their label sets: comparing addresses is cheaper than comparing texts.
        let mut known_groups: HashMap<(usize, usize, usize), usize> = HashMap::new();
        let mut groups: Vec<(LabelSet, Group)> = Vec::new();
        let mut last = None;
        for task in tasks {
            let TaskOrigin { upstream, aggregate_labels, .. } = &*task.origin;
            let model = task.video.model.as_ref().map_or(0, |model| model.as_ptr().addr());
            let key = (upstream.as_ptr().addr(), aggregate_labels.as_ptr().addr(), model);
            let group = match last {
                Some((known, group)) if known == key => group,
                _ => *known_groups.entry(key).or_insert_with(|| {
                    groups.push((task.label_set(), Group::default()));
                    groups.len() - 1
                }),
            };
            last = Some((key, group));
            groups[group].1.add(task);
        }
        let mut fleet = Self::default();
        for (label_set, group) in groups {
            fleet.groups.entry(label_set).or_default().merge(group);
        }
        fleet
    }

    /// Writes it; label sets without a task are there as well.
    pub fn write(mut self, out: &mut Encoder, views: &[Arc<UpstreamView>]) {
        for (label_set, _) in views.iter().flat_map(|view| view.counters.sets()) {
            if !self.groups.contains_key(label_set) {
                self.groups.insert(label_set.clone(), Group::default());
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
            earliest(polled.entry(&label_set.upstream).or_default(), group.polled);
        }
        let polled = polled.into_iter().filter_map(|(upstream, poll)| Some((upstream, poll?)));
        out.rows(&families::OLDEST_POLL, polled, |out, (upstream, poll)| {
            out.row(&[("upstream", upstream)], poll.as_secs_f64(), Extra::default());
        });
        let disagreements = groups.iter().flat_map(|(label_set, group)| {
            group.disagreements.iter().map(move |(words, count)| (label_set, *words, *count))
        });
        out.rows(&families::DISAGREEMENTS, disagreements, |out, (label_set, (gateway, upstream), count)| {
            let own = [("gateway_status", gateway.as_str()), ("upstream_status", upstream.as_str())];
            out.row(&label_set.with(&own), to_f64(count), Extra::default());
        });
    }
}
