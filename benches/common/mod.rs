//! The program as a benchmark runs it: started as a process, watched through `/proc` and its own page.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock itself")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Ticks of `/proc/PID/stat` in a second, on every Linux of today.
const TICKS: f64 = 100.0;

/// A process that ends with its benchmark.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the program.
pub fn start(args: &[&str]) -> Killed {
    let mut command = Command::new(env!("CARGO_BIN_EXE_videogen-exporter"));
    let child = command.args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Killed(child.expect("the program starts"))
}

/// The page, and how long it took from asking to the last byte.
pub fn scrape(address: &str) -> Option<(String, Duration)> {
    let begun = Instant::now();
    let mut socket = TcpStream::connect(address).ok()?;
    socket.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").ok()?;
    let mut page = String::new();
    socket.read_to_string(&mut page).ok()?;
    Some((page, begun.elapsed()))
}

/// The sum of all samples whose lines begin so.
pub fn sum(page: &str, family: &str) -> f64 {
    let lines = page.lines().filter(|line| line.starts_with(family));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// CPU seconds so far and resident MiB.
pub fn usage(pid: u32) -> (f64, f64) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the program runs");
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks: f64 = fields[11..13].iter().filter_map(|field| field.parse::<f64>().ok()).sum();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the program runs");
    let resident =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<f64>().ok());
    (ticks / TICKS, resident.unwrap_or_default() / 1024.0)
}

/// A size in MiB.
#[expect(clippy::cast_precision_loss, reason = "a size to be printed")]
pub fn mebibytes(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// A folder for one run, which goes with it.
pub struct Folder(pub PathBuf);

impl Folder {
    /// An empty one.
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("videogen-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder for this run");
        Self(path)
    }

    /// Writes a file into it and gives back its path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file for this run");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl AsRef<Path> for Folder {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}
