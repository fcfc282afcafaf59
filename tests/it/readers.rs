//! Slow and stalled scrapes: pages are complete, polls continue, and memory is bounded.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use videogen_exporter::domain::{Status, Timestamp};

use crate::exporter::{Exporter, PATIENCE, QUICK, get, value};
use crate::program::Running;
use crate::simulation::Simulation;
use crate::upstream::Upstream;

const TASKS: usize = 800;

/// How long the scrapes continue: several poll intervals.
const DURATION: Duration = Duration::from_secs(12);

/// The limit on concurrent scrapes.
const MAX_SCRAPES: usize = 64;

/// The limit on those of one address.
const MAX_SCRAPES_PER_CLIENT: usize = 16;

/// A stalled scrape is dropped after 15 s; with a margin.
const STALL_TIMEOUT: Duration = Duration::from_secs(18);

/// Requests a page with a small receive buffer, from one of several addresses, because each has a share of the scrapes.
async fn start_scrape(n: usize, address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let client = u8::try_from(2 + n / MAX_SCRAPES_PER_CLIENT).unwrap();
    socket.bind(([127, 0, 0, client], 0).into()).unwrap();
    let mut socket = socket.connect(address).await.unwrap();
    socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    socket
}

/// Reads one byte per second after the buffer is full.
async fn read_slowly(n: usize, address: SocketAddr) {
    let mut socket = start_scrape(n, address).await;
    while socket.read_u8().await.is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Reads whole pages until a deadline; returns their number.
#[expect(clippy::disallowed_methods, reason = "a client with an address of its own")]
async fn scrape_repeatedly(n: usize, address: SocketAddr, until: Instant) -> usize {
    let coding = ["identity", "gzip"][n % 2];
    let own = [127, 0, 1, u8::try_from(1 + n / MAX_SCRAPES_PER_CLIENT).unwrap()];
    let client = reqwest::Client::builder().local_address(std::net::IpAddr::from(own)).build().unwrap();
    let mut pages = 0;
    while Instant::now() < until {
        let request = client.get(format!("http://{address}/metrics")).header("Accept-Encoding", coding);
        let answer = request.send().await.unwrap();
        // The slow scrapes may use up the limit for a moment.
        if answer.status() == 503 {
            continue;
        }
        pages += 1;
        let page = answer.bytes().await.unwrap();
        if coding == "identity" {
            let page = String::from_utf8(page.to_vec()).unwrap();
            let rows = page.lines().filter(|line| line.starts_with("videogen_task_status{")).count();
            assert!(rows == TASKS * Status::ALL.len() && page.ends_with('\n'), "{rows} rows, {} bytes", page.len());
        }
    }
    pages
}

/// A size of the process in MiB, such as `VmHWM`.
fn mebibytes(pid: u32, size: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(size)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_scrapes_with_twenty_slow_ones_do_not_block_polls_or_grow_memory() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Simulation::start(2 * TASKS, 0.01).await;
    let gateway_at = gateway.address;
    fs::write(folder.path().join("ids.json"), json!([{"targets": gateway.ids()[..TASKS]}]).to_string()).unwrap();
    let upstreams = json!([{ "name": "sim", "provider": "new_api", "base_url": format!("http://{gateway_at}"),
        "file_sd_configs": [{"files": ["ids.json"]}] }]);
    let file = folder.path().join("c.yml");
    let config = format!(
        "state: {{memory: {{}}}}\npolling: {{interval: 3s, min_interval: 3s, max_interval: 3s, requests_per_second: 5000, burst: 500, max_in_flight: 64}}\n\
         upstreams: {upstreams}\n"
    );
    fs::write(&file, config).unwrap();
    let running = Running::start(&file);
    let (address, pid) = (running.address, running.child.id());
    let page = async || get(address, "metrics").await.1;
    let oldest = "videogen_oldest_active_task_poll_timestamp_seconds{upstream=\"sim\"}";
    let deadline = Instant::now() + PATIENCE;
    let polled = |page: &str| page.matches("\nvideogen_task_last_poll_timestamp_seconds{").count();
    while polled(&page().await) < TASKS {
        assert!(Instant::now() < deadline, "not all tasks were polled");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    let (before, begun) = (mebibytes(pid, "VmRSS"), Timestamp::from(SystemTime::now()).as_secs_f64());
    let (mut slow_scrapes, mut quick_scrapes) = (JoinSet::new(), JoinSet::new());
    for n in 0..20 {
        slow_scrapes.spawn(read_slowly(n, address));
    }
    let until = Instant::now() + DURATION;
    for n in 0..80 {
        quick_scrapes.spawn(scrape_repeatedly(n, address, until));
    }
    let pages = quick_scrapes.join_all().await;
    assert!(pages.iter().all(|pages| *pages > 0), "{pages:?}");
    let after = page().await;
    let oldest_poll = value(&after, oldest).unwrap();
    assert!(oldest_poll > begun, "a task was not polled during the scrapes: {oldest_poll}");
    let most = mebibytes(pid, "VmHWM");
    // A page has 3 MB: a hundred complete pages in memory would be 300 MB.
    assert!(
        most < before + 100,
        "{before} MiB grew to {most} for {} pages of {} bytes",
        pages.iter().sum::<usize>(),
        after.len()
    );
    slow_scrapes.shutdown().await;
}

/// Stalled scrapes fill the limit: the next scrape gets 503, and 200 after they were dropped.
#[tokio::test(flavor = "multi_thread")]
async fn stalled_scrapes_are_dropped_and_others_are_served() {
    let gateway = Upstream::start("127.0.0.1:0").await;
    let targets: Vec<_> = (0..TASKS).map(|task| format!("task-{task}")).collect();
    let config = format!(
        "{}upstreams: [{{name: gw, provider: new_api, base_url: 'http://{}', static_configs: [{{targets: [{}]}}]}}]\n",
        QUICK.replace("zero_hold", &format!("max_task_series: {TASKS}, zero_hold")),
        gateway.address,
        targets.join(", ")
    );
    let exporter = Exporter::start(&config, Path::new(".")).await;
    let page = exporter.wait_for(&[&format!("videogen_exporter_task_series_tasks {TASKS}")]).await;
    let mut stalled = Vec::new();
    for n in 0..MAX_SCRAPES {
        let mut socket = start_scrape(n, exporter.address).await;
        // The response has begun, so the scrape counts towards the limit.
        assert_eq!(socket.read_u8().await.unwrap(), b'H');
        stalled.push(socket);
    }
    let stalled_since = Instant::now();
    let client = reqwest::Client::new();
    let url = format!("http://{}/metrics", exporter.address);
    let answer = client.get(&url).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "5");
    assert!(answer.text().await.unwrap().contains("too many scrapes"));
    let answer = client.get(&url).send().await.unwrap();
    assert_eq!(answer.status(), 200, "the stalled scrapes were dropped");
    assert!(answer.text().await.unwrap().len() > page.len() / 2);
    // A scrape that reads before the timeout is not dropped.
    tokio::time::sleep_until((stalled_since + STALL_TIMEOUT).into()).await;
    for mut socket in stalled {
        let mut taken = Vec::new();
        // The page was cut: the body or the connection ends.
        let _ = socket.read_to_end(&mut taken).await;
        assert!(taken.len() < page.len() / 2, "{} of {} bytes", taken.len(), page.len());
    }
    exporter.stop().await;
}
