//! `demo`: what it prints, and what a visitor finds under the addresses.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::exporter::get;
use crate::program::{Running, program};
use crate::prometheus::{assert_is_real_test, root};

/// The time limit for the whole story.
const PATIENCE: Duration = Duration::from_mins(4);

/// Where the fetched programs are, before everything else on PATH.
fn path_with_peers() -> String {
    let peers = [".peers/go/bin", ".peers/usr/bin"].map(|folder| root().join(folder));
    let others = std::env::var_os("PATH").unwrap_or_default();
    let all: Vec<PathBuf> = peers.into_iter().chain(std::env::split_paths(&others)).collect();
    std::env::join_paths(all).unwrap().into_string().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn real_demo_stack_tells_a_story_and_prints_notifications() {
    assert_is_real_test();
    let mut command = program();
    command.args(["demo", "--listen=127.0.0.1:0", "--stack", "--tasks=10"]);
    // Debian's Alertmanager reads its templates in this folder.
    command.env("PATH", path_with_peers()).current_dir(root().join(".peers")).stderr(Stdio::inherit());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (sender, printed) = mpsc::channel();
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(sender.send(line))));
    let address = |line: &str| -> SocketAddr { line.split('/').nth(2).unwrap().parse().unwrap() };
    let first = printed.recv_timeout(PATIENCE).unwrap();
    let mut running = Running { child, address: address(&first) };

    let wanted = [
        "tasks ",
        "Prometheus ",
        "Alertmanager ",
        "00:20  sora answers 401",
        "00:40  ark refuses ten tasks",
        "01:00  tokenhot says running, Ark says expired",
        "01:00  one task at tokenhot does not move",
        "log: firing VideogenTaskFailed ark: Task ",
        "ticket: firing VideogenTaskExpired tokenhot: Task ",
        "page: firing VideogenUpstreamAuthFailure sora: ",
    ];
    let deadline = Instant::now() + PATIENCE;
    let mut all = vec![first];
    while let Some(missing) = wanted.iter().find(|part| !all.iter().any(|line| line.starts_with(**part))) {
        let left = deadline.saturating_duration_since(Instant::now());
        match printed.recv_timeout(left) {
            Ok(line) => all.push(line),
            Err(error) => panic!("no line begins with {missing:?} ({error}): {all:#?}"),
        }
    }
    // Whoever follows a link finds what was promised.
    let of = |part: &str| all.iter().find(|line| line.contains(part)).unwrap().rsplit_once("http://").unwrap().1;
    let page = |link: &str| link.split_once('/').unwrap().1.to_owned();
    let (code, expired) = get(running.address, &page(of("says expired"))).await;
    assert!(code == 200 && expired.contains("Provider says<td><span class='s expired'>"), "{expired}");
    assert!(expired.contains("Gateway says<td><span class='s running'>"), "{expired}");
    let (code, stuck) = get(running.address, &page(of("does not move"))).await;
    assert!(code == 200 && stuck.contains("<span class=late>stuck</span>"), "{stuck}");
    running.signal("INT");
    assert_eq!(running.wait_for_exit(PATIENCE), Some(0));
}
