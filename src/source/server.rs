//! Ids from a server that speaks Prometheus's `http_sd`: a JSON list of target groups.
//!
//! See <https://prometheus.io/docs/prometheus/latest/http_sd/>.

use std::time::Duration;

use tokio::time::sleep;

use super::groups::{self, digest};
use super::listing::Listing;
use crate::clock;
use crate::config;
use crate::domain::NewTask;
use crate::http::{Client, Request, retry_after};
use crate::secret::mark;

/// The source.
pub struct ServerSource {
    config: config::HttpSource,
    client: Option<Client>,
    held: Held,
    /// The server asked to be left alone for longer.
    wait: Option<Duration>,
}

/// What the server said last that could be read.
#[derive(Default)]
struct Held {
    tasks: Vec<NewTask>,
    refused: u64,
    etag: Option<String>,
    /// Of the text, to know whether it is another one.
    digest: Option<u64>,
}

impl ServerSource {
    /// Of a checked entry; asks nothing yet.
    pub fn new(config: config::HttpSource) -> Self {
        Self { config, client: None, held: Held::default(), wait: None }
    }

    pub(super) fn identity(&self) -> String {
        format!("http:{}", mark(&self.config.http.base_url))
    }

    pub(super) fn inherit(&mut self, earlier: Self) {
        self.held = earlier.held;
    }

    pub(super) async fn changed(&mut self) {
        sleep(self.wait.take().unwrap_or_default().max(self.config.refresh_interval)).await;
    }

    pub(super) async fn read(&mut self) -> Listing {
        let mut listing = Listing { complete: true, ..Listing::default() };
        match self.ask().await {
            // Once for each text, however often it is read.
            Ok(is_news) => listing.errors += if is_news { self.held.refused } else { 0 },
            Err(message) => listing.failed(message),
        }
        if self.held.refused > 0 {
            listing.messages.push(format!("left out {} that are no task ids", self.held.refused));
        }
        listing.tasks.clone_from(&self.held.tasks);
        listing
    }

    /// Asks once, and keeps what a good answer names; says whether that is another text than before.
    async fn ask(&mut self) -> Result<bool, String> {
        let client = match &self.client {
            Some(client) => client,
            None => self.client.insert(Client::of_document(&self.config.http).map_err(|error| error.to_string())?),
        };
        let mut request = Request::get([]);
        let seconds = self.config.refresh_interval.as_secs().to_string();
        request.headers.push(("X-Prometheus-Refresh-Interval-Seconds".to_owned(), seconds));
        request.headers.extend(self.held.etag.clone().map(|etag| ("If-None-Match".to_owned(), etag)));
        let key = match &self.config.key {
            Some(key) => Some(key.get(clock::now()).await),
            None => None,
        };
        let response = client.send(&request, key.as_ref()).await.map_err(|reason| reason.as_str().to_owned())?;
        match response.status {
            304 if self.held.etag.is_some() => return Ok(false),
            200 => {}
            status => {
                let asked = response.retry_after.as_deref();
                self.wait = asked.and_then(|value| retry_after(value, clock::now().into()));
                return Err(format!("the server of ids answered with HTTP {status}"));
            }
        }
        let body = response.body.map_err(|reason| reason.as_str().to_owned())?;
        let (mut tasks, refused) = groups::of_json(&body)?;
        groups::share_ids(&mut tasks, &self.held.tasks);
        let digest = Some(digest(&body));
        let is_news = self.held.digest != digest;
        self.held = Held { tasks, refused, etag: response.etag, digest };
        Ok(is_news)
    }
}
