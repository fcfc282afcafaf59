//! Lists of tasks: how a page is asked for, and what a page says of the others.

use std::time::Duration;

use super::json::{self, Zone};
use super::shape::Shape;
use super::tree::Value;
use crate::domain::{Answer, Timestamp};

/// A list of tasks.
#[derive(Debug, Clone, Copy)]
pub struct List {
    /// Where the entries stand: the first of these places that holds a list.
    pub items: &'static [&'static str],
    /// The shape of an entry.
    pub shape: Shape,
    /// Where it is.
    pub place: Place,
    /// Most entries of a page.
    pub size: usize,
    /// What a page is asked for with.
    pub query: fn(&Page<'_>) -> Vec<(&'static str, String)>,
    /// How far back it goes, at most.
    pub reach: Duration,
    /// What has to be asked for by itself because the list leaves it out otherwise, as parts of a query.
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

/// A page that is asked for.
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
        let total = ["total", "data.total"].iter().find_map(|at| json::at(value, at)?.as_u64());
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
