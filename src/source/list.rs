//! Ids in an upstream's own list of tasks, page by page.
//!
//! A list moves while it is read, and may leave out what is there: so nothing is gone because a page does not have it. It is read
//! from the newest task back to a little before the newest one of the last read, by the list's own times, and as far back as
//! `lookback` at first, and again every hour.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::{Asked, Listing};
use crate::clock;
use crate::config;
use crate::domain::{ApiError, NewTask, Reason, TaskId, Timestamp};
use crate::http::{Client, Options, date, retry_after};
use crate::provider::{Dialect, Listed, Page, Zone};
use crate::secret::mark;

/// How far before the newest task that is known a list is read again: what was submitted earlier may become visible later.
const OVERLAP: Duration = Duration::from_mins(15);

/// How often all of `lookback` is read again.
const WHOLE: Duration = Duration::from_hours(1);

/// Most pages of one read.
const MAX_PAGES: usize = 1000;

/// Pages in a row without anything new, after which the list is taken to be at its end.
const MAX_STALE: usize = 10;

/// How often a page is asked for again when the upstream wants to be left alone.
const PATIENCE: usize = 3;

/// How long it is left alone when it does not say.
const PAUSE: Duration = Duration::from_secs(5);

/// The longest that one read waits for it.
const MAX_PAUSE: Duration = Duration::from_mins(5);

/// The source.
pub struct UpstreamList {
    config: config::ListSource,
    dialect: Arc<Dialect>,
    http: Options,
    client: Option<Client>,
    held: Held,
}

/// What is known from earlier reads.
#[derive(Default)]
struct Held {
    /// Every task of the last `lookback`, and when the list last had it.
    seen: HashMap<TaskId, Timestamp>,
    /// The latest submit time, by the list's own clock.
    newest: Option<Timestamp>,
    /// When all of `lookback` was last read.
    whole: Option<Timestamp>,
    /// How far the upstream's clock is ahead of ours, in milliseconds.
    ahead: i64,
}

/// Two clocks that are further apart, in milliseconds, are not taken for one: a `Date` has whole seconds, and is a while on its way.
const CLOCKS_APART: i64 = 60_000;

/// How far one read has come.
struct Progress {
    since: Timestamp,
    /// Submit times have only become earlier so far.
    descending: bool,
    earliest: Option<Timestamp>,
    newest: Option<Timestamp>,
    read: HashSet<TaskId>,
    entries: usize,
    /// Entries of the longest page.
    longest: usize,
    /// Pages in a row that had nothing new.
    stale: usize,
}

impl UpstreamList {
    /// Of a checked entry; asks nothing yet.
    pub fn new(config: config::ListSource, upstream: &config::Upstream) -> Self {
        let (dialect, http) = (upstream.dialect.clone(), upstream.http.clone());
        Self { config, dialect, http, client: None, held: Held::default() }
    }

    pub(super) fn identity(&self) -> String {
        format!("list:{}", mark(self.config.user_id.as_deref().unwrap_or_default()))
    }

    pub(super) fn inherit(&mut self, earlier: Self) {
        self.held = earlier.held;
    }

    pub(super) async fn changed(&mut self) {
        sleep(self.config.refresh_interval).await;
    }

    pub(super) async fn read(&mut self) -> Listing {
        let assumed = self.held.ahead;
        let mut listing = self.read_once(Vec::new()).await;
        if (self.held.ahead - assumed).abs() > CLOCKS_APART {
            // It was asked for the tasks of the wrong time.
            listing = self.read_once(listing.asked).await;
        }
        listing
    }

    async fn read_once(&mut self, asked: Vec<Asked>) -> Listing {
        let mut listing = Listing { complete: true, asked, ..Listing::default() };
        let ours = Timestamp::from(clock::now());
        let now = Timestamp::from_millis(ours.as_millis().saturating_add(self.held.ahead));
        let is_whole =
            self.held.newest.is_none() || self.held.whole.is_none_or(|whole| now.duration_since(whole) >= WHOLE);
        let reach = self.dialect.list().map_or(Duration::MAX, |list| list.reach);
        let back = now - self.config.lookback.min(reach);
        let since = self.held.newest.filter(|_| !is_whole).map_or(back, |newest| (newest - OVERLAP).max(back));
        let parts = self.dialect.list().map_or(&[][..], |list| list.parts);
        let mut newest = self.held.newest;
        let mut any = false;
        for part in parts {
            let mut progress = Progress {
                since,
                descending: true,
                earliest: None,
                newest: None,
                read: HashSet::new(),
                entries: 0,
                longest: 1,
                stale: 0,
            };
            if let Err(error) = self.pages(*part, now, &mut progress, &mut listing).await {
                let code = error.code.as_deref().map(|code| crate::domain::labels::sanitise(code).into_owned());
                listing.failed(
                    format!("list: {} {}", error.kind.as_str(), code.unwrap_or_default()).trim_end().to_owned(),
                );
            }
            any |= progress.entries > 0;
            // A time that has not come is no time to go on from.
            newest = newest.max(progress.newest.map(|newest| newest.min(now)));
        }
        if listing.complete {
            // What was not read to its end is read from the same place again.
            self.held.newest = if listing.truncated { self.held.newest } else { newest };
            self.held.whole = if is_whole { Some(now) } else { self.held.whole };
        }
        // An empty list may be a database in trouble: it is not a source's first load (docs/upstreams.md 2.9).
        listing.absent = !any;
        let lookback = self.config.lookback;
        self.held.seen.retain(|_, seen| *seen + lookback > now);
        listing.tasks = self.held.seen.keys().cloned().map(NewTask::new).collect();
        listing
    }

    /// Reads the pages of one part of the list.
    async fn pages(
        &mut self,
        part: Option<(&'static str, &'static str)>,
        now: Timestamp,
        progress: &mut Progress,
        listing: &mut Listing,
    ) -> Result<(), ApiError> {
        let Some(list) = self.dialect.list() else { return Ok(()) };
        let user_id = self.config.user_id.clone();
        let mut number = 1;
        let mut counts_from_0 = false;
        let mut after: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let page = Page {
                number,
                size: list.size,
                after: after.as_deref(),
                since: progress.since,
                now,
                part,
                zone: Zone::UNKNOWN,
                user_id: user_id.as_deref(),
            };
            let listed = self.page(&page, listing).await?;
            if listed.bare && number == 1 && !counts_from_0 {
                // That was the second one.
                (number, counts_from_0) = (0, true);
                continue;
            }
            after = listed.tasks.last().and_then(|task| task.task_id.clone());
            if self.note(&listed, now, progress, listing) || is_last(&listed, progress) {
                return Ok(());
            }
            number += 1;
        }
        listing.truncated = true;
        listing.messages.push(format!("the list has more than {MAX_PAGES} pages; the rest was left out"));
        Ok(())
    }

    /// Takes what a page has; true when nothing that is wanted can come after it.
    fn note(&mut self, listed: &Listed, now: Timestamp, progress: &mut Progress, listing: &mut Listing) -> bool {
        let before = progress.read.len();
        let mut all_early = !listed.tasks.is_empty();
        for answer in &listed.tasks {
            let Some(id) = answer.task_id.as_deref() else { continue };
            let Ok(id) = TaskId::parse(id) else {
                listing.errors += 1;
                continue;
            };
            let submit = answer.times.submit;
            // What newer tasks have pushed onto this page was on the one before, too.
            if !progress.read.contains(&id) {
                let later = submit.zip(progress.earliest).is_some_and(|(submit, earliest)| submit > earliest);
                progress.descending &= !later;
                progress.earliest = submit.or(progress.earliest);
            }
            progress.newest = progress.newest.max(submit);
            let is_early = submit.is_some_and(|submit| submit < progress.since);
            all_early &= is_early;
            if !is_early {
                self.held.seen.insert(id.clone(), now);
            }
            progress.read.insert(id);
        }
        progress.entries += listed.entries;
        progress.longest = progress.longest.max(listed.entries);
        // A server that does not turn pages would be read for ever. One page of what is known may well be what newer tasks have
        // pushed down.
        let stale = if progress.read.len() == before { progress.stale + 1 } else { 0 };
        progress.stale = stale;
        stale >= MAX_STALE || (all_early && progress.descending)
    }

    /// Asks for one page, and again when the upstream wants to be left alone for a while.
    async fn page(&mut self, page: &Page<'_>, listing: &mut Listing) -> Result<Listed, ApiError> {
        let client = match &self.client {
            Some(client) => client,
            None => self.client.insert(Client::new(&self.http).map_err(|_| ApiError::new(Reason::BadRequest))?),
        };
        let Some(request) = self.dialect.list_request(page) else { return Err(ApiError::new(Reason::WrongPath)) };
        let mut tries = 0;
        loop {
            let key = match &self.config.key {
                Some(key) => Some(key.get(clock::now()).await),
                None => None,
            };
            let (sent, sent_at) = (clock::instant(), Timestamp::from(clock::now()));
            let answered = client.send(&request, key.as_ref()).await;
            let mut asked = Asked { code: None, reason: None, sent, took: clock::instant() - sent, date: None };
            let (listed, wait) = match answered {
                Err(reason) => (Err(ApiError::new(reason)), None),
                Ok(response) => {
                    asked.code = Some(response.status);
                    asked.date = response.date.as_deref().and_then(date);
                    if let Some(date) = asked.date {
                        let ahead = date.as_millis().saturating_sub(sent_at.as_millis());
                        self.held.ahead = if ahead.abs() > CLOCKS_APART { ahead } else { 0 };
                    }
                    let wait = matches!(response.status, 429 | 503).then(|| {
                        let said = response.retry_after.as_deref();
                        said.and_then(|value| retry_after(value, clock::now().into())).unwrap_or(PAUSE)
                    });
                    let listed = match &response.body {
                        Ok(body) => self.dialect.read_list(response.status, body),
                        Err(reason) if (200..300).contains(&response.status) => Err(ApiError::new(*reason)),
                        Err(_) => self.dialect.read_list(response.status, b""),
                    };
                    (listed, wait)
                }
            };
            asked.reason = listed.as_ref().err().map(|error| error.kind);
            listing.asked.push(asked);
            match (listed, wait) {
                (Err(_), Some(wait)) if tries < PATIENCE && wait <= MAX_PAUSE => {
                    tries += 1;
                    sleep(wait).await;
                }
                (listed, _) => return listed,
            }
        }
    }
}

/// What a page says of itself: that there is none after it.
fn is_last(listed: &Listed, progress: &Progress) -> bool {
    if listed.entries == 0 {
        return true;
    }
    match (listed.more, listed.total) {
        (Some(more), _) => !more,
        (None, Some(total)) => progress.entries >= total,
        // Servers are known to have smaller pages than they are asked for: a short one is known by the others.
        (None, None) => listed.entries < progress.longest,
    }
}
