//! Whether an upstream answers: the judgment behind `videogen_upstream_up`, and its last errors.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::request_outcome::{Operation, RequestOutcome};
use crate::domain::{Reason, Timestamp};

/// Reasons for which an upstream refuses requests until somebody acts.
pub const REFUSALS: [Reason; 4] = [Reason::Unauthorized, Reason::Forbidden, Reason::QuotaExhausted, Reason::WrongPath];

/// Between operation and reason, in the keys of the state.
const REFUSED: &str = "/refused/";

/// An upstream is down after so many failed requests in a row.
const FAILURES: u32 = 3;

/// It is also down when a request fails this long after the first failure since its last success.
const FAILING_FOR: Duration = Duration::from_mins(1);

/// What the requests to one upstream have shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UpstreamHealth {
    /// It answers, and since when it does or does not; `None` before the first request.
    pub state: Option<(bool, Timestamp)>,
    /// The last failed request.
    pub last_error: Option<RequestFailure>,
    /// The last success of each operation, by the wall clock.
    last_success: BTreeMap<Operation, Timestamp>,
    /// Refused requests since an operation was last admitted with this key; the empty one is that of polls. An ended refusal stays as
    /// 0, for the state.
    refusals: BTreeMap<(Operation, Arc<str>, Reason), u32>,
    /// Those before a restart, or with keys that are gone.
    earlier_refusals: BTreeMap<(Operation, Reason), u32>,
    /// Failed requests since the last success.
    failures: u32,
    failing_since: Option<Timestamp>,
    /// The last successes or refusals are not stored yet.
    is_unsaved: bool,
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestFailure {
    /// When.
    pub at: Timestamp,
    /// What it was to read.
    pub operation: Operation,
    /// HTTP status, where there was a response.
    pub code: Option<u16>,
    /// The reason.
    pub reason: Reason,
    /// What was wrong with the connection or the body.
    pub cause: Option<String>,
}

impl UpstreamHealth {
    /// A request ended; returns whether that changed the refusals.
    pub fn on_request_ended(&mut self, ended: &RequestOutcome) -> bool {
        if ended.reason.is_none() {
            self.last_success.insert(ended.operation, ended.at);
            self.is_unsaved = true;
        }
        let mut has_changed = false;
        // That a task is not known, or has a wrong id, is said only to a request that is admitted.
        if ended.reason.is_none_or(Reason::is_about_one_task) {
            let own = self.refusals.iter_mut();
            let own = own.filter(|((operation, key, _), _)| *operation == ended.operation && *key == ended.own_key);
            let earlier = self.earlier_refusals.iter_mut().filter(|((operation, _), _)| *operation == ended.operation);
            for count in own.map(|(_, count)| count).chain(earlier.map(|(_, count)| count)) {
                has_changed |= std::mem::take(count) > 0;
            }
        } else if let Some(reason) = ended.reason.filter(|reason| REFUSALS.contains(reason)) {
            let refusals = self.refusals.entry((ended.operation, ended.own_key.clone(), reason)).or_default();
            *refusals = refusals.saturating_add(1);
            has_changed = true;
        }
        self.is_unsaved |= has_changed;
        if let Some(reason) = ended.reason.filter(|reason| !reason.is_about_one_task()) {
            let RequestOutcome { at, operation, code, .. } = *ended;
            self.last_error = Some(RequestFailure { at, operation, code, reason, cause: ended.cause.clone() });
        }
        if !ended.own_key.is_empty() || matches!(ended.operation, Operation::Balance | Operation::QuotaPerUnit) {
            return has_changed;
        }
        if ended.reason.is_none_or(Reason::is_about_one_task) {
            self.failures = 0;
            self.failing_since = None;
        } else {
            self.failures = self.failures.saturating_add(1);
            self.failing_since.get_or_insert(ended.at);
        }
        let is_failing_for_long = self.failing_since.is_some_and(|since| ended.at.duration_since(since) >= FAILING_FOR);
        let is_up = self.failures == 0
            || !(self.failures >= FAILURES || is_failing_for_long) && self.state.is_none_or(|(is_up, _)| is_up);
        if self.state.is_none_or(|(was_up, _)| was_up != is_up) {
            // It has been down since the first of these failures.
            self.state = Some((is_up, self.failing_since.filter(|_| !is_up).unwrap_or(ended.at)));
        }
        has_changed
    }

    /// The last success of each operation.
    pub fn last_successes(&self) -> impl Iterator<Item = (Operation, Timestamp)> {
        self.last_success.iter().map(|(operation, at)| (*operation, *at))
    }

    /// How often an operation was refused for this reason since it was last admitted; of several keys the most.
    pub fn refusals(&self, operation: Operation, reason: Reason) -> u32 {
        let own = self.refusals.iter().filter(|((of, _, why), _)| *of == operation && *why == reason);
        let earlier = self.earlier_refusals.get(&(operation, reason));
        own.map(|(_, count)| *count).chain(earlier.copied()).max().unwrap_or_default()
    }

    /// Whether its last error is a refusal that lasts until somebody acts.
    pub fn is_refused(&self) -> bool {
        self.last_error.as_ref().is_some_and(|error| REFUSALS.contains(&error.reason))
    }

    /// Forgets refusals: keys and lists may be others now.
    pub fn forget_refusals(&mut self) {
        let of_keys = std::mem::take(&mut self.refusals);
        self.earlier_refusals.extend(of_keys.into_keys().map(|(operation, _, reason)| ((operation, reason), 0)));
        self.earlier_refusals.values_mut().for_each(|count| *count = 0);
        self.is_unsaved = true;
    }

    /// Takes what the state has, unless something later is known.
    pub fn restore(&mut self, saved: impl IntoIterator<Item = (String, i64)>) {
        for (key, value) in saved {
            if let Some((operation, reason)) = key.split_once(REFUSED) {
                let key = Operation::from_word(operation).zip(Reason::from_word(reason));
                self.earlier_refusals.extend(key.zip(u32::try_from(value).ok()));
            } else if let Some(operation) = Operation::from_word(&key) {
                let at = Timestamp::from_millis(value);
                let last = self.last_success.entry(operation).or_insert(at);
                *last = at.max(*last);
            }
        }
    }

    /// What the state keeps, when it has changed since it was taken: by operation when it last succeeded, in Unix milliseconds, and how
    /// often it was refused.
    pub fn take_unsaved(&mut self) -> Vec<(String, i64)> {
        if !std::mem::take(&mut self.is_unsaved) {
            return Vec::new();
        }
        let successes = self.last_successes().map(|(operation, at)| (operation.as_str().to_owned(), at.as_millis()));
        let of_keys = self.refusals.keys().map(|(operation, _, reason)| (*operation, *reason));
        let refused: BTreeSet<_> = of_keys.chain(self.earlier_refusals.keys().copied()).collect();
        let refusals = refused.into_iter().map(|(operation, reason)| {
            let key = format!("{}{REFUSED}{}", operation.as_str(), reason.as_str());
            (key, self.refusals(operation, reason).into())
        });
        successes.chain(refusals).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Option<Reason> = None;
    const BAD: Option<Reason> = Some(Reason::ServerError);

    fn ended(second: i64, operation: Operation, reason: Option<Reason>) -> RequestOutcome {
        RequestOutcome {
            operation,
            code: None,
            reason,
            took: Duration::ZERO,
            at: Timestamp::from_secs(second),
            date: None,
            cause: None,
            own_key: Arc::default(),
        }
    }

    /// The states after each of these requests.
    fn states(requests: &[(i64, Option<Reason>)]) -> Vec<bool> {
        let mut health = UpstreamHealth::default();
        let state = |&(second, reason): &(i64, _)| {
            health.on_request_ended(&ended(second, Operation::Get, reason));
            health.state.unwrap().0
        };
        requests.iter().map(state).collect()
    }

    #[test]
    fn a_single_fault_does_not_make_an_upstream_down() {
        for (requests, expected) in [
            (vec![(0, BAD), (1, GOOD), (2, BAD), (3, BAD), (4, GOOD)], vec![true; 5]),
            (
                vec![(0, GOOD), (1, BAD), (2, BAD), (3, BAD), (4, BAD), (5, GOOD)],
                vec![true, true, true, false, false, true],
            ),
            (vec![(0, BAD), (59, BAD)], vec![true, true]),
            (vec![(0, BAD), (60, BAD), (61, GOOD), (200, BAD)], vec![true, false, true, true]),
            // What concerns one task is an answer of the upstream.
            (vec![(0, BAD), (1, BAD), (2, Some(Reason::NotFound)), (3, BAD)], vec![true; 4]),
            (vec![(0, BAD), (1, BAD), (2, BAD), (3, Some(Reason::BadRequest))], vec![true, true, false, true]),
            (vec![(0, Some(Reason::Unauthorized)), (1, BAD), (2, Some(Reason::RateLimited))], vec![true, true, false]),
        ] {
            assert_eq!(states(&requests), expected, "{requests:?}");
        }
    }

    #[test]
    fn requests_with_another_key_and_for_the_account_do_not_count() {
        let mut health = UpstreamHealth::default();
        for second in 0..5 {
            health.on_request_ended(&ended(second, Operation::Balance, BAD));
            health.on_request_ended(&RequestOutcome { own_key: "list".into(), ..ended(second, Operation::List, BAD) });
        }
        assert_eq!(health.state, None);
        health.on_request_ended(&ended(9, Operation::Get, GOOD));
        assert_eq!(health.state, Some((true, Timestamp::from_secs(9))));
        assert_eq!(health.last_error.unwrap().operation, Operation::List);
    }

    #[test]
    fn an_upstream_is_down_since_its_first_failure() {
        let mut health = UpstreamHealth::default();
        for second in 10..20 {
            health.on_request_ended(&ended(second, Operation::Get, BAD));
        }
        assert_eq!(health.state, Some((false, Timestamp::from_secs(10))));
    }

    #[test]
    fn refusals_are_counted_until_the_operation_is_admitted() {
        let mut health = UpstreamHealth::default();
        for reason in [Reason::Unauthorized, Reason::ServerError, Reason::Forbidden, Reason::Unauthorized] {
            health.on_request_ended(&ended(1, Operation::List, Some(reason)));
        }
        health.on_request_ended(&ended(2, Operation::Get, GOOD));
        let refusals = |health: &UpstreamHealth| REFUSALS.map(|reason| health.refusals(Operation::List, reason));
        assert_eq!(refusals(&health), [2, 1, 0, 0]);
        assert_eq!(health.refusals(Operation::Get, Reason::Unauthorized), 0);
        health.on_request_ended(&ended(3, Operation::List, Some(Reason::NotFound)));
        assert_eq!(refusals(&health), [0; 4]);
    }

    #[test]
    fn successes_and_refusals_continue_after_a_restart() {
        let mut health = UpstreamHealth::default();
        health.on_request_ended(&ended(5, Operation::Get, GOOD));
        for second in 6..9 {
            health.on_request_ended(&ended(second, Operation::Get, Some(Reason::Unauthorized)));
        }
        let saved = health.take_unsaved();
        assert!(health.take_unsaved().is_empty(), "nothing has changed");
        let mut restored = UpstreamHealth::default();
        restored.on_request_ended(&ended(3, Operation::List, GOOD));
        restored.restore(saved.into_iter().chain([("list".to_owned(), 1000), ("other/refused/x".to_owned(), 1)]));
        let all: Vec<_> = restored.last_successes().collect();
        assert_eq!(all, [(Operation::Get, Timestamp::from_secs(5)), (Operation::List, Timestamp::from_secs(3))]);
        let refusals = |health: &UpstreamHealth| health.refusals(Operation::Get, Reason::Unauthorized);
        assert_eq!(refusals(&restored), 3);
        restored.on_request_ended(&ended(9, Operation::Get, GOOD));
        assert_eq!(refusals(&restored), 0);
        assert!(
            restored.take_unsaved().contains(&("get/refused/unauthorized".to_owned(), 0)),
            "the end is stored, too"
        );
    }

    #[test]
    fn lists_with_keys_of_their_own_are_judged_alone() {
        let mut health = UpstreamHealth::default();
        for second in 0..3 {
            for (key, reason) in [("good", GOOD), ("bad", Some(Reason::Forbidden))] {
                health.on_request_ended(&RequestOutcome {
                    own_key: key.into(),
                    ..ended(second, Operation::List, reason)
                });
            }
        }
        assert_eq!(health.refusals(Operation::List, Reason::Forbidden), 3);
        let key = "list/refused/forbidden".to_owned();
        assert!(health.take_unsaved().contains(&(key.clone(), 3)));
        health.forget_refusals();
        assert_eq!(health.refusals(Operation::List, Reason::Forbidden), 0);
        assert!(health.take_unsaved().contains(&(key, 0)), "the end is stored, too");
    }
}
