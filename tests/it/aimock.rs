//! The exporter against a fake that others wrote: aimock, which speaks several APIs and fails on request.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::exporter::get;
use crate::program::Running;
use crate::prometheus::{KillOnDrop, assert_is_real_test};

/// How long the tasks may take to end, in spite of answers that fail.
const PATIENCE: Duration = Duration::from_mins(2);

/// Where each API of aimock is, and the headers that it needs.
const APIS: [(&str, &str, &str); 6] = [
    ("openai_videos", "", ""),
    ("openrouter", "", ""),
    ("xai", "", ""),
    ("veo", "", ""),
    ("ark", "/api/v3", ""),
    ("fal", "/fal", "x-fal-target-host: queue.fal.run"),
];

#[tokio::test]
async fn real_aimock_is_followed_from_each_submission_to_its_end() {
    assert_is_real_test();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut node = Command::new("node");
    node.arg(root.join("tests/it/aimock.mjs")).arg(root.join(".peers/node/")).stdout(Stdio::piped());
    let started = node.spawn().expect("Node 20 is not installed, which aimock needs; run ./tests/run");
    let mut aimock = KillOnDrop(started);
    let mut line = String::new();
    BufReader::new(aimock.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let submitted: Value = serde_json::from_str(&line).expect("aimock does not start; run ./tests/peers");
    let mut tasks: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for task in submitted["tasks"].as_array().unwrap() {
        tasks.entry(task["provider"].as_str().unwrap()).or_default().push(task["id"].as_str().unwrap());
    }

    let mut config = "state: {memory: {}}\ntasks: {count_since: always}\nmetrics: {zero_hold: 0s}\n\
                      polling: {interval: 300ms, min_interval: 200ms, max_interval: 1s}\nupstreams:\n"
        .to_owned();
    for (name, path, headers) in APIS {
        let (url, ids) = (submitted["url"].as_str().unwrap(), tasks[name].join(", "));
        let _ = writeln!(
            config,
            "- {{name: {name}, provider: {name}, base_url: '{url}{path}', authorization: {{credentials_env: VGX_TEST_KEY}}, \
             request: {{headers: {{{headers}}}}}, static_configs: [{{targets: [{ids}]}}]}}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.yml");
    fs::write(&path, config).unwrap();
    // Any printable text serves as a key.
    let program = Running::spawn(
        crate::program::program()
            .env("VGX_TEST_KEY", "k")
            .arg("--web.listen-address=127.0.0.1:0")
            .arg(format!("--config.file={}", path.display())),
    );

    let expected: Vec<String> = submitted["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| {
            let text = |key: &str| task[key].as_str().unwrap();
            let (name, id, status) = (text("provider"), text("id"), text("status"));
            format!("videogen_task_status{{upstream=\"{name}\",task_id=\"{id}\",status=\"{status}\"}} 1")
        })
        .collect();
    assert_eq!(expected.len(), 11, "{submitted}");
    let deadline = Instant::now() + PATIENCE;
    let page = loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let (_, page) = get(program.address, "metrics").await;
        let missing: Vec<_> = expected.iter().filter(|line| !page.contains(line.as_str())).collect();
        if missing.is_empty() {
            break page;
        }
        assert!(Instant::now() < deadline, "missing after {PATIENCE:?}: {missing:#?}\n{page}");
    };
    for (name, ..) in APIS {
        let ends: usize = page
            .lines()
            .filter(|line| line.starts_with(&format!("videogen_tasks_finished_total{{upstream=\"{name}\"")))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap())
            .sum();
        assert_eq!(ends, tasks[name].len(), "{name}: each end counts once\n{page}");
    }
    for (name, class) in [("openrouter", "content_policy"), ("xai", "content_policy"), ("ark", "content_policy")] {
        let line = page.lines().find(|line| {
            line.starts_with(&format!("videogen_task_failure_info{{upstream=\"{name}\"")) && line.contains(class)
        });
        assert!(line.is_some(), "{name} has no failure of class {class}\n{page}");
    }
    // Answers did fail on the way.
    assert!(
        page.lines().any(|line| line.starts_with("videogen_upstream_request_errors_total{") && !line.ends_with(" 0"))
    );
}
