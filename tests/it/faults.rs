//! The program on a state in trouble: it goes on, counts nothing that is not safe, says so, and catches up.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::exporter::{get, value};
use crate::known::Known;
use crate::program::{Running, program};

const UP: &str = "videogen_exporter_store_up";
const ERRORS: &str = "videogen_exporter_store_errors_total";

fn config(folder: &Path, gateway: &Known) -> PathBuf {
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

fn succeeds(program: &str, args: &[&str]) {
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

async fn until(running: &Running, what: &str, holds: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + Duration::from_secs(40);
    loop {
        let page = get(running.address, "metrics").await.1;
        if holds(&page) {
            return page;
        }
        assert!(Instant::now() < deadline, "never {what}:\n{page}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Tasks end before, while and after the state cannot be written; `break_it` and `mend_it` do what their names say.
async fn reopened(running: &mut Running, gateway: &Known, break_it: impl Fn(), mend_it: impl Fn()) {
    let page = until(running, "some have ended", |page| finished(page) > 10.0).await;
    assert_eq!((value(&page, UP), value(&page, ERRORS)), (Some(1.0), Some(0.0)));
    break_it();
    let page = until(running, "told", |page| value(page, UP) == Some(0.0)).await;
    assert!(value(&page, ERRORS) > Some(0.0));
    // What was on its way to be shown is shown by now.
    let before = get(running.address, "metrics").await.1;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = get(running.address, "metrics").await.1;
    assert!(finished(&after) <= finished(&before), "what is not committed is not counted");
    assert!(requests(&after) > requests(&before) + 20.0, "polling goes on");
    assert_eq!(value(&after, UP), Some(0.0));
    mend_it();
    let page = until(running, "right in the end", |page| gateway.wrong(page).is_empty()).await;
    assert_eq!(value(&page, UP), Some(1.0), "it recovers by itself");
    // And so it is after a kill.
    running.child.kill().unwrap();
    running.child.wait().unwrap();
}

async fn comes_back(file: &Path, gateway: &Known) {
    let mut running = Running::start(file);
    until(&running, "the same as before", |page| gateway.wrong(page).is_empty()).await;
    running.signal("TERM");
    assert_eq!(running.ended(Duration::from_secs(20)), Some(0));
}

async fn gateway() -> Known {
    Known::start(300, Duration::from_secs(2), Duration::from_secs(14)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_it_waits_for_room() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = gateway().await;
    let file = config(folder.path(), &gateway);
    let state = folder.path().join("state");
    let bin = program().get_program().to_str().unwrap().to_owned();
    // A disk of its own, in a name space of its own. Where that is not allowed, the largest size of a file stands in for it.
    let allowed =
        Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "tmpfs", state.to_str().unwrap()]).output();
    let disk = allowed.is_ok_and(|done| done.status.success());
    let before = if disk {
        format!("mount -t tmpfs -o size=16m tmpfs {}", state.display())
    } else {
        eprintln!("no tmpfs may be mounted here: a limit on the size of files stands in for a full disk");
        "trap '' XFSZ".to_owned()
    };
    let script = format!("{before} && exec {bin} --web.listen-address=127.0.0.1:0 --config.file={}", file.display());
    let mut command = program();
    command = {
        let mut shell = Command::new(if disk { "unshare" } else { "sh" });
        shell.args(if disk { &["-rm", "sh", "-c"][..] } else { &["-c"][..] }).arg(script);
        shell.stdin(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
        drop(command);
        shell
    };
    let mut running = Running::of(&mut command);
    let pid = running.child.id();
    let ballast = PathBuf::from(format!("/proc/{pid}/root{}/ballast", state.display()));
    let limit = |size: &str| succeeds("prlimit", &["--pid", &pid.to_string(), &format!("--fsize={size}:")]);
    let fill = || {
        if disk {
            let _ = fs::write(&ballast, vec![1; 32 << 20]);
        } else {
            limit("1000");
        }
    };
    let empty = || if disk { fs::remove_file(&ballast).unwrap() } else { limit("unlimited") };
    reopened(&mut running, &gateway, fill, empty).await;
    if !disk {
        comes_back(&file, &gateway).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_somebody_else_writes_into_the_file_it_waits() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = gateway().await;
    let file = config(folder.path(), &gateway);
    let mut running = Running::start(&file);
    let shell = rusqlite::Connection::open(folder.path().join("state/s.db")).unwrap();
    shell.busy_timeout(Duration::from_secs(5)).unwrap();
    let (lock, unlock) = ("begin immediate", "rollback");
    let run = |sql: &str| shell.execute_batch(sql).unwrap();
    reopened(&mut running, &gateway, || run(lock), || run(unlock)).await;
    comes_back(&file, &gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_and_a_damaged_state_are_refused_before_anything_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = gateway().await;
    let file = config(folder.path(), &gateway);
    let mut running = Running::start(&file);
    until(&running, "some have ended", |page| finished(page) > 10.0).await;
    let start = || {
        let mut command = program();
        command.args(["--web.listen-address=127.0.0.1:0", &format!("--config.file={}", file.display())]);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, told) = start();
    assert_eq!(code, Some(3), "{told}");
    assert!(told.contains("is in use by another videogen-exporter") && !told.contains("listening"), "{told}");
    until(&running, "right in the end", |page| gateway.wrong(page).is_empty()).await;
    running.signal("TERM");
    assert_eq!(running.ended(Duration::from_secs(20)), Some(0));

    let state = folder.path().join("state/s.db");
    assert!(!state.with_file_name("s.db-wal").exists(), "a clean end leaves one file");
    let mut bytes = fs::read(&state).unwrap();
    bytes[8192..16_384].fill(0xA5);
    fs::write(&state, &bytes).unwrap();
    let (code, told) = start();
    assert_eq!(code, Some(3), "{told}");
    assert!(
        told.contains("is damaged") && told.contains("Move it and its -wal file away") && !told.contains("listening"),
        "{told}"
    );
    assert!(fs::read(&state).unwrap() == bytes, "it was left as it is");
}

/// Replaces `fdatasync` and `fsync`: while the file that `HANG_FILE` names exists, they do not return.
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
async fn a_disk_that_hangs_at_the_last_save_does_not_hang_the_shutdown() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(at("hang.c"), HANGING_SYNC).unwrap();
    succeeds("cc", &["-shared", "-fPIC", "-o", &at("hang.so"), &at("hang.c")]);
    let gateway = gateway().await;
    let file = config(folder.path(), &gateway);
    let mut command = program();
    command.args(["--web.listen-address=127.0.0.1:0", &format!("--config.file={}", file.display())]);
    let mut running = Running::of(command.env("LD_PRELOAD", at("hang.so")).env("HANG_FILE", at("hangs")));
    until(&running, "some have ended", |page| finished(page) > 10.0).await;
    fs::write(at("hangs"), "").unwrap();
    until(&running, "a page while the disk hangs", |page| requests(page) > 0.0).await;
    running.signal("TERM");
    let code = running.ended(Duration::from_secs(60));
    assert_eq!(code, Some(3), "the last writes may be lost, which is no clean end");

    // What was committed before is still there, and what was not is read again.
    fs::remove_file(at("hangs")).unwrap();
    let mut running = Running::start(&file);
    until(&running, "right in the end", |page| gateway.wrong(page).is_empty()).await;
    running.signal("TERM");
    assert_eq!(running.ended(Duration::from_secs(20)), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_read_is_set_aside_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = gateway().await;
    let file = config(folder.path(), &gateway);
    let mut running = Running::start(&file);
    until(&running, "some have ended", |page| finished(page) > 10.0).await;
    running.signal("TERM");
    assert_eq!(running.ended(Duration::from_secs(20)), Some(0));
    let state = rusqlite::Connection::open(folder.path().join("state/s.db")).unwrap();
    let id: String =
        state.query_row("select task_id from tasks where ended is null limit 1", [], |row| row.get(0)).unwrap();
    let later = "{\"status\":\"from a later version\"}";
    state.execute("update tasks set record = ?2 where task_id = ?1", [&*id, later]).unwrap();
    drop(state);

    let ends = |(series, _): &(String, f64)| series.starts_with("videogen_tasks_finished_total");
    let all: f64 = gateway.truth().into_iter().filter(ends).map(|(_, count)| count).sum();
    let mut running = Running::start(&file);
    let page = until(&running, "all others have ended", |page| finished(page) >= all - 1.0).await;
    assert_eq!(value(&page, "videogen_exporter_state_rows_skipped"), Some(1.0), "{page}");
    running.signal("TERM");
    assert_eq!(running.ended(Duration::from_secs(20)), Some(0));
    let state = rusqlite::Connection::open(folder.path().join("state/s.db")).unwrap();
    let record: String =
        state.query_row("select record from tasks where task_id = ?1", [&id], |row| row.get(0)).unwrap();
    assert_eq!(record, later, "a later version may read it again");
}
