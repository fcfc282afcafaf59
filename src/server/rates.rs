//! Rates of clients and keys: how often each may do something.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Most clients that are remembered. Only those whose rate is not fully recovered need to be.
const MAX_REMEMBERED: usize = 10_000;

/// A rate for each key, by the generic cell rate algorithm: one time for each, at which its rate is fully recovered.
pub struct Rates<K> {
    period: Duration,
    burst: u32,
    recovered: Mutex<HashMap<K, Instant>>,
}

/// The outcome of [`Rates::attempt`].
#[derive(Debug, PartialEq, Eq)]
pub enum Attempt<T> {
    /// It succeeded.
    Passed(T),
    /// It failed, and was counted.
    Failed,
    /// It was not tried: too many have failed.
    Refused,
}

impl<K: Clone + Eq + Hash> Rates<K> {
    /// So many per second, at most `burst` at once.
    pub fn new(per_second: u32, burst: u32) -> Self {
        Self { period: Duration::from_secs(1) / per_second, burst, recovered: Mutex::default() }
    }

    fn recovered(&self) -> MutexGuard<'_, HashMap<K, Instant>> {
        self.recovered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one, if the rate allows it.
    pub fn take(&self, key: &K, now: Instant) -> bool {
        self.attempt(key, now, || None::<()>) == Attempt::Failed
    }

    /// Takes back what [`Rates::take`] has counted.
    pub fn give_back(&self, key: &K) {
        let period = self.period;
        if let Some(recovered) = self.recovered().get_mut(key) {
            *recovered = recovered.checked_sub(period).unwrap_or(*recovered);
        }
    }

    /// Tries something while the rate of failures allows it. Concurrent attempts cannot exceed the rate, because `try_it` runs
    /// under the lock; it must be quick.
    pub fn attempt<T>(&self, key: &K, now: Instant, try_it: impl FnOnce() -> Option<T>) -> Attempt<T> {
        let mut recovered = self.recovered();
        let debt_end = recovered.get(key).copied().unwrap_or(now).max(now);
        if debt_end + self.period > now + self.period * self.burst {
            return Attempt::Refused;
        }
        if let Some(passed) = try_it() {
            return Attempt::Passed(passed);
        }
        if recovered.len() >= MAX_REMEMBERED && !recovered.contains_key(key) {
            make_room(&mut recovered, now);
        }
        recovered.insert(key.clone(), debt_end + self.period);
        Attempt::Failed
    }
}

/// Forgets those that are recovered; if there are none, the one that recovers first.
fn make_room<K: Clone + Eq + Hash>(recovered: &mut HashMap<K, Instant>, now: Instant) {
    recovered.retain(|_, end| *end > now);
    if recovered.len() >= MAX_REMEMBERED
        && let Some(first) = recovered.iter().min_by_key(|(_, end)| **end).map(|(key, _)| key.clone())
    {
        recovered.remove(&first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_right_key_is_refused_after_too_many_wrong_ones_and_other_clients_are_not() {
        let (rates, now) = (Rates::new(10, 20), clock::instant());
        let wrong = |client: u32, now| rates.attempt(&client, now, || None::<()>);
        assert!((0..20).all(|_| wrong(1, now) == Attempt::Failed));
        assert_eq!(wrong(1, now), Attempt::Refused);
        assert_eq!(rates.attempt(&1, now, || Some(())), Attempt::Refused, "nothing is compared");
        assert_eq!(rates.attempt(&2, now, || Some(())), Attempt::Passed(()));
        let later = now + Duration::from_millis(100);
        assert_eq!(rates.attempt(&1, later, || Some(())), Attempt::Passed(()));
        assert_eq!((wrong(1, later), wrong(1, later)), (Attempt::Failed, Attempt::Refused));
    }

    #[test]
    fn successes_cost_nothing_and_memory_is_bounded() {
        let (rates, now) = (Rates::new(10, 20), clock::instant());
        assert!((0..1000).all(|_| rates.attempt(&0, now, || Some(())) == Attempt::Passed(())));
        for client in 0..MAX_REMEMBERED + 100 {
            rates.take(&client, now);
        }
        assert_eq!(rates.recovered().len(), MAX_REMEMBERED);
        rates.take(&usize::MAX, now + Duration::from_secs(1));
        assert_eq!(rates.recovered().len(), 1, "the recovered ones are forgotten");
    }
}
