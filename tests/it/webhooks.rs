//! Callbacks (webhooks) of providers: valid, repeated, late, forged and invalid ones.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use videogen_exporter::http::Key;
use videogen_exporter::secret::Secret;

use crate::exporter::{Exporter, QUICK, get, post, value};
use crate::known::now;
use crate::upstream::{Reply, Upstream};

/// A task in the poll responses and in the callbacks of a provider.
struct CallbackCase {
    provider: &'static str,
    answer: fn(&str, &str) -> Value,
    callback: fn(&str, &str) -> Value,
    words: [&'static str; 3],
}

fn ark(id: &str, word: &str) -> Value {
    json!({"id": id, "model": "m", "status": word, "created_at": now() / 1000 - 40, "updated_at": now() / 1000})
}

fn kling(id: &str, word: &str) -> Value {
    json!({"task_id": id, "task_status": word, "task_status_msg": "", "created_at": now() - 40_000, "updated_at": now(), "task_info": {}})
}

fn minimax(id: &str, word: &str) -> Value {
    json!({"task_id": id, "status": word, "file_id": "1", "base_resp": {"status_code": 0, "status_msg": "success"}})
}

const PROVIDERS: [CallbackCase; 3] = [
    CallbackCase { provider: "ark", answer: ark, callback: ark, words: ["queued", "running", "succeeded"] },
    CallbackCase {
        provider: "kling",
        answer: |id, word| json!({"code": 0, "message": "", "data": kling(id, word)}),
        callback: kling,
        words: ["submitted", "processing", "succeed"],
    },
    CallbackCase {
        provider: "minimax_hailuo",
        answer: minimax,
        callback: minimax,
        words: ["Queueing", "processing", "success"],
    },
];

fn config(folder: &Path, gateway: &Upstream, provider: &str) -> String {
    fs::write(folder.join("hook"), "s3cr3t-0123456789/path\n").unwrap();
    // Polls are rare, so that callbacks move the tasks.
    let slow = QUICK.replace("max_interval: 400ms", "max_interval: 1m");
    format!(
        "{slow}tasks: {{recheck_ended: 0s}}\nupstreams: [{{name: u, provider: {provider}, base_url: 'http://{}', model: m, webhook: {{secret_file: hook}}, \
         static_configs: [{{targets: [t]}}]}}]\n",
        gateway.address
    )
}

const PATH: &str = "webhooks/u/s3cr3t-0123456789%2Fpath";

async fn send_callback(exporter: &Exporter, path: &str, body: &str) -> (u16, String) {
    // The client takes segments; the secret with its slash is one segment.
    let path = path.replace("%2F", "\u{0}");
    let segments: Vec<String> = path.split('/').map(|segment| segment.replace('\u{0}', "/")).collect();
    let request = videogen_exporter::http::Request {
        method: videogen_exporter::http::Method::Post,
        body: Some(body.to_owned()),
        ..videogen_exporter::http::Request::get(segments.iter().map(String::as_str))
    };
    let response = crate::exporter::client(exporter.address).send(&request, None).await.unwrap();
    (response.status, String::from_utf8(response.body.unwrap()).unwrap())
}

fn calls(page: &str, result: &str) -> f64 {
    value(page, &format!("videogen_webhooks_total{{result=\"{result}\",upstream=\"u\"}}")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_moves_a_task_and_repeated_callbacks_are_counted_once() {
    for CallbackCase { provider, answer, callback, words: [queued, running, succeeded] } in PROVIDERS {
        let folder = tempfile::tempdir().unwrap();
        let gateway = Upstream::start("127.0.0.1:0").await;
        let polled = Reply::Body(200, answer("t", queued).to_string());
        for path in ["t", "video_generation"] {
            gateway.script(path, vec![polled.clone()]);
        }
        let exporter = Exporter::start(&config(folder.path(), &gateway, provider), folder.path()).await;
        let status = |word: &str| format!("videogen_task_status{{upstream=\"u\",task_id=\"t\",status=\"{word}\"}} 1");
        exporter.wait_for(&[&status("queued")]).await;
        let polls = gateway.requests().len();
        // Callbacks out of order, and for an unknown task.
        let callback_body = |id: &str, word: &str| callback(id, word).to_string();
        for (body, expected) in [
            (callback_body("t", running), "accepted"),
            (callback_body("t", queued), "accepted"),
            (callback_body("other", succeeded), "unknown_task"),
        ] {
            let (code, response) = send_callback(&exporter, PATH, &body).await;
            assert!(code == 200 && response.contains(expected), "{provider}: {code} {response}");
        }
        exporter.wait_for(&[&status("running")]).await;
        for _ in 0..3 {
            assert_eq!(send_callback(&exporter, PATH, &callback_body("t", succeeded)).await.0, 200, "{provider}");
        }
        let ended = format!(
            "videogen_tasks_finished_total{{upstream=\"u\",provider=\"{provider}\",model=\"m\",status=\"succeeded\"}} 1"
        );
        exporter.wait_for(&[&status("succeeded"), &ended]).await;
        // A late callback changes nothing.
        assert_eq!(send_callback(&exporter, PATH, &callback_body("t", running)).await.0, 200, "{provider}");
        tokio::time::sleep(Duration::from_millis(300)).await;
        let page = exporter.wait_for(&[&status("succeeded"), &ended]).await;
        assert_eq!((calls(&page, "accepted"), calls(&page, "unknown_task")), (6.0, 1.0), "{provider}");
        assert!(value(&page, "videogen_webhook_last_received_timestamp_seconds{upstream=\"u\"}").is_some());
        assert_eq!(gateway.requests().len(), polls, "{provider}: a poll was sent");
        assert!(!page.contains("s3cr3t-0123456789"));
        assert!(!exporter.get("config").await.1.contains("s3cr3t-0123456789"));
        exporter.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_is_answered_and_forged_or_invalid_callbacks_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Upstream::start("127.0.0.1:0").await;
    gateway.script("video_generation", vec![Reply::Body(200, minimax("t", "Processing").to_string())]);
    let exporter = Exporter::start(&config(folder.path(), &gateway, "minimax_hailuo"), folder.path()).await;
    let running = "videogen_task_status{upstream=\"u\",task_id=\"t\",status=\"running\"} 1";
    exporter.wait_for(&[running]).await;
    let (code, response) = send_callback(&exporter, PATH, r#"{"challenge": "abc\u0000"}"#).await;
    assert_eq!((code, serde_json::from_str::<Value>(&response).unwrap()), (200, json!({"challenge": "abc\u{0}"})));
    let forged = minimax("t", "success").to_string();
    for path in [
        "webhooks/u/s3cr3t-0123456789",
        "webhooks/u/x",
        "webhooks/nobody/s3cr3t-0123456789%2Fpath",
        "webhooks/u/s3cr3t-0123456789/path",
        "webhooks/u",
    ] {
        assert_eq!(send_callback(&exporter, path, &forged).await.0, 404, "{path}");
    }
    let deep = format!("{}1{}", "[".repeat(50_000), "]".repeat(50_000));
    for (body, code) in [
        (String::new(), 400),
        ("<html>".to_owned(), 400),
        ("[]".to_owned(), 400),
        ("{}".to_owned(), 400),
        (json!({"status": "success"}).to_string(), 400),
        (json!({"task_id": "a\nb", "status": "success"}).to_string(), 400),
        (json!({"task_id": ["t"], "status": {"x": 1}}).to_string(), 400),
        (json!({"task_id": "t", "status": 7}).to_string(), 400),
        (json!({"task_id": "t", "status": "weird"}).to_string(), 400),
        (json!({"task_id": "t"}).to_string(), 400),
        (deep, 400),
        (" ".repeat((1 << 20) + 1), 413),
    ] {
        let (got, response) = send_callback(&exporter, PATH, &body).await;
        assert_eq!(got, code, "{}: {response}", &body[..body.len().min(60)]);
    }
    assert_eq!(get(exporter.address, PATH).await.0, 405);
    assert_eq!(post(exporter.address, "webhooks", "").await.0, 404);
    let page = exporter.wait_for(&[running]).await;
    assert_eq!((calls(&page, "accepted"), calls(&page, "unauthorized"), calls(&page, "invalid")), (0.0, 2.0, 12.0));
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_callback_neither_changes_a_task_nor_stops_its_polls() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Upstream::start("127.0.0.1:0").await;
    let answer = |word| Reply::Body(200, json!({"code": 0, "message": "", "data": kling("t", word)}).to_string());
    gateway.script("t", vec![answer("processing"), answer("processing"), answer("processing"), answer("succeed")]);
    let text = config(folder.path(), &gateway, "kling").replace("max_interval: 1m", "max_interval: 400ms");
    let exporter = Exporter::start(&text, folder.path()).await;
    let running = "videogen_task_status{upstream=\"u\",task_id=\"t\",status=\"running\"} 1";
    let submit = "videogen_task_submit_timestamp_seconds{upstream=\"u\",task_id=\"t\"}";
    let submitted = value(&exporter.wait_for(&[running]).await, submit).unwrap();
    let replayed = json!({"task_id": "t", "task_status": "processing", "created_at": 1, "updated_at": 2}).to_string();
    let succeeded = running.replace("running", "succeeded");
    let until = std::time::Instant::now() + crate::exporter::PATIENCE;
    loop {
        assert_eq!(send_callback(&exporter, PATH, &replayed).await.0, 200);
        let page = exporter.page().await;
        let now = value(&page, submit).unwrap();
        assert!((now - submitted).abs() < 1.0, "the submit time changed from {submitted} to {now}");
        if page.contains(&succeeded) {
            break;
        }
        assert!(std::time::Instant::now() < until, "the task is not polled: {page}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_final_status_of_simultaneous_callbacks_wins_and_older_polls_are_stale() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Upstream::start("127.0.0.1:0").await;
    let answer = |id: &str, word| json!({"code": 0, "message": "", "data": kling(id, word)}).to_string();
    let ids: Vec<String> = (0..40).map(|n| format!("k{n}")).collect();
    for id in &ids {
        gateway.script(id, vec![Reply::Body(200, answer(id, "submitted"))]);
    }
    gateway.script("t", vec![Reply::Late(Duration::from_millis(700), 200, answer("t", "submitted"))]);
    let text = config(folder.path(), &gateway, "kling").replace("[t]", &format!("[t, {}]", ids.join(", ")));
    let exporter = Exporter::start(&text, folder.path()).await;
    exporter.wait_for(&["videogen_tasks{upstream=\"u\",provider=\"kling\",model=\"m\",status=\"queued\"} 40"]).await;
    // The first poll of `t` is in flight.
    assert_eq!(send_callback(&exporter, PATH, &kling("t", "processing").to_string()).await.0, 200);
    let bodies = ids.iter().flat_map(|id| ["processing", "succeed"].map(|word| kling(id, word).to_string()));
    let bodies: Vec<String> = bodies.collect();
    let codes = futures_util::future::join_all(bodies.iter().map(|body| send_callback(&exporter, PATH, body))).await;
    assert!(codes.iter().all(|(code, _)| *code == 200), "{codes:?}");
    let running = "videogen_task_status{upstream=\"u\",task_id=\"t\",status=\"running\"} 1";
    let ended = "videogen_tasks_finished_total{upstream=\"u\",provider=\"kling\",model=\"m\",status=\"succeeded\"} 40";
    exporter.wait_for(&[running, ended]).await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    let page = exporter.wait_for(&[running, ended]).await;
    let back = page.lines().filter(|line| line.contains("from=\"running\",to=\"queued\"") && !line.ends_with(" 0"));
    assert_eq!(back.collect::<Vec<_>>(), [""; 0]);
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_from_the_api_a_list_and_callbacks_is_counted_once() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("hook"), "s-0123456789abcdef\n").unwrap();
    fs::write(folder.path().join("key"), "k-0123456789abcdef\n").unwrap();
    let gateway = Upstream::start("127.0.0.1:0").await;
    // The callbacks know of the end; polls and the list do not yet.
    gateway.script("t", vec![Reply::Body(200, ark("t", "running").to_string())]);
    gateway.script("tasks", vec![Reply::Body(200, json!({"items": [ark("t", "running")], "total": 1}).to_string())]);
    let text = format!(
        "{QUICK}tasks: {{recheck_ended: 0s}}\napi: {{authorization: [{{credentials_file: key}}]}}\nupstreams:\n\
         - {{name: u, provider: ark, base_url: 'http://{}', webhook: {{secret_file: hook}}, list_configs: [{{refresh_interval: 1s}}]}}\n",
        gateway.address
    );
    let exporter = Exporter::start(&text, folder.path()).await;
    let listed = "videogen_discovery_tasks{source=\"list/0\",upstream=\"u\"} 1";
    exporter.wait_for(&[listed, "videogen_task_status{upstream=\"u\",task_id=\"t\",status=\"running\"} 1"]).await;
    let key = Key::Sent(Secret::new("k-0123456789abcdef").unwrap());
    let register = videogen_exporter::http::Request {
        method: videogen_exporter::http::Method::Post,
        body: Some(json!({"upstream": "u", "task_id": "t"}).to_string()),
        ..videogen_exporter::http::Request::get(["api", "v1", "tasks"])
    };
    let client = crate::exporter::client(exporter.address);
    for _ in 0..3 {
        assert_eq!(client.send(&register, Some(&key)).await.unwrap().status, 200);
        assert_eq!(
            send_callback(&exporter, "webhooks/u/s-0123456789abcdef", &ark("t", "succeeded").to_string()).await.0,
            200
        );
    }
    let ended = "videogen_tasks_finished_total{upstream=\"u\",provider=\"ark\",model=\"m\",status=\"succeeded\"} 1";
    exporter.wait_for(&[ended]).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    exporter
        .wait_for(&[
            ended,
            listed,
            "videogen_tasks_submitted_total{upstream=\"u\",provider=\"ark\",model=\"m\"} 1",
            "videogen_tasks_discovered_total{upstream=\"u\",source=\"list/0\"} 1",
            "videogen_tasks_discovered_total{upstream=\"u\",source=\"api\"} 0",
        ])
        .await;
    exporter.stop().await;
}

/// A callback with these headers.
async fn send_signed(exporter: &Exporter, path: &str, body: &str, headers: &[(&str, String)]) -> u16 {
    let owned = |(name, value): &(&str, String)| ((*name).to_owned(), value.clone());
    let request = videogen_exporter::http::Request {
        method: videogen_exporter::http::Method::Post,
        body: Some(body.to_owned()),
        headers: headers.iter().map(owned).collect(),
        ..videogen_exporter::http::Request::get(path.split('/'))
    };
    crate::exporter::client(exporter.address).send(&request, None).await.unwrap().status
}

/// Standard Webhooks, as Replicate uses them.
#[tokio::test]
async fn a_callback_with_a_wrong_signature_changes_nothing() {
    use base64::Engine as _;
    use videogen_exporter::secret::crypto::mac;
    let upstream = Upstream::start("127.0.0.1:0").await;
    let prediction = |word: &str| {
        let time = "2026-11-20T00:00:00.5Z";
        json!({"id": "t", "model": "owner/m", "status": word, "created_at": time, "started_at": time, "completed_at": time, "output": "https://x.y/v.mp4"}).to_string()
    };
    upstream.script("t", vec![Reply::Body(200, prediction("processing"))]);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("path"), "s3cr3t-0123456789\n").unwrap();
    fs::write(folder.path().join("signing"), "whsec_c2VjcmV0\n").unwrap();
    let slow = QUICK.replace("max_interval: 400ms", "max_interval: 1m");
    let text = format!(
        "{slow}upstreams: [{{name: u, provider: replicate, base_url: 'http://{}', \
         webhook: {{secret_file: path, signing_secret_file: signing}}, static_configs: [{{targets: [t]}}]}}]\n",
        upstream.address
    );
    let exporter = Exporter::start(&text, folder.path()).await;
    exporter.wait_for(&["videogen_task_status{upstream=\"u\",task_id=\"t\",status=\"running\"} 1"]).await;
    let (path, body) = ("webhooks/u/s3cr3t-0123456789", prediction("succeeded"));
    let time = (now() / 1000).to_string();
    let signed = |key: &[u8], body: &str| {
        let tag = mac(key, format!("msg_1.{time}.{body}").as_bytes());
        let tag = base64::engine::general_purpose::STANDARD.encode(tag);
        [
            ("webhook-id", "msg_1".to_owned()),
            ("webhook-timestamp", time.clone()),
            ("webhook-signature", format!("v1,{tag}")),
        ]
    };
    assert_eq!(send_signed(&exporter, path, &body, &[]).await, 401);
    assert_eq!(send_signed(&exporter, path, &body, &signed(b"other", &body)).await, 401);
    assert_eq!(send_signed(&exporter, path, &body, &signed(b"secret", "{}")).await, 401);
    let page = exporter.wait_for(&["videogen_webhooks_total{result=\"unauthorized\",upstream=\"u\"} 3"]).await;
    assert!(page.contains("videogen_task_status{upstream=\"u\",task_id=\"t\",status=\"running\"} 1"), "{page}");
    assert_eq!(send_signed(&exporter, path, &body, &signed(b"secret", &body)).await, 200);
    exporter.wait_for(&["videogen_task_status{upstream=\"u\",task_id=\"t\",status=\"succeeded\"} 1"]).await;
    exporter.stop().await;
}

/// fal's callbacks name the task by the last part of its id, and are signed with published keys.
#[tokio::test]
async fn a_callback_is_verified_with_published_keys() {
    use videogen_exporter::secret::crypto::sha256_hex;
    let upstream = Upstream::start("127.0.0.1:0").await;
    let pair = ring::signature::Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let point = {
        use base64::Engine as _;
        use ring::signature::KeyPair as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(pair.public_key().as_ref())
    };
    let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": point}]}).to_string();
    // The fake answers by the last segment of a path.
    upstream.script("jwks.json", vec![Reply::Body(200, keys)]);
    upstream.script("status", vec![Reply::Body(202, json!({"status": "IN_PROGRESS", "request_id": "r1"}).to_string())]);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("path"), "s3cr3t-0123456789\n").unwrap();
    let slow = QUICK.replace("max_interval: 400ms", "max_interval: 1m");
    let text = format!(
        "{slow}upstreams: [{{name: u, provider: fal, base_url: 'http://{0}', \
         webhook: {{secret_file: path, jwks_url: 'http://{0}/jwks.json'}}, static_configs: [{{targets: [owner/app/requests/r1]}}]}}]\n",
        upstream.address
    );
    let exporter = Exporter::start(&text, folder.path()).await;
    let task = |status: &str| {
        format!("videogen_task_status{{upstream=\"u\",task_id=\"owner/app/requests/r1\",status=\"{status}\"}} 1")
    };
    exporter.wait_for(&[&task("running")]).await;
    let body =
        json!({"request_id": "r1", "status": "OK", "payload": {"video": {"url": "https://x.y/v.mp4"}}}).to_string();
    let (path, time) = ("webhooks/u/s3cr3t-0123456789", (now() / 1000).to_string());
    let signed = |body: &str| {
        let tag = pair.sign(format!("r1\nu1\n{time}\n{}", sha256_hex(body.as_bytes())).as_bytes());
        [
            ("x-fal-webhook-request-id", "r1".to_owned()),
            ("x-fal-webhook-user-id", "u1".to_owned()),
            ("x-fal-webhook-timestamp", time.clone()),
            ("x-fal-webhook-signature", videogen_exporter::secret::crypto::hex(tag.as_ref())),
        ]
    };
    assert_eq!(send_signed(&exporter, path, &body, &signed("{}")).await, 401);
    assert_eq!(send_signed(&exporter, path, &body, &signed(&body)).await, 200);
    let page = exporter.wait_for(&[&task("succeeded")]).await;
    assert!(page.contains("model=\"owner/app\""), "the model is in the id: {page}");
    let read = upstream.requests().iter().filter(|request| request.path == "/jwks.json").count();
    assert_eq!(read, 1, "keys are read once");
    exporter.stop().await;
}
