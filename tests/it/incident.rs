//! Incidents with the bundled rules and routes, a real Prometheus and a real Alertmanager, twenty times faster than real: what
//! somebody is notified of, in order, and nothing else.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::exporter::get;
use crate::inbox::{Inbox, Message};
use crate::known::now;
use crate::program::Running;
use crate::prometheus::{KillOnDrop, free_port, peer, root, start};
use crate::upstream::{Reply, Upstream, row};

/// How many times faster than real everything is that has a duration.
const SPEED: u64 = 20;

/// The seconds in the rules that are scaled, too.
const LIMIT: &str = "300";

/// The time limit for one notification.
const PATIENCE: Duration = Duration::from_mins(3);

/// Divides every duration of a rule file or a route.
fn scaled(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':' || c == '.';
    let mut out = String::new();
    for piece in text.split_inclusive(|c: char| !is_word(c)) {
        let word = piece.trim_end_matches(|c: char| !is_word(c));
        out += &scaled_word(word).unwrap_or_else(|| word.to_owned());
        out += &piece[word.len()..];
    }
    out
}

fn scaled_word(word: &str) -> Option<String> {
    if word == LIMIT {
        return Some((LIMIT.parse::<u64>().unwrap() / SPEED).to_string());
    }
    // `30m:1m` of a subquery.
    if let Some((range, step)) = word.split_once(':').filter(|(range, _)| !range.is_empty()) {
        return Some(format!("{}:{}", scaled_word(range)?, scaled_word(step)?));
    }
    let unit = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let number: u64 = word[..word.len() - unit.len()].parse().ok()?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    Some(format!("{}ms", number * seconds * 1000 / SPEED))
}

/// A notification: the receiver, whether it fires or is resolved, the alert, and the upstream or exporter.
type Notification = (String, String, String, String);

/// What the receivers were notified of.
#[derive(Default)]
struct Notifications(Inbox);

impl Notifications {
    fn all(&self) -> Vec<Notification> {
        self.0.all().iter().map(notification).collect()
    }

    /// Waits for the next notification after those of `seen`, which has to be this one.
    async fn expect(&self, seen: &mut usize, receiver: &str, status: &str, alert: &str, of: &str) {
        let deadline = Instant::now() + PATIENCE;
        let expected: Notification = (receiver.into(), status.into(), alert.into(), of.into());
        loop {
            let all = self.all();
            if let Some(next) = all.get(*seen) {
                assert_eq!(*next, expected, "after {:#?}", &all[..*seen]);
                *seen += 1;
                return;
            }
            assert!(Instant::now() < deadline, "no {expected:?} after {all:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Nothing is notified for so long in real time; `why` it must not be.
    async fn expect_nothing(&self, seen: usize, minutes: u64, why: &str) {
        tokio::time::sleep(Duration::from_secs(60 * minutes / SPEED)).await;
        let all = self.all();
        assert_eq!(all.len(), seen, "{why}: {:#?}", &all[seen..]);
    }
}

fn notification(message: &Message) -> Notification {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let labels = &message.body["commonLabels"];
    let of = if labels["upstream"].is_string() { &labels["upstream"] } else { &labels["instance"] };
    let receiver = message.path.trim_start_matches('/').to_owned();
    (receiver, text(&message.body["status"]), text(&labels["alertname"]), text(of))
}

/// A gateway that can be killed; its tasks do not end.
fn gateway(port: u16, folder: &Path) -> KillOnDrop {
    let mut command = Command::new(env!("CARGO_BIN_EXE_videogen-exporter"));
    command.args(["simulate", "--tasks=4", "--speed=0.01", &format!("--listen=127.0.0.1:{port}")]);
    start(&mut command, &folder.join(format!("{port}.log")))
}

const HEAD: &str = "polling: {interval: 1s, min_interval: 500ms, max_interval: 1s, timeout: 2s, requests_per_second: 500, burst: 500}\n\
    metrics: {zero_hold: 0s}\ntasks: {stuck: {floor: 24h}}\nupstreams:\n";

/// The ids of a gateway.
const IDS: &str = "[task_sim00000001, task_sim00000002, task_sim00000003, task_sim00000004]";

fn upstream(name: &str, address: &str, ids: &str) -> String {
    format!(
        "- {{name: {name}, provider: new_api, base_url: 'http://{address}', static_configs: [{{targets: {ids}}}]}}\n"
    )
}

/// The answer for a task that was submitted a minute ago.
fn answer(status: &str) -> Reply {
    let at = now() / 1000;
    let (finish, reason) = if status == "FAILURE" { (at, "internal error") } else { (0, "") };
    row(
        &json!({"task_id": "{polled id}", "status": status, "progress": "50%", "submit_time": at - 60, "start_time": at - 50,
        "finish_time": finish, "fail_reason": reason, "properties": {"origin_model_name": "m"}, "data": null}),
    )
}

/// Starts Alertmanager and Prometheus with the bundled files.
fn watch(folder: &Path, targets: &[String], inbox: &str) -> (KillOnDrop, KillOnDrop, u16) {
    let (prometheus_port, alertmanager_port) = (free_port(), free_port());
    let at = |name: &str| folder.join(name);
    let bundled = |name: &str| fs::read_to_string(root().join("config").join(name)).unwrap();
    let routes = scaled(&bundled("alertmanager.yml")).replace("http://127.0.0.1:5001/", inbox);
    fs::write(at("alertmanager.yml"), routes).unwrap();
    for name in ["alerts.yml", "recording.yml"] {
        fs::write(at(name), scaled(&bundled(&format!("rules/{name}")))).unwrap();
    }
    let config = format!(
        "global: {{scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}}\nrule_files: [alerts.yml, recording.yml]\n\
         alerting: {{alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{alertmanager_port}']}}]}}]}}\n\
         scrape_configs: [{{job_name: videos, static_configs: [{{targets: {targets:?}}}]}}]\n"
    );
    fs::write(at("prometheus.yml"), config).unwrap();
    let alertmanager = start(
        peer("alertmanager")
            .args(["--cluster.listen-address=", &format!("--web.listen-address=127.0.0.1:{alertmanager_port}")])
            .arg(format!("--config.file={}", at("alertmanager.yml").display()))
            .arg(format!("--storage.path={}", at("alerts").display())),
        &at("alertmanager.log"),
    );
    let prometheus = start(
        peer("prometheus")
            .args(["--query.lookback-delta=15s", "--rules.alert.resend-delay=3s"])
            .arg(format!("--web.listen-address=127.0.0.1:{prometheus_port}"))
            .arg(format!("--config.file={}", at("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", at("data").display())),
        &at("prometheus.log"),
    );
    (alertmanager, prometheus, prometheus_port)
}

#[test]
fn durations_are_scaled_and_nothing_else() {
    let rule =
        "expr: max(x:y:rate5m[30m:1m] offset 5m) > 300 and 14.4 * 0.05\nfor: 2m\nlabels: {long: 1h}\n# model-1.5m";
    let expected = "expr: max(x:y:rate5m[90000ms:3000ms] offset 15000ms) > 15 and 14.4 * 0.05\nfor: 6000ms\nlabels: {long: 180000ms}\n# model-1.5m";
    assert_eq!(scaled(rule), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn real_incidents_are_notified_once_and_nothing_is_resolved_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (dead_port, shared_ports) = (free_port(), [free_port(), free_port()]);
    let mut dead = gateway(dead_port, folder);
    let mut shared = shared_ports.map(|port| gateway(port, folder));
    let keys = Upstream::start("127.0.0.1:0").await;
    let crowd = Upstream::start("127.0.0.1:0").await;
    keys.script("k", vec![answer("IN_PROGRESS")]);
    let crowd_ids: Vec<String> = (0..100).map(|n| format!("c{n}")).collect();
    for id in &crowd_ids {
        crowd.script(id, vec![answer("IN_PROGRESS")]);
    }
    let address = |port: u16| format!("127.0.0.1:{port}");
    let first = [
        format!("state: {{sqlite: {{path: a.db}}}}\n{HEAD}"),
        upstream("dead", &address(dead_port), IDS),
        upstream("shared", &address(shared_ports[0]), IDS),
        upstream("keys", &keys.address.to_string(), "[k]"),
        upstream("crowd", &crowd.address.to_string(), &format!("{crowd_ids:?}")),
    ];
    let second = [format!("state: {{memory: {{}}}}\n{HEAD}"), upstream("shared", &address(shared_ports[1]), IDS)];
    let (config_a, config_b) = (folder.join("a.yml"), folder.join("b.yml"));
    fs::write(&config_a, first.concat()).unwrap();
    fs::write(&config_b, second.concat()).unwrap();
    let (a, b) = (address(free_port()), address(free_port()));
    let mut exporter_a = Running::start_at(&config_a, &a);
    let _exporter_b = Running::start_at(&config_b, &b);

    let notifications = Notifications::default();
    let hook = format!("http://{}/", notifications.0.listen_http().await);
    let (_alertmanager, _prometheus, prometheus_port) = watch(folder, &[a.clone(), b.clone()], &hook);
    let mut seen = 0;
    let seen = &mut seen;
    notifications.expect_nothing(*seen, 5, "everything is well").await;
    let (code, alerts) = get(address(prometheus_port).parse().unwrap(), "api/v1/alerts").await;
    assert!(code == 200 && !alerts.contains("\"state\":\"firing\""), "{alerts}");

    // One refusal is a fault, and not a lost key.
    keys.script("k", vec![Reply::Body(401, "{}".to_owned()), answer("IN_PROGRESS")]);
    notifications.expect_nothing(*seen, 4, "a single 401").await;

    // An upstream is dead. The exporter is killed meanwhile: that resolves nothing, and neither does its restart.
    dead.0.kill().unwrap();
    notifications.expect(seen, "page", "firing", "VideogenUpstreamDown", "dead").await;
    exporter_a.signal("KILL");
    exporter_a.child.wait().unwrap();
    notifications.expect(seen, "page", "firing", "VideogenExporterDown", &a).await;
    notifications.expect_nothing(*seen, 12, "the outage goes on, although nobody can see it").await;
    exporter_a = Running::start_at(&config_a, &a);
    notifications.expect(seen, "page", "resolved", "VideogenExporterDown", &a).await;
    notifications.expect_nothing(*seen, 7, "the outage goes on, and everybody can see it").await;
    dead = gateway(dead_port, folder);
    notifications.expect(seen, "page", "resolved", "VideogenUpstreamDown", "dead").await;

    // The key is refused for good.
    keys.script("k", vec![Reply::Body(401, "{}".to_owned())]);
    notifications.expect(seen, "page", "firing", "VideogenUpstreamAuthFailure", "keys").await;
    notifications.expect_nothing(*seen, 7, "an upstream that refuses the key is not down").await;
    keys.script("k", vec![answer("IN_PROGRESS")]);
    notifications.expect(seen, "page", "resolved", "VideogenUpstreamAuthFailure", "keys").await;

    // One of two exporters is cut off: the upstream is not down.
    shared[1].0.kill().unwrap();
    notifications.expect(seen, "page", "firing", "VideogenUpstreamCutOff", "shared").await;
    notifications.expect_nothing(*seen, 5, "others reach it").await;
    shared[1] = gateway(shared_ports[1], folder);
    notifications.expect(seen, "page", "resolved", "VideogenUpstreamCutOff", "shared").await;

    // A hundred tasks fail: one page, and not again when the burst is over.
    for id in &crowd_ids {
        crowd.script(id, vec![answer("FAILURE")]);
    }
    notifications.expect(seen, "log", "firing", "VideogenTaskFailed", "crowd").await;
    notifications.expect(seen, "page", "firing", "VideogenTaskErrorBudgetBurn", "crowd").await;
    notifications.expect(seen, "page", "resolved", "VideogenTaskErrorBudgetBurn", "crowd").await;
    notifications.expect_nothing(*seen, 20, "the burst is over").await;
    drop((dead, shared, exporter_a));
}
