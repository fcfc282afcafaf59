//! The times of a gateway's row, and those of the vendor's body in it.

use serde_json::Value;

use super::read::lenient;
use crate::domain::reading::{ClockSource, Times};
use crate::domain::{Answer, Status, Timestamp};

/// Seconds from the provider's finish to the gateway's.
pub fn finish_lag(outer: &Answer, inner: &Answer, is_synthetic: bool) -> Option<f64> {
    let has_both = !is_synthetic && outer.status().is_end() && inner.status().is_end();
    has_both.then_some(outer.times.finish?.seconds_since(inner.times.finish?))
}

/// Seconds from the provider's own submit time to its own finish.
pub fn vendor_latency(inner: &Answer) -> Option<f64> {
    let times = inner.times;
    let has_both = inner.reported_status.is_some_and(Status::is_end) && times.clock != ClockSource::Mixed;
    has_both.then_some(times.finish?.seconds_since(times.submit?))
}

/// Times from one clock, if one clock has both submit and finish (docs/upstreams.md 2.4).
pub fn choose_times(row: &Value, outer: &Answer, inner: &Answer, status: Status) -> Times {
    let row_time = |key| -> Option<Timestamp> { lenient::time(row, &[key]) };
    let gateway_ended = outer.reported_status.is_some_and(Status::is_end);
    let start = outer.times.start;
    if gateway_ended && let (Some(submit), Some(finish)) = (outer.times.submit, row_time("finish_time")) {
        return Times { submit: Some(submit), start, finish: Some(finish), clock: ClockSource::Gateway };
    }
    let inner_ended = inner.reported_status.is_some_and(Status::is_end);
    if inner_ended && status.is_end() && inner.times.submit.is_some() && inner.times.finish.is_some() {
        return Times {
            submit: inner.times.submit,
            start: inner.times.start,
            finish: inner.times.finish,
            clock: ClockSource::Upstream,
        };
    }
    let updated = || row_time("updated_at").filter(|_| gateway_ended);
    let finish = outer.times.finish.or_else(|| row_time("finished_at")).or_else(updated);
    let from_inner = outer.times.submit.is_none() && inner.times.submit.is_some();
    let submit = outer.times.submit.or(inner.times.submit).or_else(|| row_time("created_at"));
    let clock =
        if from_inner && (finish.is_some() || start.is_some()) { ClockSource::Mixed } else { ClockSource::Gateway };
    Times { submit, start, finish, clock }
}
