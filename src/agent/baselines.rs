//! How long the last tasks of each model took, and what that makes one expect of the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::Timestamp;
use crate::domain::latency::LatencySample;
use crate::domain::outlook::{LatencyHistory, Outlook, StuckRules};

/// The histories of one upstream's models.
pub struct Baselines {
    histories: BTreeMap<Arc<str>, LatencyHistory>,
    /// Shared with views until it is computed again.
    outlook: Arc<Outlook>,
    /// A history has changed since then.
    is_stale: bool,
}

impl Baselines {
    /// Nothing is known yet.
    pub fn new(stuck: StuckRules) -> Self {
        Self { histories: BTreeMap::new(), outlook: Arc::new(Outlook::new(stuck)), is_stale: false }
    }

    /// Takes other rules.
    pub fn configure(&mut self, stuck: StuckRules) {
        Arc::make_mut(&mut self.outlook).stuck = stuck;
    }

    /// Adds a task of a model.
    pub fn add(&mut self, model: &Arc<str>, sample: LatencySample) {
        // Not by `entry`, which would clone a known name.
        match self.histories.get_mut(model) {
            Some(history) => history.add(sample),
            None => self.histories.entry(model.clone()).or_default().add(sample),
        }
        self.is_stale = true;
    }

    /// Computes the percentiles again, if a history has changed; whether they differ.
    pub fn update(&mut self, now: Timestamp) -> bool {
        for history in self.histories.values_mut() {
            self.is_stale |= history.expire(now);
        }
        if !std::mem::take(&mut self.is_stale) {
            return false;
        }
        self.histories.retain(|_, history| !history.is_empty());
        let known = self.histories.iter().filter_map(|(model, history)| Some((model.clone(), history.baseline()?)));
        let baselines = known.collect();
        let is_other = self.outlook.baselines != baselines;
        if is_other {
            Arc::make_mut(&mut self.outlook).baselines = baselines;
        }
        is_other
    }

    /// What is expected now, for a view.
    pub fn publish(&self) -> Arc<Outlook> {
        self.outlook.clone()
    }
}
