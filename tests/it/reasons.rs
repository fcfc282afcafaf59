//! Every error reason of a poll, and the recovery with the next good response.

use std::time::Duration;

use serde_json::json;
use videogen_exporter::domain::Reason;

use crate::exporter::{Exporter, QUICK, value};
use crate::upstream::{Reply, Upstream, not_exist, row, status};

fn body(status: u16, value: &serde_json::Value) -> Reply {
    Reply::Body(status, value.to_string())
}

/// Every faulty response with its reason; a good response follows each.
fn faults() -> Vec<(Reason, Reply)> {
    let error = |code: &str, kind: &str| json!({"error": {"code": code, "message": "m", "type": kind}});
    vec![
        (Reason::Timeout, Reply::Hang(Duration::from_secs(30))),
        (Reason::Reset, Reply::Reset),
        (Reason::Redirect, Reply::Redirect("http://127.0.0.1:1/elsewhere".to_owned())),
        (Reason::RateLimited, Reply::Body(429, String::new())),
        (Reason::QuotaExhausted, body(402, &error("", "billing"))),
        (Reason::Unauthorized, body(401, &error("", "new_api_error"))),
        (Reason::Forbidden, body(403, &error("access_denied", "new_api_error"))),
        (Reason::NotFound, not_exist()),
        (
            Reason::WrongPath,
            body(404, &json!({"error": {"message": "Invalid URL (GET /v1/x)", "type": "invalid_request_error"}})),
        ),
        (Reason::BadRequest, body(400, &error("bad", "invalid_request_error"))),
        (Reason::ServerError, Reply::Body(502, "<html>bad gateway</html>".to_owned())),
        (Reason::BodyTooLarge, row(&json!({"status": "SUCCESS", "data": {"inline": "x".repeat(70_000)}}))),
        (Reason::InvalidBody, Reply::Body(200, "<!doctype html>".to_owned())),
        (Reason::ApiError, body(200, &json!({"code": "brand_new_code", "message": "m"}))),
        (Reason::HttpOther, Reply::Body(418, String::new())),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_error_reason_is_counted_once_and_ends_with_the_next_good_response() {
    let mut servers = Vec::new();
    let mut text = format!("{QUICK}upstreams:\n").replace("timeout: 1s", "timeout: 500ms, max_body_size: 64KiB");
    let entry = |reason: Reason, url: &str| {
        format!(
            "- {{name: {0}, provider: new_api, base_url: '{url}', static_configs: [{{targets: [t]}}]}}\n",
            reason.as_str()
        )
    };
    for (reason, fault) in faults() {
        let server = Upstream::start("127.0.0.1:0").await;
        server.script("t", vec![fault, status("IN_PROGRESS")]);
        text += &entry(reason, &format!("http://{}", server.address));
        servers.push((reason, server));
    }
    // Without a fake server: an invalid name, a closed port, and a server without TLS.
    let later = Upstream::start("127.0.0.1:0").await;
    let address = later.address.to_string();
    drop(later);
    text += &entry(Reason::Dns, "http://gateway.invalid");
    text += &entry(Reason::Connect, &format!("http://{address}"));
    text += &entry(Reason::Tls, &format!("https://{}", servers[0].1.address));
    let exporter = Exporter::start(&text, std::path::Path::new(".")).await;

    let error = |reason: Reason, of: Reason| {
        format!(
            "videogen_upstream_request_errors_total{{operation=\"get\",reason=\"{}\",upstream=\"{}\"}}",
            reason.as_str(),
            of.as_str()
        )
    };
    let up = |reason: Reason| format!("videogen_upstream_up{{upstream=\"{}\"}}", reason.as_str());
    for reason in [Reason::Dns, Reason::Connect, Reason::Tls] {
        let deadline = std::time::Instant::now() + crate::exporter::PATIENCE;
        while value(&exporter.page().await, &error(reason, reason)).is_none_or(|n| n < 3.0) {
            assert!(std::time::Instant::now() < deadline, "{reason:?} was not counted: {}", exporter.page().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(value(&exporter.page().await, &up(reason)), Some(0.0), "{reason:?}");
    }
    let revived = Upstream::start(&address).await;
    revived.script("t", vec![status("IN_PROGRESS")]);

    for reason in servers.iter().map(|(reason, _)| *reason).chain([Reason::Connect]) {
        let name = reason.as_str();
        let running = format!("videogen_task_status{{upstream=\"{name}\",task_id=\"t\",status=\"running\"}} 1");
        let failures = format!("videogen_task_consecutive_poll_failures{{upstream=\"{name}\",task_id=\"t\"}} 0");
        let page = exporter.wait_for(&[&running, &failures, &format!("{} 1", up(reason))]).await;
        for other in Reason::ALL {
            let count = value(&page, &error(*other, reason)).expect("every reason is shown from the start");
            let right = if *other == reason { count >= 1.0 } else { count == 0.0 };
            assert!(right, "{name}: {} is {count}", other.as_str());
        }
        if reason != Reason::Connect {
            assert_eq!(value(&page, &error(reason, reason)), Some(1.0), "{name}");
        }
    }
    // The back-off is removed when it ends, even if no poll is due.
    let deadline = std::time::Instant::now() + crate::exporter::PATIENCE;
    loop {
        let page = exporter.page().await;
        let left = page.lines().filter(|line| line.starts_with("videogen_upstream_backoff_until_timestamp_seconds{"));
        let left: Vec<_> = left.filter(|line| !line.contains("\"dns\"") && !line.contains("\"tls\"")).collect();
        if left.is_empty() {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{left:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let covered = servers.len() + 3;
    assert_eq!(covered, Reason::ALL.len(), "a reason has no test");
    exporter.stop().await;
}

/// A gateway or a cache mixes up answers: three of ten first ends are those of another watched task.
#[tokio::test(flavor = "multi_thread")]
async fn foreign_answers_are_drift_and_the_ends_stay_exact() {
    let gateway = Upstream::start("127.0.0.1:0").await;
    let own = |id: &str, status: &str| {
        let info = json!({"resolution": "a cat", "status": "succeeded"});
        row(&json!({"task_id": id, "status": status, "data": info, "properties": {"origin_model_name": "m"}}))
    };
    let ids: Vec<String> = (0..10).map(|n| format!("t{n}")).collect();
    for (n, id) in ids.iter().enumerate() {
        let mut replies = vec![own(id, "IN_PROGRESS")];
        if n % 3 == 1 {
            replies.extend([own(&ids[n - 1], "FAILURE"), own(&ids[n - 1], "SUCCESS")]);
        }
        replies.push(own(id, "SUCCESS"));
        gateway.script(id, replies);
    }
    let config = format!(
        "{QUICK}upstreams: [{{name: gw, provider: new_api, base_url: 'http://{}', static_configs: [{{targets: {ids:?}, \
         labels: {{trace: 0af7651916cd43dd8448eb211c80319c}}}}]}}]\n",
        gateway.address
    );
    let exporter = Exporter::start(&config, std::path::Path::new(".")).await;
    let series = "videogen_tasks_finished_total{upstream=\"gw\",provider=\"new_api\",model=\"m\",status=";
    let page = exporter.wait_for(&[&format!("{series}\"succeeded\"}} 10")]).await;
    assert_eq!(value(&page, &format!("{series}\"failed\"}}")), Some(0.0));
    let drift =
        "videogen_schema_drift_total{upstream=\"gw\",provider=\"new_api\",field=\"task_id\",problem=\"unreadable\"}";
    assert_eq!(value(&page, drift), Some(6.0), "{page}");
    assert!(
        page.contains("resolution=\"other\"") && page.contains("label_trace=\"0af7651916cd43dd8448eb211c80319c\""),
        "{page}"
    );
    exporter.stop().await;
}
