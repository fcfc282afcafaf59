//! Providers that have the result of a task at another address than its status.

use serde_json::json;

use crate::exporter::{Exporter, QUICK};
use crate::upstream::{Reply, Upstream};

/// A completed task whose result is not found is neither lost nor succeeded: it is polled again. Both requests are counted, and
/// the configured model has priority over that in the id.
#[tokio::test]
async fn a_task_has_ended_when_its_result_is_read() {
    let upstream = Upstream::start("127.0.0.1:0").await;
    let completed = Reply::Body(200, json!({"status": "COMPLETED", "request_id": "r1"}).to_string());
    let missing = Reply::Body(404, json!({"detail": "not found"}).to_string());
    let result = Reply::Body(200, json!({"video": {"url": "https://media.example.com/v.mp4"}}).to_string());
    upstream.script("status", vec![completed]);
    upstream.script("r1", vec![missing.clone(), missing, result]);
    let text = format!(
        "{QUICK}tasks: {{count_since: always}}\n\
         upstreams: [{{name: u, provider: fal, model: m, base_url: 'http://{}', static_configs: [{{targets: [owner/app/requests/r1]}}]}}]\n",
        upstream.address
    );
    let folder = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(&text, folder.path()).await;
    exporter
        .wait_for(&[
            "videogen_tasks_finished_total{upstream=\"u\",provider=\"fal\",model=\"m\",status=\"succeeded\"} 1",
            "videogen_upstream_request_errors_total{operation=\"get\",reason=\"not_found\",upstream=\"u\"} 2",
        ])
        .await;
    exporter.stop().await;
    let requests = upstream.requests();
    let paths: Vec<&str> = requests.iter().map(|request| request.path.as_str()).collect();
    let (status, result) = ("/owner/app/requests/r1/status", "/owner/app/requests/r1");
    assert_eq!(paths[..6], [status, result, status, result, status, result], "each result directly after its status");
}
