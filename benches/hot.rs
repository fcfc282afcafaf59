//! Runs one hot code path a given number of times. `tests/guards` counts its instructions.
//!
//! `cargo bench --bench hot -- NAME TIMES`, where NAME is one of [`WORK`].

#![expect(clippy::unwrap_used, reason = "all input is fixed")]

#[path = "common/tasks.rs"]
mod tasks;

use std::hint::black_box;

use tasks::{chunks, task};
use videogen_exporter::config::TaskStatusForm;
use videogen_exporter::domain::{Policy, Reading, Timestamp, advance};
use videogen_exporter::metrics::{Coding, Compressor, Encoder, Format, Page, SeriesSelection, TaskContext};
use videogen_exporter::provider::{self, Dialect};

/// The code paths. `tasks` only creates the tasks that the pages need.
const WORK: [&str; 6] = ["tasks", "text", "protobuf", "gzip", "decode", "advance"];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let [name, times] = args.as_slice() else { return eprintln!("usage: hot NAME TIMES, with NAME one of {WORK:?}") };
    let times: usize = times.parse().unwrap();
    match name.as_str() {
        "tasks" => _ = black_box(chunks(times)),
        "text" => render(times, Format::Text, Coding::Identity),
        "protobuf" => render(times, Format::Protobuf, Coding::Identity),
        "gzip" => render(times, Format::Text, Coding::Gzip),
        "decode" => decode(times),
        "advance" => advance_task(times),
        _ => eprintln!("unknown name {name}; known names: {WORK:?}"),
    }
}

/// Renders one page of this many tasks.
fn render(tasks: usize, format: Format, coding: Coding) {
    let chunks = chunks(tasks);
    let mut compressor = Compressor::new(coding);
    for piece in Page::new(
        Encoder::new(format, false),
        TaskStatusForm::Set,
        chunks.iter().map(|chunk| (chunk, TaskContext::none())),
        &SeriesSelection::ALL,
    ) {
        black_box(compressor.compress(piece).unwrap());
    }
    black_box(compressor.finish().unwrap());
}

/// The answer of a running task.
const BODY: &[u8] = include_bytes!("../tests/fixtures/providers/new_api/running.json");

fn dialect() -> Dialect {
    Dialect::from_provider(provider::by_name("new_api").unwrap()).unwrap()
}

fn decode(times: usize) {
    let dialect = dialect();
    for _ in 0..times {
        _ = black_box(dialect.read(200, black_box(BODY)));
    }
}

/// Applies the same answer again and again: most answers change nothing.
fn advance_task(times: usize) {
    let answer = dialect().read(200, BODY).unwrap();
    let policy = Policy::COUNT_ALL;
    let mut task = task(1);
    for n in 0..times {
        let now = Timestamp::from_millis(1_795_000_000_000 + i64::try_from(n).unwrap());
        task = advance(&task, Reading::Answer(Box::new(answer.clone())), &policy, now).task;
    }
    black_box(task);
}
