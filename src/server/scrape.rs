//! `/metrics`, in the requested format and compression.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::OwnedSemaphorePermit;

use super::client::{Client, ClientAddress};
use super::client_permits::ClientPermit;
use super::handle::Handle;
use super::viewer::Viewer;
use crate::agent::Agent;
use crate::clock;
use crate::metrics::{Coding, Compressor, Format, Page, Published};

/// How long a scrape waits for others to end. Prometheus aborts a scrape after 10 s by default.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a page may take to send.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// A header that Prometheus, and whatever scrapes like it, sends.
const PROMETHEUS_HEADER: &str = "x-prometheus-scrape-timeout-seconds";

/// A response body, rendered piece by piece while it is sent.
struct ScrapeBody {
    page: Page,
    _permits: (OwnedSemaphorePermit, ClientPermit),
    begun: Instant,
    compressor: Compressor,
    agent: Arc<Agent>,
    /// The Prometheus that reads it, and when its views were published.
    scraper: Option<(String, Published)>,
    bytes: usize,
    took: Duration,
    is_done: bool,
}

impl Iterator for ScrapeBody {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.is_done {
            self.on_read();
            return None;
        }
        let now = clock::instant();
        if now - self.begun > SEND_TIMEOUT {
            (self.is_done, self.scraper) = (true, None);
            return Some(Err(io::ErrorKind::TimedOut.into()));
        }
        let next = loop {
            let Some(piece) = self.page.next() else {
                self.is_done = true;
                break self.compressor.finish();
            };
            self.bytes += piece.len();
            match self.compressor.compress(piece) {
                // A compressor returns nothing until it has enough input.
                Ok(piece) if piece.is_empty() => {}
                other => break other,
            }
        };
        self.took += clock::instant() - now;
        if self.is_done {
            self.agent.metrics().scraped(self.page.format(), self.bytes, self.took);
        }
        if next.as_ref().is_ok_and(Bytes::is_empty) {
            self.on_read();
            return None;
        }
        Some(next)
    }
}

impl ScrapeBody {
    /// Whoever asks for more has taken everything.
    fn on_read(&mut self) {
        if let Some((scraper, page)) = self.scraper.take() {
            self.agent.metrics().scrapes.complete(&scraper, page);
        }
    }
}

pub async fn metrics(
    State(handle): State<Arc<Handle>>,
    Extension(client): Extension<Client>,
    Extension(ClientAddress(address)): Extension<ClientAddress>,
    Extension(viewer): Extension<Viewer>,
    headers: HeaderMap,
) -> Response {
    // The client's own share comes first, so that only as many wait for the others.
    let permits = async {
        let of_client = handle.client_scrapes.wait(client).await;
        (handle.scrape_permits.clone().acquire_owned().await, of_client)
    };
    let Ok((Ok(permit), Some(of_client))) = tokio::time::timeout(PERMIT_TIMEOUT, permits).await else {
        let retry_after = [(header::RETRY_AFTER, "5")];
        let text = "too many scrapes are in progress; retry after 5 seconds\n";
        return (StatusCode::SERVICE_UNAVAILABLE, retry_after, text).into_response();
    };
    handle.export_web_config();
    let begun = clock::instant();
    // HTTP allows a list to be split over several headers of one name.
    let accepted = |name: HeaderName| {
        let values = headers.get_all(name);
        values.iter().filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(",")
    };
    let format = Format::from_accept(&accepted(header::ACCEPT));
    let coding = Coding::from_accept(&accepted(header::ACCEPT_ENCODING));
    let (compressor, token) = (Compressor::new(coding), coding.token());
    let agent = handle.agent.clone();
    let views = viewer.limit(agent.views());
    let scraper = headers.contains_key(PROMETHEUS_HEADER).then(|| {
        let name = format!("{address} {} {}", accepted(header::USER_AGENT), viewer.identity());
        agent.metrics().scrapes.begin(&name, viewer.is_limited(), begun);
        let published = views.iter().filter_map(|view| Some((view.upstream.clone(), view.published?)));
        (name, published.collect())
    });
    let metrics = agent.metrics();
    let page = if viewer.is_limited() { metrics.page_of_tasks(format, &views) } else { metrics.page(format, &views) };
    let took = clock::instant() - begun;
    let body = ScrapeBody {
        page,
        _permits: (permit, of_client),
        begun,
        compressor,
        agent,
        scraper,
        bytes: 0,
        took,
        is_done: false,
    };
    let mut response = Body::from_stream(futures_util::stream::iter(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if let Some(token) = token {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(token));
    }
    response
}
