//! Task ids from a Prometheus `http_sd` server: a JSON list of target groups.
//!
//! See <https://prometheus.io/docs/prometheus/latest/http_sd/>.

use std::time::Duration;

use tokio::time::sleep;

use super::groups::{self, TargetList, hash_text};
use super::invalid_ids::InvalidIds;
use super::listing::Listing;
use crate::clock;
use crate::config;
use crate::domain::NewTask;
use crate::http::{Credentials, Request};
use crate::secret::fingerprint;

/// Reads an `http_sd` server.
pub struct HttpSdSource {
    config: config::HttpSourceSettings,
    last: LastResponse,
    /// The last response's `Retry-After`.
    wait: Option<Duration>,
}

/// Contents of the last valid response.
#[derive(Default)]
struct LastResponse {
    tasks: Vec<NewTask>,
    invalid_ids: InvalidIds,
    etag: Option<String>,
    /// Hash of the body, to detect changes.
    digest: Option<u64>,
}

impl HttpSdSource {
    /// From a checked entry. Sends no request yet.
    pub fn new(config: config::HttpSourceSettings) -> Self {
        Self { config, last: LastResponse::default(), wait: None }
    }

    pub(super) fn identity(&self) -> String {
        format!("http:{}", fingerprint(&self.config.client.options().base_url))
    }

    pub(super) fn inherit(&mut self, earlier: Self) {
        self.last = earlier.last;
    }

    pub(super) async fn wait_until_due(&mut self) {
        sleep(self.wait.take().unwrap_or_default().max(self.config.refresh_interval)).await;
    }

    pub(super) async fn read(&mut self) -> Listing {
        let mut listing = Listing { is_complete: true, ..Listing::default() };
        match self.fetch().await {
            // Counted once for each version of the list.
            Ok(is_new_text) => listing.errors += if is_new_text { self.last.invalid_ids.count } else { 0 },
            Err(message) => listing.add_failure(message),
        }
        if self.last.invalid_ids.count > 0 {
            listing.messages.push(self.last.invalid_ids.to_string());
        }
        listing.tasks.clone_from(&self.last.tasks);
        listing
    }

    /// Sends one request and keeps the tasks of a valid response. Returns whether the list has changed.
    async fn fetch(&mut self) -> Result<bool, String> {
        let mut request = Request::get([]);
        let seconds = self.config.refresh_interval.as_secs().to_string();
        request.headers.push(("X-Prometheus-Refresh-Interval-Seconds".to_owned(), seconds));
        request.headers.extend(self.last.etag.clone().map(|etag| ("If-None-Match".to_owned(), etag)));
        let key = Credentials::key(self.config.key.as_ref(), clock::now()).await.map_err(|error| error.to_string())?;
        let response = self.config.client.send(&request, key.as_ref()).await.map_err(|error| error.to_string())?;
        match response.status {
            304 if self.last.etag.is_some() => return Ok(false),
            200 => {}
            status => {
                self.wait = response.retry_after;
                return Err(format!("the http_sd server answered with HTTP {status}"));
            }
        }
        let body = response.body.map_err(|error| error.to_string())?;
        let TargetList { mut tasks, invalid_ids, .. } = groups::parse_json(&body, self.config.max_targets)?;
        groups::share_ids(&mut tasks, &self.last.tasks);
        let digest = Some(hash_text(&body));
        let is_new_text = self.last.digest != digest;
        self.last = LastResponse { tasks, invalid_ids, etag: response.etag, digest };
        Ok(is_new_text)
    }
}
