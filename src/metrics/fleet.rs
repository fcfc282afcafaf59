//! Families that are computed from the table at this moment: nothing that is gone can linger in them.

use std::collections::{BTreeMap, HashMap};

use super::aggregates::Aggregates;
use super::encoder::{Encoder, Extra};
use super::families;
use super::text::to_f64;
use crate::domain::task::{Agg, Home};
use crate::domain::{Status, Task, Timestamp};

/// The tasks of each label set, counted.
#[derive(Debug, Default)]
pub struct Fleet {
    groups: BTreeMap<Agg, Group>,
}

/// Tasks that are counted together.
#[derive(Debug, Clone, Default)]
struct Group {
    counts: [u64; Status::ALL.len()],
    /// Of the active ones by status, when the oldest was submitted.
    oldest: [Option<Timestamp>; Status::ALL.len()],
    /// Of the active ones, when the last good answer came for the one that has been waiting longest.
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
        // Tasks share what makes up their label sets: a group is known by where that lies, which is sooner compared than its words.
        let mut places: HashMap<(usize, usize, usize), usize> = HashMap::new();
        let mut groups: Vec<(Agg, Group)> = Vec::new();
        let mut last = None;
        for task in tasks {
            let Home { upstream, aggregate_labels, .. } = &*task.home;
            let model = task.video.model.as_ref().map_or(0, |model| model.as_ptr().addr());
            let key = (upstream.as_ptr().addr(), aggregate_labels.as_ptr().addr(), model);
            let place = match last {
                Some((known, place)) if known == key => place,
                _ => *places.entry(key).or_insert_with(|| {
                    groups.push((task.agg(), Group::default()));
                    groups.len() - 1
                }),
            };
            last = Some((key, place));
            groups[place].1.add(task);
        }
        let mut fleet = Self::default();
        for (agg, group) in groups {
            fleet.groups.entry(agg).or_default().merge(group);
        }
        fleet
    }

    /// Writes it; label sets without a task are there as well.
    pub fn write(mut self, out: &mut Encoder, aggregates: &Aggregates) {
        for agg in aggregates.aggs() {
            if !self.groups.contains_key(agg) {
                self.groups.insert(agg.clone(), Group::default());
            }
        }
        let groups = &self.groups;
        if groups.is_empty() {
            return;
        }
        out.header(&families::TASKS);
        for (agg, group) in groups {
            for status in Status::ALL {
                let labels = aggregates.with_agg(agg, &[("status", status.as_str())]);
                out.row(&labels, to_f64(group.counts[status.index()]), Extra::default());
            }
        }
        let oldest = groups.iter().flat_map(|(agg, group)| {
            Status::ALL.iter().filter_map(move |status| Some((agg, *status, group.oldest[status.index()]?)))
        });
        out.rows(&families::OLDEST_SUBMIT, oldest, |out, (agg, status, submit)| {
            let labels = aggregates.with_agg(agg, &[("status", status.as_str())]);
            out.row(&labels, submit.as_secs_f64(), Extra::default());
        });
        let mut polled: BTreeMap<&str, Option<Timestamp>> = BTreeMap::new();
        for (agg, group) in groups.iter().filter(|(_, group)| group.polled.is_some()) {
            earliest(polled.entry(&agg.upstream).or_default(), group.polled);
        }
        let polled = polled.into_iter().filter_map(|(upstream, poll)| Some((upstream, poll?)));
        out.rows(&families::OLDEST_POLL, polled, |out, (upstream, poll)| {
            out.row(&[("upstream", upstream)], poll.as_secs_f64(), Extra::default());
        });
        let disagreements = groups
            .iter()
            .flat_map(|(agg, group)| group.disagreements.iter().map(move |(words, count)| (agg, *words, *count)));
        out.rows(&families::DISAGREEMENTS, disagreements, |out, (agg, (gateway, upstream), count)| {
            let own = [("gateway_status", gateway.as_str()), ("upstream_status", upstream.as_str())];
            out.row(&aggregates.with_agg(agg, &own), to_f64(count), Extra::default());
        });
    }
}
