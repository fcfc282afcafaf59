//! What a video-generation task is and how it moves: plain types and pure functions, no I/O and no clock.

pub mod advance;
pub mod cell;
pub mod drift;
pub mod failure;
pub mod id;
pub mod labels;
pub mod native;
pub mod number;
pub mod reading;
pub mod reason;
pub mod rows;
pub mod schedule;
pub mod status;
pub mod tally;
pub mod task;
pub mod texts;
pub mod time;

pub use advance::{Increment, Policy, Transition, advance};
pub use cell::Cell;
pub use drift::Drift;
pub use failure::FailureClass;
pub use id::TaskId;
pub use reading::{Answer, Reading};
pub use reason::{ApiError, Reason};
pub use rows::{Chunk, Place, Rows};
pub use status::Status;
pub use tally::{Birth, Tally};
pub use task::{NewTask, Task};
pub use texts::Texts;
pub use time::Timestamp;
