//! The recipes of docs/security.md, with the real programs: Prometheus, nginx, Caddy.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::net::UnixStream;

use crate::certificates::Ca;
use crate::exporter::{PATIENCE, get};
use crate::program::{Running, program};
use crate::prometheus::{KillOnDrop, assert_is_real_test, free_port, peer, root, start};

/// The code of docs/security.md whose first line is this comment.
fn recipe(first_line: &str) -> String {
    let docs = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let blocks = docs.split("\n```").filter_map(|block| block.split_once('\n').map(|(_, code)| code));
    let found = blocks.into_iter().find(|code| code.lines().next() == Some(first_line));
    found.unwrap_or_else(|| panic!("docs/security.md has no code that begins with {first_line}")).to_owned()
}

/// The options of the exporter in the first command of docs/security.md that has this part.
fn options(part: &str) -> Vec<String> {
    let docs = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let line = docs.lines().find(|line| line.starts_with("videogen-exporter --") && line.contains(part)).unwrap();
    line.split(' ').skip(1).map(str::to_owned).collect()
}

const SECRET: &str = "hook-0123456789abcdef";

/// A folder with certificates, a configuration and a callback secret.
fn folder() -> (tempfile::TempDir, Ca) {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new(folder.path(), "ca");
    ca.sign_server("server");
    ca.sign_client("prometheus.example.com");
    for extension in ["crt", "key"] {
        let at = |name: &str| folder.path().join(format!("{name}.{extension}"));
        fs::rename(at("prometheus.example.com"), at("prometheus")).unwrap();
    }
    fs::write(folder.path().join("hook"), SECRET).unwrap();
    let text = "state: {memory: {}}\nupstreams:\n- {name: a, provider: ark, base_url: 'http://127.0.0.1:9', \
        webhook: {secret_file: hook}, static_configs: [{targets: [cgt-1]}]}\n";
    fs::write(folder.path().join("config.yml"), text).unwrap();
    (folder, ca)
}

fn exporter(folder: &Path, options: &[String]) -> Running {
    let mut command = program();
    command.arg(format!("--config.file={}", folder.join("config.yml").display())).args(options);
    Running::spawn(&mut command)
}

/// Starts Prometheus with a file; waits until it has scraped the exporter.
async fn assert_scrapes(folder: &Path, config: &str) {
    let at = |name: &str| folder.join(name).display().to_string();
    fs::write(at("prometheus.yml"), format!("global: {{scrape_interval: 1s}}\n{config}")).unwrap();
    let port = free_port();
    let mut prometheus = peer("prometheus");
    prometheus.arg(format!("--config.file={}", at("prometheus.yml")));
    prometheus.arg(format!("--storage.tsdb.path={}", at("data"))).arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let _running = start(&mut prometheus, &folder.join("prometheus.log"));
    let deadline = Instant::now() + PATIENCE;
    let query = "query?query=up%7Bjob%3D%22videogen-exporter%22%7D";
    loop {
        let url = format!("http://127.0.0.1:{port}/api/v1/{query}");
        let answer = Command::new("curl").args(["--silent", "--max-time", "5", &url]).output().unwrap();
        let answer = String::from_utf8(answer.stdout).unwrap();
        if answer.contains(",\"1\"]") {
            return;
        }
        let targets = || fs::read_to_string(at("prometheus.log")).unwrap();
        assert!(Instant::now() < deadline, "Prometheus does not scrape: {answer}\n{}", targets());
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_prometheus_scrapes_with_tls_and_a_login_or_a_certificate() {
    assert_is_real_test();
    let (folder, _) = folder();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("password"), "a long password").unwrap();
    let hash = bcrypt::hash("a long password", 5).unwrap();
    let listen = "--web.listen-address=127.0.0.1:0".to_owned();
    let web_config = [listen, format!("--web.config.file={}", at("web.yml").display())];
    for (web, prometheus) in [
        ("# web.yml, beside the exporter", "# prometheus.yml: TLS and a login"),
        ("# web.yml: client certificates", "# prometheus.yml: a client certificate"),
    ] {
        fs::write(at("web.yml"), recipe(web).replace("$2y$12$…", &hash)).unwrap();
        let running = exporter(folder.path(), &web_config);
        let target = format!("localhost:{}", running.address.port());
        assert_scrapes(folder.path(), &recipe(prometheus).replace("localhost:10470", &target)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_prometheus_accepts_the_scrape_config_that_check_prints() {
    assert_is_real_test();
    let (folder, _) = folder();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("reader.key"), "reader-0123456789\n").unwrap();
    let mut text = fs::read_to_string(at("config.yml")).unwrap();
    text.push_str("api: {authorization: [{credentials_file: reader.key, scopes: [read]}]}\n");
    fs::write(at("config.yml"), text).unwrap();
    let running = exporter(folder.path(), &["--web.listen-address=127.0.0.1:0".to_owned()]);
    let mut check = program();
    check.arg("check").arg(format!("--config.file={}", at("config.yml").display()));
    let output = check.arg(format!("--web.listen-address={}", running.address)).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let config = &said[said.find("scrape_configs:").unwrap()..];
    let config: Vec<&str> =
        config.lines().take_while(|line| line.starts_with(' ') || line.starts_with("scrape")).collect();
    assert_scrapes(folder.path(), &(config.join("\n") + "\n")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_openssl_makes_the_certificates_that_the_documentation_says() {
    assert_is_real_test();
    let (folder, _) = folder();
    let at = |name: &str| folder.path().join(name);
    let docs = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let begin = docs.find("openssl req -x509").unwrap();
    let commands = docs[begin..].split("\n```").next().unwrap();
    for name in ["ca.crt", "server.crt", "server.key"] {
        fs::remove_file(at(name)).unwrap();
    }
    let output = Command::new("sh").args(["-ec", commands]).current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::write(at("web.yml"), "tls_server_config: {cert_file: server.crt, key_file: server.key}\n").unwrap();
    let options =
        ["--web.listen-address=127.0.0.1:0".to_owned(), format!("--web.config.file={}", at("web.yml").display())];
    let running = exporter(folder.path(), &options);
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("https://{host}:{}/-/healthy", running.address.port());
        let curl = Command::new("curl").args(["--silent", "--cacert"]).arg(at("ca.crt")).arg(url).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&curl.stdout), "videogen-exporter is healthy.\n", "{host}");
    }
}

/// Asks with curl, which trusts the CA; the status and the body.
fn ask(ca: &Ca, port: u16, path: &str, more: &[&str]) -> (u16, String) {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--max-time", "20", "--write-out", "\n%{http_code}", "--cacert"]).arg(&ca.file).args(more);
    let output = curl.arg(format!("https://localhost:{port}{path}")).output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let (body, code) = out.rsplit_once('\n').unwrap();
    (code.parse().unwrap(), body.to_owned())
}

/// Waits until a proxy answers.
async fn wait_for(ca: &Ca, port: u16, log: &Path) {
    let deadline = Instant::now() + PATIENCE;
    while ask(ca, port, "/", &[]).0 == 0 {
        assert!(Instant::now() < deadline, "{}", fs::read_to_string(log).unwrap_or_default());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Starts nginx with the servers of a recipe.
fn nginx(folder: &Path, server: &str) -> KillOnDrop {
    let at = |name: &str| folder.join(name).display().to_string();
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {};\n", at(&format!("nginx-{kind}"))))
        .concat();
    let server = server.replace("server.crt", &at("server.crt")).replace("server.key", &at("server.key"));
    let text = format!(
        "daemon off;\nmaster_process off;\npid {};\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{paths}{server}\n}}\n",
        at("nginx.pid")
    );
    fs::write(at("nginx.conf"), text).unwrap();
    let fetched = root().join(".peers/usr/bin/nginx");
    let mut command = Command::new(if fetched.exists() { fetched } else { "nginx".into() });
    command.args(["-p", &at(""), "-e", "stderr", "-c", &at("nginx.conf")]);
    start(&mut command, &folder.join("nginx.log"))
}

fn caddy(folder: &Path, text: &str) -> KillOnDrop {
    fs::write(folder.join("Caddyfile"), text).unwrap();
    let fetched = root().join(".peers/usr/bin/caddy");
    let mut command = Command::new(if fetched.exists() { fetched } else { "caddy".into() });
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(folder.join("Caddyfile"));
    command.env("HOME", folder).env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder).current_dir(folder);
    start(&mut command, &folder.join("caddy.log"))
}

#[tokio::test(flavor = "multi_thread")]
async fn real_nginx_and_caddy_serve_the_exporter_below_a_path() {
    assert_is_real_test();
    let (folder, ca) = folder();
    let mut given = options("--web.external-url=");
    given.push("--web.listen-address=127.0.0.1:0".to_owned());
    let running = exporter(folder.path(), &given);
    let behind = running.address.to_string();
    let (nginx_port, caddy_port) = (free_port(), free_port());
    let server = recipe("# nginx.conf").replace("127.0.0.1:10470", &behind);
    let _nginx = nginx(folder.path(), &server.replace("listen 443", &format!("listen 127.0.0.1:{nginx_port}")));
    // The certificate of a test stands for that which Caddy gets by itself.
    let tls = format!("localhost:{caddy_port} {{\n  tls server.crt server.key");
    let site = recipe("# Caddyfile").replace("127.0.0.1:10470", &behind).replace("exporter.example.com {", &tls);
    let _caddy = caddy(folder.path(), &format!("{{\n  admin off\n  http_port {}\n}}\n{site}", free_port()));
    for (port, log) in [(nginx_port, "nginx.log"), (caddy_port, "caddy.log")] {
        let at = |path: &str| ask(&ca, port, path, &[]);
        wait_for(&ca, port, &folder.path().join(log)).await;
        let (status, page) = at("/videogen/");
        assert!(status == 200 && page.contains("<script src='/videogen/-/page.js'"), "{log}: {status} {page}");
        assert!(page.contains("href='/videogen/tasks/a/cgt-1'"), "{log}: {page}");
        for path in ["/videogen/-/page.js", "/videogen/metrics", "/videogen/api/v1/tasks", "/videogen/tasks/a/cgt-1"] {
            assert_eq!(at(path).0, 200, "{log}: {path}");
        }
        assert!(!at("/metrics").1.contains("videogen"), "{log}");
        // The host of the external URL is one under which people read; others may be of somebody who attacks.
        let (own, other) = (["--header", "Host: exporter.example.com"], ["--header", "Host: evil.example"]);
        if log == "nginx.log" {
            assert_eq!(ask(&ca, port, "/videogen/", &own).0, 200, "{log}");
            assert_eq!(ask(&ca, port, "/videogen/", &other).0, 421, "{log}");
        }
        // The limit of failures is that of the client, which a header of its own does not change.
        let wrong = ["--request", "POST", "--data", "{}", "--header", "X-Forwarded-For: 198.51.100.9"];
        let (status, body) = ask(&ca, port, "/videogen/api/v1/tasks", &wrong);
        assert_eq!(status, 403, "{log}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_nginx_lets_callbacks_pass_and_nothing_else() {
    assert_is_real_test();
    let (folder, ca) = folder();
    let socket = folder.path().join("callbacks");
    let of_recipe = "/run/videogen-exporter/callbacks";
    let given: Vec<String> = options("unix:")
        .iter()
        .map(|option| {
            option.replace("127.0.0.1:10470", "127.0.0.1:0").replace(of_recipe, &socket.display().to_string())
        })
        .collect();
    let running = exporter(folder.path(), &given);
    let deadline = Instant::now() + PATIENCE;
    while UnixStream::connect(&socket).await.is_err() {
        assert!(Instant::now() < deadline, "the socket is not there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let port = free_port();
    let server = recipe("# nginx.conf: callbacks only").replace(of_recipe, &socket.display().to_string());
    let _nginx = nginx(folder.path(), &server.replace("listen 443", &format!("listen 127.0.0.1:{port}")));
    wait_for(&ca, port, &folder.path().join("nginx.log")).await;
    let callback = ["--data", r#"{"id":"cgt-1","model":"m","status":"running"}"#];
    let (status, body) = ask(&ca, port, &format!("/webhooks/a/{SECRET}"), &callback);
    assert_eq!((status, body.as_str()), (200, r#"{"result":"accepted"}"#));
    assert_eq!(ask(&ca, port, "/webhooks/a/wrong-secret-0123", &callback).0, 404);
    assert_eq!(ask(&ca, port, &format!("/webhooks/a/{SECRET}"), &[]).0, 403, "only POST");
    for path in ["/metrics", "/", "/config", "/api/v1/tasks", "/-/healthy", "/webhooks/../metrics"] {
        assert_eq!(ask(&ca, port, path, &["--path-as-is"]).0, 404, "{path}");
    }
    assert_eq!(get(running.address, "metrics").await.0, 200, "inside, the other address serves everything");
}
