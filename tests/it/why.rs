//! Why a task failed, and why it cannot be polled: in the API, the timeline, on the page, in `probe` and in metrics.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::exporter::{Exporter, QUICK};
use crate::program::program;
use crate::upstream::{Reply, Upstream};

/// A failed task whose message has what others must not see.
fn refused() -> Reply {
    let message = "refused, see https://x.y/log?sig=S3CR3T; key sk-S3CR3Tabcdef012345, balance 12.34, prompt \"a cat that rides a bicycle through the S3CR3T city\"";
    let error = json!({"code": "OutputVideoSensitiveContentDetected", "message": message});
    let task = json!({
        "id": "t", "model": "m", "status": "failed", "created_at": 1_795_132_800, "updated_at": 1_795_132_860, "error": error,
    });
    Reply::Body(200, task.to_string())
}

async fn task(exporter: &Exporter, upstream: &str) -> Value {
    serde_json::from_str(&exporter.get(&format!("api/v1/tasks/{upstream}/t")).await.1).unwrap()
}

#[tokio::test]
async fn the_reason_of_a_failure_is_kept_without_secrets() {
    let upstream = Upstream::start("127.0.0.1:0").await;
    upstream.script("t", vec![refused()]);
    let folder = tempfile::tempdir().unwrap();
    for (keeps, message) in
        [(true, Some("refused, see [url] key redacted, balance [amount], prompt \"[text]\"")), (false, None)]
    {
        let text = format!(
            "{}tasks: {{count_since: always, error_messages: {keeps}}}\n\
             upstreams: [{{name: u, provider: ark, base_url: 'http://{}', static_configs: [{{targets: [t], labels: {{team: red}}}}]}}]\n",
            QUICK.replace("zero_hold: 0s", "zero_hold: 0s, aggregate_labels: [team]"),
            upstream.address
        );
        let exporter = Exporter::start(&text, folder.path()).await;
        let page = exporter
            .wait_for(&["videogen_task_failure_info{upstream=\"u\",task_id=\"t\",provider=\"ark\",model=\"m\",status=\"failed\",failure_class=\"content_policy\",label_team=\"red\"} 1"])
            .await;
        let task = task(&exporter, "u").await;
        assert_eq!(task["error"]["code"], "OutputVideoSensitiveContentDetected", "{task}");
        assert_eq!(task["error"]["failure_class"], "content_policy");
        assert_eq!(task["error"].get("message").and_then(Value::as_str), message);
        let step = task["timeline"].as_array().unwrap().last().unwrap();
        assert_eq!(
            (step["failure_class"].as_str(), step["error_code"].as_str()),
            (Some("content_policy"), Some("OutputVideoSensitiveContentDetected"))
        );
        assert_eq!(step.get("error_message").and_then(Value::as_str), message);
        let (_, landing) = exporter.get("").await;
        assert!(landing.contains("OutputVideoSensitiveContentDetected"), "{landing}");
        assert_eq!(landing.contains("refused, see [url]"), keeps, "{landing}");
        for text in [&page, &task.to_string(), &landing] {
            assert!(!text.contains("S3CR3T") && !text.contains("12.34"), "{text}");
        }
        assert!(!page.contains("refused, see"), "a message is never a label");
        exporter.stop().await;
    }
}

/// A task that had ended before it was discovered is history: it has no failure to look into.
#[tokio::test]
async fn history_has_no_failure_info() {
    let upstream = Upstream::start("127.0.0.1:0").await;
    upstream.script("t", vec![refused()]);
    let text = format!(
        "{QUICK}tasks: {{count_since: 2027-01-01T00:00:00Z}}\n\
         upstreams: [{{name: u, provider: ark, base_url: 'http://{}', static_configs: [{{targets: [t]}}]}}]\n",
        upstream.address
    );
    let folder = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(&text, folder.path()).await;
    let page = exporter.wait_for(&["videogen_task_status{upstream=\"u\",task_id=\"t\",status=\"failed\"} 1"]).await;
    assert!(!page.contains("videogen_task_failure_info{"), "{page}");
    exporter.stop().await;
}

/// A server with a certificate that nobody has issued.
async fn self_signed() -> SocketAddr {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    let (listener, acceptor) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), TlsAcceptor::from(Arc::new(config)));
    let address = listener.local_addr().unwrap();
    #[expect(clippy::disallowed_methods, reason = "ends with the runtime of the test")]
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    address
}

/// A server that speaks HTTP without TLS.
async fn plain() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    #[expect(clippy::disallowed_methods, reason = "ends with the runtime of the test")]
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transport_error_says_its_cause() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let cases = [
        ("self-signed", format!("https://{}", self_signed().await), "tls", "certificate of unknown issuer".to_owned()),
        ("closed", format!("http://{closed}"), "connect", format!("refused {closed}")),
        ("unknown", "http://no-such-host.invalid".to_owned(), "dns", "no such host".to_owned()),
        ("plain", format!("https://{}", plain().await), "tls", "the server does not speak TLS".to_owned()),
    ];
    let mut text = format!("{QUICK}upstreams:\n");
    for (name, url, ..) in &cases {
        let _ =
            writeln!(text, "- {{name: {name}, provider: ark, base_url: '{url}', static_configs: [{{targets: [t]}}]}}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.yml");
    fs::write(&file, &text).unwrap();
    for (name, _, reason, cause) in &cases {
        let run = |mut command: Command| command.output().unwrap();
        let mut probe = program();
        probe.args(["probe", &format!("--config.file={}", file.display()), name, "t"]);
        let output = tokio::task::spawn_blocking(move || run(probe)).await.unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        // A machine without a name server cannot say that there is no such host.
        let temporary = "no response: dns: name server does not answer";
        let is_expected = printed.contains(&format!("no response: {reason}: {cause}"));
        assert!(is_expected || *name == "unknown" && printed.contains(temporary), "{name}: {printed}");
        assert_eq!(output.status.code(), Some(3), "{name}");
    }
    let exporter = Exporter::start(&text, folder.path()).await;
    for (name, _, reason, cause) in &cases {
        exporter.wait_for(&[&format!("videogen_upstream_up{{upstream=\"{name}\"}} 0")]).await;
        let poll = loop {
            // The view is published a moment later.
            match task(&exporter, name).await.get("failed_poll") {
                Some(poll) => break poll.clone(),
                None => tokio::time::sleep(std::time::Duration::from_millis(30)).await,
            }
        };
        assert_eq!(poll["reason"], *reason, "{name}: {poll}");
        assert!(poll["cause"] == *cause || *name == "unknown", "{name}: {poll}");
        assert!(poll["time"].is_number(), "{poll}");
    }
    let (_, landing) = exporter.get("").await;
    assert!(landing.contains(&format!("poll failed, connect: refused {closed}")), "{landing}");
    exporter.stop().await;
}

/// A failed poll is kept with the code and the message of the upstream, also after a good one.
#[tokio::test]
async fn the_last_failed_poll_is_kept() {
    let upstream = Upstream::start("127.0.0.1:0").await;
    let busy = json!({"error": {"code": "ServerOverloaded", "message": "Busy, see https://x.y/S3CR3T"}}).to_string();
    let running =
        json!({"id": "t", "model": "m", "status": "running", "created_at": 1_795_132_800, "updated_at": 1_795_132_860});
    upstream.script("t", vec![Reply::Body(503, busy), Reply::Body(200, running.to_string())]);
    let text = format!(
        "{QUICK}upstreams: [{{name: u, provider: ark, base_url: 'http://{}', static_configs: [{{targets: [t]}}]}}]\n",
        upstream.address
    );
    let folder = tempfile::tempdir().unwrap();
    let exporter = Exporter::start(&text, folder.path()).await;
    exporter.wait_for(&["videogen_task_status{upstream=\"u\",task_id=\"t\",status=\"running\"} 1"]).await;
    let task = task(&exporter, "u").await;
    assert_eq!(task["failed_poll"]["reason"], "server_error", "{task}");
    assert_eq!(task["failed_poll"]["cause"], "HTTP 503: ServerOverloaded: Busy, see [url]");
    exporter.stop().await;
}
