//! What a page costs: `cargo bench --bench render [-- TASKS ... [only=NAME]]`.
//!
//! The rows of single tasks in every format and compression, beside the same rows by `GaugeVec` and `TextEncoder` of the
//! `prometheus` crate, and beside a usual gzip of the finished text. The variants take turns, one core, and the median of the rounds counts.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock itself")]
#![expect(clippy::unwrap_used, reason = "nothing here comes from outside")]
#![expect(clippy::cast_precision_loss, reason = "small counts")]

use std::hint::black_box;
use std::io::Write as _;
use std::time::{Duration, Instant};

use prometheus::{Encoder as _, GaugeVec, Opts, Registry, TextEncoder};
use videogen_exporter::config::TaskStatusForm;
use videogen_exporter::domain::{Interner, NewTask, Status, Task, TaskId, Timestamp};
use videogen_exporter::metrics::{Coding, Compressor, Encoder, Format, Page, Snapshot};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Rounds, the middle one of which counts.
const ROUNDS: usize = 21;

/// Tasks with 12 series each, which a task has that was not answered for yet.
fn tasks(count: usize) -> Snapshot {
    let base = 1_795_000_000_000;
    // As the table does it.
    let mut texts = Interner::default();
    let task = |n: usize| {
        let id = format!("task_{:032x}", (n as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        let seen = Timestamp::from_millis(base + i64::try_from(n).unwrap() * 37);
        let new = NewTask::new(TaskId::parse(&id).unwrap());
        let mut task = Task::new("tokenhot".into(), "tokenhot", new, seen);
        task.status = Status::ALL[n % Status::ALL.len()];
        task.last_change = Timestamp::from_millis(base + i64::try_from(n).unwrap() * 41);
        texts.share(&mut task);
        task
    };
    Snapshot::of((0..count).map(task))
}

/// Makes a page and forgets it piece by piece, as a socket does; how large it was.
fn page(tasks: &Snapshot, format: Format, coding: Coding) -> (usize, usize) {
    let mut compressor = Compressor::new(coding).unwrap();
    let (mut before, mut after) = (0, 0);
    for piece in Page::new(Encoder::new(format, false), TaskStatusForm::Set, tasks) {
        before += piece.len();
        after += black_box(compressor.piece(piece).unwrap()).len();
    }
    after += compressor.end().unwrap().len();
    (before, after)
}

/// The same series in the `prometheus` crate's own containers.
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
    for count in counts {
        let tasks = tasks(count);
        let whole: Vec<u8> =
            Page::new(Encoder::new(Format::Text, false), TaskStatusForm::Set, &tasks).flatten().collect();
        let whole = String::from_utf8(whole).unwrap();
        let series = whole.lines().filter(|line| !line.starts_with('#')).count();
        // A hundred thousand tasks in the crate's containers take more than a gigabyte.
        let peer = (count <= 10_000).then(|| registry(&whole));
        let mut variants: Vec<(String, Box<dyn Fn() -> usize + '_>)> = Vec::new();
        for format in Format::ALL {
            for coding in [Coding::Identity, Coding::Gzip, Coding::Zstd] {
                let name = format!("{} {}", format.as_str(), coding.token().unwrap_or("plain"));
                let tasks = &tasks;
                variants.push((name, Box::new(move || page(tasks, format, coding).1)));
            }
        }
        let zlib = || {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
            gzip.write_all(whole.as_bytes()).unwrap();
            black_box(gzip.finish().unwrap()).len()
        };
        variants.push(("zlib-rs, level 6, text gzip".to_owned(), Box::new(zlib)));
        if let Some(peer) = &peer {
            let encode = || {
                let mut out = Vec::new();
                TextEncoder::new().encode(&peer.gather(), &mut out).unwrap();
                black_box(out).len()
            };
            variants.push(("prometheus crate, text plain".to_owned(), Box::new(encode)));
        }
        if let Some(only) = std::env::args().find_map(|arg| arg.strip_prefix("only=").map(str::to_owned)) {
            variants.retain(|(name, _)| *name == only);
        }
        let mut times: Vec<Vec<Duration>> = vec![Vec::new(); variants.len()];
        let mut sizes = vec![0; variants.len()];
        let mut order: Vec<usize> = (0..variants.len()).collect();
        for round in 0..ROUNDS {
            // Never in the same order: what comes after the crate's turn finds nothing of its own in the caches.
            order.sort_by_key(|n| (n + 1) * (round + 2) * 37 % 101);
            for &n in &order {
                let (_, run) = &variants[n];
                let begun = Instant::now();
                sizes[n] = run();
                times[n].push(begun.elapsed());
            }
        }
        println!("\n{count} tasks, {series} series, {:.1} MB of text", whole.len() as f64 / 1e6);
        println!("{:<32} {:>10} {:>12} {:>12}", "", "ms", "ns a series", "MB");
        for ((name, _), (times, size)) in variants.iter().zip(times.iter_mut().zip(sizes)) {
            times.sort();
            let median = times[times.len() / 2].as_secs_f64();
            let each = median * 1e9 / series as f64;
            println!("{name:<32} {:>10.2} {each:>12.1} {:>12.2}", median * 1e3, size as f64 / 1e6);
        }
    }
}
