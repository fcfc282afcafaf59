//! The work that is done most often, alone and so many times: for `tests/guards`, which counts its instructions.
//!
//! `cargo bench --bench hot -- NAME TIMES`, where NAME is one of [`WORK`].

#![expect(clippy::unwrap_used, reason = "nothing here comes from outside")]

use std::hint::black_box;

use videogen_exporter::config::TaskStatusForm;
use videogen_exporter::domain::advance::CountSince;
use videogen_exporter::domain::{Interner, NewTask, Policy, Reading, Status, Task, TaskId, Timestamp, advance};
use videogen_exporter::metrics::{Coding, Compressor, Encoder, Format, Page, Snapshot};
use videogen_exporter::provider::{self, Dialect};

/// What can be done.
const WORK: [&str; 7] = ["tasks", "text", "protobuf", "gzip", "zstd", "decode", "advance"];

fn task(n: usize) -> Task {
    let id = format!("task_{:032x}", (n as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
    let new = NewTask::new(TaskId::parse(&id).unwrap());
    let seen = Timestamp::from_millis(1_795_000_000_000 + i64::try_from(n).unwrap() * 37);
    Task { status: Status::ALL[n % Status::ALL.len()], ..Task::new("tokenhot".into(), "tokenhot", new, seen) }
}

/// So many tasks that share what they can, as in the table.
fn tasks(count: usize) -> Snapshot {
    let mut texts = Interner::default();
    let shared = |n| {
        let mut task = task(n);
        texts.share(&mut task);
        task
    };
    Snapshot::of((0..count).map(shared))
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let [name, times] = args.as_slice() else { return eprintln!("which of {WORK:?}, and how often") };
    let times: usize = times.parse().unwrap();
    let (format, coding) = match name.as_str() {
        "protobuf" => (Format::Protobuf, Coding::Identity),
        "gzip" => (Format::Text, Coding::Gzip),
        "zstd" => (Format::Text, Coding::Zstd),
        _ => (Format::Text, Coding::Identity),
    };
    let body = include_bytes!("../tests/fixtures/providers/new_api/running.json");
    let dialect = Dialect::of(provider::named("new_api").unwrap()).unwrap();
    let answer = dialect.read(200, body).unwrap();
    let policy = Policy { count_since: CountSince::Always, forget_after: std::time::Duration::MAX };
    match name.as_str() {
        // What the pages below need first.
        "tasks" => _ = black_box(tasks(times)),
        "decode" => (0..times).for_each(|_| _ = black_box(dialect.read(200, black_box(body)))),
        "advance" => {
            // Over and over the same: what most answers are.
            let mut task = task(1);
            for n in 0..times {
                let now = Timestamp::from_millis(1_795_000_000_000 + i64::try_from(n).unwrap());
                task = advance(&task, Reading::Answer(Box::new(answer.clone())), &policy, now).task;
            }
            black_box(task);
        }
        _ => {
            let tasks = tasks(times);
            let mut compressor = Compressor::new(coding).unwrap();
            for piece in Page::new(Encoder::new(format, false), TaskStatusForm::Set, &tasks) {
                black_box(compressor.piece(piece).unwrap());
            }
            black_box(compressor.end().unwrap());
        }
    }
}
