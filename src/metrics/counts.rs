//! What is counted under one label set.

use std::collections::BTreeMap;

use super::families::{GATEWAY_LAG_BUCKETS, LIFE_BUCKETS};
use crate::domain::advance::{Span, SpanProblem};
use crate::domain::failure::FailureClass;
use crate::domain::reading::TokenType;
use crate::domain::task::ResolutionClass;
use crate::domain::{Increment, Status};

/// Ends with a latency and a run time of their own; `lost` has none.
const TIMED_ENDS: [Status; 4] = [Status::Succeeded, Status::Failed, Status::Cancelled, Status::Expired];

/// The counters and histograms.
#[derive(Debug)]
pub struct Counts {
    pub(super) submitted: u64,
    pub(super) finished: BTreeMap<Status, u64>,
    pub(super) failures: BTreeMap<(Status, FailureClass), u64>,
    pub(super) latency: BTreeMap<Status, Histogram>,
    pub(super) queue: Histogram,
    pub(super) run: BTreeMap<Status, Histogram>,
    pub(super) tokens: BTreeMap<TokenType, f64>,
    pub(super) quota: f64,
    pub(super) video: BTreeMap<ResolutionClass, f64>,
    pub(super) moved: BTreeMap<(Status, Status), u64>,
    pub(super) regressions: u64,
    pub(super) gateway_lag: Histogram,
    pub(super) invalid: BTreeMap<(Span, SpanProblem), u64>,
}

/// Observations by bucket.
#[derive(Debug)]
pub struct Histogram {
    pub(super) bounds: &'static [f64],
    pub(super) counts: Box<[u64]>,
    pub(super) sum: f64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1].into(), sum: 0.0 }
    }

    fn observe(&mut self, seconds: f64) {
        let place = self.bounds.iter().position(|bound| seconds <= *bound).unwrap_or(self.bounds.len());
        self.counts[place] += 1;
        self.sum += seconds;
    }

    /// One of a life's spans for each timed end.
    fn of_ends() -> BTreeMap<Status, Self> {
        TIMED_ENDS.map(|end| (end, Self::new(&LIFE_BUCKETS))).into()
    }
}

impl Default for Counts {
    /// Every series that can ever be, at 0.
    fn default() -> Self {
        let failures =
            Status::ENDS.iter().flat_map(|end| FailureClass::possible(*end).iter().map(|class| ((*end, *class), 0)));
        let moves = Status::ALL.iter().flat_map(|from| Status::ALL.iter().map(|to| (*from, *to)));
        // A task that has ended only ever moves to another end.
        let moves = moves.filter(|(from, to)| from != to && (!from.is_end() || to.is_end()));
        let spans = Span::ALL.iter().flat_map(|span| SpanProblem::ALL.iter().map(|problem| ((*span, *problem), 0)));
        Self {
            submitted: 0,
            finished: Status::ENDS.map(|end| (end, 0)).into(),
            failures: failures.collect(),
            latency: Histogram::of_ends(),
            queue: Histogram::new(&LIFE_BUCKETS),
            run: Histogram::of_ends(),
            tokens: TokenType::ALL.iter().map(|kind| (*kind, 0.0)).collect(),
            quota: 0.0,
            video: ResolutionClass::ALL.iter().map(|class| (*class, 0.0)).collect(),
            moved: moves.map(|pair| (pair, 0)).collect(),
            regressions: 0,
            gateway_lag: Histogram::new(&GATEWAY_LAG_BUCKETS),
            invalid: spans.collect(),
        }
    }
}

impl Counts {
    /// Adds one.
    pub(super) fn add(&mut self, increment: Increment) {
        match increment {
            Increment::Submitted => self.submitted += 1,
            Increment::Moved(from, to) => *self.moved.entry((from, to)).or_default() += 1,
            Increment::Finished(end) => *self.finished.entry(end).or_default() += 1,
            Increment::Failure(end, class) => *self.failures.entry((end, class)).or_default() += 1,
            Increment::Latency(end, seconds) => observe(&mut self.latency, end, seconds),
            Increment::Queue(seconds) => self.queue.observe(seconds),
            Increment::Run(end, seconds) => observe(&mut self.run, end, seconds),
            Increment::GatewayLag(seconds) => self.gateway_lag.observe(seconds),
            Increment::Regression => self.regressions += 1,
            Increment::InvalidDuration(span, problem) => *self.invalid.entry((span, problem)).or_default() += 1,
            Increment::Tokens(kind, tokens) => *self.tokens.entry(kind).or_default() += tokens,
            Increment::Quota(quota) => self.quota += quota,
            Increment::VideoSeconds(class, seconds) => *self.video.entry(class).or_default() += seconds,
        }
    }
}

fn observe(ends: &mut BTreeMap<Status, Histogram>, end: Status, seconds: f64) {
    ends.entry(end).or_insert_with(|| Histogram::new(&LIFE_BUCKETS)).observe(seconds);
}
