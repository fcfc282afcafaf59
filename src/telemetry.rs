//! Logging: output, formats and counts of messages.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `level=… msg` with `key=value` fields.
    Logfmt,
    /// One JSON object per line.
    Json,
}

/// Counts of log messages by level, and of lines that were dropped because nobody read them in time.
#[derive(Debug, Clone, Default)]
pub struct LogCounts {
    levels: Arc<[AtomicU64; 5]>,
    dropped: Option<ErrorCounter>,
}

/// Lines that wait to be written. When nobody reads them, further ones are dropped: logging must never block the program.
const MAX_LINES: usize = 4096;

/// Running logging. Dropping it writes the lines that wait, for at most a second.
pub struct Logging {
    /// The counts.
    pub counts: LogCounts,
    _writer: WorkerGuard,
}

/// The levels in the order of [`LogCounts::read`].
pub const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

impl LogCounts {
    /// The counts, in the order of [`LEVELS`].
    pub fn read(&self) -> [u64; 5] {
        std::array::from_fn(|n| self.levels[n].load(Ordering::Relaxed))
    }

    /// How many lines were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped.as_ref().map_or(0, |dropped| dropped.dropped_lines() as u64)
    }
}

impl<S: Subscriber> Layer<S> for LogCounts {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let index = match *event.metadata().level() {
            Level::ERROR => 0,
            Level::WARN => 1,
            Level::INFO => 2,
            Level::DEBUG => 3,
            Level::TRACE => 4,
        };
        self.levels[index].fetch_add(1, Ordering::Relaxed);
    }
}

/// `time=… level=info msg="…" key=value`: <https://brandur.org/logfmt>.
struct Logfmt;

impl<S, N> FormatEvent<S, N> for Logfmt
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        out.write_str("time=")?;
        SystemTime.format_time(&mut out)?;
        write!(out, " level={}", event.metadata().level().as_str().to_ascii_lowercase())?;
        let mut fields = Fields::default();
        event.record(&mut fields);
        writeln!(out, " msg={}{}", fields.message, fields.others)
    }
}

/// The message of an event and its other fields, quoted where necessary.
#[derive(Default)]
struct Fields {
    message: String,
    others: String,
}

impl Fields {
    fn add(&mut self, name: &str, text: &str) {
        let is_plain =
            !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '='));
        let text = if is_plain { text.to_owned() } else { format!("{text:?}") };
        if name == "message" {
            self.message = text;
        } else {
            let _ = write!(self.others, " {name}={text}");
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field.name(), &format!("{value:?}"));
    }
}

/// Starts logging to standard error. Only the program calls it, once.
///
/// # Errors
/// When logging has already started.
pub fn start(level: LevelFilter, format: LogFormat) -> anyhow::Result<Logging> {
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(MAX_LINES);
    let (writer, guard) = builder.thread_name("log").finish(std::io::stderr());
    let counts = LogCounts { dropped: Some(writer.error_counter()), ..LogCounts::default() };
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false).with_target(false);
    let lines = match format {
        LogFormat::Logfmt => lines.event_format(Logfmt).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // Messages of libraries are left out: debug messages of an HTTP client may contain secrets in headers.
    let targets = tracing_subscriber::filter::Targets::new().with_target("videogen_exporter", level);
    tracing_subscriber::registry()
        .with(lines.with_filter(targets.clone()))
        .with(counts.clone().with_filter(targets))
        .try_init()?;
    // The usual hook writes to standard error, which may block.
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "internal error; please report it")));
    Ok(Logging { counts, _writer: guard })
}
