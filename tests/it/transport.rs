//! Connections to an upstream: custom CA, server name and proxy.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::exporter::{Exporter, QUICK};
use crate::upstream::{Upstream, status};

/// Answers requests over TLS with a running task; the model has the `Host` header.
async fn answer(listener: TcpListener, acceptor: TlsAcceptor) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // A client that does not trust the certificate disconnects.
            let Ok(mut socket) = acceptor.accept(socket).await else { return };
            let mut request = vec![0; 4096];
            let Ok(length) = socket.read(&mut request).await else { return };
            let request = String::from_utf8_lossy(&request[..length]).to_lowercase();
            let host = request.split("host: ").nth(1).and_then(|rest| rest.split("\r\n").next()).unwrap_or("none");
            let host = host.split(':').next().unwrap();
            let body = format!(
                r#"{{"code":"success","data":{{"status":"IN_PROGRESS","properties":{{"origin_model_name":"host-{host}"}}}}}}"#
            );
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = socket.write_all((head + &body).as_bytes()).await;
            let _ = socket.shutdown().await;
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_ca_and_server_name_are_accepted_and_a_changed_ca_is_read_again() {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["gateway.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(answer(listener, TlsAcceptor::from(Arc::new(config))));

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ca.pem"), cert.pem()).unwrap();
    let other = generate_simple_self_signed(["gateway.example".to_owned()]).unwrap();
    fs::write(folder.path().join("late.pem"), other.cert.pem()).unwrap();
    let entry = |name: &str, tls: &str| {
        format!(
            "- {{name: {name}, provider: new_api, base_url: 'https://{address}', tls_config: {{{tls}}}, static_configs: [{{targets: [t]}}]}}\n"
        )
    };
    let text = [
        format!("{QUICK}upstreams:\n"),
        entry("right", "ca_file: ca.pem, server_name: gateway.example"),
        entry("wrong-name", "ca_file: ca.pem"),
        entry("stranger", "server_name: gateway.example"),
        entry("late", "ca_file: late.pem, server_name: gateway.example"),
    ]
    .concat();
    let exporter = Exporter::start(&text, folder.path()).await;
    let page = exporter
        .wait_for(&[
            "videogen_task_status{upstream=\"right\",task_id=\"t\",status=\"running\"} 1",
            "videogen_upstream_up{upstream=\"right\"} 1",
            "videogen_upstream_up{upstream=\"wrong-name\"} 0",
            "videogen_upstream_up{upstream=\"stranger\"} 0",
            "videogen_upstream_up{upstream=\"late\"} 0",
        ])
        .await;
    assert!(page.contains("model=\"host-127.0.0.1\""), "the Host header is that of the URL: {page}");
    for name in ["wrong-name", "stranger"] {
        let errors =
            format!("videogen_upstream_request_errors_total{{operation=\"get\",reason=\"tls\",upstream=\"{name}\"}} ");
        let count = page.lines().find_map(|line| line.strip_prefix(errors.as_str())).unwrap();
        assert_ne!(count, "0", "{name}");
    }
    // A broken file changes nothing; a good one is used without a reload.
    fs::write(folder.path().join("ca.pem"), "no certificate").unwrap();
    fs::write(folder.path().join("late.pem"), cert.pem()).unwrap();
    let page = exporter.wait_for(&["videogen_task_status{upstream=\"late\",task_id=\"t\",status=\"running\"} 1"]).await;
    assert!(page.contains("videogen_upstream_up{upstream=\"right\"} 1"), "{page}");
    exporter.stop().await;
    server.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configured_proxy_is_used() {
    let proxy = Upstream::start("127.0.0.1:0").await;
    proxy.script("t", vec![status("IN_PROGRESS")]);
    let text = format!(
        "{QUICK}upstreams: [{{name: gw, provider: new_api, base_url: 'http://gateway.invalid', proxy_url: 'http://u:pass@{}', static_configs: [{{targets: [t]}}]}}]\n",
        proxy.address
    );
    let exporter = Exporter::start(&text, Path::new(".")).await;
    exporter.wait_for(&["videogen_task_status{upstream=\"gw\",task_id=\"t\",status=\"running\"} 1"]).await;
    assert!(!exporter.get("config").await.1.contains("pass"));
    exporter.stop().await;
}
