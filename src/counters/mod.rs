//! What has been counted of one upstream's tasks: by label set, limited in number, held at 0 at first.

mod counter_set;
mod exemplar;
mod held_count;
mod label_limits;
pub mod native_buckets;
mod set_limits;
mod snapshot;
mod state_key;
mod upstream_counters;
mod values;
mod zero_hold;

pub use counter_set::CounterSet;
pub use exemplar::Exemplar;
pub use held_count::HeldCount;
pub use label_limits::{LabelLimiter, LabelLimits, UNUSED_FOR};
pub use native_buckets::NativeBuckets;
pub use snapshot::{CounterSnapshot, SourceCounters};
pub use state_key::{Part, StateKey, state_increments};
pub use upstream_counters::{DueHolds, UpstreamCounters};
pub use values::{CounterValues, HistogramValues};
pub use zero_hold::ZeroHold;
