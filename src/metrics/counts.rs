//! What is counted under one label set.

use std::collections::BTreeMap;

use super::histogram::Native;
use crate::domain::advance::{Span, SpanProblem};
use crate::domain::cell::{CELL_MAX, GATEWAY_LAG_BUCKETS, LIFE_BUCKETS, Timed};
use crate::domain::failure::FailureClass;
use crate::domain::reading::TokenType;
use crate::domain::task::ResolutionClass;
use crate::domain::{Cell, Status};

/// Ends with a latency and a run time of their own; `lost` has none.
const TIMED_ENDS: [Status; 4] = [Status::Succeeded, Status::Failed, Status::Cancelled, Status::Expired];

/// The counters and histograms, in the units of their cells.
#[derive(Debug, Clone)]
pub struct Counts {
    pub(super) submitted: u64,
    pub(super) finished: BTreeMap<Status, u64>,
    pub(super) failures: BTreeMap<(Status, FailureClass), u64>,
    pub(super) latency: BTreeMap<Status, Histogram>,
    pub(super) queue: Histogram,
    pub(super) run: BTreeMap<Status, Histogram>,
    pub(super) tokens: BTreeMap<TokenType, u64>,
    pub(super) quota: u64,
    pub(super) video: BTreeMap<ResolutionClass, u64>,
    pub(super) moved: BTreeMap<(Status, Status), u64>,
    pub(super) regressions: u64,
    pub(super) gateway_lag: Histogram,
    pub(super) invalid: BTreeMap<(Span, SpanProblem), u64>,
}

/// Observations by bucket.
#[derive(Debug, Clone)]
pub struct Histogram {
    pub(super) bounds: &'static [f64],
    pub(super) counts: Box<[u64]>,
    pub(super) sum: u64,
    pub(super) native: Native,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1].into(), sum: 0, native: Native::default() }
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
            tokens: TokenType::ALL.iter().map(|kind| (*kind, 0)).collect(),
            quota: 0,
            video: ResolutionClass::ALL.iter().map(|class| (*class, 0)).collect(),
            moved: moves.map(|pair| (pair, 0)).collect(),
            regressions: 0,
            gateway_lag: Histogram::new(&GATEWAY_LAG_BUCKETS),
            invalid: spans.collect(),
        }
    }
}

impl Counts {
    /// Adds to one cell.
    pub(super) fn add(&mut self, cell: Cell, more: u64) {
        let held = match cell {
            Cell::Submitted => &mut self.submitted,
            Cell::Moved(from, to) => self.moved.entry((from, to)).or_default(),
            Cell::Finished(end) => self.finished.entry(end).or_default(),
            Cell::Failures(end, class) => self.failures.entry((end, class)).or_default(),
            Cell::Regressions => &mut self.regressions,
            Cell::Invalid(span, problem) => self.invalid.entry((span, problem)).or_default(),
            Cell::Tokens(kind) => self.tokens.entry(kind).or_default(),
            Cell::Quota => &mut self.quota,
            Cell::Video(class) => self.video.entry(class).or_default(),
            Cell::Bucket(timed, place) => &mut self.histogram(timed).counts[place],
            Cell::Native(timed, place) => self.histogram(timed).native.0.entry(place).or_default(),
            Cell::Sum(timed) => &mut self.histogram(timed).sum,
        };
        *held = held.saturating_add(more).min(CELL_MAX);
    }

    fn histogram(&mut self, timed: Timed) -> &mut Histogram {
        match timed {
            Timed::Latency(end) => self.latency.entry(end).or_insert_with(|| Histogram::new(timed.bounds())),
            Timed::Run(end) => self.run.entry(end).or_insert_with(|| Histogram::new(timed.bounds())),
            Timed::Queue => &mut self.queue,
            Timed::GatewayLag => &mut self.gateway_lag,
        }
    }
}
