//! API keys with labels: what such a key reads, and learns, is of its own tasks only.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use videogen_exporter::server::WebOptions;

use crate::access::{Answer, ask, bearer};
use crate::exporter::{Exporter, QUICK};
use crate::upstream::{Upstream, row};

/// The keys: what each is bound to, as the configuration has it.
const KEYS: [(&str, &str); 5] = [
    ("growth", "labels: {team: growth}"),
    ("search", "labels: {team: search}"),
    ("growth-red", "upstreams: [red], labels: {team: growth}"),
    ("alice", "labels: {team: growth, user: alice}"),
    ("blue-only", "upstreams: [blue]"),
];

fn key(name: &str) -> String {
    format!("{name}-0123456789abcdef")
}

fn config(folder: &Path, upstream: &Upstream, metrics: &str, groups: &[(String, String)]) -> String {
    let mut text = format!(
        "{}\nstate: {{memory: {{}}}}\napi:\n  authorization:\n",
        QUICK.trim_end().trim_end_matches('}').to_owned() + metrics + "}"
    );
    for (name, bound) in KEYS {
        fs::write(folder.join(format!("{name}.key")), key(name)).unwrap();
        let _ = writeln!(text, "  - {{credentials_file: {name}.key, scopes: [read, write], {bound}}}");
    }
    fs::write(folder.join("admin.key"), key("admin")).unwrap();
    text.push_str("  - {credentials_file: admin.key, scopes: [read, write]}\nupstreams:\n");
    for name in ["red", "blue"] {
        let _ = writeln!(
            text,
            "- name: {name}\n  provider: new_api\n  base_url: 'http://{}'\n  static_configs:",
            upstream.address
        );
        for (_, group) in groups.iter().filter(|(upstream, _)| upstream == name) {
            let _ = writeln!(text, "  - {group}");
        }
        text.push_str("  - {targets: []}\n");
    }
    text
}

#[derive(Debug, Clone)]
struct Watched {
    upstream: &'static str,
    id: String,
    labels: Vec<(&'static str, &'static str)>,
    word: &'static str,
}

impl Watched {
    fn has(&self, label: (&str, &str)) -> bool {
        self.labels.contains(&label)
    }

    fn is_of(&self, key: &str) -> bool {
        match key {
            "growth" => self.has(("team", "growth")),
            "search" => self.has(("team", "search")),
            "growth-red" => self.has(("team", "growth")) && self.upstream == "red",
            "alice" => self.has(("team", "growth")) && self.has(("user", "alice")),
            "blue-only" => self.upstream == "blue",
            _ => true,
        }
    }
}

/// Tasks of several teams and users, with ids that are parts of no other text.
fn tasks() -> impl Strategy<Value = Vec<Watched>> {
    let team = prop_oneof![Just(None), Just(Some("growth")), Just(Some("search")), Just(Some("growth2"))];
    let user = prop_oneof![Just(None), Just(Some("alice")), Just(Some("bob"))];
    let word = prop_oneof![Just("QUEUED"), Just("IN_PROGRESS"), Just("SUCCESS"), Just("FAILURE")];
    let upstream = prop_oneof![Just("red"), Just("blue")];
    let one = (upstream, team, user, word).prop_map(|(upstream, team, user, word)| {
        let labels = team.map(|team| ("team", team)).into_iter().chain(user.map(|user| ("user", user))).collect();
        Watched { upstream, id: String::new(), labels, word }
    });
    proptest::collection::vec(one, 12..30).prop_map(|mut tasks| {
        for (n, task) in tasks.iter_mut().enumerate() {
            task.id = format!("id-{n:02}-{:08x}", n.wrapping_mul(2_654_435_761) & 0xffff_ffff);
        }
        tasks
    })
}

const FORMATS: [&str; 3] = [
    "",
    "Accept: application/openmetrics-text\r\n",
    "Accept: application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited\r\n",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_a_bound_key_reads_has_no_task_of_others_in_any_format_or_error() {
    let mut runner = TestRunner::deterministic();
    for round in 0..4 {
        let tasks = tasks().new_tree(&mut runner).unwrap().current();
        let metrics = if round % 2 == 0 {
            ", aggregate_labels: [team, user]"
        } else {
            ", aggregate_labels: [team], max_label_sets: 10"
        };
        assert_only_own_tasks_are_read(&tasks, metrics).await;
    }
}

async fn assert_only_own_tasks_are_read(tasks: &[Watched], metrics: &str) {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Upstream::start("127.0.0.1:0").await;
    let mut groups = Vec::new();
    for task in tasks {
        let failure = if task.word == "FAILURE" { format!("failed for {}", task.id) } else { String::new() };
        let reading = json!({"task_id": task.id, "status": task.word, "submit_time": 1_790_000_000, "fail_reason": failure,
            "properties": {"origin_model_name": format!("model-of-{}", if task.has(("team", "growth")) { "growth" } else { "x" })}});
        gateway.script(&task.id, vec![row(&reading)]);
        let labels: Vec<String> = task.labels.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        groups.push((
            task.upstream.to_owned(),
            format!("{{targets: ['{}'], labels: {{{}}}}}", task.id, labels.join(", ")),
        ));
    }
    let text = config(folder.path(), &gateway, metrics, &groups);
    let exporter = Exporter::start_with(&text, folder.path(), WebOptions::default()).await;
    let ask = async |name: &str, line: &str, headers: &str, body: &str| {
        ask(exporter.address, line, &format!("{headers}{}", bearer(&key(name))), body).await
    };
    // All were polled.
    let deadline = std::time::Instant::now() + crate::exporter::PATIENCE;
    loop {
        let polled = gateway.requests().iter().map(|request| request.path.clone()).collect::<BTreeSet<_>>().len();
        if polled >= tasks.len()
            && ask("admin", "GET /metrics", "", "").await.body.contains("videogen_task_failure_info")
        {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{polled} of {} tasks were polled", tasks.len());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    for (name, _) in KEYS {
        let (own, others): (Vec<_>, Vec<_>) = tasks.iter().partition(|task| task.is_of(name));
        let clean = |at: &str, answer: &Answer| {
            for task in &others {
                assert!(!answer.body.contains(&task.id), "{name} reads {task:?} at {at}: {}", answer.body);
            }
        };
        for format in FORMATS {
            let page = ask(name, "GET /metrics", format, "").await;
            assert_eq!(page.status, 200);
            clean(&format!("/metrics {format}"), &page);
            assert!(
                own.iter().all(|task| page.body.contains(&task.id)),
                "{name} lacks a task of its own: {}",
                page.body
            );
            for family in [
                "videogen_upstream",
                "videogen_discovery",
                "oldest",
                "balance",
                "videogen_exporter",
                "process_",
                "budget",
            ] {
                assert!(!page.body.contains(family), "{name} reads {family}: {}", page.body);
            }
            if format.is_empty() {
                assert_aggregates(name, metrics, tasks, &page.body);
            }
        }
        for path in
            ["/", "/?status=failed", "/?sort=newest", "/api/v1/tasks", "/api/v1/tasks?limit=1", "/?upstream=nothing"]
        {
            let answer = ask(name, &format!("GET {path}"), "", "").await;
            clean(path, &answer);
            assert!(!answer.body.contains("class='card"), "{name} reads the state of upstreams at {path}");
        }
        let list: Value = serde_json::from_str(&ask(name, "GET /api/v1/tasks?limit=1000", "", "").await.body).unwrap();
        let listed: BTreeSet<_> =
            list["tasks"].as_array().unwrap().iter().map(|task| task["task_id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(listed, own.iter().map(|task| task.id.clone()).collect(), "{name}");
        for task in &own {
            for path in ["/tasks", "/api/v1/tasks"] {
                let answer = ask(name, &format!("GET {path}/{}/{}", task.upstream, task.id), "", "").await;
                assert_eq!(answer.status, 200, "{name} {task:?}");
                clean(path, &answer);
            }
        }
        for task in &others {
            assert_looks_unknown(name, task, &ask).await;
        }
    }
    // Nothing was changed by all that.
    let list: Value = serde_json::from_str(&ask("admin", "GET /api/v1/tasks?limit=1000", "", "").await.body).unwrap();
    for task in tasks {
        let found = list["tasks"].as_array().unwrap().iter().find(|found| found["task_id"] == *task.id).unwrap();
        let labels: Value = task
            .labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect::<serde_json::Map<_, _>>()
            .into();
        assert_eq!((&found["labels"], &found["source"]), (&labels, &json!(found["source"])), "{task:?}");
        assert!(found["source"].as_str().unwrap().starts_with("static"), "{found}");
    }
    exporter.stop().await;
}

/// The counters of a key are of its own label sets, and there are none when they do not carry its labels.
fn assert_aggregates(name: &str, metrics: &str, tasks: &[Watched], page: &str) {
    let carries_all = name != "alice" || metrics.contains("user");
    let lines: Vec<&str> = page.lines().filter(|line| line.starts_with("videogen_tasks{")).collect();
    for line in &lines {
        let is_own = match name {
            "growth" => line.contains("label_team=\"growth\""),
            "search" => line.contains("label_team=\"search\""),
            "growth-red" => line.contains("label_team=\"growth\"") && line.contains("upstream=\"red\""),
            "alice" => line.contains("label_team=\"growth\"") && line.contains("label_user=\"alice\""),
            _ => line.contains("upstream=\"blue\""),
        };
        assert!(is_own && carries_all, "{name} reads {line}");
    }
    // With a low limit, a label set may have become one of `other`.
    let is_limited = metrics.contains("max_label_sets");
    let has_own = tasks.iter().any(|task| task.is_of(name));
    assert!(!lines.is_empty() || is_limited || !has_own || !carries_all, "{name} has no counters: {page}");
}

/// An answer about a task of others is that about a task that nobody watches.
async fn assert_looks_unknown(name: &str, task: &Watched, ask: &impl AsyncFn(&str, &str, &str, &str) -> Answer) {
    let same = |about: &str, real: &Answer, unknown: &Answer, id: &str| {
        let (real_body, unknown_body) = (real.body.replace(&task.id, "ID"), unknown.body.replace(id, "ID"));
        assert_eq!((real.status, &real_body), (unknown.status, &unknown_body), "{name} learns of {task:?} by {about}");
    };
    for (method, path) in [("GET", "/tasks"), ("GET", "/api/v1/tasks"), ("DELETE", "/api/v1/tasks")] {
        let real = ask(name, &format!("{method} {path}/{}/{}", task.upstream, task.id), "", "").await;
        let unknown = ask(name, &format!("{method} {path}/{}/nobodys", task.upstream), "", "").await;
        assert!(real.status == 404 || real.status == 403, "{name} {task:?} {}", real.status);
        same(method, &real, &unknown, "nobodys");
    }
    let register = async |id: &str| {
        let body = json!({"upstream": task.upstream, "task_id": id, "labels": {"team": "search"}}).to_string();
        ask(name, "POST /api/v1/tasks", "", &body).await
    };
    let unknown_id = format!("new-{}-{name}", task.id);
    let (real, unknown) = (register(&task.id).await, register(&unknown_id).await);
    same("POST", &real, &unknown, &unknown_id);
    if unknown.status == 200 {
        let gone = ask(name, &format!("DELETE /api/v1/tasks/{}/{unknown_id}", task.upstream), "", "").await;
        assert_eq!(gone.status, 200, "{name} cannot forget what it has registered: {}", gone.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_key_registers_with_its_labels_and_its_limit_tells_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Upstream::start("127.0.0.1:0").await;
    let group = ("red".to_owned(), "{targets: [theirs], labels: {team: search}}".to_owned());
    let text = config(folder.path(), &gateway, ", aggregate_labels: [team]", &[group]);
    let text = text.replace("labels: {team: growth}}\n", "labels: {team: growth}, max_tasks: 2}\n");
    let exporter = Exporter::start_with(&text, folder.path(), WebOptions::default()).await;
    let register = async |items: Value| {
        let answer = ask(exporter.address, "POST /api/v1/tasks", &bearer(&key("growth")), &items.to_string()).await;
        (answer.status, serde_json::from_str::<Value>(&answer.body).unwrap_or_default())
    };
    let (status, answer) = register(json!([
        {"upstream": "red", "task_id": "a", "labels": {"team": "search", "shot": "7"}},
        {"upstream": "red", "task_id": "theirs"},
    ]))
    .await;
    let results: Vec<_> = answer["tasks"].as_array().unwrap().iter().map(|task| task["result"].clone()).collect();
    assert_eq!((status, results), (200, vec![json!("registered"), json!("registered")]));
    let task = async |name: &str, id: &str| {
        let answer = ask(exporter.address, &format!("GET /api/v1/tasks/red/{id}"), &bearer(&key(name)), "").await;
        (answer.status, serde_json::from_str::<Value>(&answer.body).unwrap_or_default())
    };
    assert_eq!(task("growth", "a").await.1["labels"], json!({"team": "growth", "shot": "7"}), "its own label wins");
    assert_eq!((task("growth", "theirs").await.0, task("search", "theirs").await.0), (404, 200));
    assert_eq!(register(json!({"upstream": "red", "task_id": "a"})).await.1["tasks"][0]["result"], "watched");
    assert_eq!(register(json!({"upstream": "red", "task_id": "b"})).await.0, 200);
    // At its limit a task of others looks as new as any other.
    for id in ["c", "theirs"] {
        assert_eq!(register(json!({"upstream": "red", "task_id": id})).await.0, 429, "{id}");
    }
    let answer = async |upstream: &str| {
        let item = json!({"upstream": upstream, "task_id": "x"});
        let answer = ask(exporter.address, "POST /api/v1/tasks", &bearer(&key("growth-red")), &item.to_string()).await;
        (answer.status, answer.body)
    };
    assert_eq!(answer("blue").await, answer("nothing").await, "which other upstreams there are is not told");
    exporter.stop().await;
}
