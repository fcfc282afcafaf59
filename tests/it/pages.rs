//! The pages for people, in a real browser.

use std::process::Command;

use serde_json::json;

use crate::exporter::{Exporter, QUICK};
use crate::known::now;
use crate::prometheus::{assert_is_real_test, free_port, root};
use crate::upstream::{Reply, Upstream, row};
use videogen_exporter::server::WebOptions;

fn task(status: &str, age: u64) -> Reply {
    let at = now() / 1000;
    let has_ended = matches!(status, "SUCCESS" | "FAILURE");
    let reason = if status == "FAILURE" { "The video was refused for its content." } else { "" };
    let data = if status == "FAILURE" {
        json!({"id": "v", "status": "failed", "error": {"code": "OutputVideoSensitiveContentDetected", "message": reason}})
    } else {
        json!(null)
    };
    row(
        &json!({"task_id": "{polled id}", "status": status, "progress": "50%", "submit_time": at - age, "start_time": at - age + 1,
        "finish_time": if has_ended { at } else { 0 }, "fail_reason": reason, "properties": {"origin_model_name": "m"}, "data": data}),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn real_chromium_shows_the_pages() {
    assert_is_real_test();
    let gateway = Upstream::start("127.0.0.1:0").await;
    gateway.script("stuck", vec![task("IN_PROGRESS", 7200)]);
    gateway.script("running", vec![task("IN_PROGRESS", 60)]);
    gateway.script("failed", vec![task("IN_PROGRESS", 50), task("FAILURE", 50)]);
    gateway.script("succeeded", vec![task("IN_PROGRESS", 40), task("SUCCESS", 40)]);
    let text = format!(
        "{QUICK}upstreams:\n\
         - {{name: gw, provider: new_api, base_url: 'http://{}', static_configs: [{{targets: [stuck, running, failed, succeeded], \
         labels: {{team: growth}}}}]}}\n\
         - {{name: away, provider: new_api, base_url: 'http://127.0.0.1:{}', \
         list_configs: [{{refresh_interval: 1s, requests_per_second: 10}}]}}\n",
        gateway.address,
        free_port()
    );
    let web = WebOptions { grafana_url: Some("https://grafana.example.com".to_owned()), ..WebOptions::default() };
    let folder = tempfile::tempdir().unwrap();
    let exporter = Exporter::start_with(&format!("state: {{memory: {{}}}}\n{text}"), folder.path(), web).await;
    exporter
        .wait_for(&[
            "videogen_task_status{upstream=\"gw\",task_id=\"failed\",status=\"failed\"} 1",
            "videogen_task_status{upstream=\"gw\",task_id=\"succeeded\",status=\"succeeded\"} 1",
            "videogen_task_status{upstream=\"gw\",task_id=\"stuck\",status=\"running\"} 1",
            "videogen_upstream_up{upstream=\"away\"} 0",
        ])
        .await;
    let script = root().join("tests/it/pages.mjs");
    // A module finds its packages beside itself.
    let copy = root().join(".peers/node/pages.mjs");
    std::fs::copy(script, &copy).unwrap_or_else(|error| panic!("{}: {error}; run ./tests/peers", copy.display()));
    let address = format!("http://{}", exporter.address);
    let checked = tokio::task::spawn_blocking(move || {
        Command::new("node").arg(copy).arg(address).output().expect("Node 20 is not installed; run ./tests/run")
    });
    let output = checked.await.unwrap();
    let messages = String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned();
    assert!(output.status.success() && messages.contains("the pages are right"), "{messages}");
    exporter.stop().await;
}
