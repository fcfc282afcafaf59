//! What requests read, and how they ended.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::enum_words::enum_words;
use crate::domain::{Reason, Timestamp};

enum_words! {
    /// What a request reads.
    Operation {
        /// One task.
        Get = "get",
        /// Many tasks at once.
        Batch = "batch",
        /// A page of the upstream's own list.
        List = "list",
        /// The account's balance.
        Balance = "balance",
        /// How many of a gateway's units are one unit of money.
        QuotaPerUnit = "quota_per_unit",
    }
}

/// How a request ended.
#[derive(Debug, Clone)]
pub struct RequestOutcome {
    /// What it read.
    pub operation: Operation,
    /// HTTP status, where there was a response.
    pub code: Option<u16>,
    /// The error, if it failed.
    pub reason: Option<Reason>,
    /// From sending the request to the end of its response.
    pub took: Duration,
    /// When it ended.
    pub at: Timestamp,
    /// The response's `Date`.
    pub date: Option<Timestamp>,
    /// What was wrong with the connection or the body.
    pub cause: Option<String>,
    /// Names its key, where that is not the one of the upstream's polls; otherwise empty.
    pub own_key: Arc<str>,
}
