//! The numbers that counters and histograms are made of, as they are committed: whole, so that adding them up in another
//! order, before or after a restart, gives the same sum to the last bit. A counter that came back a hair smaller would be
//! a reset to Prometheus.

use std::fmt;

use crate::domain::FailureClass;
use crate::domain::Increment;
use crate::domain::Status;
use crate::domain::advance::{Span, SpanProblem};
use crate::domain::native;
use crate::domain::reading::TokenType;
use crate::domain::task::ResolutionClass;

/// Latency, queue and run: dense where video tasks live, exact at a gateway's 24 h sweep and Ark's 48 h expiry. Seconds.
pub const LIFE_BUCKETS: [f64; 20] = [
    5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 240.0, 300.0, 450.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0,
    21_600.0, 86_400.0, 172_800.0,
];

/// Gateway finish lag: from the next poll of a gateway to an hour behind. Seconds.
pub const GATEWAY_LAG_BUCKETS: [f64; 11] = [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0];

/// A histogram of a label set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timed {
    /// Submit to finish, by end.
    Latency(Status),
    /// Submit to start.
    Queue,
    /// Start to finish, by end.
    Run(Status),
    /// The provider's finish to the gateway's.
    GatewayLag,
}

/// One number of a label set. Its text is what the state keeps it under, such as `failures/failed/quota` or
/// `latency/succeeded/le=90`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cell {
    /// Tasks that count.
    Submitted,
    /// Ends.
    Finished(Status),
    /// Ends other than success.
    Failures(Status, FailureClass),
    /// Changes of status.
    Moved(Status, Status),
    /// Ends that took another's place.
    Regressions,
    /// Spans left out.
    Invalid(Span, SpanProblem),
    /// Thousandths of tokens.
    Tokens(TokenType),
    /// Thousandths of gateway units.
    Quota,
    /// Milliseconds of video.
    Video(ResolutionClass),
    /// Observations in one bucket alone, by its place; the last one has no upper bound.
    Bucket(Timed, usize),
    /// Observations in one [native] bucket, by its place.
    Native(Timed, i16),
    /// Sum of observations, in milliseconds.
    Sum(Timed),
}

impl Timed {
    /// Upper bounds of its buckets but the last, in seconds.
    pub const fn bounds(self) -> &'static [f64] {
        match self {
            Self::GatewayLag => &GATEWAY_LAG_BUCKETS,
            Self::Latency(_) | Self::Queue | Self::Run(_) => &LIFE_BUCKETS,
        }
    }

    /// The first bucket that holds a value.
    fn place(self, seconds: f64) -> usize {
        let bounds = self.bounds();
        bounds.iter().position(|bound| seconds <= *bound).unwrap_or(bounds.len())
    }
}

impl Cell {
    /// What an increment adds to which cells.
    pub fn of(increment: Increment) -> impl Iterator<Item = (Self, u64)> {
        let observed = |timed: Timed, seconds: f64| {
            [
                Some((Self::Bucket(timed, timed.place(seconds)), 1)),
                Some((Self::Native(timed, native::place(seconds)), 1)),
                Some((Self::Sum(timed), thousandths(seconds))),
            ]
        };
        let one = |cell| [Some((cell, 1)), None, None];
        let amount = |cell, amount| [Some((cell, thousandths(amount))), None, None];
        let cells = match increment {
            Increment::Submitted => one(Self::Submitted),
            Increment::Moved(from, to) => one(Self::Moved(from, to)),
            Increment::Finished(end) => one(Self::Finished(end)),
            Increment::Regression => one(Self::Regressions),
            Increment::Failure(end, class) => one(Self::Failures(end, class)),
            Increment::InvalidDuration(span, problem) => one(Self::Invalid(span, problem)),
            Increment::Latency(end, seconds) => observed(Timed::Latency(end), seconds),
            Increment::Queue(seconds) => observed(Timed::Queue, seconds),
            Increment::Run(end, seconds) => observed(Timed::Run(end), seconds),
            Increment::GatewayLag(seconds) => observed(Timed::GatewayLag, seconds),
            Increment::Tokens(kind, tokens) => amount(Self::Tokens(kind), tokens),
            Increment::Quota(quota) => amount(Self::Quota, quota),
            Increment::VideoSeconds(class, seconds) => amount(Self::Video(class), seconds),
        };
        cells.into_iter().flatten()
    }

    /// Reads what [`Cell`]'s text says; `None` for a text of another version. A bucket whose bound is gone is the next
    /// larger one.
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let timed = |timed: Timed, part: &str| match part {
            "sum" => Some(Self::Sum(timed)),
            "native=zero" => Some(Self::Native(timed, native::ZERO)),
            _ if part.starts_with("native=") => Some(Self::Native(timed, part.strip_prefix("native=")?.parse().ok()?)),
            "le=+Inf" => Some(Self::Bucket(timed, timed.bounds().len())),
            _ => Some(Self::Bucket(timed, timed.place(part.strip_prefix("le=")?.parse().ok()?))),
        };
        match *parts.as_slice() {
            ["submitted"] => Some(Self::Submitted),
            ["regressions"] => Some(Self::Regressions),
            ["quota"] => Some(Self::Quota),
            ["finished", end] => Some(Self::Finished(Status::of_word(end)?)),
            ["failures", end, class] => Some(Self::Failures(Status::of_word(end)?, FailureClass::of_word(class)?)),
            ["transitions", from, to] => Some(Self::Moved(Status::of_word(from)?, Status::of_word(to)?)),
            ["invalid", span, problem] => Some(Self::Invalid(Span::of_word(span)?, SpanProblem::of_word(problem)?)),
            ["tokens", kind] => Some(Self::Tokens(TokenType::of_word(kind)?)),
            ["video", class] => Some(Self::Video(ResolutionClass::of_word(class)?)),
            ["latency", end, part] => timed(Timed::Latency(Status::of_word(end)?), part),
            ["run", end, part] => timed(Timed::Run(Status::of_word(end)?), part),
            ["queue", part] => timed(Timed::Queue, part),
            ["gateway_lag", part] => timed(Timed::GatewayLag, part),
            _ => None,
        }
    }
}

impl fmt::Display for Timed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latency(end) => write!(f, "latency/{}", end.as_str()),
            Self::Run(end) => write!(f, "run/{}", end.as_str()),
            Self::Queue => f.write_str("queue"),
            Self::GatewayLag => f.write_str("gateway_lag"),
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Submitted => f.write_str("submitted"),
            Self::Regressions => f.write_str("regressions"),
            Self::Quota => f.write_str("quota"),
            Self::Finished(end) => write!(f, "finished/{}", end.as_str()),
            Self::Failures(end, class) => write!(f, "failures/{}/{}", end.as_str(), class.as_str()),
            Self::Moved(from, to) => write!(f, "transitions/{}/{}", from.as_str(), to.as_str()),
            Self::Invalid(span, problem) => write!(f, "invalid/{}/{}", span.as_str(), problem.as_str()),
            Self::Tokens(kind) => write!(f, "tokens/{}", kind.as_str()),
            Self::Video(class) => write!(f, "video/{}", class.as_str()),
            Self::Sum(timed) => write!(f, "{timed}/sum"),
            Self::Native(timed, native::ZERO) => write!(f, "{timed}/native=zero"),
            Self::Native(timed, place) => write!(f, "{timed}/native={place}"),
            Self::Bucket(timed, place) => match timed.bounds().get(*place) {
                Some(bound) => write!(f, "{timed}/le={bound}"),
                None => write!(f, "{timed}/le=+Inf"),
            },
        }
    }
}

/// The most that a cell holds: a database's integers have a sign.
pub const CELL_MAX: u64 = i64::MAX.unsigned_abs();

/// An amount in thousandths, rounded; as many as fit, where an upstream says something monstrous.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and `as` saturates")]
fn thousandths(amount: f64) -> u64 {
    ((amount * 1000.0).round().max(0.0) as u64).min(CELL_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_found_again_under_its_text() {
        let timed = Status::ENDS.iter().flat_map(|end| [Timed::Latency(*end), Timed::Run(*end)]);
        let timed: Vec<_> = timed.chain([Timed::Queue, Timed::GatewayLag]).collect();
        let pairs = |of: fn(Status, Status) -> Cell| {
            Status::ALL.iter().flat_map(move |from| Status::ALL.iter().map(move |to| of(*from, *to)))
        };
        let mut cells = vec![Cell::Submitted, Cell::Regressions, Cell::Quota];
        cells.extend(Status::ENDS.map(Cell::Finished));
        cells.extend(pairs(Cell::Moved));
        for end in Status::ENDS {
            cells.extend(FailureClass::ALL.iter().map(|class| Cell::Failures(end, *class)));
        }
        for span in Span::ALL {
            cells.extend(SpanProblem::ALL.iter().map(|problem| Cell::Invalid(*span, *problem)));
        }
        cells.extend(TokenType::ALL.iter().map(|kind| Cell::Tokens(*kind)));
        cells.extend(ResolutionClass::ALL.iter().map(|class| Cell::Video(*class)));
        for timed in timed {
            cells.push(Cell::Sum(timed));
            cells.extend([native::ZERO, -80, -1, 0, 7, 251].map(|place| Cell::Native(timed, place)));
            cells.extend((0..=timed.bounds().len()).map(|place| Cell::Bucket(timed, place)));
        }
        for cell in &cells {
            assert_eq!(Cell::parse(&cell.to_string()), Some(*cell), "{cell}");
        }
        assert!(cells.len() > 300);
        assert_eq!(Cell::Bucket(Timed::Latency(Status::Failed), 6).to_string(), "latency/failed/le=90");
        assert_eq!(Cell::parse("queue/le=91"), Some(Cell::Bucket(Timed::Queue, 7)), "a bound of another version");
        for text in ["", "finished", "finished/done", "latency/failed/90", "tokens/le=5", "quota/x"] {
            assert_eq!(Cell::parse(text), None, "{text}");
        }
    }

    #[test]
    fn amounts_are_whole_and_saturate() {
        let found = |increment| Cell::of(increment).collect::<Vec<_>>();
        assert_eq!(found(Increment::Quota(0.25)), [(Cell::Quota, 250)]);
        assert_eq!(found(Increment::Quota(1e300)), [(Cell::Quota, CELL_MAX)]);
        let latency = Timed::Latency(Status::Succeeded);
        let expected = [(Cell::Bucket(latency, 6), 1), (Cell::Native(latency, 52), 1), (Cell::Sum(latency), 90_000)];
        assert_eq!(found(Increment::Latency(Status::Succeeded, 90.0)), expected);
        assert_eq!(found(Increment::Queue(1e7))[0].0, Cell::Bucket(Timed::Queue, LIFE_BUCKETS.len()));
    }
}
