//! What a page has.

/// What a page has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// Every family.
    Everything,
    /// Only tasks, and the counters of their label sets.
    Tasks,
}
