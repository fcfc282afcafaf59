//! Who may read and change what: logins of the web configuration, API keys with scopes, and everybody.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use videogen_exporter::server::{WebOptions, WebSource};

use crate::exporter::{Exporter, QUICK};
use crate::program::program;

/// An answer.
pub struct Answer {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: String,
}

/// Sends a request such as `GET /metrics` with these header lines, on a connection of its own.
pub async fn ask(address: SocketAddr, line: &str, headers: &str, body: &str) -> Answer {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let head = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n");
    // The server may refuse the request and close before all of it is sent.
    let _ = socket.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await;
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

pub fn basic(name: &str, password: &str) -> String {
    format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode(format!("{name}:{password}")))
}

pub fn bearer(key: &str) -> String {
    format!("Authorization: Bearer {key}\r\n")
}

/// A file with a user, of the lowest cost.
pub fn users(folder: &Path, users: &[(&str, &str)]) -> std::path::PathBuf {
    let lines = users.iter().map(|(name, password)| format!("  {name}: {}\n", bcrypt::hash(password, 4).unwrap()));
    let file = folder.join("web.yml");
    fs::write(&file, format!("basic_auth_users:\n{}", lines.collect::<String>())).unwrap();
    file
}

fn config(folder: &Path, keys: &str) -> String {
    for name in ["reader", "writer", "editor", "growth"] {
        fs::write(folder.join(format!("{name}.key")), format!("{name}-0123456789\n")).unwrap();
    }
    format!(
        "{QUICK}state: {{memory: {{}}}}\napi: {{authorization: [{keys}]}}\n\
         upstreams:\n- {{name: red, provider: new_api, base_url: 'http://127.0.0.1:9', static_configs: [{{targets: [id-1]}}]}}\n"
    )
}

const READER: &str = "{credentials_file: reader.key, scopes: [read]}";
const WRITER: &str = "{credentials_file: writer.key}";
const BOTH: &str = "{credentials_file: editor.key, scopes: [read, write]}";
const GROWTH: &str = "{credentials_file: growth.key, scopes: [read, write], labels: {team: growth}}";

const TASK: &str = r#"{"upstream": "red", "task_id": "new"}"#;

/// Everything that is only for those who may read.
const READABLE: [&str; 6] =
    ["GET /", "GET /metrics", "GET /config", "GET /api/v1/tasks", "GET /api/v1/tasks/red/id-1", "GET /tasks/red/id-1"];

#[tokio::test(flavor = "multi_thread")]
async fn reading_is_open_until_a_key_may_read_and_health_and_callbacks_always_are() {
    let folder = tempfile::tempdir().unwrap();
    let open = Exporter::start_with(&config(folder.path(), WRITER), folder.path(), WebOptions::default()).await;
    let keys = [READER, WRITER, BOTH, GROWTH].join(", ");
    let closed = Exporter::start_with(&config(folder.path(), &keys), folder.path(), WebOptions::default()).await;
    let status = async |exporter: &Exporter, line: &str, headers: &str, body: &str| {
        ask(exporter.address, line, headers, body).await.status
    };
    open.wait_for(&["videogen_tasks{upstream=\"red\",provider=\"new_api\",model=\"unknown\",status=\"queued\"} 0"])
        .await;
    for line in READABLE {
        assert_eq!(status(&open, line, "", "").await, 200, "{line}");
        assert_eq!(status(&open, line, &bearer("writer-0123456789"), "").await, 200, "{line}");
        let refused = ask(closed.address, line, "", "").await;
        assert_eq!(refused.status, 401, "{line}");
        assert!(
            refused.head.contains("www-authenticate: bearer") && !refused.head.contains("basic"),
            "{}",
            refused.head
        );
        for (key, expected) in [("reader", 200), ("editor", 200), ("writer", 403), ("stranger", 401)] {
            let headers = bearer(&format!("{key}-0123456789"));
            assert_eq!(status(&closed, line, &headers, "").await, expected, "{line} with {key}");
        }
        assert_eq!(status(&closed, line, &basic("reader", "reader-0123456789"), "").await, 401, "{line}");
    }
    for (key, expected) in [("reader", 403), ("writer", 200), ("editor", 200), ("growth", 200), ("stranger", 401)] {
        let headers = bearer(&format!("{key}-0123456789"));
        assert_eq!(status(&closed, "POST /api/v1/tasks", &headers, TASK).await, expected, "{key}");
    }
    assert_eq!(status(&closed, "GET /config", &bearer("growth-0123456789"), "").await, 403, "it is not all of its own");
    for line in ["GET /-/healthy", "GET /-/page.js"] {
        assert_eq!(status(&closed, line, "", "").await, 200, "{line}");
    }
    assert!(status(&closed, "GET /-/ready", "", "").await != 401);
    // As without a key: the secret is not right.
    assert_eq!(status(&closed, "POST /webhooks/red/secret", "", "{}").await, 404);
    assert_eq!(status(&closed, "GET /nothing", "", "").await, 401, "what is not known is not open");
    open.stop().await;
    closed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_sees_everything_and_a_key_stands_in_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = users(folder.path(), &[("dave", "dave123"), ("eve", "pass:word ö")]);
    let web = WebSource::from_file(file).unwrap();
    let keys = [READER, WRITER].join(", ");
    let options = WebOptions { enable_lifecycle: true, ..WebOptions::default() };
    let exporter = Exporter::start_port(&config(folder.path(), &keys), folder.path(), options, web).await;
    let at = exporter.address;
    for line in READABLE {
        let refused = ask(at, line, "", "").await;
        assert_eq!(refused.status, 401, "{line}");
        let challenges = ["www-authenticate: basic realm=\"videogen-exporter\"", "www-authenticate: bearer"];
        assert!(challenges.iter().all(|text| refused.head.contains(text)), "{}", refused.head);
        for (headers, expected) in [
            (basic("dave", "dave123"), 200),
            (basic("eve", "pass:word ö"), 200),
            (bearer("reader-0123456789"), 200),
            (bearer("writer-0123456789"), 403),
        ] {
            assert_eq!(ask(at, line, &headers, "").await.status, expected, "{line} {headers}");
        }
    }
    for wrong in
        [basic("dave", "dave124"), basic("nobody", "dave123"), basic("dave", ""), "Authorization: Basic !\r\n".into()]
    {
        assert_eq!(ask(at, "GET /metrics", &wrong, "").await.status, 401, "{wrong}");
    }
    assert_eq!(ask(at, "POST /-/reload", "", "").await.status, 401);
    assert_eq!(ask(at, "POST /-/reload", &bearer("reader-0123456789"), "").await.status, 403);
    assert_ne!(ask(at, "POST /-/reload", &basic("dave", "dave123"), "").await.status, 401);
    assert_eq!(ask(at, "POST /api/v1/tasks", &bearer("writer-0123456789"), TASK).await.status, 200);
    assert_eq!(ask(at, "POST /api/v1/tasks", &bearer("reader-0123456789"), TASK).await.status, 403);
    let by_login = ask(at, "POST /api/v1/tasks", &basic("dave", "dave123"), TASK).await;
    assert!(by_login.status == 403 && by_login.body.contains("API key with scope write"), "{}", by_login.body);
    assert_eq!(ask(at, "GET /-/healthy", "", "").await.status, 200);
    assert_eq!(ask(at, "GET /-/page.js", "", "").await.status, 401);
    assert_eq!(ask(at, "POST /webhooks/red/secret", "", "{}").await.status, 404);
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_wrong_passwords_is_refused_and_who_has_logged_in_before_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let web = WebSource::from_file(users(folder.path(), &[("dave", "dave123"), ("carol", "carol123")])).unwrap();
    let exporter = Exporter::start_port(&config(folder.path(), ""), folder.path(), WebOptions::default(), web).await;
    let login = async |name: &str, password: &str| {
        ask(exporter.address, "GET /metrics", &basic(name, password), "").await.status
    };
    assert_eq!(login("dave", "dave123").await, 200);
    let mut codes = std::collections::BTreeMap::new();
    // On a slow machine the rate recovers a little.
    let begun = Instant::now();
    let mut n = 0;
    while codes.get(&429).is_none_or(|refused| *refused < 50) && begun.elapsed() < Duration::from_mins(1) {
        *codes.entry(login("dave", &format!("wrong{n}")).await).or_insert(0) += 1;
        n += 1;
        assert_eq!(login("dave", "dave123").await, 200, "after {n} wrong passwords");
    }
    assert!(codes[&429] >= 50 && codes[&401] >= 20 && codes.len() == 2, "{codes:?}");
    let mut refused = 0;
    // The rate may recover by one in between.
    for _ in 0..3 {
        while login("nobody", "x").await != 429 {}
        refused += u32::from(login("carol", "carol123").await == 429);
    }
    assert!(refused > 0, "a guess from this address could be tried without end");
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_changed_without_a_restart_and_a_broken_file_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = users(folder.path(), &[("dave", "dave123")]);
    let web = WebSource::from_file(file.clone()).unwrap();
    let exporter = Exporter::start_port(&config(folder.path(), ""), folder.path(), WebOptions::default(), web).await;
    let login = async |name: &str, password: &str| {
        ask(exporter.address, "GET /metrics", &basic(name, password), "").await.status
    };
    let until = async |name: &str, password: &str, expected: u16| {
        let deadline = Instant::now() + crate::exporter::PATIENCE;
        while login(name, password).await != expected {
            assert!(Instant::now() < deadline, "{name} is not answered {expected}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    assert_eq!((login("dave", "dave123").await, login("carol", "carol123").await), (200, 401));
    users(folder.path(), &[("carol", "carol123")]);
    until("carol", "carol123", 200).await;
    assert_eq!(login("dave", "dave123").await, 401, "who was deleted is remembered no longer");
    // Neither an empty file, as while it is written, nor a broken one opens the port.
    for text in ["", "basic_auth_users: {}\n", "basic_auth_users: [\n", "basic_auth_users: {carol: x}\n"] {
        fs::write(&file, text).unwrap();
        tokio::time::sleep(Duration::from_millis(1300)).await;
        assert_eq!(ask(exporter.address, "GET /metrics", "", "").await.status, 401, "{text}");
        assert_eq!(login("carol", "carol123").await, 200, "{text}");
    }
    users(folder.path(), &[("dave", "dave456")]);
    until("dave", "dave456", 200).await;
    exporter.stop().await;
}

#[test]
fn check_says_who_may_read_and_how_prometheus_scrapes_then() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let check = |keys: &str, arguments: &[&str]| {
        fs::write(at("config.yml"), config(folder.path(), keys)).unwrap();
        let output = program().arg("check").arg(format!("--config.file={}", at("config.yml"))).args(arguments).output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let (code, said) = check(WRITER, &[]);
    assert!(code == Some(0) && said.contains("listens on 127.0.0.1:10470: HTTP, read by everybody"), "{said}");
    assert!(!said.contains("warning: --web") && !said.contains("scrape_configs"), "{said}");
    for address in ["0.0.0.0:10470", ":10470", "[::]:10470", "exporter.example.com:1"] {
        let (_, said) = check(WRITER, &[&format!("--web.listen-address={address}")]);
        assert_eq!(said.matches("anyone who can reach this address can read").count(), 1, "{said}");
        assert_eq!(said.matches("are sent to this address without TLS").count(), 1, "{said}");
    }
    let (_, said) = check(&[READER, GROWTH].join(", "), &["--web.listen-address=:10470"]);
    assert!(!said.contains("anyone who can reach") && said.contains("HTTP, read by 2 keys"), "{said}");
    assert!(said.contains("warning: api.authorization.1.labels: this key reads no counters"), "{said}");
    let expected = "scrape_configs:\n  - job_name: videogen-exporter\n    authorization: { credentials_file: \"reader.key\" }\n    \
        static_configs: [{ targets: ['HOST_OF_THE_EXPORTER:10470'] }]\n  - job_name: videogen-exporter-2\n    \
        authorization: { credentials_file: \"growth.key\" }  # only tasks with team=growth\n";
    assert!(said.contains(expected), "{said}");
    let web = users(folder.path(), &[("prometheus", "x")]);
    let prefix = "--web.external-url=https://exporter.example.com/videogen/";
    let (code, said) = check(READER, &[&format!("--web.config.file={}", web.display()), prefix]);
    let expected = "    basic_auth: { username: \"prometheus\", password_file: videogen-password }\n";
    assert!(code == Some(0) && said.contains(expected), "{said}");
    assert!(said.contains("HTTP, read by 1 user and 1 key") && said.contains("\"reader.key\""), "{said}");
    assert_eq!(said.matches("metrics_path: /videogen/metrics\n").count(), 2, "{said}");
    fs::write(
        at("wrong.yml"),
        "a: 1\ntls_server_config: {b: 2, min_version: TLS1, cert_file: x}\nbasic_auth_users: {c: d}\n",
    )
    .unwrap();
    let (_, said) = check("", &[&format!("--web.config.file={}", at("wrong.yml"))]);
    for part in [
        ":1:1: a: unknown key",
        ":2:21: tls_server_config.b: unknown key",
        ":2:27: tls_server_config.min_version: unknown TLS version",
        ":3:20: basic_auth_users.c: not a bcrypt",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    for (value, expected, message) in [
        ("127.0.0.1:1=x.yml", 2, "there is no --web.listen-address=127.0.0.1:1"),
        ("no/such.yml", 1, "no/such.yml: cannot read the file"),
    ] {
        let (code, said) = check("", &[&format!("--web.config.file={value}")]);
        assert!(code == Some(expected) && said.contains(message), "{said}");
    }
    let problems = "{credentials_file: reader.key, scopes: [admin]}, {credentials_file: editor.key, scopes: []}, \
         {credentials_file: growth.key, labels: {team: other}}, {credentials_file: writer.key, labels: {'a-b': x}}";
    let (code, said) = check(problems, &[]);
    assert_eq!(code, Some(1), "{said}");
    for part in [
        "api.authorization.0.scopes.0: unknown value; known values: read, write",
        "api.authorization.1.scopes: a key needs at least one of read, write",
        "api.authorization.2.labels.team: ",
        "api.authorization.3.labels.a-b: ",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}

#[test]
fn what_is_unsafe_is_logged_once_also_when_a_reload_opens_the_port() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yml");
    let write = |keys: &str| fs::write(&file, config(folder.path(), keys)).unwrap();
    write(READER);
    let mut command = program();
    command.args(["--web.listen-address=0.0.0.0:0", &format!("--config.file={}", file.display())]);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let open = "anyone who can reach this address can read";
    let mut until = |last: &str| {
        let mut warnings = Vec::new();
        loop {
            let line = lines.next().unwrap_or_else(|| panic!("no {last:?} after {warnings:?}"));
            if line.contains(last) {
                return warnings;
            }
            warnings.extend(line.contains("level=warn").then_some(line));
        }
    };
    let hang_up = |child: &Child| {
        assert!(Command::new("kill").args(["-HUP", &child.id().to_string()]).status().unwrap().success());
    };
    let at_start = until("exporter started");
    assert!(at_start.iter().any(|line| line.contains("without TLS")), "{at_start:?}");
    assert!(!at_start.iter().any(|line| line.contains(open)), "{at_start:?}");
    for (keys, expected) in [(WRITER, 1), (WRITER, 0), (READER, 0), (WRITER, 1)] {
        write(keys);
        hang_up(&child);
        let warnings = until("configuration reloaded");
        assert_eq!(warnings.iter().filter(|line| line.contains(open)).count(), expected, "{warnings:?}");
        assert!(!warnings.iter().any(|line| line.contains("without TLS")), "said before: {warnings:?}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
