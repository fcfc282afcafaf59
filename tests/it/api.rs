//! `/api/v1/tasks`: registration, forgetting, lists, and invalid requests.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::exporter::{Exporter, PATIENCE, QUICK};
use crate::known::now;
use crate::upstream::{Upstream, row, status};

/// Sends a raw HTTP request; returns the status, the head in lower case and the JSON body.
async fn request(address: SocketAddr, method: &str, path: &str, key: Option<&str>, body: &str) -> (u16, String, Value) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let key = key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{key}Content-Length: {}\r\n\r\n",
        body.len()
    );
    // The server may reject the request and close before all of it is sent.
    let _ = socket.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await;
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let code = head.split(' ').nth(1).unwrap_or("0").parse().unwrap();
    (code, head.to_lowercase(), serde_json::from_str(body).unwrap_or(Value::Null))
}

/// Waits until the exporter is ready.
async fn wait_until_ready(exporter: &Exporter) {
    let deadline = Instant::now() + PATIENCE;
    while exporter.get("-/ready").await.0 != 200 {
        assert!(Instant::now() < deadline, "the exporter does not become ready");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

const TASKS: &str = "/api/v1/tasks";

fn config(folder: &Path, upstream: &Upstream, sources: &str) -> String {
    fs::write(folder.join("all.key"), "k-all-0123456789\n").unwrap();
    fs::write(folder.join("red.key"), "k-red-0123456789\n").unwrap();
    format!(
        "{QUICK}tasks: {{recheck_ended: 0s}}\napi:\n  authorization:\n  - {{credentials_file: all.key}}\n  - {{credentials_file: red.key, upstreams: [red]}}\n\
         upstreams:\n- {{name: red, provider: new_api, base_url: 'http://{0}'{sources}}}\n- {{name: blue, provider: new_api, base_url: 'http://{0}'}}\n",
        upstream.address
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registered_task_is_polled_and_counted_once_across_sources() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Upstream::start("127.0.0.1:0").await;
    let reading = |word: &str, inner: &str| {
        row(&json!({"task_id": "t/1", "status": word, "submit_time": now() / 1000 - 9, "progress": "30%",
            "properties": {"origin_model_name": "m"}, "data": {"id": "x", "status": inner, "model": "m"}}))
    };
    gateway.script(
        "t%2F1",
        vec![reading("QUEUED", "queued"), reading("IN_PROGRESS", "running"), reading("IN_PROGRESS", "failed")],
    );
    let rows = json!([{"task_id": "t/1", "status": "IN_PROGRESS", "submit_time": now() / 1000 - 9}]);
    gateway.script(
        "self",
        vec![crate::upstream::Reply::Body(
            200,
            json!({"success": true, "data": {"total": 1, "items": rows}}).to_string(),
        )],
    );
    fs::write(folder.path().join("ids.json"), r#"[{"targets": ["t/1"]}]"#).unwrap();
    let sources =
        ", list_configs: [{refresh_interval: 1s}], file_sd_configs: [{files: [later.json], refresh_interval: 1s}]";
    // The list does not contain the task yet.
    gateway.script(
        "self",
        vec![crate::upstream::Reply::Body(
            200,
            json!({"success": true, "data": {"total": 0, "items": []}}).to_string(),
        )],
    );
    let exporter = Exporter::start(&config(folder.path(), &gateway, sources), folder.path()).await;
    wait_until_ready(&exporter).await;
    let address = exporter.address;

    let body =
        json!({"upstream": "red", "task_id": "t/1", "submit_time": now() / 1000 - 10, "labels": {"team": "growth"}})
            .to_string();
    let (code, _, response) = request(address, "POST", TASKS, Some("k-red-0123456789"), &body).await;
    assert_eq!((code, &response["tasks"][0]["result"]), (200, &json!("registered")), "{response}");
    let registered = Instant::now();
    while gateway.requests().iter().all(|request| request.path != "/v1/video/generations/t%2F1") {
        assert!(registered.elapsed() < PATIENCE, "not polled");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (code, _, response) =
        request(address, "POST", TASKS, Some("k-all-0123456789"), &format!("[{body}, {body}]")).await;
    assert_eq!(
        (code, &response["tasks"][0]["result"], &response["tasks"][1]["result"]),
        (200, &json!("watched"), &json!("watched")),
        "{response}"
    );
    // Now a file and the list contain the task too.
    fs::rename(folder.path().join("ids.json"), folder.path().join("later.json")).unwrap();
    gateway.script(
        "self",
        vec![crate::upstream::Reply::Body(
            200,
            json!({"success": true, "data": {"total": 1, "items": rows}}).to_string(),
        )],
    );
    let page = exporter
        .wait_for(&[
            "videogen_tasks_finished_total{upstream=\"red\",provider=\"new_api\",model=\"m\",status=\"failed\"} 1",
            "videogen_tasks_discovered_total{upstream=\"red\",source=\"api\"} 1",
            "videogen_discovery_tasks{source=\"file/0\",upstream=\"red\"} 1",
            "videogen_discovery_tasks{source=\"list/0\",upstream=\"red\"} 1",
        ])
        .await;
    assert!(page.contains("videogen_tasks_discovered_total{upstream=\"red\",source=\"list/0\"} 0"), "{page}");
    assert!(page.contains("label_team=\"growth\""), "{page}");
    let (code, _, response) = request(address, "POST", TASKS, Some("k-all-0123456789"), &body).await;
    assert_eq!(
        (code, &response["tasks"][0]["result"]),
        (200, &json!("watched")),
        "just ended, and still tracked: {response}"
    );

    let (code, _, task) = request(address, "GET", "/api/v1/tasks/red/t%2F1", None, "").await;
    assert_eq!(
        (code, &task["status"], &task["source"], &task["failure_class"]),
        (200, &json!("failed"), &json!("api"), &json!("other")),
        "{task}"
    );
    let steps: Vec<_> = task["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| {
            let word = |key: &str| step[key].as_str().unwrap_or("-").to_owned();
            assert!(step["time"].as_f64().unwrap() > 1.7e9);
            (word("status"), word("gateway_status"), word("upstream_status"))
        })
        .collect();
    let step = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
    assert_eq!(
        steps,
        [
            step("unknown", "-", "-"),
            step("queued", "queued", "queued"),
            step("running", "running", "running"),
            step("failed", "running", "failed")
        ]
    );
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_task_is_removed_and_not_counted_again_when_registered_again() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Upstream::start("127.0.0.1:0").await;
    gateway.script("a", vec![status("IN_PROGRESS")]);
    let text = format!("state: {{sqlite: {{path: s.db}}}}\n{}", config(folder.path(), &gateway, ""));
    let exporter = Exporter::start(&text, folder.path()).await;
    wait_until_ready(&exporter).await;
    let body = r#"{"upstream": "blue", "task_id": "a"}"#;
    let running = "videogen_task_status{upstream=\"blue\",task_id=\"a\",status=\"running\"} 1";
    let submitted = "videogen_tasks_submitted_total{upstream=\"blue\",provider=\"new_api\",model=\"m\"} 1";
    assert_eq!(request(exporter.address, "POST", TASKS, Some("k-all-0123456789"), body).await.0, 200);
    exporter.wait_for(&[running, submitted]).await;
    let one = "/api/v1/tasks/blue/a";
    assert_eq!(
        request(exporter.address, "DELETE", one, Some("k-red-0123456789"), "").await.0,
        403,
        "a key for another upstream"
    );
    assert_eq!(request(exporter.address, "DELETE", one, None, "").await.0, 401);
    let (code, _, response) = request(exporter.address, "DELETE", one, Some("k-all-0123456789"), "").await;
    assert_eq!((code, &response["result"]), (200, &json!("forgotten")), "{response}");
    assert_eq!(request(exporter.address, "DELETE", one, Some("k-all-0123456789"), "").await.0, 404);
    assert_eq!(request(exporter.address, "GET", one, None, "").await.0, 404);
    let page = exporter.page().await;
    assert!(!page.contains("task_id=\"a\"") && page.contains(submitted), "{page}");
    exporter.stop().await;

    let exporter = Exporter::start(&text, folder.path()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!exporter.page().await.contains("task_id=\"a\""), "a restart restores a forgotten task");
    let (_, _, response) = request(exporter.address, "POST", TASKS, Some("k-all-0123456789"), body).await;
    assert_eq!(response["tasks"][0]["result"], "watched", "{response}");
    gateway.script("a", vec![status("FAILURE")]);
    exporter
        .wait_for(&[
            submitted,
            "videogen_tasks_finished_total{upstream=\"blue\",provider=\"new_api\",model=\"m\",status=\"failed\"} 1",
            "videogen_tasks_discovered_total{upstream=\"blue\",source=\"api\"} 1",
        ])
        .await;
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_task_stays_forgotten_until_it_is_registered_again() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Upstream::start("127.0.0.1:0").await;
    gateway.script("a", vec![status("IN_PROGRESS")]);
    fs::write(folder.path().join("ids.json"), r#"[{"targets": ["a"]}]"#).unwrap();
    let named = ", file_sd_configs: [{files: [ids.json], refresh_interval: 1s}]";
    let text = format!("state: {{sqlite: {{path: s.db}}}}\n{}", config(folder.path(), &gateway, named));
    let running = "videogen_task_status{upstream=\"red\",task_id=\"a\",status=\"running\"} 1";
    let read = "videogen_discovery_tasks{source=\"file/0\",upstream=\"red\"} 1";
    let file = folder.path().join("c.yml");
    fs::write(&file, &text).unwrap();
    let exporter = Exporter::start_file(&file).await;
    exporter.wait_for(&[running]).await;
    assert_eq!(request(exporter.address, "DELETE", "/api/v1/tasks/red/a", Some("k-all-0123456789"), "").await.0, 200);
    for _ in 0..3 {
        exporter.reload_and_wait().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!exporter.wait_for(&[read]).await.contains("task_id=\"a\""), "a reload restores a forgotten task");
    }
    exporter.stop().await;
    let exporter = Exporter::start(&text, folder.path()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!exporter.wait_for(&[read]).await.contains("task_id=\"a\""), "a restart restores a forgotten task");
    let body = r#"{"upstream": "red", "task_id": "a"}"#;
    let (_, _, response) = request(exporter.address, "POST", TASKS, Some("k-all-0123456789"), body).await;
    assert_eq!(response["tasks"][0]["result"], "watched", "{response}");
    exporter
        .wait_for(&[running, "videogen_tasks_submitted_total{upstream=\"red\",provider=\"new_api\",model=\"m\"} 1"])
        .await;
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_during_a_reload_uses_the_new_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Upstream::start("127.0.0.1:0").await;
    for id in ["a", "b", "late"] {
        gateway.script(id, vec![status("IN_PROGRESS")]);
    }
    let both = format!("state: {{sqlite: {{path: s.db}}}}\n{}", config(folder.path(), &gateway, ""));
    let file = folder.path().join("c.yml");
    fs::write(&file, &both).unwrap();
    let exporter = Exporter::start_file(&file).await;
    wait_until_ready(&exporter).await;
    let named = ["a", "b", "a"].map(|id| json!({"upstream": "blue", "task_id": id}));
    let (_, _, response) =
        request(exporter.address, "POST", TASKS, Some("k-all-0123456789"), &json!(named).to_string()).await;
    let results = response["tasks"].as_array().unwrap().iter().map(|task| task["result"].as_str().unwrap());
    assert_eq!(results.collect::<Vec<_>>(), ["registered", "registered", "watched"]);
    let counted = [
        "videogen_tasks_submitted_total{upstream=\"blue\",provider=\"new_api\",model=\"m\"} 2",
        "videogen_tasks_discovered_total{upstream=\"blue\",source=\"api\"} 2",
        "videogen_tasks{upstream=\"blue\",provider=\"new_api\",model=\"m\",status=\"running\"} 2",
    ];
    exporter.wait_for(&counted).await;
    // The body arrives after its upstream was removed.
    let body = r#"{"upstream": "blue", "task_id": "late"}"#;
    let mut slow = TcpStream::connect(exporter.address).await.unwrap();
    let head = format!(
        "POST {TASKS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer k-all-0123456789\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (kept, _) = both.split_once("- {name: blue").unwrap();
    fs::write(&file, kept).unwrap();
    exporter.reload_and_wait().await;
    slow.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 400") && answer.contains("no upstream with this name is configured"),
        "{answer}"
    );
    assert!(!exporter.page().await.contains("upstream=\"blue\""));
    fs::write(&file, &both).unwrap();
    exporter.reload_and_wait().await;
    let page = exporter.wait_for(&counted).await;
    assert!(!page.contains("task_id=\"late\""), "{page}");
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_is_completed_after_its_client_disconnects() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Upstream::start("127.0.0.1:0").await;
    let text = format!("state: {{sqlite: {{path: s.db}}}}\n{}", config(folder.path(), &gateway, ""));
    let exporter = Exporter::start(&text, folder.path()).await;
    wait_until_ready(&exporter).await;
    for n in 0..50 {
        gateway.script(&format!("t{n}"), vec![status("IN_PROGRESS")]);
        let body = format!(r#"{{"upstream": "blue", "task_id": "t{n}"}}"#);
        let mut socket = TcpStream::connect(exporter.address).await.unwrap();
        let request = format!(
            "POST {TASKS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k-all-0123456789\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        // Some clients disconnect before the task is stored.
        tokio::time::sleep(Duration::from_micros(200 * n)).await;
    }
    // Some requests were not read before the disconnect; every stored task is tracked.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let page = exporter.page().await;
        let found = crate::exporter::value(&page, "videogen_tasks_discovered_total{upstream=\"blue\",source=\"api\"}");
        let running = "videogen_tasks{upstream=\"blue\",provider=\"new_api\",model=\"m\",status=\"running\"}";
        let tracked = crate::exporter::value(&page, running);
        if found == tracked && found.is_some_and(|found| found > 10.0) {
            let state = rusqlite::Connection::open(folder.path().join("s.db")).unwrap();
            let rows: f64 = state.query_row("select count(*) from tasks", [], |row| row.get(0)).unwrap();
            assert_eq!(Some(rows), found);
            break;
        }
        assert!(Instant::now() < deadline, "{found:?} registered, {tracked:?} tracked");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_listed_in_pages_and_filtered() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Upstream::start("127.0.0.1:0").await;
    let ids: Vec<String> = (0..250).map(|n| format!("t\u{2f}{n:03}")).collect();
    for (n, id) in ids.iter().enumerate() {
        gateway.script(&id.replace('/', "%2F"), vec![status(if n % 5 == 0 { "QUEUED" } else { "IN_PROGRESS" })]);
    }
    let exporter = Exporter::start(&config(folder.path(), &gateway, ""), folder.path()).await;
    wait_until_ready(&exporter).await;
    for upstream in ["red", "blue"] {
        let body: Vec<Value> = ids.iter().map(|id| json!({"upstream": upstream, "task_id": id})).collect();
        assert_eq!(
            request(exporter.address, "POST", TASKS, Some("k-all-0123456789"), &Value::from(body).to_string()).await.0,
            200
        );
    }
    exporter
        .wait_for(&[
            "videogen_tasks{upstream=\"red\",provider=\"new_api\",model=\"m\",status=\"queued\"} 50",
            "videogen_tasks{upstream=\"blue\",provider=\"new_api\",model=\"m\",status=\"running\"} 200",
        ])
        .await;
    let mut found = Vec::new();
    let mut next = String::new();
    let mut pages = 0;
    loop {
        let (code, _, page) = request(exporter.address, "GET", &format!("{TASKS}?limit=73{next}"), None, "").await;
        assert_eq!(code, 200, "{page}");
        let name = |task: &Value| {
            (task["upstream"].as_str().unwrap().to_owned(), task["task_id"].as_str().unwrap().to_owned())
        };
        found.extend(page["tasks"].as_array().unwrap().iter().map(name));
        pages += 1;
        match page["next"].as_str() {
            Some(after) => next = format!("&after={after}"),
            None => break,
        }
    }
    assert_eq!((found.len(), pages), (500, 7));
    assert!(found.is_sorted() && found.windows(2).all(|two| two[0] != two[1]));
    for (query, count) in [
        ("upstream=red", 250),
        ("status=queued", 100),
        ("upstream=blue&status=running", 200),
        ("model=m&source=api", 500),
        ("model=other", 0),
        ("source=file/0", 0),
        ("upstream=green", 0),
        ("status=", 500),
    ] {
        let (_, _, page) = request(exporter.address, "GET", &format!("{TASKS}?limit=1000&{query}"), None, "").await;
        assert_eq!(page["tasks"].as_array().unwrap().len(), count, "{query}");
    }
    for query in ["limit=0", "limit=1001", "limit=x", "status=done", "after=%0A", "after=AAAA", "colour=red"] {
        let (code, _, response) = request(exporter.address, "GET", &format!("{TASKS}?{query}"), None, "").await;
        assert!(code == 400 && response["error"]["message"].is_string(), "{query}: {code} {response}");
    }
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_requests_change_nothing_and_get_an_error_message() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Upstream::start("127.0.0.1:0").await;
    let exporter = Exporter::start(&config(folder.path(), &gateway, ""), folder.path()).await;
    wait_until_ready(&exporter).await;
    let address = exporter.address;
    let key = Some("k-all-0123456789");
    let good = json!({"upstream": "red", "task_id": "good"});
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let many = json!({"upstream": "red", "task_id": "x", "labels": (0..40).map(|n| (format!("l{n}"), json!("v"))).collect::<serde_json::Map<_, _>>()});
    for (body, code, index, what) in [
        (json!([good, {"upstream": "nobody", "task_id": "x"}]).to_string(), 400, 1, "no upstream with this name"),
        (json!([good, {"upstream": "red"}]).to_string(), 400, 1, "expected a string"),
        (json!([good, {"upstream": "red", "task_id": 5}]).to_string(), 400, 1, "expected a string"),
        (json!([good, good, {"upstream": "red", "task_id": ".."}]).to_string(), 400, 2, "must not be `.` or `..`"),
        (json!([good, {"upstream": "red", "task_id": "a\nb"}]).to_string(), 400, 1, "printable"),
        (json!([good, {"upstream": "red", "task_id": "x".repeat(513)}]).to_string(), 400, 1, "at most 512"),
        (
            json!([good, {"upstream": "red", "task_id": "x", "submit_time": "yesterday"}]).to_string(),
            400,
            1,
            "expected Unix seconds",
        ),
        (
            json!([good, {"upstream": "red", "task_id": "x", "labels": {"__x": "v"}}]).to_string(),
            400,
            1,
            "a label name",
        ),
        (
            json!([good, {"upstream": "red", "task_id": "x", "labels": ["v"]}]).to_string(),
            400,
            1,
            "an object of strings",
        ),
        (
            json!([good, {"upstream": "red", "task_id": "x", "labels": {"n".repeat(129): "v"}}]).to_string(),
            400,
            1,
            "at most 128 characters",
        ),
        (
            json!([good, {"upstream": "red", "task_id": "x", "submit_time": 4_102_444_799u64}]).to_string(),
            400,
            1,
            "more than 24 hours in the future",
        ),
        (json!([good, many]).to_string(), 400, 1, "send at most 32"),
        (json!([good, {"upstream": "red", "task_id": "x", "colour": 1}]).to_string(), 400, 1, "unknown key"),
        (json!([good, "x"]).to_string(), 400, 1, "expected an object"),
        ("[]".to_owned(), 400, 9, "expected 1 to 1000 tasks"),
        (Value::from(vec![good.clone(); 1001]).to_string(), 400, 9, "expected 1 to 1000 tasks"),
        (deep, 400, 9, "not valid JSON"),
        ("{\"upstream\": \"red\"".to_owned(), 400, 9, "not valid JSON"),
        (" ".repeat((1 << 20) + 1), 413, 9, "at most 1048576 bytes"),
    ] {
        let (got, head, response) = request(address, "POST", TASKS, key, &body).await;
        let shown: String = body.chars().take(80).collect();
        assert_eq!(got, code, "{shown}: {response}");
        assert!(head.contains("content-type: application/json"), "{head}");
        assert!(response.to_string().contains(what), "{shown}: {response}");
        if index < 9 {
            assert_eq!(response["error"]["items"][0]["index"], index, "{shown}: {response}");
        }
    }
    let foreign = json!([{"upstream": "red", "task_id": "x"}, {"upstream": "blue", "task_id": "x"}]).to_string();
    let (code, _, response) = request(address, "POST", TASKS, Some("k-red-0123456789"), &foreign).await;
    assert_eq!((code, &response["error"]["items"][0]["index"]), (403, &json!(1)), "{response}");
    for (key, code) in [
        (None, 401),
        (Some(""), 401),
        (Some("k-al"), 401),
        (Some("k-all-0123456789 "), 200),
        (Some("k-all-0123456789x"), 401),
    ] {
        let body = json!({"upstream": "blue", "task_id": "fine"}).to_string();
        let (got, head, _) = request(address, "POST", TASKS, key, &body).await;
        assert_eq!(got, code, "{key:?}");
        assert_eq!(head.contains("www-authenticate: bearer"), code == 401);
    }
    for (method, path, code) in [
        ("PUT", TASKS, 405),
        ("POST", "/metrics", 405),
        ("GET", "/api/v1/tasks/red/a/b", 404),
        ("GET", "/api/v1/tasks/red/..%2Fx", 404),
        ("GET", "/api/v1/tasks/red/%ff", 400),
        ("DELETE", "/api/v1/tasks/nobody/x", 404),
        ("DELETE", "/api/v1/tasks/red/%00", 404),
        ("GET", "/api/v1/nothing", 404),
    ] {
        let (got, _, response) = request(address, method, path, key, "").await;
        assert!(got == code && response["error"]["message"].is_string(), "{method} {path}: {got} {response}");
    }
    let (code, _, page) = request(address, "GET", TASKS, None, "").await;
    let ids: Vec<_> = page["tasks"].as_array().unwrap().iter().map(|task| task["task_id"].as_str().unwrap()).collect();
    assert_eq!((code, ids), (200, vec!["fine"]), "only the valid task is registered");
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_requests_and_wrong_keys_are_limited_and_others_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Upstream::start("127.0.0.1:0").await;
    let exporter = Exporter::start(&config(folder.path(), &gateway, ""), folder.path()).await;
    wait_until_ready(&exporter).await;
    let address = exporter.address;
    // An incomplete body times out and does not block other requests.
    let mut slow = TcpStream::connect(address).await.unwrap();
    let head = "POST /api/v1/tasks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k-all-0123456789\r\nContent-Length: 100\r\n\r\n[";
    slow.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(request(address, "GET", TASKS, None, "").await.0, 200);
    let mut answer = [0; 12];
    slow.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    // Requests with wrong keys are rate limited; others are not.
    let mut refused = 0;
    for _ in 0..60 {
        refused += u32::from(request(address, "POST", TASKS, Some("guess"), "{}").await.0 == 429);
    }
    assert!(refused > 10, "{refused}");
    assert_eq!(request(address, "GET", TASKS, None, "").await.0, 200);
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_forbidden_without_configured_keys() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Upstream::start("127.0.0.1:0").await;
    let text =
        format!("{QUICK}upstreams: [{{name: red, provider: new_api, base_url: 'http://{}'}}]\n", gateway.address);
    let exporter = Exporter::start(&text, folder.path()).await;
    wait_until_ready(&exporter).await;
    for key in [None, Some(""), Some("k")] {
        let (code, _, response) =
            request(exporter.address, "POST", TASKS, key, r#"{"upstream": "red", "task_id": "x"}"#).await;
        assert!(
            code == 403 && response["error"]["message"].as_str().unwrap().contains("api.authorization"),
            "{code} {response}"
        );
        assert_eq!(request(exporter.address, "DELETE", "/api/v1/tasks/red/x", key, "").await.0, 403);
    }
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_schemathesis_finds_no_difference_from_the_openapi_document() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Upstream::start("127.0.0.1:0").await;
    gateway.script("a", vec![status("IN_PROGRESS")]);
    let exporter = Exporter::start(&config(folder.path(), &gateway, ""), folder.path()).await;
    wait_until_ready(&exporter).await;
    let body = r#"{"upstream": "red", "task_id": "a", "labels": {"team": "x"}}"#;
    assert_eq!(request(exporter.address, "POST", TASKS, Some("k-all-0123456789"), body).await.0, 200);
    exporter.wait_for(&["videogen_task_status{upstream=\"red\",task_id=\"a\",status=\"running\"} 1"]).await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The document describes every field of a response.
    let (_, _, task) = request(exporter.address, "GET", "/api/v1/tasks/red/a", None, "").await;
    let described: Value = serde_json::from_str(&fs::read_to_string(root.join("docs/openapi.json")).unwrap()).unwrap();
    let known = &described["components"]["schemas"]["Task"]["properties"];
    for key in task.as_object().unwrap().keys().filter(|key| *key != "timeline") {
        assert!(known.get(key).is_some(), "docs/openapi.json does not describe {key}");
    }
    let mut tool = std::process::Command::new(root.join(".peers/python/bin/schemathesis"));
    tool.current_dir(folder.path())
        .arg("run")
        .arg(root.join("docs/openapi.json"))
        .arg(format!("--url=http://{}", exporter.address))
        .args([
            "-H",
            "Authorization: Bearer k-all-0123456789",
            "--phases=coverage,fuzzing",
            "--max-examples=40",
            "--seed=1",
            "--rate-limit=45/s",
        ])
        // A well-formed request may name an upstream that is not configured.
        .args(["--exclude-checks=positive_data_acceptance", "--no-color"]);
    let run = tokio::task::spawn_blocking(move || tool.output()).await.unwrap();
    let run = run.expect("schemathesis is not installed; run ./tests/peers");
    let stdout = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && stdout.contains("Tested: 5"), "{stdout}\n{}", String::from_utf8_lossy(&run.stderr));
    exporter.stop().await;
}
