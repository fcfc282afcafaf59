//! Task ids from an upstream's own task list, page by page.
//!
//! A list changes while it is read, and may omit existing tasks. So a task that is missing from a page is not gone.
//!
//! A pass reads from the newest task back to shortly before the newest task of the last pass, by the list's own times.
//! The first pass, and one pass every hour, reads all of `lookback`. Each read is one request: its tasks are known at
//! once, and an interruption costs one page.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::groups::too_many_targets;
use super::invalid_ids::InvalidIds;
use super::listing::{ListRequest, Listing};
use crate::clock;
use crate::config;
use crate::domain::labels::sanitize;
use crate::domain::{ApiError, NewTask, Reason, TaskId, Timestamp};
use crate::http::{Client, Request};
use crate::provider::{Dialect, ListPage, PageRequest, Zone};
use crate::secret::fingerprint;

/// How far before the newest known task a pass reads again: tasks may become visible some time after their submission.
const OVERLAP: Duration = Duration::from_mins(15);

/// Interval between passes that read all of `lookback`.
const FULL_PASS_INTERVAL: Duration = Duration::from_hours(1);

/// Maximum number of pages in a part; more are skipped.
const MAX_PAGES: usize = 1000;

/// After so many consecutive pages without a new id, the list is considered read to its end.
const MAX_STALE_PAGES: usize = 10;

/// Retries of a page after 429 or 503, before the read fails.
const MAX_RETRIES: u32 = 3;

/// Wait before the first retry when the response has no `Retry-After`; it doubles with each retry.
const FIRST_RETRY_WAIT: Duration = Duration::from_secs(5);

/// Longest wait before a retry; when the upstream asks for a longer one, the read fails.
const MAX_RETRY_WAIT: Duration = Duration::from_mins(5);

/// Reads an upstream's task list.
pub struct UpstreamList {
    config: config::ListSourceSettings,
    dialect: Arc<Dialect>,
    client: Arc<Client>,
    cursor: ListCursor,
}

/// State between reads.
#[derive(Default)]
struct ListCursor {
    /// Every task seen within `lookback`, and when the list last contained it.
    seen: HashMap<TaskId, Timestamp>,
    /// The latest submit time, by the upstream's clock.
    newest: Option<Timestamp>,
    /// When a pass last read all of `lookback`.
    last_full_pass: Option<Timestamp>,
    /// How far the upstream's clock is ahead of the local clock.
    clock_skew_ms: i64,
    /// The current pass.
    pass: Option<Pass>,
    /// Wait before the next page, when that is not the usual one.
    next_page_wait: Option<Duration>,
}

/// A smaller clock skew is ignored: a `Date` header has whole seconds and takes time to arrive.
const MAX_CLOCK_SKEW_MS: i64 = 60_000;

/// Query parameters of lists that have to be read in parts, one request for each part.
type ListParts = &'static [Option<(&'static str, &'static str)>];

/// A pass through the list, and its progress.
struct Pass {
    /// When it began, by the local clock.
    began_at: Timestamp,
    /// The clock skew that the pass assumes; `None` once a response has confirmed it.
    assumed_skew_ms: Option<i64>,
    /// When it began, by the upstream's clock.
    now: Timestamp,
    /// Earliest submit time to read.
    since: Timestamp,
    /// It reads all of `lookback`.
    is_full: bool,
    /// Parts not yet read to their end; the first is in progress.
    parts: ListParts,
    part: PartCursor,
    newest: Option<Timestamp>,
    /// A page had entries.
    has_entries: bool,
    /// A part has more than [`MAX_PAGES`] pages.
    is_truncated: bool,
    /// Failed attempts to read the next page.
    failures: u32,
}

/// Progress within one part.
struct PartCursor {
    number: usize,
    is_zero_based: bool,
    after: Option<String>,
    pages: usize,
    /// Submit times have only decreased so far.
    is_descending: bool,
    earliest: Option<Timestamp>,
    seen: HashSet<TaskId>,
    entries: usize,
    /// Entries of the largest page.
    max_entries: usize,
    /// Consecutive pages without a new id.
    stale_pages: usize,
}

impl Default for PartCursor {
    fn default() -> Self {
        Self {
            number: 1,
            is_zero_based: false,
            after: None,
            pages: 0,
            is_descending: true,
            earliest: None,
            seen: HashSet::new(),
            entries: 0,
            max_entries: 1,
            stale_pages: 0,
        }
    }
}

/// Result of one request.
struct PageOutcome {
    request: ListRequest,
    listed: Result<ListPage, ApiError>,
    /// The response's `Retry-After`.
    retry_after: Option<Duration>,
}

impl UpstreamList {
    /// From a checked entry. Sends no request yet.
    pub fn new(config: config::ListSourceSettings, upstream: &config::Upstream) -> Self {
        let (dialect, client) = (upstream.dialect.clone(), upstream.client.clone());
        Self { config, dialect, client, cursor: ListCursor::default() }
    }

    pub(super) fn identity(&self) -> String {
        let config::ListSourceSettings { user_id, key_reference, .. } = &self.config;
        // Different keys may list the tasks of different users.
        format!("list:{}", fingerprint(&format!("{}\n{key_reference}", user_id.as_deref().unwrap_or_default())))
    }

    pub(super) fn inherit(&mut self, earlier: Self) {
        self.cursor = earlier.cursor;
    }

    pub(super) async fn wait_until_due(&mut self) {
        let default_wait = if self.cursor.pass.is_some() { Duration::ZERO } else { self.config.refresh_interval };
        sleep(self.cursor.next_page_wait.take().unwrap_or(default_wait)).await;
    }

    /// Reads the next page.
    pub(super) async fn read(&mut self) -> Listing {
        let local_now = Timestamp::from(clock::now());
        // The list has changed too much since a pass that was interrupted for so long.
        let pass = self.cursor.pass.take_if(|pass| local_now.duration_since(pass.began_at) < FULL_PASS_INTERVAL);
        self.cursor.pass = Some(pass.unwrap_or_else(|| self.begin_pass(local_now)));
        let PageOutcome { request, listed, retry_after } = self.request_page().await;
        let mut listing = Listing { requests: vec![request], has_more: true, ..Listing::default() };
        let Some(mut pass) = self.cursor.pass.take() else { return listing };
        let is_wrong = |assumed: i64| (self.cursor.clock_skew_ms - assumed).abs() > MAX_CLOCK_SKEW_MS;
        match listed {
            Ok(_) if pass.assumed_skew_ms.is_some_and(is_wrong) => {
                // With the wrong clock skew, the request covered the wrong time range.
                self.cursor.pass = Some(Pass { assumed_skew_ms: None, ..self.begin_pass(local_now) });
            }
            Ok(listed) => {
                (pass.assumed_skew_ms, pass.failures) = (None, 0);
                self.apply_page(&listed, &mut pass, &mut listing);
                if self.cursor.seen.len().max(pass.part.seen.len()) > self.config.max_targets {
                    self.refuse_page(pass.now, &mut listing);
                } else if pass.parts.is_empty() {
                    self.finish_pass(&pass, &mut listing);
                } else {
                    self.cursor.pass = Some(pass);
                }
            }
            Err(error) => self.on_page_failed(&error, retry_after, pass, &mut listing),
        }
        listing
    }

    /// A new pass, before its first page.
    fn begin_pass(&self, local_now: Timestamp) -> Pass {
        let now = Timestamp::from_millis(local_now.as_millis().saturating_add(self.cursor.clock_skew_ms));
        let is_full = self.cursor.newest.is_none()
            || self.cursor.last_full_pass.is_none_or(|last| now.duration_since(last) >= FULL_PASS_INTERVAL);
        let (reach, parts) = self.dialect.list().map_or((Duration::MAX, &[][..]), |list| (list.reach, list.parts));
        let earliest = now - self.config.lookback.min(reach);
        let since = self.cursor.newest.filter(|_| !is_full).map_or(earliest, |newest| (newest - OVERLAP).max(earliest));
        Pass {
            began_at: local_now,
            assumed_skew_ms: Some(self.cursor.clock_skew_ms),
            now,
            since,
            is_full,
            parts,
            part: PartCursor::default(),
            newest: None,
            has_entries: false,
            is_truncated: false,
            failures: 0,
        }
    }

    /// Records the tasks of a page and advances to the next page, or to the next part.
    fn apply_page(&mut self, listed: &ListPage, pass: &mut Pass, listing: &mut Listing) {
        let part = &mut pass.part;
        part.pages += 1;
        if listed.bare && part.number == 1 && !part.is_zero_based {
            // The list counts pages from 0, so this was its second page.
            (part.number, part.is_zero_based) = (0, true);
            return;
        }
        let before = part.seen.len();
        let mut invalid_ids = InvalidIds::default();
        let mut all_older = !listed.tasks.is_empty();
        for answer in &listed.tasks {
            let Some(id) = answer.task_id.as_deref() else { continue };
            let id = match TaskId::parse(id) {
                Ok(id) => id,
                Err(why) => {
                    invalid_ids.add(id, why);
                    continue;
                }
            };
            let submit = answer.times.submit;
            // New tasks push entries onto the next page, so an entry may be read twice.
            if !part.seen.contains(&id) {
                let is_later = submit.zip(part.earliest).is_some_and(|(submit, earliest)| submit > earliest);
                part.is_descending &= !is_later;
                part.earliest = submit.or(part.earliest);
            }
            // The next pass must not start from a time in the future.
            pass.newest = pass.newest.max(submit.map(|submit| submit.min(pass.now)));
            let is_older = submit.is_some_and(|submit| submit < pass.since);
            all_older &= is_older;
            if !is_older && self.cursor.seen.insert(id.clone(), pass.now).is_none() {
                listing.tasks.push(NewTask::new(id.clone()));
            }
            part.seen.insert(id);
        }
        if invalid_ids.count > 0 {
            listing.errors += invalid_ids.count;
            listing.messages.push(invalid_ids.to_string());
        }
        part.entries += listed.entries;
        part.max_entries = part.max_entries.max(listed.entries);
        pass.has_entries |= listed.entries > 0;
        // Prevents an endless pass when the server ignores the page parameter. A single page of known ids may be
        // caused by new tasks.
        part.stale_pages = if part.seen.len() == before { part.stale_pages + 1 } else { 0 };
        let is_finished =
            part.stale_pages >= MAX_STALE_PAGES || (all_older && part.is_descending) || is_last(listed, part);
        if !is_finished && part.pages < MAX_PAGES {
            part.after = listed.next.clone().or_else(|| listed.tasks.last().and_then(|task| task.task_id.clone()));
            part.number += 1;
            return;
        }
        if !is_finished {
            pass.is_truncated = true;
            listing.messages.push(format!("the list has more than {MAX_PAGES} pages; the rest is skipped"));
        }
        pass.parts = &pass.parts[1..];
        pass.part = PartCursor::default();
    }

    /// Ends a pass that has read all parts.
    fn finish_pass(&mut self, pass: &Pass, listing: &mut Listing) {
        // Also for a truncated pass: reading the same pages again would not find more.
        self.cursor.newest = self.cursor.newest.max(pass.newest);
        self.cursor.last_full_pass = if pass.is_full { Some(pass.now) } else { self.cursor.last_full_pass };
        (listing.has_more, listing.is_complete, listing.is_truncated) = (false, true, pass.is_truncated);
        // An empty list may be an upstream fault, so it is not the source's first load (docs/upstreams.md 2.9).
        listing.is_absent = !pass.has_entries;
        self.list_seen_tasks(pass.now, listing);
    }

    /// Forgets the new ids of a page that exceeds the limit, and fails the read.
    fn refuse_page(&mut self, now: Timestamp, listing: &mut Listing) {
        for task in listing.tasks.drain(..) {
            self.cursor.seen.remove(&task.id);
        }
        listing.add_failure(too_many_targets(self.config.max_targets));
        listing.has_more = false;
        self.list_seen_tasks(now, listing);
    }

    /// Schedules a retry of a failed page, or fails the read.
    fn on_page_failed(
        &mut self,
        error: &ApiError,
        retry_after: Option<Duration>,
        mut pass: Pass,
        listing: &mut Listing,
    ) {
        let code = listing.requests.last().and_then(|request| request.code);
        let default_wait = FIRST_RETRY_WAIT.saturating_mul(1 << pass.failures.min(16)).min(MAX_RETRY_WAIT);
        let wait = matches!(code, Some(429 | 503)).then(|| retry_after.unwrap_or(default_wait));
        pass.failures += 1;
        if let Some(wait) = wait.filter(|wait| pass.failures <= MAX_RETRIES && *wait <= MAX_RETRY_WAIT) {
            self.cursor.next_page_wait = Some(wait);
            self.cursor.pass = Some(pass);
            return;
        }
        let code_text = error.code.as_deref().map(|code_text| sanitize(code_text).into_owned()).unwrap_or_default();
        listing.add_failure(format!("list: {} {code_text}", error.kind.as_str()).trim_end().to_owned());
        listing.has_more = false;
        self.list_seen_tasks(pass.now, listing);
        // After a server error the pass continues at this page; a rejected request would be rejected again.
        let can_continue = matches!(code, None | Some(429 | 500..));
        self.cursor.next_page_wait = Some(wait.unwrap_or_default().max(self.config.refresh_interval));
        self.cursor.pass = can_continue.then_some(pass);
    }

    /// Lists every task seen within `lookback`.
    fn list_seen_tasks(&mut self, now: Timestamp, listing: &mut Listing) {
        let lookback = self.config.lookback;
        self.cursor.seen.retain(|_, seen| *seen + lookback > now);
        listing.tasks = self.cursor.seen.keys().cloned().map(NewTask::new).collect();
    }

    /// Builds the request for the next page.
    fn next_page_request(&self) -> Option<Request> {
        let pass = self.cursor.pass.as_ref()?;
        self.dialect.list_request(&PageRequest {
            number: pass.part.number,
            size: self.dialect.list()?.size,
            after: pass.part.after.as_deref(),
            since: pass.since,
            now: pass.now,
            part: *pass.parts.first()?,
            zone: Zone::UNKNOWN,
            user_id: self.config.user_id.as_deref(),
        })
    }

    /// Requests the next page.
    async fn request_page(&mut self) -> PageOutcome {
        let (sent, sent_at) = (clock::instant(), Timestamp::from(clock::now()));
        let mut sent_request = ListRequest { code: None, reason: None, sent, took: Duration::ZERO, date: None };
        let Some(request) = self.next_page_request() else {
            let listed = Err(ApiError::new(Reason::BadRequest));
            return PageOutcome { request: sent_request, listed, retry_after: None };
        };
        let key = match &self.config.key {
            Some(key) => Some(key.get(clock::now()).await),
            None => None,
        };
        sent_request.sent = clock::instant();
        let result = self.client.send(&request, key.as_ref()).await;
        sent_request.took = clock::instant() - sent_request.sent;
        let (listed, retry_after) = match result {
            Err(error) => (Err(error.into()), None),
            Ok(response) => {
                sent_request.code = Some(response.status);
                sent_request.date = response.date;
                if let Some(date) = sent_request.date {
                    let ahead = date.as_millis().saturating_sub(sent_at.as_millis());
                    self.cursor.clock_skew_ms = if ahead.abs() > MAX_CLOCK_SKEW_MS { ahead } else { 0 };
                }
                (self.dialect.read_list_response(&response), response.retry_after)
            }
        };
        sent_request.reason = listed.as_ref().err().map(|error| error.kind);
        PageOutcome { request: sent_request, listed, retry_after }
    }
}

/// Whether a page is the last one.
fn is_last(listed: &ListPage, part: &PartCursor) -> bool {
    if listed.entries == 0 {
        return true;
    }
    match (listed.more, listed.total) {
        (Some(more), _) => !more,
        (None, Some(total)) => part.entries >= total,
        // Servers may return smaller pages than requested, so a page is short only compared with the others.
        (None, None) => listed.entries < part.max_entries,
    }
}
