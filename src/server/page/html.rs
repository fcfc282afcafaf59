//! What the pages share: the frame around them, escaping, times and statuses.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::time::Duration;

use crate::domain::labels::is_invisible;
use crate::domain::number::Number;
use crate::domain::{Status, Task, Timestamp};
use crate::http::encode_component;

const STYLE: &str = include_str!("page.css");

/// The script of the pages; they work without it.
pub const SCRIPT: &str = include_str!("page.js");

/// Where the script is served.
pub const SCRIPT_PATH: &str = "/-/page.js";

/// How often a page is refreshed, in seconds.
const PERIOD: u32 = 5;

/// What is around a page.
pub struct Frame<'a> {
    /// Its title.
    pub title: &'a str,
    /// What every link on the page begins with, without its last slash.
    pub prefix: &'a str,
    /// The path of the metrics.
    pub telemetry_path: &'a str,
    /// The address of Grafana.
    pub grafana_url: Option<&'a str>,
    /// The same page without refreshing, or with it when it is paused; `None` if it never refreshes.
    pub pause: Option<Pause>,
}

/// Whether a page refreshes, and the link that changes that without a script.
pub struct Pause {
    /// It does not refresh.
    pub is_paused: bool,
    /// The query of the other page.
    pub other_query: String,
}

impl Frame<'_> {
    /// The whole page with this content.
    pub fn around(&self, content: &str) -> String {
        let prefix = HtmlEscaped(self.prefix);
        let mut out = String::with_capacity(content.len() + STYLE.len() + 2000);
        let _ = write!(
            out,
            "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'>\
             <title>{}</title><style>{STYLE}</style>",
            HtmlEscaped(self.title)
        );
        if self.pause.as_ref().is_some_and(|pause| !pause.is_paused) {
            let _ = write!(out, "<noscript><meta http-equiv=refresh content={PERIOD}></noscript>");
        }
        let _ = write!(
            out,
            "<script src='{prefix}{SCRIPT_PATH}' defer></script></head><body><header><h1><a href='{prefix}/'>videogen-exporter</a> \
             <small>{}</small></h1><nav>",
            env!("CARGO_PKG_VERSION")
        );
        if let Some(url) = self.grafana_url {
            let _ = write!(out, "<a href='{0}/d/videogen-triage'>Grafana</a>", HtmlEscaped(url));
        }
        let _ = write!(
            out,
            "<a href='{prefix}{}'>Metrics</a><a href='{prefix}/api/v1/tasks'>API</a><a href='{prefix}/config'>Configuration</a>\
             <a href='{prefix}/-/ready'>Ready</a><a href='{prefix}/-/healthy'>Healthy</a>",
            HtmlEscaped(self.telemetry_path)
        );
        if let Some(pause) = &self.pause {
            let (word, paused) =
                if pause.is_paused { ("Continue refreshing", "yes") } else { ("Pause refreshing", "no") };
            let _ =
                write!(out, "<a id=pause data-paused={paused} href='?{}'>{word}</a>", HtmlEscaped(&pause.other_query));
        }
        let _ = write!(
            out,
            "</nav></header><p id=refresh-state class=why role=status></p><main>{content}</main></body></html>"
        );
        out
    }
}

/// Text with its HTML characters and invisible characters escaped.
pub struct HtmlEscaped<'a>(pub &'a str);

impl fmt::Display for HtmlEscaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c if is_invisible(c) => write!(f, "\\u{:04x}", u32::from(c))?,
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

/// A status in its color.
pub struct Badge(pub Status);

impl fmt::Display for Badge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<span class='s {0}'>{0}</span>", self.0.as_str())
    }
}

/// How long ago a time is, with the time itself.
pub struct Ago {
    /// The time.
    pub at: Timestamp,
    /// The current time.
    pub now: Timestamp,
}

impl fmt::Display for Ago {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = utc(self.at);
        if self.at > self.now {
            write!(f, "<time title='{text}'>in {}</time>", format_span(self.at.duration_since(self.now)))
        } else {
            write!(f, "<time title='{text}'>{} ago</time>", format_span(self.now.duration_since(self.at)))
        }
    }
}

/// A time in UTC.
pub fn utc(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.as_millis())
        .map_or_else(|_| "out of range".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// The path of a task's page, below the prefix of all links.
pub fn task_path(prefix: &str, task: &Task) -> String {
    format!("{prefix}/tasks/{}/{}", encode_component(&task.origin.upstream), encode_component(task.id.as_str()))
}

/// The progress of a task, as a bar.
pub fn write_progress(out: &mut String, task: &Task) {
    if let Some(ratio) = task.progress.map(Number::get) {
        let percent = ratio * 100.0;
        let _ = write!(out, "<progress value={ratio} aria-label='{percent:.0} %'></progress> {percent:.0} %");
    }
}

/// Longest id that is shown whole, in characters.
const MAX_ID: usize = 48;

/// An id, shortened in the middle: the ends of ids differ most.
pub fn shorten(id: &str) -> Cow<'_, str> {
    // An id is ASCII.
    let (head, tail) = (MAX_ID * 2 / 3, MAX_ID / 3);
    if id.len() <= MAX_ID { Cow::Borrowed(id) } else { format!("{}…{}", &id[..head], &id[id.len() - tail..]).into() }
}

/// A duration in its two largest units.
pub fn format_span(span: Duration) -> String {
    let secs = span.as_secs();
    match secs {
        0..60 => format!("{secs} s"),
        60..3600 => format!("{} min {} s", secs / 60, secs % 60),
        3600..86_400 => format!("{} h {} min", secs / 3600, secs % 3600 / 60),
        _ => format!("{} d {} h", secs / 86_400, secs % 86_400 / 3600),
    }
}

/// Why a task ended without success, or why it cannot be polled.
pub fn why(task: &Task) -> Option<String> {
    if let Some(error) = task.error.as_deref().filter(|_| task.failure.is_some()) {
        let texts = [error.code.as_deref(), error.message.as_deref()];
        return Some(texts.into_iter().flatten().collect::<Vec<_>>().join(": "));
    }
    let poll = &task.failed_poll.as_deref().filter(|_| task.is_active() && task.poll_failures > 0)?.error;
    let cause = poll.cause.as_deref().map(|cause| format!(": {cause}")).unwrap_or_default();
    Some(format!("poll failed, {}{cause}", poll.reason.as_str().replace('_', " ")))
}
