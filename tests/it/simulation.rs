//! A simulated gateway in the process of the tests; it stops when it is dropped.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use videogen_exporter::http::{Request, Response};
use videogen_exporter::simulate::{self, Faults, Gateway, Settings};

use crate::exporter::client;

/// The gateway.
pub struct Simulation {
    pub address: SocketAddr,
    pub gateway: Arc<Gateway>,
    stop: CancellationToken,
}

impl Simulation {
    /// With so many active tasks, which run so many times faster than real ones.
    pub async fn start(tasks: usize, speed: f64) -> Self {
        let settings = Settings {
            tasks,
            seed: 7,
            speed,
            faults: Faults::default(),
            list_limit: 0,
            hides_bodies: false,
            balance: 1000,
        };
        Self::with(settings).await
    }

    /// With these settings.
    #[expect(clippy::disallowed_methods, reason = "the gateway stops with this value")]
    pub async fn with(settings: Settings) -> Self {
        let gateway = Gateway::new(&settings);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        tokio::spawn(simulate::serve(listener, gateway.clone(), stop.clone()));
        Self { address, gateway, stop }
    }

    /// The ids of those of its tasks that single polls do not change: the others are polled every 2 min only.
    pub fn ids(&self) -> Vec<String> {
        let (ids, _) =
            self.gateway.render_page(0, 1_000_000, |_, view| view.task.model.platform != "24", |id, _| id.into());
        ids.iter().map(|id| id.as_str().unwrap().to_owned()).collect()
    }

    /// The response to a request for its list.
    pub async fn list(&self, last: &str, query: &[(&str, &str)]) -> Response {
        let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let request = Request { query, ..Request::get(["api", "task", last]) };
        client(self.address).send(&request, None).await.unwrap()
    }

    /// Rows of its list and their number on all pages.
    pub async fn rows(&self, last: &str, query: &[(&str, &str)]) -> (Vec<Value>, u64) {
        let page: Value = serde_json::from_slice(&self.list(last, query).await.body.unwrap()).unwrap();
        (page["data"]["items"].as_array().unwrap().clone(), page["data"]["total"].as_u64().unwrap())
    }

    /// The latest rows of tasks at Gemini, as an administrator sees them.
    pub async fn gemini_rows(&self) -> Vec<Value> {
        self.rows("", &[("page_size", "100"), ("platform", "24")]).await.0
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
