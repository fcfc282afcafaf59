//! Whether an upstream answers: the judgment behind `videogen_upstream_up`, and its last errors.

use std::collections::BTreeMap;
use std::time::Duration;

use super::request_outcome::{Operation, RequestOutcome};
use crate::domain::{Reason, Timestamp};

/// Reasons for which an upstream refuses requests until somebody acts.
pub const REFUSALS: [Reason; 4] = [Reason::Unauthorized, Reason::Forbidden, Reason::QuotaExhausted, Reason::WrongPath];

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
    /// Refused requests since an operation was last admitted.
    refusals: BTreeMap<(Operation, Reason), u32>,
    /// Failed requests since the last success.
    failures: u32,
    failing_since: Option<Timestamp>,
    /// The last successes are not stored yet.
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
    /// A request ended.
    pub fn on_request_ended(&mut self, ended: &RequestOutcome) {
        if ended.reason.is_none() {
            self.last_success.insert(ended.operation, ended.at);
            self.is_unsaved = true;
        }
        // That a task is not known, or has a wrong id, is said only to a request that is admitted.
        if ended.reason.is_none_or(Reason::is_about_one_task) {
            self.refusals.retain(|(operation, _), _| *operation != ended.operation);
        } else if let Some(reason) = ended.reason.filter(|reason| REFUSALS.contains(reason)) {
            let refusals = self.refusals.entry((ended.operation, reason)).or_default();
            *refusals = refusals.saturating_add(1);
        }
        if let Some(reason) = ended.reason.filter(|reason| !reason.is_about_one_task()) {
            let RequestOutcome { at, operation, code, .. } = *ended;
            self.last_error = Some(RequestFailure { at, operation, code, reason, cause: ended.cause.clone() });
        }
        if ended.has_own_key || matches!(ended.operation, Operation::Balance | Operation::QuotaPerUnit) {
            return;
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
    }

    /// The last success of each operation.
    pub fn last_successes(&self) -> impl Iterator<Item = (Operation, Timestamp)> {
        self.last_success.iter().map(|(operation, at)| (*operation, *at))
    }

    /// How often an operation was refused for this reason since it was last admitted.
    pub fn refusals(&self, operation: Operation, reason: Reason) -> u32 {
        self.refusals.get(&(operation, reason)).copied().unwrap_or_default()
    }

    /// Takes the last successes of the state, unless there were later ones.
    pub fn restore(&mut self, successes: impl IntoIterator<Item = (Operation, Timestamp)>) {
        for (operation, at) in successes {
            let last = self.last_success.entry(operation).or_insert(at);
            *last = at.max(*last);
        }
    }

    /// The last successes, when they have changed since they were taken.
    pub fn take_unsaved(&mut self) -> Option<Vec<(Operation, Timestamp)>> {
        std::mem::take(&mut self.is_unsaved).then(|| self.last_successes().collect())
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
            has_own_key: false,
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
            health.on_request_ended(&RequestOutcome { has_own_key: true, ..ended(second, Operation::List, BAD) });
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
    fn the_last_successes_continue_after_a_restart() {
        let mut health = UpstreamHealth::default();
        health.on_request_ended(&ended(5, Operation::Get, GOOD));
        let saved = health.take_unsaved().unwrap();
        assert_eq!(health.take_unsaved(), None, "nothing has changed");
        let mut restored = UpstreamHealth::default();
        restored.on_request_ended(&ended(3, Operation::List, GOOD));
        restored.restore(saved.into_iter().chain([(Operation::List, Timestamp::from_secs(1))]));
        let all: Vec<_> = restored.last_successes().collect();
        assert_eq!(all, [(Operation::Get, Timestamp::from_secs(5)), (Operation::List, Timestamp::from_secs(3))]);
    }
}
