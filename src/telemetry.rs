//! Logging: output, formats and counts of messages.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::domain::labels::{escape_invisible, is_invisible};

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `key=value` pairs: <https://brandur.org/logfmt>.
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

/// How long the log has for a line about a fault of our own.
const LAST_LINE: Duration = Duration::from_millis(50);

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

/// Writes an event as one line. Both formats have the same fields in the same order: `time` (RFC 3339, UTC), `level`, `msg`, and
/// those of the event.
struct Line(LogFormat);

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        let head = [("time", time.into()), ("level", level.into()), ("msg", fields.message)];
        let all = head.into_iter().chain(fields.others);
        let line: Vec<String> = match self.0 {
            LogFormat::Logfmt => all.map(|(name, value)| format!("{name}={}", logfmt_value(&value))).collect(),
            LogFormat::Json => all.map(|(name, value)| format!("\"{name}\":{value}")).collect(),
        };
        match self.0 {
            LogFormat::Logfmt => writeln!(out, "{}", line.join(" ")),
            // Those that read the log in a terminal must see what is there. In logfmt, such values are quoted already.
            LogFormat::Json => writeln!(out, "{{{}}}", escape_invisible(&line.join(","))),
        }
    }
}

/// A value, quoted where necessary.
fn logfmt_value(value: &Value) -> String {
    let Value::String(text) = value else { return value.to_string() };
    let is_special = |c: char| c.is_whitespace() || is_invisible(c) || matches!(c, '"' | '=');
    if text.is_empty() || text.contains(is_special) { format!("{text:?}") } else { text.clone() }
}

/// The message of an event and its other fields.
#[derive(Default)]
struct Fields {
    message: Value,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        match field.name() {
            "message" => self.message = value,
            name => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}").into());
    }
}

/// Writes events as lines.
fn lines_in<S>(
    format: LogFormat,
    writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false).event_format(Line(format)).boxed()
}

/// Starts logging to standard error. Only the program calls it, once.
///
/// # Errors
/// When logging has already started.
pub fn start(level: LevelFilter, format: LogFormat) -> anyhow::Result<Logging> {
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(MAX_LINES);
    let (writer, guard) = builder.thread_name("log").finish(std::io::stderr());
    let counts = LogCounts { dropped: Some(writer.error_counter()), ..LogCounts::default() };
    let lines = lines_in(format, writer);
    // Messages of libraries are left out: debug messages of an HTTP client may contain secrets in headers.
    let targets = tracing_subscriber::filter::Targets::new().with_target("videogen_exporter", level);
    tracing_subscriber::registry()
        .with(lines.with_filter(targets.clone()))
        .with(counts.clone().with_filter(targets))
        .try_init()?;
    // The usual hook writes to standard error, which may block.
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(%panic, "internal error; please report it");
        // If the process ends now, the line is written before.
        std::thread::sleep(LAST_LINE);
    }));
    Ok(Logging { counts, _writer: guard })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;

    use super::*;

    /// What a subscriber with this layer writes.
    fn written(format: LogFormat, log: impl FnOnce()) -> String {
        #[derive(Clone, Default)]
        struct Lines(Arc<Mutex<Vec<u8>>>);
        impl Write for Lines {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::registry().with(lines_in(format, move || writer.clone()));
        tracing::subscriber::with_default(subscriber, log);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn both_formats_have_the_same_fields() {
        let log = || {
            let (failed, path) = (anyhow::anyhow!("no \"luck\""), std::path::Path::new("a b"));
            tracing::warn!(count = 3, ratio = 0.5, is_late = true, error = %failed, file = %path.display(), "it ended");
        };
        let logfmt = written(LogFormat::Logfmt, log);
        let (time, rest) = logfmt.split_once(' ').unwrap();
        let expected =
            "level=warn msg=\"it ended\" count=3 ratio=0.5 is_late=true error=\"no \\\"luck\\\"\" file=\"a b\"\n";
        assert_eq!(rest, expected);
        assert!(time.starts_with("time=20") && time.ends_with('Z'), "{time}");
        let json = written(LogFormat::Json, log);
        let (time, rest) = json.split_once(',').unwrap();
        let expected = r#""level":"warn","msg":"it ended","count":3,"ratio":0.5,"is_late":true,"error":"no \"luck\"","file":"a b"}"#;
        assert_eq!(rest, format!("{expected}\n"));
        assert!(time.starts_with(r#"{"time":"20"#), "{time}");
    }

    #[test]
    fn invisible_characters_are_escaped_in_every_format() {
        for format in [LogFormat::Logfmt, LogFormat::Json] {
            let line = written(format, || {
                tracing::info!(word = "a\u{202e}b\u{200b}\u{85}", plain = "x", "status \u{1b}[31m");
            });
            assert!(line.ends_with('\n') && !line.trim_end().contains(is_invisible), "{line:?}");
            assert!(line.to_lowercase().contains("202e") && line.contains("200b") && line.contains("plain"), "{line}");
            if format == LogFormat::Json {
                let json: Value = serde_json::from_str(&line).unwrap();
                assert_eq!(json["word"], "a\u{202e}b\u{200b}\u{85}");
            }
        }
    }
}
