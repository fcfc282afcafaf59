//! Time and size of a page: `cargo bench --bench render [-- TASKS ... [only=NAME]]`.
//!
//! Measures the per-task series in every format, plain and compressed. For comparison it measures the same series in the
//! containers of the `prometheus` crate, and gzip of the finished text at three levels of zlib-rs. All variants alternate on
//! one core in one run, and the median of the rounds counts: ratios between rows can be quoted.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock itself")]
#![expect(clippy::unwrap_used, reason = "all input is fixed")]
#![expect(clippy::cast_precision_loss, reason = "small counts")]

#[path = "common/tasks.rs"]
mod tasks;

use std::hint::black_box;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use prometheus::{Encoder as _, GaugeVec, Opts, Registry, TextEncoder};
use videogen_exporter::config::TaskStatusForm;
use videogen_exporter::metrics::{Coding, Compressor, Encoder, Format, Page, SeriesSelection, TaskContext};
use videogen_exporter::view::TaskChunk;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Rounds; their median counts.
const ROUNDS: usize = 21;

/// Levels of zlib-rs. Our pages use level 1; level 6 is the usual default.
const LEVELS: [u32; 3] = [1, 2, 6];

/// The `prometheus` crate needs more than a gigabyte for 100,000 tasks.
const MAX_PEER_TASKS: usize = 10_000;

/// One way to produce a page. `run` returns the size of its result.
struct Variant<'a> {
    name: String,
    run: Box<dyn Fn() -> usize + 'a>,
    times: Vec<Duration>,
    size: usize,
}

impl<'a> Variant<'a> {
    fn new(name: impl Into<String>, run: impl Fn() -> usize + 'a) -> Self {
        Self { name: name.into(), run: Box::new(run), times: Vec::new(), size: 0 }
    }

    fn measure(&mut self) {
        let start = Instant::now();
        self.size = (self.run)();
        self.times.push(start.elapsed());
    }

    /// Median time in seconds.
    fn median(&mut self) -> f64 {
        self.times.sort();
        self.times[self.times.len() / 2].as_secs_f64()
    }
}

fn page(chunks: &[Arc<TaskChunk>], format: Format) -> Page {
    Page::new(
        Encoder::new(format, false),
        TaskStatusForm::Set,
        chunks.iter().map(|chunk| (chunk, TaskContext::none())),
        &SeriesSelection::ALL,
    )
}

/// Renders a page and drops each piece, as the server does after sending it. Returns the size.
fn render(chunks: &[Arc<TaskChunk>], format: Format, coding: Coding) -> usize {
    let mut compressor = Compressor::new(coding);
    let pieces = page(chunks, format).map(|piece| black_box(compressor.compress(piece).unwrap()).len());
    pieces.sum::<usize>() + compressor.finish().unwrap().len()
}

/// Compresses a finished page in one call of zlib-rs. Returns the size.
fn gzip(text: &str, level: u32) -> usize {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(text.as_bytes()).unwrap();
    black_box(encoder.finish().unwrap()).len()
}

/// Renders a registry of the `prometheus` crate. Returns the size.
fn render_registry(registry: &Registry) -> usize {
    let mut out = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut out).unwrap();
    black_box(out).len()
}

/// The series of a page in containers of the `prometheus` crate.
fn registry(page: &str) -> Registry {
    let registry = Registry::new();
    let mut vec: Option<(String, GaugeVec)> = None;
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap();
        let labels: Vec<(&str, &str)> =
            labels.trim_end_matches('}').split(',').map(|pair| pair.split_once('=').unwrap()).collect();
        if vec.as_ref().is_none_or(|(known, _)| known != name) {
            let names: Vec<&str> = labels.iter().map(|(name, _)| *name).collect();
            let gauges = GaugeVec::new(Opts::new(name, "Help."), &names).unwrap();
            registry.register(Box::new(gauges.clone())).unwrap();
            vec = Some((name.to_owned(), gauges));
        }
        let values: Vec<&str> = labels.iter().map(|(_, value)| value.trim_matches('"')).collect();
        vec.as_ref().unwrap().1.with_label_values(&values).set(value.parse().unwrap());
    }
    registry
}

fn main() {
    let counts: Vec<usize> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let counts = if counts.is_empty() { vec![1_000, 10_000, 100_000] } else { counts };
    let only = std::env::args().find_map(|arg| arg.strip_prefix("only=").map(str::to_owned));
    for count in counts {
        compare(count, only.as_deref());
    }
}

/// Measures all variants for this many tasks and prints a table.
fn compare(count: usize, only: Option<&str>) {
    let chunks = tasks::chunks(count);
    let text: Vec<u8> = page(&chunks, Format::Text).flatten().collect();
    let text = String::from_utf8(text).unwrap();
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    let peer = (count <= MAX_PEER_TASKS).then(|| registry(&text));

    let mut variants = Vec::new();
    for format in Format::ALL {
        for coding in [Coding::Identity, Coding::Gzip] {
            let name = format!("{} {}", format.as_str(), coding.token().unwrap_or("plain"));
            let chunks = &chunks;
            variants.push(Variant::new(name, move || render(chunks, format, coding)));
        }
    }
    for level in LEVELS {
        let text = &text;
        variants.push(Variant::new(format!("zlib-rs level {level}, finished text"), move || gzip(text, level)));
    }
    if let Some(peer) = &peer {
        variants.push(Variant::new("prometheus crate, text plain", || render_registry(peer)));
    }
    variants.retain(|variant| only.is_none_or(|only| variant.name == only));

    let mut order: Vec<usize> = (0..variants.len()).collect();
    for round in 0..ROUNDS {
        // The order differs in each round: the large containers of the `prometheus` crate leave cold caches behind.
        order.sort_by_key(|n| (n + 1) * (round + 2) * 37 % 101);
        for &n in &order {
            variants[n].measure();
        }
    }
    println!("\n{count} tasks, {series} series, {:.1} MB of text", text.len() as f64 / 1e6);
    println!("{:<32} {:>10} {:>12} {:>12}", "", "ms", "ns a series", "MB");
    for variant in &mut variants {
        let median = variant.median();
        let each = median * 1e9 / series as f64;
        println!("{:<32} {:>10.2} {each:>12.1} {:>12.2}", variant.name, median * 1e3, variant.size as f64 / 1e6);
    }
}
