//! Which Prometheus has read what: a value that was exported as 0 may appear once everybody has read the 0.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Who has not scraped for this long is gone.
const SEEN_FOR: Duration = Duration::from_mins(5);

/// Most scrapers that are remembered; whoever may read the page can pretend to be many.
const MAX_SCRAPERS: usize = 64;

/// A scraper is new until it has read so many pages: another one of the same pair may not have been seen yet.
const NEW_FOR: u32 = 3;

/// When the views of a page were published, by upstream.
pub type Published = BTreeMap<Arc<str>, Instant>;

/// The scrapers of the last five minutes. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct ScrapeLog(Arc<Mutex<HashMap<String, Scraper>>>);

#[derive(Debug)]
struct Scraper {
    seen: Instant,
    /// Its pages have only some upstreams.
    is_limited: bool,
    /// Pages that it has read to their end.
    pages: u32,
    /// The last page.
    last: Published,
    /// The page before it.
    earlier: Published,
}

impl Scraper {
    /// Everything of this upstream that was published then, or before, it has read; twice while it is new.
    fn has_read(&self, upstream: &str) -> Option<Instant> {
        let page = if self.pages < NEW_FOR { &self.earlier } else { &self.last };
        page.get(upstream).copied()
    }
}

impl ScrapeLog {
    fn scrapers(&self) -> MutexGuard<'_, HashMap<String, Scraper>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A Prometheus asks for a page; a limited one has only some upstreams.
    pub fn begin(&self, scraper: &str, is_limited: bool, now: Instant) {
        let mut scrapers = self.scrapers();
        scrapers.retain(|_, scraper| now.saturating_duration_since(scraper.seen) < SEEN_FOR);
        if let Some(scraper) = scrapers.get_mut(scraper) {
            scraper.seen = now;
        } else if scrapers.len() < MAX_SCRAPERS {
            let (last, earlier) = (Published::new(), Published::new());
            scrapers.insert(scraper.to_owned(), Scraper { seen: now, is_limited, pages: 0, last, earlier });
        }
    }

    /// It has read the page to its end.
    pub fn complete(&self, scraper: &str, page: Published) {
        if let Some(scraper) = self.scrapers().get_mut(scraper) {
            scraper.pages = scraper.pages.saturating_add(1);
            scraper.earlier = std::mem::replace(&mut scraper.last, page);
        }
    }

    /// Everything of an upstream that was published then, or before, every scraper has read; `None` when nobody scrapes, or
    /// somebody has read nothing yet.
    pub fn read_by_all(&self, upstream: &str, now: Instant) -> Option<Instant> {
        let scrapers = self.scrapers();
        let seen = scrapers.values().filter(|scraper| now.saturating_duration_since(scraper.seen) < SEEN_FOR);
        // Who never reads this upstream is not waited for.
        let reads =
            |scraper: &&Scraper| !scraper.is_limited || scraper.pages == 0 || scraper.last.contains_key(upstream);
        let seen = seen.filter(reads);
        seen.map(|scraper| scraper.has_read(upstream)).min().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(second: u64, begun: Instant) -> Published {
        [("u".into(), begun + Duration::from_secs(second))].into()
    }

    #[test]
    fn all_scrapers_must_have_read_a_page_and_new_ones_two() {
        let (log, begun) = (ScrapeLog::default(), crate::clock::instant());
        let at = |second| begun + Duration::from_secs(second);
        let read = |second| log.read_by_all("u", at(second)).map(|read| (read - begun).as_secs());
        assert_eq!(read(0), None, "nobody scrapes");
        for second in [10, 25, 40, 55] {
            log.begin("a", false, at(second));
            log.complete("a", page(second, begun));
        }
        assert_eq!(read(56), Some(55));
        assert_eq!(log.read_by_all("other", at(56)), None);
        // Another Prometheus has to read two pages first.
        let mut seen = Vec::new();
        for second in [60, 75, 90] {
            log.begin("b", false, at(second));
            log.complete("b", page(second, begun));
            seen.push(read(second));
        }
        assert_eq!(seen, [None, Some(55), Some(55)]);
        log.begin("a", false, at(100));
        log.complete("a", page(100, begun));
        assert_eq!(read(101), Some(90), "b has not read the last one");
        assert_eq!(read(395), Some(100), "b is gone");
    }

    #[test]
    fn a_page_that_was_not_read_to_its_end_counts_for_nothing() {
        let (log, begun) = (ScrapeLog::default(), crate::clock::instant());
        for second in 0..9 {
            log.begin("a", false, begun + Duration::from_secs(second));
        }
        assert_eq!(log.read_by_all("u", begun), None);
    }

    #[test]
    fn pretended_scrapers_use_little_memory() {
        let (log, begun) = (ScrapeLog::default(), crate::clock::instant());
        for n in 0..1000 {
            log.begin(&n.to_string(), false, begun);
        }
        assert_eq!(log.scrapers().len(), MAX_SCRAPERS);
    }

    #[test]
    fn a_limited_scraper_is_waited_for_only_where_it_reads() {
        let (log, begun) = (ScrapeLog::default(), crate::clock::instant());
        let at = |second| begun + Duration::from_secs(second);
        let page =
            |second, names: &[&str]| names.iter().map(|name| ((*name).into(), at(second))).collect::<Published>();
        for second in [10, 25, 40] {
            log.begin("all", false, at(second));
            log.complete("all", page(second, &["mine", "other"]));
        }
        let read = |upstream| log.read_by_all(upstream, at(50)).map(|read| (read - begun).as_secs());
        log.begin("limited", true, at(41));
        assert_eq!((read("mine"), read("other")), (None, None), "what it reads is not known yet");
        for second in [42, 44] {
            log.complete("limited", page(second, &["mine"]));
        }
        assert_eq!((read("mine"), read("other")), (Some(40), Some(40)));
        log.begin("unlimited", false, at(45));
        log.complete("unlimited", page(45, &["mine"]));
        assert_eq!(read("other"), None, "it will read an upstream that is new");
    }
}
