//! An upstream's own task list, page by page: it names tasks, and each of its rows is a reading of its task.
//!
//! A list changes while it is read, and may omit existing tasks. So a task that is missing from a page is not gone.
//!
//! A pass reads from the newest task back to shortly before the newest task of the last pass, by the list's own times.
//! The first pass, and one pass every hour, reads all of `lookback`. Other passes read tasks that are due. Each read is one
//! request: its tasks are known at once, and an interruption costs one page.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep_until;

use super::groups::too_many_targets;
use super::list_pass::{FULL_PASS_INTERVAL, ListCursor, MAX_PAGES, PageResult, Pass};
use super::listing::{ListDemand, ListRequest, ListRows, Listing};
use super::retry;
use super::row_labels::label_rows;
use crate::clock;
use crate::config;
use crate::domain::labels::sanitize;
use crate::domain::{Answer, ApiError, NewTask, Reason, TaskId, Timestamp};
use crate::http::{Client, Credentials, Request};
use crate::provider::{Dialect, ListPage, ListScope, PageRequest, Zone};
use crate::secret::fingerprint;

/// While pages are needed, so many are read for each task that is asked for alone.
const PAGES_PER_SINGLE: u32 = 3;

/// While due tasks need pages, a pass through all of `lookback` gets one of so many.
const PAGES_PER_FULL: u32 = 5;

/// A list that takes longer is a burden for its upstream.
const SLOW: Duration = Duration::from_secs(2);

/// A smaller clock skew is ignored: a `Date` header has whole seconds and takes time to arrive.
const MAX_CLOCK_SKEW_MS: i64 = 60_000;

/// Reads an upstream's task list.
pub struct UpstreamList {
    config: config::ListSourceSettings,
    dialect: Arc<Dialect>,
    client: Arc<Client>,
    cursor: ListCursor,
    /// What the upstream's tasks need.
    demand: watch::Receiver<ListDemand>,
    /// When the next pass for new tasks begins; `None` for at once.
    next_refresh: Option<Instant>,
    /// No request is sent before, because the last one has failed.
    rests_until: Option<Instant>,
    /// When the rate limit allows the next request.
    next_permit: Option<Instant>,
    /// How many pages were read since the last request for a single task, and in all.
    pages_since_single: u32,
    pages: u32,
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
        Self {
            config,
            dialect,
            client,
            cursor: ListCursor::default(),
            demand: watch::channel(ListDemand::default()).1,
            next_refresh: None,
            rests_until: None,
            next_permit: None,
            pages_since_single: 0,
            pages: 0,
        }
    }

    pub(super) fn identity(&self) -> String {
        let config::ListSourceSettings { user_id, key_reference, scope, .. } = &self.config;
        // Different keys may list the tasks of different users.
        let scope = if *scope == ListScope::All { "\nall" } else { "" };
        let user_id = user_id.as_deref().unwrap_or_default();
        format!("list:{}", fingerprint(&format!("{user_id}\n{key_reference}{scope}")))
    }

    pub(super) fn inherit(&mut self, earlier: Self) {
        self.cursor = earlier.cursor;
        (self.next_refresh, self.rests_until) = (earlier.next_refresh, earlier.rests_until);
        self.next_permit = earlier.next_permit;
    }

    /// Reads besides what its upstream's tasks need.
    pub(super) fn follow(&mut self, demand: watch::Receiver<ListDemand>) {
        self.demand = demand;
    }

    /// Waits until a request may be sent again, if an earlier reader was interrupted before.
    pub(super) async fn wait_for_permit(&mut self) {
        for until in [self.rests_until, self.next_permit].into_iter().flatten() {
            sleep_until(until.into()).await;
        }
        self.rests_until = None;
    }

    /// Waits until a request is to be sent; returns for how long the rate limit has delayed it.
    pub(super) async fn wait_until_due(&mut self) -> Option<Duration> {
        let now = clock::instant();
        let delayed = self.next_permit.filter(|at| *at > now && self.rests_until.is_none() && self.is_due());
        self.wait_for_permit().await;
        while !self.is_due() {
            let refresh = self.next_refresh.unwrap_or_else(clock::instant);
            let changed = async {
                if self.demand.changed().await.is_err() {
                    std::future::pending::<()>().await; // Nobody demands anything.
                }
            };
            tokio::select! {
                () = sleep_until(refresh.into()) => {}
                () = changed => {}
            }
        }
        delayed.map(|at| at - now)
    }

    /// Whether a request is to be sent now.
    fn is_due(&self) -> bool {
        let demand = self.demand.borrow();
        let needs_page = match &self.cursor.pass {
            Some(pass) => pass.is_discovery || !pass.is_enough(demand.since),
            None => demand.since.is_some() || self.cursor.waiting.is_some(),
        };
        needs_page || !demand.tasks.is_empty() || self.needs_refresh()
    }

    fn needs_refresh(&self) -> bool {
        self.next_refresh.is_none_or(|at| at <= clock::instant())
    }

    /// Reads the next page, or a task that is needed alone.
    pub(super) async fn read(&mut self) -> Listing {
        let demand = self.demand.borrow_and_update().clone();
        let local_now = Timestamp::from(clock::now());
        // The list has changed too much since a pass that was interrupted for so long.
        for pass in [&mut self.cursor.pass, &mut self.cursor.waiting] {
            *pass = pass.take_if(|pass| local_now.duration_since(pass.continued) < FULL_PASS_INTERVAL);
        }
        let is_over = |pass: &mut Pass| {
            !pass.is_discovery
                && (pass.is_enough(demand.since) || demand.not_before.is_some_and(|time| pass.began < time))
        };
        if let Some(pass) = self.cursor.pass.take_if(is_over) {
            self.finish_due(&pass);
        }
        let has_pass = self.cursor.pass.is_some() || self.cursor.waiting.is_some();
        let needs_page = has_pass || demand.since.is_some() || self.needs_refresh();
        let is_turn = !needs_page || self.pages_since_single >= PAGES_PER_SINGLE;
        if let Some(task) = demand.tasks.first().filter(|_| is_turn) {
            self.pages_since_single = 0;
            return self.read_task(task).await;
        }
        self.pages_since_single = self.pages_since_single.saturating_add(1);
        self.pages = self.pages.wrapping_add(1);
        self.cursor.choose(demand.since.is_some(), self.pages.is_multiple_of(PAGES_PER_FULL));
        if self.cursor.pass.is_none() {
            let is_discovery = self.needs_refresh() && self.cursor.waiting.is_none();
            self.cursor.pass = self.begin_pass(local_now, is_discovery || demand.since.is_none());
        }
        self.read_page(local_now, demand.since).await
    }

    async fn read_page(&mut self, local_now: Timestamp, needed: Option<Timestamp>) -> Listing {
        let PageOutcome { request, listed, retry_after } = self.request(None).await;
        let sent = request.sent;
        let mut listing = Listing { requests: vec![request], has_more: true, ..Listing::default() };
        let Some(mut pass) = self.cursor.pass.take() else { return listing };
        let is_wrong = |assumed: i64| (self.cursor.clock_skew_ms - assumed).abs() > MAX_CLOCK_SKEW_MS;
        match listed {
            Ok(_) if pass.assumed_skew_ms.is_some_and(is_wrong) => {
                // With the wrong clock skew, the request covered the wrong time range.
                let again = self.begin_pass(local_now, pass.is_discovery);
                self.cursor.pass = again.map(|mut again| {
                    again.assumed_skew_ms = None;
                    again
                });
            }
            Ok(mut listed) => {
                (pass.assumed_skew_ms, pass.failures, pass.continued) = (None, 0, local_now);
                label_rows(&self.config, &mut listed.tasks);
                let result = self.apply_page(&listed, &mut pass, &mut listing);
                listing.rows = Some(ListRows {
                    answers: listed.tasks,
                    sent,
                    task: None,
                    began: pass.began,
                    reached: pass.reached(),
                    is_end: result.is_end,
                });
                if self.cursor.seen.len().max(pass.part.seen.len()) > self.config.max_targets {
                    self.refuse_page(pass.now, &mut listing);
                } else {
                    self.advance(pass, &result, needed, &mut listing);
                }
            }
            Err(error) => self.on_page_failed(&error, retry_after, pass, &mut listing),
        }
        listing
    }

    /// Continues the pass, or ends it.
    fn advance(&mut self, mut pass: Pass, page: &PageResult, needed: Option<Timestamp>, listing: &mut Listing) {
        let is_enough = !pass.is_discovery && pass.is_enough(needed);
        if !(page.is_part_over && pass.is_discovery || page.is_end || is_enough) {
            self.cursor.pass = Some(pass);
            return;
        }
        if !pass.is_discovery {
            self.finish_due(&pass);
            return;
        }
        if pass.parts.len() > 1 {
            pass.next_part();
            self.cursor.pass = Some(pass);
            return;
        }
        self.finish_pass(&pass, listing);
        // The tasks that are due may be older.
        pass.is_discovery = false;
        if !page.is_end && needed.is_some() && !pass.is_enough(needed) && self.cursor.waiting.is_none() {
            self.cursor.pass = Some(pass);
        }
    }

    /// Ends a pass for due tasks, which may have found all that is new since the last pass.
    fn finish_due(&mut self, pass: &Pass) {
        let latest = pass.newest.filter(|_| pass.is_enough(None));
        self.cursor.newest = self.cursor.newest.map(|newest| latest.map_or(newest, |latest| latest.max(newest)));
    }

    /// A pass for new tasks, or one that only reads due tasks.
    fn begin_pass(&self, local_now: Timestamp, is_discovery: bool) -> Option<Pass> {
        let discovery = is_discovery.then_some(self.config.discovers);
        let now = (local_now, clock::instant());
        Some(self.cursor.begin_pass(now, self.config.lookback, &self.dialect.list()?, discovery))
    }

    /// Records the tasks of a page.
    fn apply_page(&mut self, listed: &ListPage, pass: &mut Pass, listing: &mut Listing) -> PageResult {
        let new_task = |id: TaskId, answer: &Answer| NewTask {
            labels: Arc::new(answer.row.iter().flat_map(|row| row.labels.iter().cloned()).collect()),
            ..NewTask::new(id)
        };
        let mut result = pass.apply(listed, &mut self.cursor.seen, self.config.discovers, new_task);
        listing.tasks = std::mem::take(&mut result.new);
        if result.invalid_ids.count > 0 {
            listing.errors += result.invalid_ids.count;
            listing.messages.push(result.invalid_ids.to_string());
        }
        if result.is_too_long {
            listing.messages.push(format!("the list has more than {MAX_PAGES} pages; the rest is skipped"));
        }
        result
    }

    /// Asks for the row of one task.
    async fn read_task(&mut self, task: &TaskId) -> Listing {
        let began = clock::instant();
        let PageOutcome { request, listed, retry_after } = self.request(Some(task)).await;
        let (sent, code, task) = (request.sent, request.code, Some(task.clone()));
        let mut listing = Listing { requests: vec![request], has_more: true, ..Listing::default() };
        if let Ok(ListPage { tasks: mut answers, .. }) = listed {
            label_rows(&self.config, &mut answers);
            listing.rows = Some(ListRows { answers, sent, task, began, reached: None, is_end: false });
        } else {
            let wait = retry::wait(code, retry_after, 0).unwrap_or_default();
            self.rests_until = Some(clock::instant() + wait.max(self.config.refresh_interval));
        }
        listing
    }

    /// Ends a pass that has read all parts.
    fn finish_pass(&mut self, pass: &Pass, listing: &mut Listing) {
        // Also for a truncated pass: reading the same pages again would not find more.
        self.cursor.newest = self.cursor.newest.max(pass.newest);
        self.cursor.last_full_pass = if pass.is_full { Some(pass.now) } else { self.cursor.last_full_pass };
        (listing.has_more, listing.is_complete, listing.is_truncated) = (false, true, pass.is_truncated);
        self.next_refresh = Some(clock::instant() + self.config.refresh_interval);
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
        self.next_refresh = Some(clock::instant() + self.config.refresh_interval);
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
        let wait = retry::wait(code, retry_after, pass.failures);
        pass.failures += 1;
        if let Some(wait) = wait.filter(|wait| retry::is_worthwhile(*wait, pass.failures)) {
            self.rests_until = Some(clock::instant() + wait);
            self.cursor.pass = Some(pass);
            return;
        }
        let code_text = error.code.as_deref().map(|code_text| sanitize(code_text).into_owned()).unwrap_or_default();
        listing.add_failure(format!("list: {} {code_text}", error.kind.as_str()).trim_end().to_owned());
        listing.has_more = false;
        self.list_seen_tasks(pass.now, listing);
        // After a server error the pass continues at this page; a rejected request would be rejected again.
        let can_continue = matches!(code, None | Some(429 | 500..));
        let rests = wait.unwrap_or_default().max(self.config.refresh_interval);
        (self.rests_until, self.next_refresh) = (Some(clock::instant() + rests), None);
        self.cursor.pass = can_continue.then_some(pass);
    }

    /// Lists every task seen within `lookback`.
    fn list_seen_tasks(&mut self, now: Timestamp, listing: &mut Listing) {
        let lookback = self.config.lookback;
        self.cursor.seen.retain(|_, seen| *seen + lookback > now);
        listing.tasks = self.cursor.seen.keys().cloned().map(NewTask::new).collect();
    }

    /// Builds the request for a task, or for the next page.
    fn next_request(&self, task: Option<&TaskId>) -> Option<Request> {
        let pass = self.cursor.pass.as_ref();
        let part = pass.map(|pass| &pass.part).filter(|_| task.is_none());
        self.dialect.list_request(&PageRequest {
            number: part.map_or(1, |part| part.number),
            size: part.map_or(self.dialect.list()?.size, |part| part.size),
            after: part.and_then(|part| part.after.as_deref()),
            since: pass.map_or(Timestamp::from_secs(0), |pass| {
                pass.since.min(self.demand.borrow().since.unwrap_or(pass.since))
            }),
            now: pass.map_or_else(|| Timestamp::from(clock::now()), |pass| pass.now),
            part: if task.is_some() { None } else { *pass?.parts.first()? },
            zone: Zone::UNKNOWN,
            user_id: self.config.user_id.as_deref(),
            scope: self.config.scope,
            task,
        })
    }

    /// Requests a task, or the next page.
    async fn request(&mut self, task: Option<&TaskId>) -> PageOutcome {
        let (sent, sent_at) = (clock::instant(), Timestamp::from(clock::now()));
        let mut sent_request = ListRequest::sent(sent, self.config.key_reference.as_str().into());
        let Some(request) = self.next_request(task) else {
            let listed = Err(ApiError::new(Reason::BadRequest));
            return PageOutcome { request: sent_request, listed, retry_after: None };
        };
        let key = Credentials::key(self.config.key.as_ref(), clock::now()).await;
        sent_request.sent = clock::instant();
        let result = match key {
            Ok(key) => self.client.send(&request, key.as_ref()).await,
            Err(error) => Err(error),
        };
        sent_request.took = clock::instant() - sent_request.sent;
        let interval = Duration::from_secs_f64(1.0 / self.config.requests_per_second);
        // A list that is slow is asked half as often.
        self.next_permit = Some(sent_request.sent + interval * if sent_request.took > SLOW { 2 } else { 1 });
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
        if let Err(error) = &listed {
            sent_request.reason = Some(error.kind);
            sent_request.cause.clone_from(&error.cause);
        }
        PageOutcome { request: sent_request, listed, retry_after }
    }
}
