//! The most frequent operations allocate little; allocations are counted in this thread.

use allocation_counter::measure;
use videogen_exporter::config::TaskStatusForm;
use videogen_exporter::domain::{NewTask, Policy, Reading, Task, TaskId, Timestamp, advance};
use videogen_exporter::metrics::{Coding, Compressor, Encoder, Format, Page, SeriesSelection, TaskContext};
use videogen_exporter::provider::{self, Dialect};
use videogen_exporter::view::TaskRows;

const RUNNING: &[u8] = include_bytes!("../fixtures/providers/new_api/running.json");

fn task(n: usize) -> Task {
    let new = NewTask::new(TaskId::parse(&format!("task_{n:032x}")).unwrap());
    Task::new("gw".into(), "new_api", new, Timestamp::from_secs(1_795_000_000))
}

/// The allocations and the peak bytes of a page of `tasks` tasks whose chunks are dropped one by one.
fn page(tasks: usize, format: Format, coding: Coding) -> (u64, u64) {
    let mut rows = TaskRows::default();
    (0..tasks).for_each(|n| _ = rows.insert(task(n)));
    let chunks = rows.chunks();
    let measured = measure(|| {
        let mut compressor = Compressor::new(coding);
        let head = Encoder::new(format, false);
        for chunk in Page::new(
            head,
            TaskStatusForm::Set,
            chunks.iter().map(|chunk| (chunk, TaskContext::none())),
            &SeriesSelection::ALL,
        ) {
            drop(compressor.compress(chunk).unwrap());
        }
        drop(compressor.finish().unwrap());
    });
    (measured.count_total, measured.bytes_max)
}

#[test]
fn a_page_allocates_per_chunk_and_not_per_line() {
    for format in Format::ALL {
        for coding in Coding::ALL {
            let ((few, _), (many, peak)) = (page(1000, format, coding), page(5000, format, coding));
            // 4,000 more tasks are 48,000 lines in less than a hundred chunks.
            let name = format!("{} {}", format.as_str(), coding.token().unwrap_or("plain"));
            assert!(many - few < 4000, "{name}: {few} allocations for 1,000 tasks, {many} for 5,000");
            assert!(peak < 2 << 20, "{name}: peak of {peak} bytes");
        }
    }
}

#[test]
fn an_unchanged_answer_allocates_only_while_it_is_decoded() {
    let dialect = Dialect::from_provider(provider::by_name("new_api").unwrap()).unwrap();
    let mut answer = None;
    let reading = measure(|| answer = Some(dialect.read(200, RUNNING).unwrap()));
    assert!(reading.count_total < 150, "{} allocations to read an answer", reading.count_total);
    let policy = Policy::COUNT_ALL;
    let now = Timestamp::from_secs(1_795_132_900);
    let reading = Reading::Answer(Box::new(answer.unwrap()));
    let first = advance(&task(1), reading.clone(), &policy, now).task;
    // The second answer counts the submission, because the upstream has not named a model.
    let before = advance(&first, reading.clone(), &policy, now).task;
    let mut after = None;
    let advancing = measure(|| after = Some(advance(&before, reading, &policy, now)));
    assert!(!after.unwrap().durable);
    assert_eq!(advancing.count_total, 0, "allocations for an answer without changes");
}
