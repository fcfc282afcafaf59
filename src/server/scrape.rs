//! `/metrics`, in the format and the compression that is asked for.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::Handle;
use crate::agent::Shared;
use crate::clock;
use crate::metrics::{Coding, Compressor, Format, Page};

/// The page, made piece by piece as it is taken.
struct Scrape {
    page: Page,
    compressor: Compressor,
    shared: Arc<Shared>,
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
        let next = loop {
            let Some(piece) = self.page.next() else {
                self.is_done = true;
                break self.compressor.end();
            };
            self.bytes += piece.len();
            match self.compressor.piece(piece) {
                // It says something only now and then.
                Ok(piece) if piece.is_empty() => {}
                other => break other,
            }
        };
        self.took += clock::instant() - begun;
        if self.is_done {
            self.shared.metrics.written(self.page.format(), self.bytes, self.took);
        }
        Some(next).filter(|next| next.as_ref().map_or(true, |piece| !piece.is_empty()))
    }
}

pub async fn metrics(State(handle): State<Arc<Handle>>, headers: HeaderMap) -> Response {
    let begun = clock::instant();
    // A list may stand in several headers.
    let accepted = |name: HeaderName| {
        let values = headers.get_all(name);
        values.iter().filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(",")
    };
    let format = Format::accepted(&accepted(header::ACCEPT));
    let coding = Coding::accepted(&accepted(header::ACCEPT_ENCODING));
    // What is not compressed can always be sent.
    let (compressor, token) = match Compressor::new(coding) {
        Ok(compressor) => (compressor, coding.token()),
        Err(_) => (Compressor::Identity, None),
    };
    let shared = handle.shared.clone();
    let page = shared.metrics.page(format, shared.snapshot());
    let scrape = Scrape { page, compressor, shared, bytes: 0, took: clock::instant() - begun, is_done: false };
    let mut response = Body::from_stream(futures_util::stream::iter(scrape)).into_response();
    let own = response.headers_mut();
    own.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    own.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if let Some(token) = token {
        own.insert(header::CONTENT_ENCODING, HeaderValue::from_static(token));
    }
    response
}
