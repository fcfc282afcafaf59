//! The test files of exporter-toolkit: each is accepted or refused as its list says, and answers over real sockets.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use videogen_exporter::http::{self, Client, Tls};

use crate::program::{Running, program};

/// The files, beside the project; they are not part of it.
fn folder() -> Option<PathBuf> {
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/toolkit");
    if found.join("expect.json").is_file() {
        return Some(found);
    }
    eprintln!("!! SKIPPED: {} is not there; the files of exporter-toolkit are not tested", found.display());
    None
}

/// The program with a web configuration.
fn command(config: &Path, web_config: &Path) -> Command {
    let mut command = program();
    command.arg("--web.listen-address=127.0.0.1:0").arg(format!("--config.file={}", config.display()));
    command.arg(format!("--web.config.file={}", web_config.display()));
    command
}

struct Answer {
    status: u16,
    version: String,
    headers: String,
}

/// Asks with curl, which uses OpenSSL; `None` when no HTTP answer comes.
fn curl(running: &Running, toolkit: &Path, request: &Value) -> Option<Answer> {
    let text = |key: &str| request[key].as_str();
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--http2", "--max-time", "60", "--output", "/dev/null", "--dump-header", "-"]);
    curl.args(["--write-out", "\n%{http_code} %{http_version}"]);
    // The CA certificates are for no purpose that OpenSSL accepts: the server's own certificate is trusted.
    curl.arg("--cacert").arg(toolkit.join("server.crt"));
    if let Some(name) = text("client_cert") {
        curl.arg("--cert").arg(toolkit.join(format!("{name}.pem")));
        curl.arg("--key").arg(toolkit.join(format!("{name}.key")));
    }
    if let Some(version) = text("max_tls") {
        curl.args(["--tls-max", version, "--tlsv1.0", "--ciphers", "DEFAULT@SECLEVEL=0"]);
    }
    if let (Some(user), Some(password)) = (text("user"), text("password")) {
        curl.args(["--user", &format!("{user}:{password}")]);
    }
    let port = running.address.port();
    curl.args(["--resolve", &format!("localhost:{port}:127.0.0.1")]);
    curl.arg(format!("{}://localhost:{port}/metrics", text("scheme").unwrap()));
    let Output { status, stdout, stderr } = curl.output().unwrap();
    let out = String::from_utf8(stdout).unwrap();
    let (headers, last) = out.rsplit_once('\n').unwrap();
    let (code, version) = last.split_once(' ').unwrap();
    let answer = Answer { status: code.parse().unwrap(), version: version.to_owned(), headers: headers.to_owned() };
    assert_eq!(status.success(), answer.status != 0, "{out}{}", String::from_utf8_lossy(&stderr));
    status.success().then_some(answer)
}

/// Asks with the exporter's own client, which uses rustls.
async fn rustls(running: &Running, toolkit: &Path, request: &Value) -> Option<u16> {
    let file =
        |extension: &str| request["client_cert"].as_str().map(|name| toolkit.join(format!("{name}.{extension}")));
    let tls = Tls {
        ca_file: Some(toolkit.join("tls-ca-chain.pem")),
        cert_file: file("pem"),
        key_file: file("key"),
        server_name: Some("localhost".to_owned()),
    };
    let base_url = format!("https://{}", running.address);
    let options = http::Options {
        base_url,
        timeout: Duration::from_mins(1),
        max_body_size: 1 << 20,
        has_large_bodies: false,
        max_idle: 0,
        tls,
        proxy: None,
    };
    let client = Client::new(&options).unwrap();
    let mut asked = http::Request::get(["metrics"]);
    if let (Some(user), Some(password)) = (request["user"].as_str(), request["password"].as_str()) {
        use base64::Engine as _;
        let login = base64::prelude::BASE64_STANDARD.encode(format!("{user}:{password}"));
        asked.headers.push(("Authorization".to_owned(), format!("Basic {login}")));
    }
    client.send(&asked, None).await.ok().map(|response| response.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn real_files_of_exporter_toolkit_are_read_as_it_reads_them() {
    let Some(toolkit) = folder() else { return };
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yml");
    std::fs::write(
        &config,
        "state: {memory: {}}\nupstreams: [{name: a, provider: new_api, base_url: 'http://127.0.0.1:9'}]\n",
    )
    .unwrap();
    let list: Vec<Value> = serde_json::from_slice(&std::fs::read(toolkit.join("expect.json")).unwrap()).unwrap();
    let (mut valid, mut asked) = (0, 0);
    for entry in &list {
        let name = entry["file"].as_str().unwrap();
        let mut command = command(&config, &toolkit.join(name));
        let check = command.arg("check").output().unwrap();
        let said = String::from_utf8_lossy(&[check.stdout, check.stderr].concat()).into_owned();
        if entry["valid"] == false {
            assert_eq!(check.status.code(), Some(1), "{name}: {said}");
            // Each message names the file and, where there is one, the line.
            assert!(said.contains(name), "{said}");
            let why = entry["why"].as_str().unwrap();
            let words: &[&str] = match why {
                "yaml" => &["YAML"],
                "no such file" => &["No such file"],
                "unknown key" => &["unknown key"],
                "not a bcrypt hash" => &["john", "not a bcrypt hash"],
                "unknown cipher" => &["unknown cipher suite", "TLS_AES_128_GCM_SHA256"],
                "unknown curve" => &["unknown curve", "CurveP256"],
                "unknown TLS version" => &["unknown TLS version", "TLS12"],
                "invalid value of a header" => &["invalid value of this header"],
                "a header that cannot be configured" => &["this header cannot be configured"],
                "client CA without a client auth policy" => &["client_ca needs a client_auth_type"],
                "cert or cert_file missing" => &["missing one of cert or cert_file"],
                "key or key_file missing" => &["missing one of key or key_file"],
                other => panic!("no words for {other}"),
            };
            assert!(words.iter().all(|word| said.contains(word)), "{name}: {why}: {said}");
            continue;
        }
        if let Some(part) = entry["or_error"].as_str()
            && check.status.code() == Some(1)
        {
            assert!(said.contains(part) && said.contains("CurveP256, CurveP384, X25519"), "{name}: {said}");
            continue;
        }
        assert_eq!(check.status.code(), Some(0), "{name}: {said}");
        valid += 1;
        let running = Running::spawn(&mut self::command(&config, &toolkit.join(name)));
        for request in entry["requests"].as_array().into_iter().flatten() {
            asked += 1;
            let times = request["times"].as_u64().unwrap_or(1);
            let answers: Vec<_> = (0..times).map(|_| curl(&running, &toolkit, request)).collect();
            let codes: Vec<_> = answers.iter().map(|answer| answer.as_ref().map(|answer| answer.status)).collect();
            let at = format!("{name}: {request}: {codes:?}");
            if request["refused"] == true {
                assert_eq!(codes, [None], "{at}");
            } else if let Some(status) = request["some_status"].as_u64() {
                assert!(codes.iter().any(|code| code.map(u64::from) == Some(status)), "{at}");
            } else {
                let status = request["status"].as_u64().unwrap_or(200);
                assert!(codes.iter().all(|code| code.map(u64::from) == Some(status)), "{at}");
            }
            let version = match request["alpn"].as_str() {
                Some("h2") => "2",
                Some("http/1.1") => "1.1",
                _ => answers[0].as_ref().map_or("", |answer| &answer.version),
            };
            assert_eq!(answers[0].as_ref().map_or("", |answer| &answer.version), version, "{at}");
            for (header, value) in request["headers"].as_object().into_iter().flatten() {
                let line = format!("{}: {}\r\n", header, value.as_str().unwrap()).to_ascii_lowercase();
                let headers = &answers[0].as_ref().unwrap().headers;
                assert!(headers.to_ascii_lowercase().contains(&line), "{at}: {line} is not in {headers}");
            }
            let is_tls = request["scheme"] == "https" && request.get("max_tls").is_none();
            if is_tls {
                assert_eq!(rustls(&running, &toolkit, request).await, codes[0], "{at}: with rustls");
            }
        }
    }
    assert!(valid > 10 && asked > 25, "{valid} files and {asked} requests were tested");
}
