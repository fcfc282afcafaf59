//! What a caller of the store may observe of a transaction.

use std::time::Duration;

/// The events of a transaction, in this order; `Failed` at any point. `Waiting` is between transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The thread waits for commands: it moves.
    Waiting {
        /// Ends that wait until the store can be written.
        pending: usize,
        /// Size of the database and its log, in bytes; `None` in memory.
        bytes: Option<u64>,
    },
    /// It has the state's write lock.
    Begun,
    /// Everything is written, nothing is durable.
    Written,
    /// Everything is durable, after this long.
    Committed(Duration),
    /// Nothing is durable.
    Failed,
}
