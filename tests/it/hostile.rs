//! What others can do to the program on one machine: files that block, a log that nobody reads, a state that is taken away,
//! signals at any time.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::exporter::{PATIENCE, get, value};
use crate::program::{Running, program};
use crate::upstream::{Upstream, status};

fn mkfifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn quick(address: impl std::fmt::Display, more: &str, tail: &str) -> String {
    format!(
        "polling: {{interval: 200ms, min_interval: 100ms, max_interval: 300ms}}\nmetrics: {{zero_hold: 0s}}\n{more}\n\
         upstreams: [{{name: gw, provider: new_api, base_url: 'http://{address}', static_configs: [{{targets: [t]}}]{tail}}}]\n"
    )
}

async fn wait_for(address: std::net::SocketAddr, path: &str, holds: impl Fn(u16, &str) -> bool) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (code, text) = get(address, path).await;
        if holds(code, &text) {
            return text;
        }
        assert!(Instant::now() < deadline, "{path}: {code} {text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn files_that_block_or_never_end_are_refused_by_check() {
    let folder = tempfile::tempdir().unwrap();
    mkfifo(&folder.path().join("pipe"));
    mkfifo(&folder.path().join("pipe.json"));
    let config = folder.path().join("c.yml");
    let check = |tail: &str| {
        fs::write(&config, quick("127.0.0.1:9", "state: {memory: {}}", tail)).unwrap();
        let output = program().arg("check").arg(format!("--config.file={}", config.display())).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for tail in [
        ", authorization: {credentials_file: pipe}",
        ", authorization: {credentials_file: /dev/zero}",
        ", tls_config: {ca_file: /dev/zero}",
        ", tls_config: {ca_file: pipe}",
        ", webhook: {secret_file: pipe}",
        ", file_sd_configs: [{files: ['*.json']}]",
    ] {
        let (code, text) = check(tail);
        assert!(code == Some(1) && text.contains("not a regular file"), "{tail}: {code:?} {text}");
    }
    for file in ["/dev/zero", "pipe"] {
        let file = folder.path().join(file);
        let output = program().arg("check").arg(format!("--config.file={}", file.display())).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", file.display());
    }
}

#[test]
fn a_database_url_without_a_mode_of_tls_is_warned_about() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.yml");
    let tail = ", sql_sd_configs: [{url_file: url, query: 'select 1 as task_id'}]";
    fs::write(&config, quick("127.0.0.1:9", "state: {memory: {}}", tail)).unwrap();
    for (url, is_warned) in [("postgres://u:S3CRET@db/d", true), ("postgres://u:S3CRET@db/d?sslmode=disable", false)] {
        fs::write(folder.path().join("url"), url).unwrap();
        fs::set_permissions(folder.path().join("url"), fs::Permissions::from_mode(0o600)).unwrap();
        let output = program().arg("check").arg(format!("--config.file={}", config.display())).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let warning = "warning: upstreams.0.sql_sd_configs.0.url_file: the URL has no sslmode: TLS is required";
        assert!(output.status.code() == Some(0) && text.contains(warning) == is_warned, "{url}: {text}");
        assert!(!text.contains("S3CRET"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start("127.0.0.1:0").await;
    upstream.script("t", vec![status("IN_PROGRESS")]);
    let config = folder.path().join("c.yml");
    let port = crate::prometheus::free_port();
    // Every poll of an unknown task writes a line.
    let targets: Vec<String> = (0..50).map(|n| format!("unknown-{n}")).collect();
    let text = format!(
        "polling: {{interval: 10ms, min_interval: 10ms, max_interval: 10ms, requests_per_second: 5000, burst: 5000}}\n\
         state: {{memory: {{}}}}\nupstreams: [{{name: gw, provider: new_api, base_url: 'http://{}',\n\
         static_configs: [{{targets: [t]}}, {{targets: {targets:?}}}]}}]\n",
        upstream.address
    );
    fs::write(&config, text).unwrap();
    let address = format!("127.0.0.1:{port}");
    let mut command = program();
    command.arg(format!("--web.listen-address={address}")).arg("--log.level=debug");
    command.arg(format!("--config.file={}", config.display())).stdout(Stdio::null());
    // The pipe is full from the beginning.
    let child = {
        let script = format!(
            "exec 2> >(sleep 600); head -c 200000 /dev/zero | tr '\\0' x >&2 & exec {} {}",
            command.get_program().to_str().unwrap(),
            command.get_args().map(|arg| arg.to_str().unwrap()).collect::<Vec<_>>().join(" ")
        );
        Command::new("bash").args(["-c", &script]).stdin(Stdio::null()).spawn().unwrap()
    };
    let address = address.parse().unwrap();
    let mut running = Running { child, address };
    let deadline = Instant::now() + PATIENCE;
    while std::net::TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "it does not listen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let dropped = |page: &str| value(page, "videogen_exporter_log_lines_dropped_total").unwrap_or(0.0);
    let page = wait_for(address, "metrics", |_, page| dropped(page) > 0.0).await;
    let polls =
        |page: &str| value(page, "videogen_upstream_requests_total{code=\"200\",operation=\"get\",upstream=\"gw\"}");
    let before = polls(&page);
    wait_for(address, "metrics", |_, page| polls(page) > before).await;
    assert_eq!(get(address, "-/healthy").await.0, 200);
    running.signal("TERM");
    assert_eq!(running.wait_for_exit(PATIENCE), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_taken_away_is_noticed_and_continues_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start("127.0.0.1:0").await;
    upstream.script("t", vec![status("IN_PROGRESS")]);
    let config = folder.path().join("c.yml");
    let at = |name: &str| folder.path().join(name);
    fs::write(&config, quick(upstream.address, "state: {sqlite: {path: s.db}}", "")).unwrap();
    let running = Running::start(&config);
    let up = "videogen_exporter_store_up";
    wait_for(running.address, "metrics", |_, page| {
        page.contains("task_status{upstream=\"gw\",task_id=\"t\",status=\"running\"} 1") && value(page, up) == Some(1.0)
    })
    .await;
    for name in ["s.db", "s.db-wal", "s.db.lock"] {
        assert_eq!(fs::metadata(at(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    // Removed, then another file of the same name.
    fs::rename(at("s.db"), at("kept.db")).unwrap();
    wait_for(running.address, "metrics", |_, page| value(page, up) == Some(0.0)).await;
    fs::write(at("s.db"), "something else").unwrap();
    assert_eq!(get(running.address, "-/ready").await.0, 503);
    assert_eq!(
        get(running.address, "-/healthy").await.0,
        200,
        "a store that is away makes it unready, never unhealthy"
    );
    assert_eq!(value(&get(running.address, "metrics").await.1, up), Some(0.0));
    fs::rename(at("kept.db"), at("s.db")).unwrap();
    wait_for(running.address, "metrics", |_, page| value(page, up) == Some(1.0)).await;
    wait_for(running.address, "-/ready", |code, _| code == 200).await;
    // Its log, too.
    fs::remove_file(at("s.db-wal")).unwrap();
    wait_for(running.address, "metrics", |_, page| value(page, up) == Some(0.0)).await;
}

#[test]
fn signals_are_obeyed_during_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.yml");
    // Holding the lock of the state delays the start by a second.
    fs::write(&config, quick("127.0.0.1:9", "state: {sqlite: {path: s.db}}", "")).unwrap();
    let lock = fs::File::create(folder.path().join("s.db.lock")).unwrap();
    lock.lock().unwrap();
    for (signal, code) in [("TERM", 0), ("HUP", 3)] {
        let mut command = program();
        command.arg("--web.listen-address=127.0.0.1:0").arg(format!("--config.file={}", config.display()));
        let mut child = command.spawn().unwrap();
        // The handlers are there once the program waits for the lock.
        let deadline = Instant::now() + PATIENCE;
        let lock_path = folder.path().join("s.db.lock").canonicalize().unwrap();
        let has_lock_open = |pid: u32| {
            let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            open.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|path| path == lock_path)
        };
        while !has_lock_open(child.id()) {
            assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none(), "it does not start");
        }
        assert!(
            Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap().success()
        );
        assert_eq!(child.wait().unwrap().code(), Some(code), "{signal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_to_many_slow_upstreams_leave_descriptors_for_pages() {
    let folder = tempfile::tempdir().unwrap();
    // It accepts connections and never answers.
    let slow = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = slow.local_addr().unwrap();
    let targets: Vec<String> = (0..16).map(|n| format!("t{n}")).collect();
    let entry = |n: usize| {
        format!(
            "- {{name: u{n}, provider: new_api, base_url: 'http://{address}', static_configs: [{{targets: {targets:?}}}]}}\n"
        )
    };
    let text =
        "polling: {requests_per_second: 1000, burst: 1000, timeout: 60s}\nstate: {memory: {}}\nupstreams:\n".to_owned();
    let config = folder.path().join("c.yml");
    fs::write(&config, text + &(0..20).map(entry).collect::<String>()).unwrap();
    let mut command = Command::new("prlimit");
    // The soft limit is raised to the hard one.
    command.args(["--nofile=64:256", program().get_program().to_str().unwrap()]).stderr(Stdio::piped());
    command.args(["--web.listen-address=127.0.0.1:0", &format!("--config.file={}", config.display())]);
    let running = Running::spawn(&mut command);
    let in_flight = |page: &str| {
        let rows = page.lines().filter_map(|line| line.strip_prefix("videogen_polls_in_flight{"));
        rows.map(|row| row.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum::<usize>()
    };
    // 320 could be in flight; three eighths of the descriptors are.
    wait_for(running.address, "metrics", |code, page| code == 200 && in_flight(page) == 96).await;
    for _ in 0..20 {
        assert_eq!(get(running.address, "metrics").await.0, 200);
    }
}

/// A user that has no other process.
const USER: [&str; 3] = ["--reuid=64017", "--regid=64017", "--clear-groups"];

#[tokio::test(flavor = "multi_thread")]
async fn without_another_thread_the_program_goes_on_with_its_last_list() {
    let user = Command::new("id").arg("-u").output().unwrap();
    if user.stdout != b"0\n" {
        eprintln!("only root can start the program as a user with a limit of threads: this is not tested");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start("127.0.0.1:0").await;
    for id in ["t", "u"] {
        upstream.script(id, vec![status("IN_PROGRESS")]);
    }
    let (config, ids) = (folder.path().join("c.yml"), folder.path().join("ids.json"));
    let tail = ", file_sd_configs: [{files: [ids.json], refresh_interval: 1s}], authorization: {credentials_file: key}";
    fs::write(&config, quick(upstream.address, "state: {memory: {}}", tail)).unwrap();
    fs::write(&ids, r#"[{"targets": ["u"]}]"#).unwrap();
    fs::write(folder.path().join("key"), "sk-1").unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("setpriv");
    command.args(USER).arg(program().get_program()).stderr(Stdio::piped());
    command.args(["--web.listen-address=127.0.0.1:0", &format!("--config.file={}", config.display())]);
    let mut running = Running::spawn(&mut command);
    let is_running = |page: &str, id: &str| {
        page.contains(&format!("videogen_task_status{{upstream=\"gw\",task_id=\"{id}\",status=\"running\"}} 1"))
    };
    wait_for(running.address, "metrics", |_, page| is_running(page, "t") && is_running(page, "u")).await;
    let pid = running.child.id().to_string();
    let limited = Command::new("setpriv").args(USER).args(["prlimit", "--pid", &pid, "--nproc=1"]).status();
    assert!(limited.unwrap().success());
    // Reading the file, the key and the configuration needs threads.
    running.signal("HUP");
    let reloads = "videogen_exporter_config_last_reload_success_timestamp_seconds";
    let before = value(&get(running.address, "metrics").await.1, reloads);
    running.signal("HUP");
    wait_for(running.address, "metrics", |_, page| value(page, reloads) > before).await;
    fs::write(&ids, r#"[{"targets": ["u", "v"]}]"#).unwrap();
    wait_for(running.address, "metrics", |_, page| page.contains("task_id=\"v\"")).await;
    let polls = upstream.requests().len();
    wait_for(running.address, "metrics", |_, _| upstream.requests().len() > polls).await;
    assert_eq!(get(running.address, "-/healthy").await.0, 200);
    running.signal("TERM");
    assert_eq!(running.wait_for_exit(PATIENCE), Some(0));
}
