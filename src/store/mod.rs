//! What survives: the tasks, who was ever named, and what was counted. Nothing is counted that was not committed here first.
//!
//! SQLite, in a file or in memory, written by one thread of its own. Whoever asks it waits for an answer and holds nothing
//! meanwhile; a state that cannot be written holds up neither polls nor pages.

mod batch;
mod handle;
mod job;
mod open;
mod record;
mod timeline;
mod writer;

pub use batch::{Cursor, LedgerPage, Seen, UpstreamKey};
pub use handle::{Found, Loaded, Store};
pub use job::{Settled, StoreError};
pub use open::{OpenError, Place};
pub use timeline::Step;
pub use writer::{Event, MAX_WAITING};
