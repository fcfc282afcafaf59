//! Video-generation tasks and their state machine: plain types and pure functions, without I/O and clocks.

pub mod advance;
pub mod apply;
pub mod counter;
pub mod drift;
pub mod enum_words;
pub mod failure;
pub mod id;
pub mod interner;
pub mod label_set;
pub mod labels;
pub mod number;
pub mod reading;
pub mod reason;
pub mod schedule;
pub mod scrub;
pub mod settling;
pub mod span;
pub mod status;
pub mod task;
pub mod time;
pub mod video_words;

pub use advance::{Policy, Transition, advance};
pub use counter::{Counter, CounterKey, Increment};
pub use drift::Drift;
pub use failure::FailureClass;
pub use id::TaskId;
pub use interner::Interner;
pub use label_set::LabelSet;
pub use reading::{Answer, Reading};
pub use reason::{ApiError, Reason};
pub use status::Status;
pub use task::{NewTask, Task};
pub use time::Timestamp;
