//! The program as a benchmark runs it: started as a process, watched through `/proc` and its own page.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

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
