//! The program with a failing state store: polls continue, counters pause, metrics report it, and counters catch up.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::exporter::{PATIENCE, get, value};
use crate::known::PlannedGateway;
use crate::program::{Running, program};

const UP: &str = "videogen_exporter_store_up";
const ERRORS: &str = "videogen_exporter_store_errors_total";

fn config(folder: &Path, gateway: &PlannedGateway) -> PathBuf {
    let file = folder.join("c.yml");
    let text = format!(
        "polling: {{interval: 300ms, min_interval: 200ms, max_interval: 600ms, requests_per_second: 2000, burst: 100}}\n\
         tasks: {{recheck_ended: 0s}}\nmetrics: {{zero_hold: 0s, per_task: 'off'}}\nstate: {{sqlite: {{path: state/s.db}}}}\n\
         upstreams: [{{name: gw, provider: new_api, base_url: 'http://{}', static_configs: [{{targets: {:?}}}]}}]\n",
        gateway.address,
        [gateway.ids(false), gateway.ids(true)].concat()
    );
    fs::create_dir(folder.join("state")).unwrap();
    fs::write(&file, text).unwrap();
    file
}

fn assert_succeeds(program: &str, args: &[&str]) {
    let done = Command::new(program).args(args).output().unwrap();
    assert!(done.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

fn finished(page: &str) -> f64 {
    let lines = page.lines().filter(|line| line.starts_with("videogen_tasks_finished_total{"));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

fn requests(page: &str) -> f64 {
    let lines = page.lines().filter(|line| line.starts_with("videogen_upstream_requests_total{"));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

async fn wait_until(running: &Running, what: &str, holds: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let page = get(running.address, "metrics").await.1;
        if holds(&page) {
            return page;
        }
        assert!(Instant::now() < deadline, "timeout while waiting for: {what}:\n{page}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Tasks end before, during and after a failure of the state store.
async fn break_and_mend(running: &mut Running, gateway: &PlannedGateway, break_it: impl Fn(), mend_it: impl Fn()) {
    let page = wait_until(running, "some tasks ended", |page| finished(page) > 10.0).await;
    assert_eq!((value(&page, UP), value(&page, ERRORS)), (Some(1.0), Some(0.0)));
    break_it();
    let page = wait_until(running, "store down", |page| value(page, UP) == Some(0.0)).await;
    assert!(value(&page, ERRORS) > Some(0.0));
    // Commits before the failure are on this page.
    let before = get(running.address, "metrics").await.1;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = get(running.address, "metrics").await.1;
    assert!(finished(&after) <= finished(&before), "only committed data is counted");
    assert!(requests(&after) > requests(&before) + 20.0, "polls continue");
    assert_eq!(value(&after, UP), Some(0.0));
    mend_it();
    let page = wait_until(running, "all counters are right", |page| gateway.mismatches(page).is_empty()).await;
    assert_eq!(value(&page, UP), Some(1.0), "the store recovers without a restart");
    // The caller checks the counters after this kill.
    running.child.kill().unwrap();
    running.child.wait().unwrap();
}

async fn assert_equal_after_restart(file: &Path, gateway: &PlannedGateway) {
    let mut running = Running::start(file);
    wait_until(&running, "the counters before the restart", |page| gateway.mismatches(page).is_empty()).await;
    running.signal("TERM");
    assert_eq!(running.wait_for_exit(PATIENCE), Some(0));
}

async fn gateway() -> PlannedGateway {
    PlannedGateway::start(300, Duration::from_secs(2), Duration::from_secs(25)).await
}

/// Runs the program in a shell, after `before`.
fn shell(shell: &str, args: &[&str], before: &str, config: &Path) -> Command {
    let bin = program().get_program().to_str().unwrap().to_owned();
    let script = format!("{before} && exec {bin} --web.listen-address=127.0.0.1:0 --config.file={}", config.display());
    let mut command = Command::new(shell);
    command.args(args).arg(script).stdin(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
    command
}

/// The program with a tmpfs of this size at `folder`, in a namespace of its own; `None` where that is not allowed.
fn on_volume(folder: &Path, size: &str, config: &Path) -> Option<Command> {
    let mount = |size: &str| format!("mount -t tmpfs -o size={size} tmpfs {}", folder.display());
    let tried = Command::new("unshare").args(["-rm", "sh", "-c", &mount(size)]).output();
    tried.is_ok_and(|done| done.status.success()).then(|| shell("unshare", &["-rm", "sh", "-c"], &mount(size), config))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_volume_is_never_full_of_the_write_ahead_log() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = gateway().await;
    let file = config(folder.path(), &gateway);
    let Some(mut command) = on_volume(&folder.path().join("state"), "1m", &file) else {
        eprintln!("mounting a tmpfs is not allowed: the write-ahead log on a small volume is not tested");
        return;
    };
    let running = Running::spawn(&mut command);
    let page = wait_until(&running, "all counters are right", |page| gateway.mismatches(page).is_empty()).await;
    assert_eq!((value(&page, UP), value(&page, ERRORS)), (Some(1.0), Some(0.0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_pause_while_the_disk_is_full_and_catch_up() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = gateway().await;
    let file = config(folder.path(), &gateway);
    let state = folder.path().join("state");
    // Where a volume of its own is not allowed, a limit on the file size replaces it.
    let volume = on_volume(&state, "16m", &file);
    let disk = volume.is_some();
    let mut command = volume.unwrap_or_else(|| {
        eprintln!("mounting a tmpfs is not allowed: a limit on the file size simulates the full disk");
        shell("sh", &["-c"], "trap '' XFSZ", &file)
    });
    let mut running = Running::spawn(&mut command);
    let pid = running.child.id();
    let ballast = PathBuf::from(format!("/proc/{pid}/root{}/ballast", state.display()));
    let limit = |size: &str| assert_succeeds("prlimit", &["--pid", &pid.to_string(), &format!("--fsize={size}:")]);
    let fill = || {
        if disk {
            let _ = fs::write(&ballast, vec![1; 32 << 20]);
        } else {
            limit("1000");
        }
    };
    let empty = || if disk { fs::remove_file(&ballast).unwrap() } else { limit("unlimited") };
    break_and_mend(&mut running, &gateway, fill, empty).await;
    if !disk {
        assert_equal_after_restart(&file, &gateway).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_pause_while_the_state_file_is_locked_and_catch_up() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = gateway().await;
    let file = config(folder.path(), &gateway);
    let mut running = Running::start(&file);
    let shell = rusqlite::Connection::open(folder.path().join("state/s.db")).unwrap();
    shell.busy_timeout(Duration::from_secs(5)).unwrap();
    let (lock, unlock) = ("begin immediate", "rollback");
    let run = |sql: &str| shell.execute_batch(sql).unwrap();
    break_and_mend(&mut running, &gateway, || run(lock), || run(unlock)).await;
    assert_equal_after_restart(&file, &gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_and_a_damaged_state_are_rejected_before_listening() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = gateway().await;
    let file = config(folder.path(), &gateway);
    let mut running = Running::start(&file);
    wait_until(&running, "some tasks ended", |page| finished(page) > 10.0).await;
    let start = || {
        let mut command = program();
        command.args(["--web.listen-address=127.0.0.1:0", &format!("--config.file={}", file.display())]);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, stderr) = start();
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("is in use by another videogen-exporter") && !stderr.contains("listening"), "{stderr}");
    wait_until(&running, "all counters are right", |page| gateway.mismatches(page).is_empty()).await;
    running.signal("TERM");
    assert_eq!(running.wait_for_exit(PATIENCE), Some(0));

    let state = folder.path().join("state/s.db");
    assert!(!state.with_file_name("s.db-wal").exists(), "a clean shutdown leaves one file");
    let mut bytes = fs::read(&state).unwrap();
    bytes[8192..16_384].fill(0xA5);
    fs::write(&state, &bytes).unwrap();
    let (code, stderr) = start();
    assert_eq!(code, Some(3), "{stderr}");
    assert!(
        stderr.contains("is damaged")
            && stderr.contains("Move it and its -wal file away")
            && !stderr.contains("listening"),
        "{stderr}"
    );
    assert!(fs::read(&state).unwrap() == bytes, "a damaged file is not changed");
}

/// Replaces `fdatasync` and `fsync`: they block while the file `HANG_FILE` exists.
const HANGING_SYNC: &str = r#"
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
static void hang(void) { while (access(getenv("HANG_FILE"), F_OK) == 0) usleep(10000); }
int fdatasync(int fd) { hang(); return syscall(SYS_fdatasync, fd); }
int fsync(int fd) { hang(); return syscall(SYS_fsync, fd); }
"#;

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_does_not_block_the_shutdown() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(at("hang.c"), HANGING_SYNC).unwrap();
    assert_succeeds("cc", &["-shared", "-fPIC", "-o", &at("hang.so"), &at("hang.c")]);
    let gateway = gateway().await;
    let file = config(folder.path(), &gateway);
    let mut command = program();
    command.args(["--web.listen-address=127.0.0.1:0", &format!("--config.file={}", file.display())]);
    let mut running = Running::spawn(command.env("LD_PRELOAD", at("hang.so")).env("HANG_FILE", at("hangs")));
    wait_until(&running, "some tasks ended", |page| finished(page) > 10.0).await;
    fs::write(at("hangs"), "").unwrap();
    wait_until(&running, "a page while the disk hangs", |page| requests(page) > 0.0).await;
    running.signal("TERM");
    let code = running.wait_for_exit(PATIENCE);
    assert_eq!(code, Some(3), "the last writes may be lost, so the shutdown is not clean");

    // Committed data is loaded; the rest is polled again.
    fs::remove_file(at("hangs")).unwrap();
    let mut running = Running::start(&file);
    wait_until(&running, "all counters are right", |page| gateway.mismatches(page).is_empty()).await;
    running.signal("TERM");
    assert_eq!(running.wait_for_exit(PATIENCE), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_row_is_skipped_and_the_other_tasks_continue() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = gateway().await;
    let file = config(folder.path(), &gateway);
    let mut running = Running::start(&file);
    wait_until(&running, "some tasks ended", |page| finished(page) > 10.0).await;
    running.signal("TERM");
    assert_eq!(running.wait_for_exit(PATIENCE), Some(0));
    let state = rusqlite::Connection::open(folder.path().join("state/s.db")).unwrap();
    let id: String =
        state.query_row("select task_id from tasks where ended is null limit 1", [], |row| row.get(0)).unwrap();
    let later = "{\"status\":\"from a later version\"}";
    state.execute("update tasks set record = ?2 where task_id = ?1", [&*id, later]).unwrap();
    drop(state);

    let ends = |(series, _): &(String, f64)| series.starts_with("videogen_tasks_finished_total");
    let all: f64 = gateway.expected_samples().into_iter().filter(ends).map(|(_, count)| count).sum();
    let mut running = Running::start(&file);
    let page = wait_until(&running, "all other tasks ended", |page| finished(page) >= all - 1.0).await;
    let skipped = "videogen_exporter_state_rows_skipped";
    assert_eq!(value(&page, skipped), Some(1.0), "{page}");
    // Another provider loads the state again: it is still one row.
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("provider: new_api", "provider: tokenhot")).unwrap();
    running.signal("HUP");
    let page = wait_until(&running, "reloaded", |page| page.contains("provider=\"tokenhot\"")).await;
    assert_eq!(value(&page, skipped), Some(1.0), "{page}");
    running.signal("TERM");
    assert_eq!(running.wait_for_exit(PATIENCE), Some(0));
    let state = rusqlite::Connection::open(folder.path().join("state/s.db")).unwrap();
    let record: String =
        state.query_row("select record from tasks where task_id = ?1", [&id], |row| row.get(0)).unwrap();
    assert_eq!(record, later, "the row is kept for a later version");
}
