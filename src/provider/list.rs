//! Lists of tasks: how a page is requested, and what it says about further pages.

use std::time::Duration;

use serde_json::Value;

use super::read::lenient::{self, Zone};
use crate::domain::{Answer, Timestamp};

/// A list of tasks.
#[derive(Debug, Clone, Copy)]
pub struct List {
    /// Where the entries stand: the first of these places that holds a list.
    pub items: &'static [&'static str],
    /// Reads an entry; `None` for one that is no task.
    pub read_item: fn(&Value, Zone) -> Option<Answer>,
    /// Where it is.
    pub place: Place,
    /// Most entries of a page.
    pub size: usize,
    /// The query of a page.
    pub query: fn(&Page<'_>) -> Vec<(&'static str, String)>,
    /// How far back it goes, at most.
    pub reach: Duration,
    /// Parts that the list leaves out unless they are requested separately, as parameters.
    pub parts: &'static [Option<(&'static str, &'static str)>],
}

/// The path of a list.
#[derive(Debug, Clone, Copy)]
pub enum Place {
    /// That of one task, without its last segment.
    AboveTask,
    /// This one.
    At(&'static [&'static str]),
}

/// A page to be requested.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// Its number; the first one is 1, and at some old gateways 0.
    pub number: usize,
    /// Its size.
    pub size: usize,
    /// The last id of the page before.
    pub after: Option<&'a str>,
    /// Tasks that were submitted earlier are not wanted.
    pub since: Timestamp,
    /// This moment.
    pub now: Timestamp,
    /// One of [`List::parts`].
    pub part: Option<(&'static str, &'static str)>,
    /// Where times without a zone are.
    pub zone: Zone,
    /// Whose tasks.
    pub user_id: Option<&'a str>,
}

/// A page as it was read.
#[derive(Debug, Clone, Default)]
pub struct Listed {
    /// Its tasks; entries that are none are left out.
    pub tasks: Vec<Answer>,
    /// How many entries it had.
    pub entries: usize,
    /// How many tasks there are on all pages.
    pub total: Option<usize>,
    /// Whether there is another page.
    pub more: Option<bool>,
    /// It was the entries alone where a page was expected: an old gateway, which counts its pages from 0.
    pub bare: bool,
}

impl Listed {
    /// What the answer says of the list, beside its entries.
    pub(super) fn about(value: &Value, entries: usize) -> Self {
        let total = ["total", "data.total"].iter().find_map(|at| lenient::at(value, at)?.as_u64());
        Self {
            tasks: Vec::with_capacity(entries),
            entries,
            total: total.and_then(|total| usize::try_from(total).ok()),
            more: value.get("has_more").and_then(Value::as_bool),
            bare: value.get("success").is_some() && value.get("data").is_some_and(Value::is_array),
        }
    }
}

/// `page_num` and `page_size`, as Ark and `MiniMax` count.
pub fn numbered(page: &Page<'_>) -> Vec<(&'static str, String)> {
    vec![("page_num", page.number.to_string()), ("page_size", page.size.to_string())]
}
