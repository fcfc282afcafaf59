//! Which parts of the program move. A part that has not moved for longer than it ever should makes the program unhealthy.
//!
//! Waiting for a disk, a database or an upstream within its time-out is movement.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;

/// The parts. Clones share them.
#[derive(Clone)]
pub struct Liveness(Arc<Parts>);

struct Parts {
    epoch: Instant,
    parts: Mutex<BTreeMap<String, Part>>,
}

struct Part {
    /// When it moved last, in milliseconds since the epoch.
    moved: Arc<AtomicU64>,
    /// How long it may stand still.
    limit: Duration,
}

/// Shows that a part moves, until it is dropped.
pub struct Pulse {
    name: String,
    moved: Arc<AtomicU64>,
    liveness: Liveness,
}

impl Default for Liveness {
    fn default() -> Self {
        Self(Arc::new(Parts { epoch: clock::instant(), parts: Mutex::default() }))
    }
}

impl Liveness {
    fn parts(&self) -> MutexGuard<'_, BTreeMap<String, Part>> {
        self.0.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.0.epoch).as_millis()).unwrap_or(u64::MAX)
    }

    /// Adds a part that may stand still for `limit`. A part of the same name is replaced.
    pub fn add(&self, name: impl Into<String>, limit: Duration) -> Pulse {
        let name = name.into();
        let moved = Arc::new(AtomicU64::new(self.millis(clock::instant())));
        self.parts().insert(name.clone(), Part { moved: moved.clone(), limit });
        Pulse { name, moved, liveness: self.clone() }
    }

    /// The parts that have not moved for longer than they may.
    pub fn stalled(&self, now: Instant) -> Vec<String> {
        let now = self.millis(now);
        let is_stalled = |part: &Part| {
            let still = now.saturating_sub(part.moved.load(Ordering::Relaxed));
            u128::from(still) > part.limit.as_millis()
        };
        self.parts().iter().filter(|(_, part)| is_stalled(part)).map(|(name, _)| name.clone()).collect()
    }
}

impl Pulse {
    /// It moves.
    pub fn beat(&self) {
        self.moved.store(self.liveness.millis(clock::instant()), Ordering::Relaxed);
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        let mut parts = self.liveness.parts();
        // It may have been replaced.
        if parts.get(&self.name).is_some_and(|part| Arc::ptr_eq(&part.moved, &self.moved)) {
            parts.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_stands_still_for_too_long_is_named_until_it_moves_or_ends() {
        let liveness = Liveness::default();
        let limit = Duration::from_mins(1);
        let (store, actor) = (liveness.add("store", limit), liveness.add("upstream u", limit * 2));
        let later = |by: Duration| liveness.stalled(clock::instant() + by);
        assert!(later(limit / 2).is_empty());
        assert_eq!(later(limit + limit / 2), ["store"]);
        assert_eq!(later(limit * 3), ["store", "upstream u"]);
        store.moved.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(later(limit * 3), ["upstream u"]);
        let newer = liveness.add("upstream u", limit * 9);
        drop(actor);
        assert!(later(limit * 3).is_empty(), "an actor that has ended is nothing to wait for");
        assert_eq!(later(limit * 10).len(), 2 - 1);
        drop(newer);
    }
}
