//! Lists of tasks in pages.

use std::time::Duration;

use serde_json::Value;

use super::read::lenient::{self, Zone};
use crate::domain::{Answer, TaskId, Timestamp};

/// Names and values of a query.
pub type Query = Vec<(&'static str, String)>;

/// A list of tasks.
#[derive(Debug, Clone, Copy)]
pub struct List {
    /// Paths of the entries: the first one with a list is used.
    pub items: &'static [&'static str],
    /// Decodes an entry; `None` when it is not a task.
    pub read_item: fn(&Value, Zone) -> Option<Answer>,
    /// Its path.
    pub path: ListPath,
    /// The path of the list of all users, for administrators.
    pub path_of_all: Option<&'static [&'static str]>,
    /// The query for one task, if the list can be filtered by its id.
    pub query_one: Option<fn(&TaskId) -> Query>,
    /// Most entries per page.
    pub size: usize,
    /// A page begins after as many entries as its number times its size, whatever that is. Only for lists without parts.
    pub has_any_size: bool,
    /// The query of a page.
    pub query: fn(&PageRequest<'_>) -> Query,
    /// The age of the oldest tasks that it contains.
    pub reach: Duration,
    /// Parts of the list that need separate requests, as query parameters; `None` is a request without a parameter.
    pub parts: &'static [Option<(&'static str, &'static str)>],
}

/// The path of a list.
#[derive(Debug, Clone, Copy)]
pub enum ListPath {
    /// The path of one task, without its last segment.
    AboveTask,
    /// This path.
    Fixed(&'static [&'static str]),
}

/// Whose tasks a list has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ListScope {
    /// Those of the user whose key it is.
    #[default]
    Own,
    /// Those of every user.
    All,
}

/// A request for a page.
#[derive(Debug, Clone, Copy)]
pub struct PageRequest<'a> {
    /// Number of the page. The first one is 1, at some old gateways 0.
    pub number: usize,
    /// Size of the page.
    pub size: usize,
    /// The cursor that the previous page gave, or its last id.
    pub after: Option<&'a str>,
    /// Tasks that were submitted earlier are not needed.
    pub since: Timestamp,
    /// The current time.
    pub now: Timestamp,
    /// One of [`List::parts`].
    pub part: Option<(&'static str, &'static str)>,
    /// The zone of times without one.
    pub zone: Zone,
    /// The user whose tasks are requested.
    pub user_id: Option<&'a str>,
    /// Whose tasks are requested.
    pub scope: ListScope,
    /// The only task that is requested.
    pub task: Option<&'a TaskId>,
}

/// A page that was read.
#[derive(Debug, Clone, Default)]
pub struct ListPage {
    /// Its tasks, without entries that are not tasks.
    pub tasks: Vec<Answer>,
    /// The number of its entries.
    pub entries: usize,
    /// The number of tasks on all pages.
    pub total: Option<usize>,
    /// Whether there is another page.
    pub more: Option<bool>,
    /// The cursor of the next page, where pages have one.
    pub next: Option<String>,
    /// It has only entries, without a page around them: an old gateway, whose first page is 0.
    pub bare: bool,
}

impl ListPage {
    /// A page without its tasks.
    pub(super) fn from_body(value: &Value, entries: usize) -> Self {
        let total = ["total", "data.total"].iter().find_map(|at| lenient::at(value, at)?.as_u64());
        Self {
            tasks: Vec::with_capacity(entries),
            entries,
            total: total.and_then(|total| usize::try_from(total).ok()),
            more: value.get("has_more").and_then(Value::as_bool).or_else(|| Some(value.get("next")?.is_string())),
            next: value.get("next").and_then(Value::as_str).and_then(cursor),
            bare: value.get("success").is_some() && value.get("data").is_some_and(Value::is_array),
        }
    }
}

/// The parameter `cursor` of the next page's URL. Its host is not used: a request goes only to the configured one.
fn cursor(url: &str) -> Option<String> {
    let (_, query) = url.split_once('?')?;
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find_map(|(name, value)| (name == "cursor").then(|| value.into_owned()))
}

/// The query `page_num` and `page_size` of Ark and `MiniMax`.
pub fn numbered_query(page: &PageRequest<'_>) -> Vec<(&'static str, String)> {
    vec![("page_num", page.number.to_string()), ("page_size", page.size.to_string())]
}
