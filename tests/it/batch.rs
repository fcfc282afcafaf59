//! Batch polls of Ark: the number of requests, and the fallback when batches fail.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::path::Path as FilePath;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::exporter::{Exporter, QUICK, value};

/// A fake Ark server.
struct Ark {
    address: SocketAddr,
    state: Arc<Mutex<ArkState>>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct ArkState {
    tasks: BTreeMap<String, Value>,
    /// Known tasks that lists omit.
    unlisted: HashSet<String>,
    /// Lists of more ids than this are rejected with this status.
    list_limit: Option<(usize, u16)>,
    /// Requests for single tasks get status 500.
    broken: bool,
    /// The ids of each list request.
    lists: Vec<Vec<String>>,
    /// The ids of requests for single tasks.
    singles: Vec<String>,
}

impl Ark {
    #[expect(clippy::disallowed_methods, reason = "the server is owned by this value and aborted with it")]
    async fn start(state: ArkState) -> Self {
        let state = Arc::new(Mutex::new(state));
        let router = Router::new()
            .route("/contents/generations/tasks", get(list))
            .route("/contents/generations/tasks/{id}", get(single))
            .with_state(state.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, state, server }
    }

    fn config(&self, head: &str, ids: &[String]) -> String {
        let ids = ids.join(", ");
        format!(
            "{head}upstreams:\n- {{name: ark, provider: ark, base_url: 'http://{}', static_configs: [{{targets: [{ids}]}}]}}\n",
            self.address
        )
    }
}

impl Drop for Ark {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn list(State(state): State<Arc<Mutex<ArkState>>>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let parameter = |name: &str| -> Vec<String> {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).collect()
    };
    let ids = parameter("filter.task_ids");
    let mut state = state.lock().unwrap();
    state.lists.push(ids.clone());
    if let Some((_, status)) = state.list_limit.filter(|(most, _)| ids.len() > *most) {
        return (StatusCode::from_u16(status).unwrap(), json!({"error": {"code": "InvalidParameter"}}).to_string())
            .into_response();
    }
    let size: usize = parameter("page_size")[0].parse().unwrap();
    assert!((1..=500).contains(&size) && parameter("page_num") == ["1"], "{query}");
    let listed = ids.iter().filter(|id| !state.unlisted.contains(*id)).filter_map(|id| state.tasks.get(id));
    let items: Vec<_> = listed.take(size).cloned().collect();
    json!({"total": items.len(), "items": items}).to_string().into_response()
}

async fn single(State(state): State<Arc<Mutex<ArkState>>>, Path(id): Path<String>) -> Response {
    let mut state = state.lock().unwrap();
    state.singles.push(id.clone());
    if state.broken {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    match state.tasks.get(&id) {
        Some(task) => task.to_string().into_response(),
        None => (StatusCode::NOT_FOUND, json!({"error": {"code": "ResourceNotFound"}}).to_string()).into_response(),
    }
}

fn task(id: &str, status: &str) -> Value {
    json!({"id": id, "model": "seedance", "status": status, "created_at": 1_795_132_800, "updated_at": 1_795_132_860,
        "service_tier": "default", "execution_expires_after": 172_800, "resolution": "720p", "duration": 5,
        "content": {"video_url": "https://x.y/v.mp4?X-Tos-Date=20261120T000000Z&X-Tos-Expires=86400&sig=S3CRET"},
        "usage": {"completion_tokens": 10, "total_tokens": 10}, "error": {"code": "InternalServiceError", "message": "no"}})
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("cgt-{n:04}")).collect()
}

fn running(ids: &[String]) -> BTreeMap<String, Value> {
    ids.iter().map(|id| (id.clone(), task(id, "running"))).collect()
}

fn tasks(page: &str, status: &str) -> Option<f64> {
    value(page, &format!("videogen_tasks{{upstream=\"ark\",provider=\"ark\",model=\"seedance\",status=\"{status}\"}}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_tasks_are_polled_with_one_request() {
    let ids = ids(500);
    let ark = Ark::start(ArkState { tasks: running(&ids), ..ArkState::default() }).await;
    let slow = "polling: {interval: 2s, min_interval: 1s, max_interval: 4s}\nmetrics: {zero_hold: 0s}\ntasks: {count_since: always}\n";
    let exporter = Exporter::start(&ark.config(slow, &ids), FilePath::new(".")).await;
    let now = "videogen_tasks{upstream=\"ark\",provider=\"ark\",model=\"seedance\",status=\"running\"} 500";
    let page = exporter.wait_for(&[now]).await;
    assert_eq!(
        value(&page, "videogen_upstream_requests_total{code=\"200\",operation=\"batch\",upstream=\"ark\"}"),
        Some(1.0)
    );
    {
        let mut state = ark.state.lock().unwrap();
        assert_eq!(state.lists.iter().map(Vec::len).collect::<Vec<_>>(), [500]);
        assert!(state.singles.is_empty());
        for (n, (id, known)) in state.tasks.iter_mut().enumerate() {
            *known = task(id, ["succeeded", "failed", "cancelled", "expired", "running"][n % 5]);
        }
    }
    let ended = |end: &str| {
        format!(
            "videogen_tasks_finished_total{{upstream=\"ark\",provider=\"ark\",model=\"seedance\",status=\"{end}\"}} 100"
        )
    };
    let ended = ["succeeded", "failed", "cancelled", "expired"].map(ended);
    exporter.wait_for(&ended.each_ref().map(String::as_str)).await;
    let (lists, singles) = {
        let state = ark.state.lock().unwrap();
        (state.lists.len(), state.singles.len())
    };
    assert!(lists <= 5, "{lists} requests for 500 tasks twice");
    assert_eq!(singles, 0);
    assert_eq!(tasks(&exporter.page().await, "running"), Some(100.0));
    exporter.stop().await;
}

/// Lists omit expired tasks, other service tiers and unknown ids.
#[tokio::test(flavor = "multi_thread")]
async fn tasks_missing_from_a_batch_are_polled_one_by_one() {
    let ids = ids(20);
    let mut state = ArkState { tasks: running(&ids), ..ArkState::default() };
    state.tasks.insert(ids[0].clone(), task(&ids[0], "expired"));
    state.tasks.get_mut(&ids[1]).unwrap()["service_tier"] = "flex".into();
    state.tasks.remove(&ids[2]);
    state.unlisted.extend(ids[0..2].iter().cloned());
    let ark = Ark::start(state).await;
    let head = format!("{QUICK}tasks: {{count_since: always}}\n");
    let exporter = Exporter::start(&ark.config(&head, &ids), FilePath::new(".")).await;
    let expired = "videogen_task_status{upstream=\"ark\",task_id=\"cgt-0000\",status=\"expired\"} 1";
    let flex = "videogen_task_status{upstream=\"ark\",task_id=\"cgt-0001\",status=\"running\"} 1";
    let page = exporter.wait_for(&[expired, flex]).await;
    assert_eq!(tasks(&page, "running"), Some(18.0));
    assert!(
        page.contains("videogen_task_status{upstream=\"ark\",task_id=\"cgt-0002\",status=\"unknown\"} 1"),
        "one not-found response does not make a task lost"
    );
    assert!(
        page.contains("videogen_task_deadline_timestamp_seconds{upstream=\"ark\",task_id=\"cgt-0003\"} 1795305600\n")
    );
    tokio::time::sleep(Duration::from_millis(500)).await;
    {
        let state = ark.state.lock().unwrap();
        let polled: HashSet<_> = state.singles.iter().map(String::as_str).collect();
        assert_eq!(polled, HashSet::from(["cgt-0000", "cgt-0001", "cgt-0002"]));
        let again = state.lists.iter().skip(1).filter(|ids| ids.contains(&"cgt-0001".to_owned())).count();
        assert_eq!(again, 0, "a task of another tier is not requested in batches again");
    }
    exporter.stop().await;
}

/// 414 is a limit on the size; 404 and 403 mean that there is no list.
#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_batch_is_made_smaller_and_no_task_is_lost() {
    for (most, status) in [(12, 414), (0, 404), (0, 403)] {
        let ids = ids(50);
        let ark =
            Ark::start(ArkState { tasks: running(&ids), list_limit: Some((most, status)), ..ArkState::default() })
                .await;
        let exporter = Exporter::start(&ark.config(QUICK, &ids), FilePath::new(".")).await;
        exporter
            .wait_for(&["videogen_tasks{upstream=\"ark\",provider=\"ark\",model=\"seedance\",status=\"running\"} 50"])
            .await;
        let page = exporter.page().await;
        assert!(
            !page.contains("videogen_task_consecutive_poll_failures{upstream=\"ark\",task_id=\"cgt-0001\"} 1"),
            "{status}"
        );
        tokio::time::sleep(Duration::from_secs(2)).await;
        let before = ark.state.lock().unwrap().lists.len();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (last, lists) = {
            let state = ark.state.lock().unwrap();
            (state.lists.last().unwrap().len(), state.lists.len())
        };
        if most > 0 {
            assert!(last <= most && lists > before, "{status}: {last}");
        } else {
            assert_eq!(lists, before, "{status}: batches continue");
        }
        exporter.stop().await;
    }
}

/// Batches fail while single tasks are answered.
#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_polled_one_by_one_while_batches_fail() {
    for status in [500, 429, 401] {
        let ids = ids(10);
        let ark =
            Ark::start(ArkState { tasks: running(&ids), list_limit: Some((0, status)), ..ArkState::default() }).await;
        let exporter = Exporter::start(&ark.config(QUICK, &ids), FilePath::new(".")).await;
        exporter
            .wait_for(&["videogen_tasks{upstream=\"ark\",provider=\"ark\",model=\"seedance\",status=\"running\"} 10"])
            .await;
        exporter.stop().await;
    }
}

/// A failure of the whole upstream does not replace batches by single polls.
#[tokio::test(flavor = "multi_thread")]
async fn a_failing_upstream_is_probed_and_not_polled_for_each_task() {
    let ids = ids(50);
    let ark =
        Ark::start(ArkState { tasks: running(&ids), list_limit: Some((0, 500)), broken: true, ..ArkState::default() })
            .await;
    let exporter = Exporter::start(&ark.config(QUICK, &ids), FilePath::new(".")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let page = exporter.page().await;
    let (lists, singles) = {
        let state = ark.state.lock().unwrap();
        (state.lists.len(), state.singles.len())
    };
    assert!(
        lists == 1 && (1..=4).contains(&singles),
        "expected one batch, then probes: {lists} batches, {singles} single polls"
    );
    let failed = "videogen_upstream_request_errors_total{operation=\"batch\",reason=\"server_error\",upstream=\"ark\"}";
    assert!(value(&page, failed).is_some_and(|errors| errors >= 1.0));
    {
        let mut state = ark.state.lock().unwrap();
        (state.list_limit, state.broken) = (None, false);
    }
    exporter
        .wait_for(&["videogen_tasks{upstream=\"ark\",provider=\"ark\",model=\"seedance\",status=\"running\"} 50"])
        .await;
    exporter.stop().await;
}
