//! A pass through a list: its pages, from the newest task back to as far as somebody needs.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::invalid_ids::InvalidIds;
use super::page_position::PagePosition;
use crate::domain::{Answer, NewTask, TaskId, Timestamp};
use crate::provider::{List, ListPage};

/// How far before the newest known task a pass reads again: tasks may become visible some time after their submission.
const OVERLAP: Duration = Duration::from_mins(15);

/// Interval between passes that read all of `lookback`.
pub const FULL_PASS_INTERVAL: Duration = Duration::from_hours(1);

/// Maximum number of pages in a part; more are skipped.
pub const MAX_PAGES: usize = 1000;

/// After so many consecutive pages without an id that this pass has not read, the list is considered read to its end.
const MAX_STALE_PAGES: usize = 10;

/// After so many consecutive pages of known tasks a pass for new ones has found them, except when it reads everything.
const MAX_KNOWN_PAGES: usize = 10;

/// By how much submit times may increase from one entry to the next in a list that is sorted by id, newest first.
const ORDER_SLACK: Duration = Duration::from_mins(1);

/// Query parameters of lists that have to be read in parts, one request for each part.
pub type ListParts = &'static [Option<(&'static str, &'static str)>];

/// State between passes.
#[derive(Default)]
pub struct ListCursor {
    /// Every task seen within `lookback`, and when the list last contained it.
    pub seen: HashMap<TaskId, Timestamp>,
    /// The latest submit time, by the upstream's clock. Everything before it was read.
    pub newest: Option<Timestamp>,
    /// When a pass last read all of `lookback`.
    pub last_full_pass: Option<Timestamp>,
    /// How far the upstream's clock is ahead of the local clock.
    pub clock_skew_ms: i64,
    /// The current pass.
    pub pass: Option<Pass>,
    /// A pass that waits: one through all of `lookback`, or one for due tasks while that has its turn.
    pub waiting: Option<Pass>,
}

/// A pass through the list, and its progress.
pub struct Pass {
    /// When its last page was read, or it began, by the local clock.
    pub continued: Timestamp,
    /// When it began.
    pub began: Instant,
    /// The clock skew that the pass assumes; `None` once a response has confirmed it.
    pub assumed_skew_ms: Option<i64>,
    /// When it began, by the upstream's clock.
    pub now: Timestamp,
    /// Earliest submit time to read.
    pub since: Timestamp,
    /// Tasks that were submitted earlier are not added.
    earliest: Timestamp,
    /// It looks for new tasks; otherwise it only reads tasks that are due.
    pub is_discovery: bool,
    /// It reads all of `lookback`.
    pub is_full: bool,
    /// Parts not yet read to their end; the first is in progress.
    pub parts: ListParts,
    /// Progress within that part.
    pub part: PartCursor,
    max_size: usize,
    /// The latest submit time that it has read.
    pub newest: Option<Timestamp>,
    /// A page had entries.
    pub has_entries: bool,
    /// A part has more than [`MAX_PAGES`] pages.
    pub is_truncated: bool,
    /// Failed attempts to read the next page.
    pub failures: u32,
}

/// Progress within one part.
pub struct PartCursor {
    /// Number of the next page.
    pub number: usize,
    /// Size of the next page.
    pub size: usize,
    position: Option<PagePosition>,
    is_zero_based: bool,
    /// The cursor of the next page.
    pub after: Option<String>,
    pages: usize,
    /// Submit times have only decreased so far.
    is_descending: bool,
    earliest: Option<Timestamp>,
    /// Its ids.
    pub seen: HashSet<TaskId>,
    entries: usize,
    /// Entries of the largest page.
    max_entries: usize,
    /// Consecutive pages without a new id.
    stale_pages: usize,
    /// Consecutive pages of tasks that earlier passes have seen.
    known_pages: usize,
}

impl PartCursor {
    /// Before the first page, of at most this size.
    pub fn new(size: usize, has_any_size: bool) -> Self {
        Self {
            number: 1,
            size,
            position: has_any_size.then(PagePosition::default),
            is_zero_based: false,
            after: None,
            pages: 0,
            is_descending: true,
            earliest: None,
            seen: HashSet::new(),
            entries: 0,
            max_entries: 1,
            stale_pages: 0,
            known_pages: 0,
        }
    }

    /// Advances to the next page, after one with so many entries, of which some were read before.
    fn advance(&mut self, entries: usize, read_before: usize, max_size: usize) {
        // A server that returns smaller pages than requested counts its own pages.
        self.position = self.position.filter(|_| entries == self.size);
        match &mut self.position {
            None => self.number += 1,
            Some(position) => {
                let offset = (self.number - 1) * self.size;
                (self.number, self.size) = position.next_page(offset, entries, read_before, max_size);
            }
        }
    }
}

/// What a page means for its pass.
#[derive(Default)]
pub struct PageResult {
    /// Tasks that no earlier page had.
    pub new: Vec<NewTask>,
    /// Entries whose ids are not valid.
    pub invalid_ids: InvalidIds,
    /// The part has more pages than are read.
    pub is_too_long: bool,
    /// The part is read as far as the pass needs.
    pub is_part_over: bool,
    /// The list has no further page.
    pub is_end: bool,
}

impl ListCursor {
    /// Chooses the pass whose page is read next. One for due tasks goes before one through all of `lookback`, unless it is that
    /// one's turn.
    pub fn choose(&mut self, needs_due: bool, is_turn_of_full: bool) {
        let is_full = |pass: &Option<Pass>| pass.as_ref().is_some_and(|pass| pass.is_full && pass.is_discovery);
        let wants_full = !needs_due || is_turn_of_full;
        if is_full(&self.pass) != wants_full && (is_full(&self.pass) || is_full(&self.waiting)) {
            std::mem::swap(&mut self.pass, &mut self.waiting);
        }
        if self.pass.is_none() {
            // The other one has ended.
            self.pass = self.waiting.take_if(|pass| !(pass.is_full && pass.is_discovery));
        }
    }

    /// A new pass, before its first page. `discovery` is for one that looks for new tasks: whether they are added.
    pub fn begin_pass(
        &self,
        now: (Timestamp, Instant),
        lookback: Duration,
        list: &List,
        discovery: Option<bool>,
    ) -> Pass {
        let (continued, began) = now;
        let now = Timestamp::from_millis(continued.as_millis().saturating_add(self.clock_skew_ms));
        let is_full = discovery == Some(true)
            && (self.newest.is_none()
                || self.last_full_pass.is_none_or(|last| now.duration_since(last) >= FULL_PASS_INTERVAL));
        let earliest = now - lookback.min(list.reach);
        let overlap = if discovery.is_some() { OVERLAP } else { Duration::ZERO };
        let newest = self.newest.filter(|_| !is_full).map(|newest| (newest - overlap).max(earliest));
        // Before everything was read once, a pass for due tasks has nothing to be connected with.
        let since = newest.unwrap_or(if discovery.is_some() { earliest } else { now });
        Pass {
            continued,
            began,
            assumed_skew_ms: Some(self.clock_skew_ms),
            now,
            since,
            earliest,
            is_discovery: discovery.is_some(),
            is_full,
            parts: list.parts,
            part: PartCursor::new(list.size, list.has_any_size),
            max_size: list.size,
            newest: None,
            has_entries: false,
            is_truncated: false,
            failures: 0,
        }
    }
}

impl Pass {
    /// Goes on to the next part.
    pub fn next_part(&mut self) {
        self.parts = self.parts.get(1..).unwrap_or_default();
        self.part = PartCursor::new(self.max_size, false);
    }

    /// Every task of the list that was submitted after this was read; `None` while that is not known.
    pub fn reached(&self) -> Option<Timestamp> {
        self.part.earliest.filter(|_| self.part.is_descending && self.part.pages > 0)
    }

    /// Whether a pass that only reads due tasks has read enough, without a gap to what earlier passes have read.
    pub fn is_enough(&self, needed: Option<Timestamp>) -> bool {
        let since = needed.map_or(self.since, |needed| needed.min(self.since));
        self.reached().is_some_and(|reached| reached < since)
    }

    /// Records the tasks of a page and advances to the next page, or to the next part. `seen` has the tasks of earlier passes, and gets
    /// those of this page if `discovers`.
    pub fn apply(
        &mut self,
        listed: &ListPage,
        seen: &mut HashMap<TaskId, Timestamp>,
        discovers: bool,
        new_task: impl Fn(TaskId, &Answer) -> NewTask,
    ) -> PageResult {
        let mut result = PageResult::default();
        let part = &mut self.part;
        part.pages += 1;
        if listed.bare && part.number == 1 && !part.is_zero_based {
            // The list counts pages from 0, so this was its second page.
            (part.number, part.is_zero_based, part.position) = (0, true, None);
            return result;
        }
        let before = part.seen.len();
        let mut all_older = !listed.tasks.is_empty();
        let mut all_known = true;
        let mut read_before = 0;
        for answer in &listed.tasks {
            let Some(id) = answer.task_id.as_deref() else { continue };
            let id = match TaskId::parse(id) {
                Ok(id) => id,
                Err(why) => {
                    result.invalid_ids.add(id, why);
                    continue;
                }
            };
            let submit = answer.times.submit;
            // New tasks push entries onto the next page, so an entry may be read twice.
            if part.seen.contains(&id) {
                read_before += 1;
            } else {
                let is_later =
                    submit.zip(part.earliest).is_some_and(|(submit, earliest)| submit > earliest + ORDER_SLACK);
                part.is_descending &= !is_later;
                part.earliest = part.earliest.into_iter().chain(submit).min();
            }
            // The next pass must not start from a time in the future.
            self.newest = self.newest.max(submit.map(|submit| submit.min(self.now)));
            all_older &= submit.is_some_and(|submit| submit < self.since);
            if discovers && submit.is_none_or(|submit| submit >= self.earliest) {
                let is_new = seen.insert(id.clone(), self.now).is_none();
                all_known &= !is_new;
                result.new.extend(is_new.then(|| new_task(id.clone(), answer)));
            }
            part.seen.insert(id);
        }
        part.entries += listed.entries;
        part.max_entries = part.max_entries.max(listed.entries);
        self.has_entries |= listed.entries > 0;
        // Prevents an endless pass when the server ignores the page parameter. A single page of known ids may be
        // caused by new tasks.
        part.stale_pages = if part.seen.len() == before { part.stale_pages + 1 } else { 0 };
        part.known_pages = if all_known { part.known_pages + 1 } else { 0 };
        result.is_end = part.stale_pages >= MAX_STALE_PAGES || is_last(listed, part);
        let max_known = if discovers { MAX_KNOWN_PAGES } else { 1 };
        let is_found = self.is_discovery && !self.is_full && part.known_pages >= max_known;
        result.is_part_over = result.is_end || (all_older && part.is_descending) || is_found;
        part.after = listed.next.clone().or_else(|| listed.tasks.last().and_then(|task| task.task_id.clone()));
        part.advance(listed.entries, read_before, self.max_size);
        if !result.is_part_over && part.pages >= MAX_PAGES {
            (self.is_truncated, result.is_too_long) = (true, true);
            (result.is_part_over, result.is_end) = (true, true);
        }
        result
    }
}

/// Whether a page is the last one.
fn is_last(listed: &ListPage, part: &PartCursor) -> bool {
    if listed.entries == 0 {
        return true;
    }
    match (listed.more, listed.total) {
        (Some(more), _) => !more,
        (None, Some(total)) if part.position.is_some() => (part.number - 1) * part.size + listed.entries >= total,
        (None, Some(total)) => part.entries >= total,
        // Servers may return smaller pages than requested, so a page is short only compared with the others.
        (None, None) => listed.entries < part.max_entries,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_for_due_tasks_goes_before_one_through_everything() {
        let list = crate::provider::by_name("new_api").unwrap().list.unwrap();
        let mut cursor = ListCursor::default();
        let now = (Timestamp::from_secs(1_800_000_000), crate::clock::instant());
        let begin = |cursor: &ListCursor, discovery| cursor.begin_pass(now, Duration::from_hours(1), &list, discovery);
        cursor.pass = Some(begin(&cursor, Some(true)));
        let is_full = |cursor: &ListCursor| cursor.pass.as_ref().map(|pass| pass.is_full);
        cursor.choose(false, false);
        assert_eq!(is_full(&cursor), Some(true));
        cursor.choose(true, false);
        assert!(cursor.pass.is_none() && cursor.waiting.is_some(), "the caller begins another one");
        cursor.pass = Some(begin(&cursor, None));
        cursor.choose(true, false);
        assert_eq!(is_full(&cursor), Some(false));
        cursor.choose(true, true);
        assert_eq!(is_full(&cursor), Some(true), "it has its turn");
        cursor.choose(true, false);
        assert_eq!(is_full(&cursor), Some(false));
        cursor.pass = None;
        cursor.choose(false, false);
        assert_eq!((is_full(&cursor), cursor.waiting.is_none()), (Some(true), true));
        // The full pass ends while the other one waits.
        (cursor.pass, cursor.waiting) = (None, Some(begin(&cursor, None)));
        cursor.choose(true, false);
        assert_eq!((is_full(&cursor), cursor.waiting.is_none()), (Some(false), true), "it goes on");
    }

    #[test]
    fn a_list_that_counts_pages_from_zero_is_read_from_its_first_page() {
        let list = crate::provider::by_name("new_api").unwrap().list.unwrap();
        let now = (Timestamp::from_secs(1_800_000_000), crate::clock::instant());
        let mut pass = ListCursor::default().begin_pass(now, Duration::from_hours(1), &list, Some(true));
        let page = |number: usize| ListPage {
            tasks: (0..100).map(|n| Answer { task_id: Some(format!("t{number}-{n}")), ..Answer::default() }).collect(),
            entries: 100,
            bare: true,
            ..ListPage::default()
        };
        let mut numbers = vec![pass.part.number];
        for _ in 0..3 {
            let shown = page(pass.part.number);
            pass.apply(&shown, &mut HashMap::new(), true, |id, _| NewTask::new(id));
            numbers.push(pass.part.number);
        }
        assert_eq!(numbers, [1, 0, 1, 2]);
    }
}
