//! What operators run beside the exporter: health checks, backups, completions, man pages; and what it tells systemd.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::certificates::Ca;
use crate::exporter::{PATIENCE, QUICK, value};
use crate::program::{Running, program, stderr, stdout};
use crate::upstream::{Upstream, status};

fn config(folder: &Path, state: &str) -> PathBuf {
    let file = folder.join("c.yml");
    let upstreams = "upstreams: [{name: a, provider: new_api, base_url: 'http://127.0.0.1:9'}]";
    fs::write(&file, format!("state: {state}\n{upstreams}\n")).unwrap();
    file
}

/// The HTTP status of a GET request.
fn status_of(address: SocketAddr, path: &str) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

fn exporter(folder: &Path, options: &[String]) -> Running {
    let file = config(folder, "{memory: {}}");
    Running::spawn(program().arg(format!("--config.file={}", file.display())).args(options))
}

#[test]
fn health_asks_the_running_exporter_in_every_setting() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let ca = Ca::new(folder.path(), "ca");
    ca.sign_server("server");
    let tls = "tls_server_config: {cert_file: server.crt, key_file: server.key";
    fs::write(
        at("tls.yml"),
        format!("{tls}}}\nbasic_auth_users: {{ops: $2y$04$abcdefghijklmnopqrstuu4uPjm0dR1xAOdCPkhbCDNAyQGmWUmyG}}\n"),
    )
    .unwrap();
    let mutual = format!("{tls}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.crt}}\n");
    fs::write(at("mutual.yml"), mutual).unwrap();
    let health = |options: &[String]| program().arg("health").args(options).output().unwrap();
    let is_healthy = |output: &Output| output.status.code() == Some(0) && stdout(output).contains("is healthy");
    for options in [
        vec![],
        vec![format!("--web.config.file={}", at("tls.yml"))],
        vec!["--web.route-prefix=/videogen".to_owned()],
        vec!["--web.external-url=https://example.com/videogen/".to_owned()],
    ] {
        let running =
            exporter(folder.path(), &[&["--web.listen-address=127.0.0.1:0".to_owned()], options.as_slice()].concat());
        let port = running.address.port();
        for host in ["127.0.0.1", "0.0.0.0", "localhost", ""] {
            let output = health(&[&[format!("--web.listen-address={host}:{port}")], options.as_slice()].concat());
            assert!(is_healthy(&output), "{host:?} {options:?}: {}{}", stdout(&output), stderr(&output));
        }
        if !options.is_empty() {
            let output = health(&[format!("--web.listen-address=127.0.0.1:{port}")]);
            assert_eq!(output.status.code(), Some(1), "without {options:?}: {}", stdout(&output));
        }
    }
    // Nobody listens on port 1.
    let output = health(&["--web.listen-address=127.0.0.1:1".to_owned()]);
    let said = stderr(&output);
    assert!(output.status.code() == Some(1) && said.contains("no answer: Connection refused"), "{said}");
    let output = health(&["--web.systemd-socket".to_owned()]);
    assert_eq!(output.status.code(), Some(2), "an option of the exporter alone: {}", stderr(&output));
    let output = program().args(["--web.systemd-socket", "health"]).output().unwrap();
    assert!(output.status.code() == Some(1) && stderr(&output).contains("says no address"), "{}", stderr(&output));
    // Who floods the port does not make it unhealthy.
    fs::write(at("limited.yml"), "rate_limit: {interval: 1h, burst: 1}\n").unwrap();
    let limited = format!("--web.config.file={}", at("limited.yml"));
    let running = exporter(folder.path(), &["--web.listen-address=127.0.0.1:0".to_owned(), limited]);
    let metrics = || status_of(running.address, "/metrics");
    assert_eq!([metrics(), metrics()], [200, 429]);
    for _ in 0..3 {
        let output = health(&[format!("--web.listen-address={}", running.address)]);
        assert!(is_healthy(&output), "{}", stderr(&output));
    }
    drop(running);
    // An address that wants a client certificate cannot be asked, whichever others there are.
    let address = "127.0.0.1:0";
    let options = [
        format!("--web.listen-address={address}"),
        format!("--web.listen-address=unix:{}", at("own.sock")),
        format!("--web.config.file={address}={}", at("mutual.yml")),
    ];
    let running = exporter(folder.path(), &options);
    let output = health(&options);
    assert!(is_healthy(&output), "{}", stderr(&output));
    let mutual = format!("--web.config.file={}", at("mutual.yml"));
    let output = health(&[format!("--web.listen-address={}", running.address), mutual]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("every address wants a client certificate; let"), "{}", stderr(&output));
    // A program that answers nothing is not healthy.
    running.signal("STOP");
    let output = health(&options);
    running.signal("CONT");
    assert!(output.status.code() == Some(1) && stderr(&output).contains("no answer: "), "{}", stderr(&output));
}

fn backup(config: &Path, to: &Path) -> Output {
    program().arg("backup").arg(format!("--config.file={}", config.display())).arg(to).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_running_exporter_is_complete_and_starts() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let gateway = Upstream::start("127.0.0.1:0").await;
    let ids: Vec<String> = (0..200).map(|n| format!("task-{n}")).collect();
    for id in &ids {
        gateway.script(id, [vec![status("IN_PROGRESS"); 4], vec![status("SUCCESS")]].concat());
    }
    let text = format!(
        "{QUICK}state: {{sqlite: {{path: state.db}}}}\nupstreams: [{{name: gw, provider: new_api, base_url: 'http://{}', \
         authorization: {{credentials_env: VGX_TEST_KEY}}, static_configs: [{{targets: [{}]}}]}}]\n",
        gateway.address,
        ids.join(", ")
    );
    fs::write(at("c.yml"), text.replace("state.db", "running.db")).unwrap();
    let start = |file: &Path| {
        let file = format!("--config.file={}", file.display());
        Running::spawn(program().args([&file, "--web.listen-address=127.0.0.1:0"]).env("VGX_TEST_KEY", "sk-test-key"))
    };
    let finished = |page: &str| {
        let succeeded = page.lines().filter(|line| line.starts_with("videogen_tasks_finished_total{"));
        succeeded.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
    };
    let mut running = start(&at("c.yml"));
    // A task that is found with its end, without a submit time, would not count.
    let deadline = Instant::now() + PATIENCE;
    while gateway.requests().len() < ids.len() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Backups while it counts; the environment of the service is not needed.
    let deadline = Instant::now() + PATIENCE;
    let mut copies = Vec::new();
    loop {
        let page = crate::exporter::get(running.address, "metrics").await.1;
        let before = finished(&page);
        let output = backup(&at("c.yml"), &at("copy.db"));
        assert!(output.status.success(), "{}", stderr(&output));
        let copy = at(&format!("copy-{}.db", copies.len()));
        fs::copy(at("copy.db"), &copy).unwrap();
        copies.push((copy, before));
        if before >= 200.0 || copies.len() == 50 {
            break;
        }
        assert!(Instant::now() < deadline, "{page}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    let at_end = finished(&crate::exporter::get(running.address, "metrics").await.1);
    assert_eq!(fs::metadata(at("copy.db")).unwrap().permissions().mode() & 0o777, 0o600);
    running.signal("TERM");
    assert_eq!(running.wait_for_exit(PATIENCE), Some(0));
    // Each has at least what was shown before it was made, and an exporter that starts from it counts the rest once.
    for (copy, before) in [copies.first().unwrap(), copies.last().unwrap()] {
        let file = copy.with_extension("yml");
        fs::write(&file, text.replace("state.db", copy.file_name().unwrap().to_str().unwrap())).unwrap();
        let restored = start(&file);
        let page = crate::exporter::get(restored.address, "metrics").await.1;
        let restored_count = finished(&page);
        assert!((*before..=at_end).contains(&restored_count), "{before} <= {restored_count} <= {at_end}");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let page = crate::exporter::get(restored.address, "metrics").await.1;
            if (finished(&page) - 200.0).abs() < f64::EPSILON {
                let active = "videogen_tasks{model=\"unknown\",status=\"running\",upstream=\"gw\"}";
                assert!(value(&page, active).is_none_or(|left| left == 0.0), "{page}");
                break;
            }
            assert!(Instant::now() < deadline, "{page}");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }
    // A stopped exporter is copied as well, and nothing is left beside the state.
    let output = backup(&at("c.yml"), &at("after.db"));
    assert!(output.status.success() && at("after.db").exists(), "{}", stderr(&output));
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let is_rest = |name: &&std::ffi::OsString| {
        let name = name.to_string_lossy();
        name.contains("partial") || name == "running.db-wal" || name == "running.db-shm"
    };
    assert_eq!(left.iter().filter(is_rest).count(), 0, "{left:?}");
}

#[test]
fn a_backup_replaces_only_backups() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let start = |name: &str| {
        let file = config(folder.path(), &format!("{{sqlite: {{path: {name}.db}}}}"));
        let own = at(&format!("{name}.yml"));
        fs::rename(file, &own).unwrap();
        (
            Running::spawn(
                program().args([&format!("--config.file={}", own.display()), "--web.listen-address=127.0.0.1:0"]),
            ),
            own,
        )
    };
    let (_running, file) = start("running");
    // What is no backup is not replaced.
    fs::write(at("precious"), "data").unwrap();
    fs::write(at("empty"), "").unwrap();
    for (to, why) in [
        ("precious", "is no backup of a state, and is not replaced"),
        ("empty", "is no backup of a state, and is not replaced"),
        ("running.db", "is no backup of a state, and is not replaced"),
        ("none/x.db", "x.db cannot be written: No such file"),
    ] {
        let output = backup(&file, &at(to));
        assert!(output.status.code() == Some(1) && stderr(&output).contains(why), "{to}: {}", stderr(&output));
    }
    assert_eq!(fs::read_to_string(at("precious")).unwrap(), "data");
    // The state of another exporter, whether it runs or was killed, is no backup.
    let (mut other, _) = start("other");
    for signal in ["CONT", "KILL"] {
        other.signal(signal);
        let output = backup(&file, &at("other.db"));
        let said = stderr(&output);
        assert!(output.status.code() == Some(1) && said.contains("is the state of an exporter"), "{signal}: {said}");
    }
    other.child.wait().unwrap();
    drop(start("other"));
    for (state, why) in [
        ("{memory: {}}", "state: it is in memory"),
        ("{sqlite: {path: none.db}}", "there is no state at "),
        ("{sqlite: {path: precious}}", "precious is not a state of videogen-exporter"),
        ("{sqlite: {file: x}}", "state.sqlite.file: unknown key"),
    ] {
        let output = backup(&config(folder.path(), state), &at("x.db"));
        assert!(output.status.code() == Some(1) && stderr(&output).contains(why), "{state}: {}", stderr(&output));
        assert!(!at("x.db").exists());
    }
}

#[test]
fn systemd_is_told_of_start_status_life_reloads_and_stop() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("notify.sock");
    let receiver = UnixDatagram::bind(&socket).unwrap();
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    let file = config(folder.path(), "{memory: {}}");
    let mut command = program();
    command.arg(format!("--config.file={}", file.display())).arg("--web.listen-address=127.0.0.1:0");
    command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "600000");
    let mut running = Running::spawn(&mut command);
    let receive = || {
        let mut bytes = [0; 4096];
        let length = receiver.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    };
    let wait_for = |expected: &str| loop {
        let text = receive();
        if text.lines().any(|line| line == expected) {
            return text;
        }
    };
    assert_eq!(receive(), "READY=1\nSTATUS=0 tasks at 1 upstream\n");
    // A life sign several times within the watchdog's time, for as long as it runs.
    let begin = Instant::now();
    (0..6).for_each(|_| drop(wait_for("WATCHDOG=1")));
    assert!(begin.elapsed() >= Duration::from_millis(600), "six within {:?}", begin.elapsed());
    running.signal("HUP");
    let text = wait_for("RELOADING=1");
    assert!(text.contains("MONOTONIC_USEC="), "{text}");
    wait_for("READY=1");
    // A process that does not run gives no sign.
    running.signal("STOP");
    receiver.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut bytes = [0; 4096];
    while receiver.recv(&mut bytes).is_ok() {}
    running.signal("CONT");
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    wait_for("WATCHDOG=1");
    running.signal("TERM");
    wait_for("STOPPING=1");
    assert_eq!(running.wait_for_exit(PATIENCE), Some(0));
}

#[test]
fn completions_and_man_pages_name_every_subcommand_and_option() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let output = program().args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        stdout(&output)
    };
    let help = run(&["--help"]);
    let commands: Vec<&str> = help
        .split("Commands:")
        .nth(1)
        .unwrap()
        .split("Options:")
        .next()
        .unwrap()
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .map(|line| line.split_whitespace().next().unwrap())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.len() >= 10 && commands.contains(&"backup"), "{commands:?}");
    for shell in ["bash", "zsh", "fish"] {
        let text = run(&["completions", shell]);
        for word in commands.iter().chain(&["web.listen-address", "config.file"]) {
            assert!(text.contains(word), "{shell} completes no {word}");
        }
    }
    let file = folder.path().join("completions");
    fs::write(&file, run(&["completions", "bash"])).unwrap();
    let complete = "source \"$1\"; COMP_WORDS=(videogen-exporter back); COMP_CWORD=1; \
                    _videogen__exporter videogen-exporter back videogen-exporter; echo \"${COMPREPLY[@]}\"";
    let output = Command::new("bash").args(["-c", complete, "bash"]).arg(&file).output().unwrap();
    assert_eq!(stdout(&output), "backup\n", "{}", stderr(&output));
    let man = folder.path().join("new/man1");
    run(&["man", man.to_str().unwrap()]);
    let page = fs::read_to_string(man.join("videogen-exporter.1")).unwrap();
    assert!(page.contains(r"\-\-web.listen\-address") && page.contains(r"videogen\-exporter\-backup(1)"), "{page}");
    for command in commands {
        assert!(man.join(format!("videogen-exporter-{command}.1")).exists(), "no page of {command}");
    }
    let output = program().args(["man", file.to_str().unwrap()]).output().unwrap();
    assert!(output.status.code() == Some(3) && stderr(&output).contains("cannot write to "), "{}", stderr(&output));
}
