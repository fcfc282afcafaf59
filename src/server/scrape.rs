//! `/metrics`, in the format and the compression that is asked for.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::OwnedSemaphorePermit;

use super::handle::Handle;
use crate::agent::Agent;
use crate::clock;
use crate::metrics::{Coding, Compressor, Format, Page};

/// How long somebody waits for one of them to be done. Prometheus itself gives a scrape up after 10 s as a rule.
const PLACE_PATIENCE: Duration = Duration::from_secs(10);

/// How long a page may be on its way.
const PATIENCE: Duration = Duration::from_secs(30);

/// The page, made piece by piece as it is taken.
struct Scrape {
    page: Page,
    _place: OwnedSemaphorePermit,
    begun: Instant,
    compressor: Compressor,
    agent: Arc<Agent>,
    bytes: usize,
    took: Duration,
    is_done: bool,
}

impl Iterator for Scrape {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.is_done {
            return None;
        }
        let begun = clock::instant();
        if begun - self.begun > PATIENCE {
            self.is_done = true;
            return Some(Err(io::ErrorKind::TimedOut.into()));
        }
        let next = loop {
            let Some(piece) = self.page.next() else {
                self.is_done = true;
                break self.compressor.finish();
            };
            self.bytes += piece.len();
            match self.compressor.compress(piece) {
                // It says something only now and then.
                Ok(piece) if piece.is_empty() => {}
                other => break other,
            }
        };
        self.took += clock::instant() - begun;
        if self.is_done {
            self.agent.metrics().scraped(self.page.format(), self.bytes, self.took);
        }
        Some(next).filter(|next| next.as_ref().map_or(true, |piece| !piece.is_empty()))
    }
}

pub async fn metrics(State(handle): State<Arc<Handle>>, headers: HeaderMap) -> Response {
    let place = tokio::time::timeout(PLACE_PATIENCE, handle.pages.clone().acquire_owned()).await;
    let Ok(Ok(place)) = place else {
        let after = [(header::RETRY_AFTER, "5")];
        return (StatusCode::SERVICE_UNAVAILABLE, after, "too many pages are on their way to slow readers\n")
            .into_response();
    };
    let begun = clock::instant();
    // A list may stand in several headers.
    let accepted = |name: HeaderName| {
        let values = headers.get_all(name);
        values.iter().filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(",")
    };
    let format = Format::accepted(&accepted(header::ACCEPT));
    let coding = Coding::accepted(&accepted(header::ACCEPT_ENCODING));
    let (compressor, token) = (Compressor::new(coding), coding.token());
    let agent = handle.agent.clone();
    let page = agent.page(format);
    let took = clock::instant() - begun;
    let scrape = Scrape { page, _place: place, begun, compressor, agent, bytes: 0, took, is_done: false };
    let mut response = Body::from_stream(futures_util::stream::iter(scrape)).into_response();
    let own = response.headers_mut();
    own.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    own.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if let Some(token) = token {
        own.insert(header::CONTENT_ENCODING, HeaderValue::from_static(token));
    }
    response
}
