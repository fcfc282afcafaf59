//! End to end with real programs: Prometheus scrapes, rules fire, Alertmanager notifies.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener as StdListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::exporter::{QUICK, get};
use crate::program::Running;

/// The time limit for the alerts.
const ALERT_TIMEOUT: Duration = Duration::from_mins(4);

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The name of a test with real programs begins with `real_`, so that `tests/run --fast` can leave it out.
pub fn assert_is_real_test() {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or_default();
    assert!(test.contains("real_"), "{test} starts a real program, so its name must begin with real_");
}

/// A real program; the test fails with advice when it is not installed.
pub fn peer(name: &str) -> Command {
    assert_is_real_test();
    let peers = root().join(".peers");
    let fetched = peers.join("usr/bin").join(name);
    let is_fetched = fetched.exists();
    let program = if is_fetched { fetched } else { PathBuf::from(name) };
    let version = Command::new(&program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(version.is_ok_and(|status| status.success()), "{name} is not installed; run ./tests/peers");
    let mut command = Command::new(program);
    if is_fetched {
        // Alertmanager reads its templates in this folder.
        command.current_dir(peers);
    }
    command
}

/// A program that is killed when it is dropped.
pub struct KillOnDrop(pub Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program with its output in `log`.
pub fn start(command: &mut Command, log: &Path) -> KillOnDrop {
    let log = fs::File::create(log).unwrap();
    KillOnDrop(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
}

fn assert_succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    let messages = [output.stdout.as_slice(), &output.stderr].concat();
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&messages));
}

/// A free port; another program may take it before its use.
pub fn free_port() -> u16 {
    StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn real_promtool_and_amtool_accept_every_shipped_file() {
    let config = root().join("config");
    let rules = [config.join("rules/alerts.yml"), config.join("rules/recording.yml")];
    assert_succeeds(peer("promtool").args(["check", "rules", "--lint=all", "--lint-fatal"]).args(&rules));
    assert_succeeds(peer("promtool").args(["check", "config"]).arg(config.join("prometheus.yml")));
    assert_succeeds(peer("amtool").arg("check-config").arg(config.join("alertmanager.yml")));
    let tests: Vec<_> = fs::read_dir(config.join("rules/tests")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(tests.len() >= 3, "{tests:?}");
    // One file at a time: promtool takes much longer for all of them together.
    for test in &tests {
        assert_succeeds(peer("promtool").args(["test", "rules"]).arg(test));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_alertmanager_notifies_a_webhook_of_failed_and_expired_tasks() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);

    // A fake gateway with some faults, and the exporter.
    let gateway_port = free_port();
    let _gateway = start(
        Command::new(env!("CARGO_BIN_EXE_videogen-exporter"))
            .args(["simulate", "--tasks=30", "--speed=40", "--seed=7", "--faults=some"])
            .arg(format!("--listen=127.0.0.1:{gateway_port}"))
            .arg(format!("--targets-file={}", at("ids.json").display())),
        &at("gateway.log"),
    );
    let exporter_config = format!(
        "{QUICK}upstreams:\n- {{name: sim, provider: tokenhot, base_url: 'http://127.0.0.1:{gateway_port}', file_sd_configs: [{{files: [ids.json]}}]}}\n"
    );
    fs::write(at("exporter.yml"), exporter_config).unwrap();
    let exporter = Running::start(&at("exporter.yml"));

    // A webhook receiver that records alerts.
    let fired: Arc<Mutex<BTreeSet<(String, String)>>> = Arc::default();
    let seen = fired.clone();
    let hook = Router::new().route(
        "/",
        post(move |body: String| {
            let seen = seen.clone();
            async move {
                let message: Value = serde_json::from_str(&body).unwrap();
                for alert in message["alerts"].as_array().unwrap() {
                    let labels = &alert["labels"];
                    let text = |name: &str| labels[name].as_str().unwrap_or("").to_owned();
                    assert!(!alert["annotations"]["description"].as_str().unwrap_or("").is_empty(), "{alert}");
                    assert!(
                        alert["annotations"]["dashboard_url"].as_str().unwrap_or("").contains("/d/videogen-"),
                        "{alert}"
                    );
                    seen.lock().unwrap().insert((text("alertname"), text("task_id")));
                }
            }
        }),
    );
    let hook_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hook_address = hook_listener.local_addr().unwrap();
    let hook_server = tokio::spawn(async move { axum::serve(hook_listener, hook).await.unwrap() });

    let alertmanager_port = free_port();
    let alertmanager_config = format!(
        "route: {{receiver: hook, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}\n\
         receivers: [{{name: hook, webhook_configs: [{{url: 'http://{hook_address}/'}}]}}]\n"
    );
    fs::write(at("alertmanager.yml"), alertmanager_config).unwrap();
    let _alertmanager = start(
        peer("alertmanager")
            .args(["--cluster.listen-address=", &format!("--web.listen-address=127.0.0.1:{alertmanager_port}")])
            .arg(format!("--config.file={}", at("alertmanager.yml").display()))
            .arg(format!("--storage.path={}", at("alerts").display())),
        &at("alertmanager.log"),
    );

    // The shipped rules, evaluated every second.
    let prometheus_port = free_port();
    let prometheus_config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}/config/rules/*.yml']\n\
         alerting: {{alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{alertmanager_port}']}}]}}]}}\n\
         scrape_configs: [{{job_name: videogen-exporter, static_configs: [{{targets: ['{}']}}]}}]\n",
        root().display(),
        exporter.address
    );
    fs::write(at("prometheus.yml"), prometheus_config).unwrap();
    let _prometheus = start(
        peer("prometheus")
            .arg(format!("--web.listen-address=127.0.0.1:{prometheus_port}"))
            .arg(format!("--config.file={}", at("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", at("data").display())),
        &at("prometheus.log"),
    );

    let deadline = Instant::now() + ALERT_TIMEOUT;
    loop {
        let fired = fired.lock().unwrap().clone();
        let has = |name: &str| fired.iter().any(|(alert, id)| alert == name && id.starts_with("task_sim"));
        if has("VideogenTaskFailed") && has("VideogenTaskExpired") {
            break;
        }
        let log = |name: &str| fs::read_to_string(at(name)).unwrap_or_default();
        assert!(
            Instant::now() < deadline,
            "only these alerts fired: {fired:?}\n{}\n{}",
            log("prometheus.log"),
            log("alertmanager.log")
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    // Prometheus has no scrape error, and promtool no complaint about the page.
    let (_, targets) = get(format!("127.0.0.1:{prometheus_port}").parse().unwrap(), "api/v1/targets").await;
    let targets: Value = serde_json::from_str(&targets).unwrap();
    let target = &targets["data"]["activeTargets"][0];
    assert_eq!((&target["health"], &target["lastError"]), (&Value::from("up"), &Value::from("")), "{target}");
    let page = get(exporter.address, "metrics").await.1;
    fs::write(at("page.txt"), &page).unwrap();
    let checked =
        peer("promtool").args(["check", "metrics"]).stdin(fs::File::open(at("page.txt")).unwrap()).output().unwrap();
    let messages = String::from_utf8_lossy(&[checked.stdout.as_slice(), &checked.stderr].concat()).into_owned();
    assert!(checked.status.success() && messages.trim().is_empty(), "{messages}");
    hook_server.abort();
}
