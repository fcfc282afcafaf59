//! Runs the program as a process of its own, and reads its CPU time and memory from `/proc`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Clock ticks per second in `/proc/PID/stat`; 100 on every current Linux.
const TICKS: f64 = 100.0;

/// A process that is killed when this is dropped.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_videogen-exporter");

/// Starts the program with these arguments.
pub fn start(args: &[&str]) -> Process {
    run(Command::new(PROGRAM).args(args))
}

/// Runs a command without its output.
pub fn run(command: &mut Command) -> Process {
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Process(child.expect("the program starts"))
}

/// CPU seconds since the start, and resident memory in MiB.
pub fn usage(pid: u32) -> (f64, f64) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the program runs");
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks: f64 = fields[11..13].iter().filter_map(|field| field.parse::<f64>().ok()).sum();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the program runs");
    let resident =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<f64>().ok());
    (ticks / TICKS, resident.unwrap_or_default() / 1024.0)
}

/// A temporary folder that is deleted when this is dropped.
pub struct Folder(pub PathBuf);

impl Folder {
    /// Creates an empty folder.
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("videogen-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("the folder can be created");
        Self(path)
    }

    /// Writes a file into it and returns the path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("the file can be written");
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
