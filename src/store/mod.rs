//! The state store: tasks, known ids and counters. Nothing is counted that was not committed here first.
//!
//! One thread executes [commands](Command) in batches; each batch is one transaction. Callers wait for the reply and hold
//! nothing meanwhile: a store that cannot be written delays neither polls nor pages.

mod command;
mod cost_record;
mod error;
mod error_record;
mod event;
mod handle;
mod record;
mod record_flags;
mod sqlite;
mod writer;

pub use command::{Command, Cursor, Discovery, KnownId, KnownIdsPage, Loaded, Output, Reply, Step, UpstreamKey};
pub use error::{BackupError, OpenError, StoreError};
pub use event::Event;
pub use handle::{Location, Settled, Store};
pub use sqlite::{backup, counted_models};
pub use writer::MAX_WAITING;
