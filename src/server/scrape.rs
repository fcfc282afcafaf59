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
}

impl Iterator for Scrape {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<io::Result<Bytes>> {
        let begun = clock::instant();
        let piece = self.page.next();
        self.bytes += piece.as_ref().map_or(0, Bytes::len);
        let piece = piece.map(|piece| self.compressor.piece(piece));
        self.took += clock::instant() - begun;
        if piece.is_none() {
            self.shared.metrics.written(self.page.format(), self.bytes, self.took);
        }
        piece
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
    let scrape = Scrape { page, compressor, shared, bytes: 0, took: clock::instant() - begun };
    let mut response = Body::from_stream(futures_util::stream::iter(scrape)).into_response();
    let own = response.headers_mut();
    own.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    own.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if let Some(token) = token {
        own.insert(header::CONTENT_ENCODING, HeaderValue::from_static(token));
    }
    response
}
