//! Ids in an upstream's own list of tasks, page by page.
//!
//! A list moves while it is read, and may leave out what is there: so nothing is gone because a page does not have it. It is read
//! from the newest task back to a little before the newest one of the last pass, by the list's own times, and as far back as
//! `lookback` at first, and again every hour. A read is one request: what a page has is known at once, and what cuts a pass short
//! costs one page.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::listing::{Asked, Listing};
use crate::clock;
use crate::config;
use crate::domain::labels::sanitize;
use crate::domain::{ApiError, NewTask, Reason, TaskId, Timestamp};
use crate::http::{Client, Options, Request, date, retry_after};
use crate::provider::{Dialect, Listed, Page, Zone};
use crate::secret::mark;

/// How far before the newest task that is known a list is read again: what was submitted earlier may become visible later.
const OVERLAP: Duration = Duration::from_mins(15);

/// How often all of `lookback` is read again.
const WHOLE: Duration = Duration::from_hours(1);

/// Most pages of one pass.
const MAX_PAGES: usize = 1000;

/// Pages in a row without anything new, after which the list is taken to be at its end.
const MAX_STALE: usize = 10;

/// How often a page is asked for again when the upstream wants to be left alone, before that is an error.
const PATIENCE: u32 = 3;

/// How long it is left alone when it does not say, at first; then twice as long, and so on.
const PAUSE: Duration = Duration::from_secs(5);

/// The longest that is waited for it.
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
    /// The pass that has begun.
    pass: Option<Pass>,
    /// How long to wait before the next page.
    pause: Option<Duration>,
}

/// Two clocks that are further apart, in milliseconds, are not taken for one: a `Date` has whole seconds, and is a while on its way.
const CLOCKS_APART: i64 = 60_000;

/// What has to be asked for by itself.
type Parts = &'static [Option<(&'static str, &'static str)>];

/// One way through the list, as far as it has come.
struct Pass {
    /// When it began.
    began: Timestamp,
    /// How far the list's clock was taken to be ahead of ours, in milliseconds; `None` once its answer has confirmed that.
    assumed: Option<i64>,
    /// When it began, by the list's clock.
    now: Timestamp,
    /// How far back it goes.
    since: Timestamp,
    /// That is as far back as it is ever read.
    is_whole: bool,
    /// What has not been read to its end, of which the first is being read.
    parts: Parts,
    part: Part,
    newest: Option<Timestamp>,
    /// Some page had entries.
    any: bool,
    /// There were more pages than are read.
    truncated: bool,
    /// How often the page that comes next was refused.
    refusals: u32,
}

/// How far one part has been read.
struct Part {
    number: usize,
    counts_from_0: bool,
    after: Option<String>,
    pages: usize,
    /// Submit times have only become earlier so far.
    descending: bool,
    earliest: Option<Timestamp>,
    read: HashSet<TaskId>,
    entries: usize,
    /// Entries of the longest page.
    longest: usize,
    /// Pages in a row that had nothing new.
    stale: usize,
}

impl Default for Part {
    fn default() -> Self {
        Self {
            number: 1,
            counts_from_0: false,
            after: None,
            pages: 0,
            descending: true,
            earliest: None,
            read: HashSet::new(),
            entries: 0,
            longest: 1,
            stale: 0,
        }
    }
}

/// How a request ended.
struct Outcome {
    asked: Asked,
    listed: Result<Listed, ApiError>,
    /// How long the upstream wants to be left alone, if it says that.
    retry_after: Option<Duration>,
}

impl UpstreamList {
    /// Of a checked entry; asks nothing yet.
    pub fn new(config: config::ListSource, upstream: &config::Upstream) -> Self {
        let (dialect, http) = (upstream.dialect.clone(), upstream.http.clone());
        Self { config, dialect, http, client: None, held: Held::default() }
    }

    pub(super) fn identity(&self) -> String {
        let config::ListSource { user_id, key_name, .. } = &self.config;
        // Two keys may show two users' tasks.
        format!("list:{}", mark(&format!("{}\n{key_name}", user_id.as_deref().unwrap_or_default())))
    }

    pub(super) fn inherit(&mut self, earlier: Self) {
        self.held = earlier.held;
    }

    pub(super) async fn changed(&mut self) {
        let between = if self.held.pass.is_some() { Duration::ZERO } else { self.config.refresh_interval };
        sleep(self.held.pause.take().unwrap_or(between)).await;
    }

    /// Reads one page more.
    pub(super) async fn read(&mut self) -> Listing {
        let ours = Timestamp::from(clock::now());
        // One that was held up for so long is no way through this list any more.
        let pass = self.held.pass.take_if(|pass| ours.duration_since(pass.began) < WHOLE);
        self.held.pass = Some(pass.unwrap_or_else(|| self.begin(ours)));
        let Outcome { asked, listed, retry_after } = self.ask().await;
        let mut listing = Listing { asked: vec![asked], more: true, ..Listing::default() };
        let Some(mut pass) = self.held.pass.take() else { return listing };
        match listed {
            Ok(_) if pass.assumed.is_some_and(|assumed| (self.held.ahead - assumed).abs() > CLOCKS_APART) => {
                // It was asked for the tasks of the wrong time.
                self.held.pass = Some(Pass { assumed: None, ..self.begin(ours) });
            }
            Ok(listed) => {
                pass.assumed = None;
                pass.refusals = 0;
                self.note(&listed, &mut pass, &mut listing);
                if pass.parts.is_empty() {
                    self.end(&pass, &mut listing);
                } else {
                    self.held.pass = Some(pass);
                }
            }
            Err(error) => self.failed(&error, retry_after, pass, &mut listing),
        }
        listing
    }

    /// A way through the list, before its first page.
    fn begin(&self, ours: Timestamp) -> Pass {
        let now = Timestamp::from_millis(ours.as_millis().saturating_add(self.held.ahead));
        let is_whole =
            self.held.newest.is_none() || self.held.whole.is_none_or(|whole| now.duration_since(whole) >= WHOLE);
        let (reach, parts) = self.dialect.list().map_or((Duration::MAX, &[][..]), |list| (list.reach, list.parts));
        let back = now - self.config.lookback.min(reach);
        let since = self.held.newest.filter(|_| !is_whole).map_or(back, |newest| (newest - OVERLAP).max(back));
        Pass {
            began: ours,
            assumed: Some(self.held.ahead),
            now,
            since,
            is_whole,
            parts,
            part: Part::default(),
            newest: None,
            any: false,
            truncated: false,
            refusals: 0,
        }
    }

    /// Takes what a page has, and turns to the next one, of the next part if need be.
    fn note(&mut self, listed: &Listed, pass: &mut Pass, listing: &mut Listing) {
        let part = &mut pass.part;
        part.pages += 1;
        if listed.bare && part.number == 1 && !part.counts_from_0 {
            // That was the second one.
            (part.number, part.counts_from_0) = (0, true);
            return;
        }
        let before = part.read.len();
        let mut all_early = !listed.tasks.is_empty();
        for answer in &listed.tasks {
            let Some(id) = answer.task_id.as_deref() else { continue };
            let Ok(id) = TaskId::parse(id) else {
                listing.errors += 1;
                continue;
            };
            let submit = answer.times.submit;
            // What newer tasks have pushed onto this page was on the one before, too.
            if !part.read.contains(&id) {
                let later = submit.zip(part.earliest).is_some_and(|(submit, earliest)| submit > earliest);
                part.descending &= !later;
                part.earliest = submit.or(part.earliest);
            }
            // A time that has not come is no time to go on from.
            pass.newest = pass.newest.max(submit.map(|submit| submit.min(pass.now)));
            let is_early = submit.is_some_and(|submit| submit < pass.since);
            all_early &= is_early;
            if !is_early && self.held.seen.insert(id.clone(), pass.now).is_none() {
                listing.tasks.push(NewTask::new(id.clone()));
            }
            part.read.insert(id);
        }
        part.entries += listed.entries;
        part.longest = part.longest.max(listed.entries);
        pass.any |= listed.entries > 0;
        // A server that does not turn pages would be read for ever. One page of what is known may well be what newer tasks have
        // pushed down.
        part.stale = if part.read.len() == before { part.stale + 1 } else { 0 };
        let is_over = part.stale >= MAX_STALE || (all_early && part.descending) || is_last(listed, part);
        if !is_over && part.pages < MAX_PAGES {
            part.after = listed.tasks.last().and_then(|task| task.task_id.clone());
            part.number += 1;
            return;
        }
        if !is_over {
            pass.truncated = true;
            listing.messages.push(format!("the list has more than {MAX_PAGES} pages; the rest was left out"));
        }
        pass.parts = &pass.parts[1..];
        pass.part = Part::default();
    }

    /// All that is wanted was read.
    fn end(&mut self, pass: &Pass, listing: &mut Listing) {
        // What lies beyond the last page that is read is not found by reading the same pages again.
        self.held.newest = self.held.newest.max(pass.newest);
        self.held.whole = if pass.is_whole { Some(pass.now) } else { self.held.whole };
        (listing.more, listing.complete, listing.truncated) = (false, true, pass.truncated);
        // An empty list may be a database in trouble: it is not a source's first load (docs/upstreams.md 2.9).
        listing.absent = !pass.any;
        self.name_all(pass.now, listing);
    }

    /// A page was refused: it is asked for again, after a while.
    fn failed(&mut self, error: &ApiError, retry_after: Option<Duration>, mut pass: Pass, listing: &mut Listing) {
        let code = listing.asked.last().and_then(|asked| asked.code);
        let later = PAUSE.saturating_mul(1 << pass.refusals.min(16)).min(MAX_PAUSE);
        let wait = matches!(code, Some(429 | 503)).then(|| retry_after.unwrap_or(later));
        pass.refusals += 1;
        if let Some(wait) = wait.filter(|wait| pass.refusals <= PATIENCE && *wait <= MAX_PAUSE) {
            self.held.pause = Some(wait);
            self.held.pass = Some(pass);
            return;
        }
        let said = error.code.as_deref().map(|said| sanitize(said).into_owned()).unwrap_or_default();
        listing.failed(format!("list: {} {said}", error.kind.as_str()).trim_end().to_owned());
        listing.more = false;
        self.name_all(pass.now, listing);
        // A server in trouble has this page when it is well again; what it does not understand it never will.
        let is_trouble = matches!(code, None | Some(429 | 500..));
        self.held.pause = Some(wait.unwrap_or_default().max(self.config.refresh_interval));
        self.held.pass = is_trouble.then_some(pass);
    }

    /// Everything that is known of the last `lookback`.
    fn name_all(&mut self, now: Timestamp, listing: &mut Listing) {
        let lookback = self.config.lookback;
        self.held.seen.retain(|_, seen| *seen + lookback > now);
        listing.tasks = self.held.seen.keys().cloned().map(NewTask::new).collect();
    }

    /// The request for the page that comes next.
    fn request(&self) -> Option<Request> {
        let pass = self.held.pass.as_ref()?;
        self.dialect.list_request(&Page {
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

    /// Asks for the page that comes next.
    async fn ask(&mut self) -> Outcome {
        let (sent, sent_at) = (clock::instant(), Timestamp::from(clock::now()));
        let mut asked = Asked { code: None, reason: None, sent, took: Duration::ZERO, date: None };
        let (request, client) = match (self.request(), self.client.take().map_or_else(|| Client::new(&self.http), Ok)) {
            (Some(request), Ok(client)) => (request, &*self.client.insert(client)),
            (_, _) => return Outcome { asked, listed: Err(ApiError::new(Reason::BadRequest)), retry_after: None },
        };
        let key = match &self.config.key {
            Some(key) => Some(key.get(clock::now()).await),
            None => None,
        };
        asked.sent = clock::instant();
        let answered = client.send(&request, key.as_ref()).await;
        asked.took = clock::instant() - asked.sent;
        let (listed, retry_after) = match answered {
            Err(reason) => (Err(ApiError::new(reason)), None),
            Ok(response) => {
                asked.code = Some(response.status);
                asked.date = response.date.as_deref().and_then(date);
                if let Some(date) = asked.date {
                    let ahead = date.as_millis().saturating_sub(sent_at.as_millis());
                    self.held.ahead = if ahead.abs() > CLOCKS_APART { ahead } else { 0 };
                }
                let after = response.retry_after.as_deref();
                let after = after.and_then(|value| retry_after(value, clock::now().into()));
                let listed = match &response.body {
                    Ok(body) => self.dialect.read_list(response.status, body),
                    Err(reason) if (200..300).contains(&response.status) => Err(ApiError::new(*reason)),
                    Err(_) => self.dialect.read_list(response.status, b""),
                };
                (listed, after)
            }
        };
        asked.reason = listed.as_ref().err().map(|error| error.kind);
        Outcome { asked, listed, retry_after }
    }
}

/// What a page says of itself: that there is none after it.
fn is_last(listed: &Listed, part: &Part) -> bool {
    if listed.entries == 0 {
        return true;
    }
    match (listed.more, listed.total) {
        (Some(more), _) => !more,
        (None, Some(total)) => part.entries >= total,
        // Servers are known to have smaller pages than they are asked for: a short one is known by the others.
        (None, None) => listed.entries < part.longest,
    }
}
