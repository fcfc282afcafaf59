//! What a fleet costs: the real exporter polls the fake gateway's tasks; read off `/proc` and its own page.
//!
//! `cargo bench --bench fleet -- 10000` for ten thousand active tasks; the figures are quoted in the README.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock itself")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long polls are counted.
const WINDOW: Duration = Duration::from_secs(20);

/// Ticks of `/proc/PID/stat` in a second, on every Linux of today.
const TICKS: f64 = 100.0;

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(args: &[&str]) -> Killed {
    let mut command = Command::new(env!("CARGO_BIN_EXE_videogen-exporter"));
    let child = command.args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Killed(child.expect("the program starts"))
}

/// The page, and how long it took from asking to the last byte.
fn scrape(address: &str) -> Option<(String, Duration)> {
    let begun = Instant::now();
    let mut socket = TcpStream::connect(address).ok()?;
    socket.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").ok()?;
    let mut page = String::new();
    socket.read_to_string(&mut page).ok()?;
    Some((page, begun.elapsed()))
}

fn sum(page: &str, family: &str) -> f64 {
    let lines = page.lines().filter(|line| line.starts_with(family));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// CPU seconds so far and resident MiB.
fn usage(pid: u32) -> (f64, f64) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the program runs");
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks: f64 = fields[11..13].iter().filter_map(|field| field.parse::<f64>().ok()).sum();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the program runs");
    let resident =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<f64>().ok());
    (ticks / TICKS, resident.unwrap_or_default() / 1024.0)
}

fn main() {
    let tasks = std::env::args().find_map(|arg| arg.parse::<u32>().ok()).unwrap_or(10_000);
    let folder = std::env::temp_dir().join(format!("videogen-fleet-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder for this run");
    let ids = folder.join("ids.json");
    let config = folder.join("c.yml");
    fs::write(
        &config,
        format!(
            "polling: {{interval: 5s, min_interval: 1s, max_interval: 5s, requests_per_second: 100000, burst: 1000, max_in_flight: 64}}\n\
             metrics: {{max_task_series: {tasks}}}\n\
             upstreams: [{{name: sim, provider: new_api, base_url: 'http://127.0.0.1:10488', file_sd_configs: [{{files: [ids.json]}}]}}]\n"
        ),
    )
    .expect("a configuration for this run");
    let _gateway = start(&[
        "simulate",
        "--listen=127.0.0.1:10488",
        "--speed=0.01",
        &format!("--tasks={tasks}"),
        &format!("--targets-file={}", ids.display()),
    ]);
    sleep(Duration::from_secs(2));
    let address = "127.0.0.1:10478";
    let exporter = start(&[&format!("--config.file={}", config.display()), &format!("--web.listen-address={address}")]);
    sleep(Duration::from_secs(12));

    let pid = exporter.0.id();
    let polls = |page: &str| sum(page, "videogen_upstream_requests_total{");
    let (before, _) = scrape(address).expect("a page");
    let (cpu_before, _) = usage(pid);
    sleep(WINDOW);
    let (cpu_after, _) = usage(pid);
    let (after, _) = scrape(address).expect("a page");
    let made = polls(&after) - polls(&before);
    let mut times: Vec<Duration> = (0..21).filter_map(|_| scrape(address)).map(|(_, took)| took).collect();
    times.sort();
    let (_, resident) = usage(pid);
    let series = after.lines().filter(|line| !line.starts_with('#')).count();
    println!("active tasks               {:.0}", sum(&after, "videogen_exporter_task_series_tasks"));
    println!("polls a second             {:.0}", made / WINDOW.as_secs_f64());
    println!("CPU for 1,000 polls        {:.1} ms", 1e6 * (cpu_after - cpu_before) / made);
    println!("resident memory            {resident:.1} MiB, after 23 scrapes");
    println!(
        "one scrape, whole          {:.1} ms median of {}, {series} series, {:.1} MiB",
        1e3 * times[times.len() / 2].as_secs_f64(),
        times.len(),
        mebibytes(after.len())
    );
    let _ = fs::remove_dir_all(folder);
}

#[expect(clippy::cast_precision_loss, reason = "a size to be printed")]
fn mebibytes(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
