//! Readiness, the active configuration, and its reload.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::oneshot;

use super::handle::Handle;
use super::viewer::Viewer;
use crate::clock;

/// Reloads the configuration as SIGHUP does, and returns the result.
pub async fn reload(State(handle): State<Arc<Handle>>, headers: HeaderMap) -> Response {
    if !handle.enable_lifecycle {
        let text = "reload over HTTP is off; start the exporter with --web.enable-lifecycle, or send it SIGHUP\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    if handle.allowed_hosts.is_foreign_origin(&headers) {
        let text = "another web site may not reload the configuration; use a program such as curl\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    let Ok(_reloading) = handle.reloading.try_lock() else {
        let text = "a reload is in progress; retry after one second\n";
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], text).into_response();
    };
    let Some(requests) = &handle.reload else {
        let text = "cannot reload: the exporter was started without a configuration file\n";
        return (StatusCode::NOT_FOUND, text).into_response();
    };
    let (reply, result) = oneshot::channel();
    // Both channels are closed while the program stops.
    let stopping = || Err("the exporter is stopping".to_owned());
    let result = match requests.send(Some(reply)).await {
        Ok(()) => result.await.unwrap_or_else(|_| stopping()),
        Err(_) => stopping(),
    };
    match result {
        Ok(notes) => {
            let text = notes.iter().fold("configuration reloaded\n".to_owned(), |text, note| text + note + "\n");
            text.into_response()
        }
        Err(error) => {
            let text = format!("{error}\nconfiguration not reloaded; the previous configuration stays active\n");
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
    }
}

/// 200 while every part of the program moves.
pub async fn healthy(State(handle): State<Arc<Handle>>) -> Response {
    let stalled = handle.liveness.stalled(clock::instant());
    if stalled.is_empty() {
        return "videogen-exporter is healthy.\n".into_response();
    }
    let text = format!("videogen-exporter is not healthy: these do not move: {}.\n", stalled.join(", "));
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

/// 200 once every source was read, while the state can be written.
pub async fn ready(State(handle): State<Arc<Handle>>) -> Response {
    if handle.is_ready() {
        "videogen-exporter is ready.\n".into_response()
    } else {
        let text = if handle.agent.metrics().store.is_failing() {
            "videogen-exporter is not ready: the state cannot be written; see the log.\n"
        } else {
            "videogen-exporter is not ready: not every task source has been read yet.\n"
        };
        (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
    }
}

/// Names, hosts, intervals and limits of the active configuration.
pub async fn config(State(handle): State<Arc<Handle>>, Extension(viewer): Extension<Viewer>) -> Response {
    if let Err(error) = viewer.require_everything() {
        return error.into_response();
    }
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    match handle.active_config().map(|active| serde_json::to_string_pretty(&active.shown())) {
        Ok(Ok(config)) => (headers, config + "\n").into_response(),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
        Err(stopping) => stopping.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::agent::Agent;
    use crate::clock::Clock;
    use crate::config::MetricsConfig;
    use crate::liveness::Liveness;
    use crate::metrics::Metrics;
    use crate::server::WebOptions;
    use crate::store::{Location, Store};
    use crate::telemetry::LogCounts;

    #[tokio::test]
    async fn a_second_reload_is_refused_while_the_first_one_runs() {
        let clock = Clock::default();
        let metrics = Arc::new(Metrics::new(&MetricsConfig::default(), LogCounts::default(), clock.clone()).unwrap());
        let (store, _ended) = Store::open(&Location::Memory, &clock, |_| {}).unwrap();
        let agent = Arc::new(Agent::new(Arc::new(store), metrics));
        let (sender, mut requests) = mpsc::channel(1);
        let web = WebOptions { enable_lifecycle: true, ..WebOptions::default() };
        let handle = Arc::new(Handle::new(agent, Liveness::default(), web, Vec::new(), Some(sender)));
        let ask = || reload(State(handle.clone()), HeaderMap::new());
        let (first, ()) = tokio::join!(ask(), async {
            let reply = requests.recv().await.unwrap().unwrap();
            for _ in 0..20 {
                assert_eq!(ask().await.status(), StatusCode::SERVICE_UNAVAILABLE);
            }
            reply.send(Ok(Vec::new())).unwrap();
        });
        assert_eq!(first.status(), StatusCode::OK);
    }
}
