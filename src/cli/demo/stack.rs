//! `demo --stack`: Prometheus and Alertmanager with the bundled files, in the demo's folder; notifications are printed.

use std::fs;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cli::failure::print_line;
use crate::simulate::receive_notifications;

/// The bundled files, by their place in the folder.
const FILES: [(&str, &str); 4] = [
    ("prometheus.yml", include_str!("../../../config/prometheus.yml")),
    ("alertmanager.yml", include_str!("../../../config/alertmanager.yml")),
    ("rules/alerts.yml", include_str!("../../../config/rules/alerts.yml")),
    ("rules/recording.yml", include_str!("../../../config/rules/recording.yml")),
];

/// Addresses in the bundled files.
const EXPORTER: &str = "127.0.0.1:10470";
const ALERTMANAGER: &str = "127.0.0.1:9093";
const RECEIVER: &str = "http://127.0.0.1:5001/";

/// How often the programs are looked at.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Most characters of a program's output in an error.
const SHOWN_OUTPUT: usize = 2000;

/// A program that is killed when it is dropped.
struct Program {
    name: &'static str,
    child: Child,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The programs, and the receiver of their notifications.
pub struct Stack {
    programs: Vec<Program>,
    listener: TcpListener,
    /// Where Prometheus and Alertmanager are.
    pub addresses: [String; 2],
    folder: std::path::PathBuf,
}

/// A free port; another program may take it before its use.
fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = StdListener::bind("127.0.0.1:0").context("no free port")?;
    listener.local_addr().context("cannot read the address of the socket")
}

impl Stack {
    /// Writes the files and starts the programs, which have to be on PATH.
    ///
    /// # Errors
    /// When one of them is not there.
    pub async fn start(folder: &Path, exporter: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port")?;
        let receiver = listener.local_addr().context("cannot read the address of the socket")?;
        let (prometheus, alertmanager) = (free_address()?, free_address()?);
        for (name, text) in FILES {
            let path = folder.join(name);
            let text = text
                .replace(EXPORTER, &exporter.to_string())
                .replace(ALERTMANAGER, &alertmanager.to_string())
                .replace(RECEIVER, &format!("http://{receiver}/"))
                // A demo does not wait for a quarter of a minute.
                .replace("scrape_interval: 15s", "scrape_interval: 5s")
                .replace("evaluation_interval: 30s", "evaluation_interval: 5s")
                .replace("interval: 30s", "interval: 5s");
            fs::create_dir_all(path.parent().unwrap_or(folder))
                .and_then(|()| fs::write(&path, text))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        let at = |name: &str| folder.join(name).display().to_string();
        let run = |name: &'static str, arguments: &[String]| {
            let log = fs::File::create(folder.join(format!("{name}.log")))?;
            let mut command = Command::new(name);
            // Ctrl-C is for the demo, which ends them.
            command.args(arguments).stdin(Stdio::null()).process_group(0);
            let child = command.stdout(log.try_clone()?).stderr(log).spawn();
            let child = child
                .with_context(|| format!("cannot start `{name}`: --stack needs Prometheus and Alertmanager on PATH"))?;
            anyhow::Ok(Program { name, child })
        };
        let programs = vec![
            run(
                "alertmanager",
                &[
                    format!("--config.file={}", at("alertmanager.yml")),
                    format!("--storage.path={}", at("alertmanager")),
                    "--cluster.listen-address=".to_owned(),
                    format!("--web.listen-address={alertmanager}"),
                ],
            )?,
            run(
                "prometheus",
                &[
                    format!("--config.file={}", at("prometheus.yml")),
                    format!("--storage.tsdb.path={}", at("prometheus")),
                    format!("--web.listen-address={prometheus}"),
                ],
            )?,
        ];
        let addresses = [format!("http://{prometheus}"), format!("http://{alertmanager}")];
        Ok(Self { programs, listener, addresses, folder: folder.to_owned() })
    }

    /// Prints notifications until `stop`; then the programs end.
    ///
    /// # Errors
    /// When one of them ends by itself; the error has the end of its output.
    pub async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let show = |line: String| drop(print_line(line));
        let serving = receive_notifications(self.listener, show, stop);
        tokio::pin!(serving);
        loop {
            tokio::select! {
                served = &mut serving => return served.context("notifications"),
                () = tokio::time::sleep(CHECK_INTERVAL) => {}
            }
            for program in &mut self.programs {
                if let Ok(Some(status)) = program.child.try_wait() {
                    let log = self.folder.join(format!("{}.log", program.name));
                    let output = fs::read_to_string(log).unwrap_or_default();
                    let end = output.char_indices().rev().nth(SHOWN_OUTPUT).map_or(0, |(at, _)| at);
                    bail!("`{}` has ended: {status}\n{}", program.name, &output[end..]);
                }
            }
        }
    }
}
