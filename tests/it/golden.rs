//! Golden files of the page in each format.

use std::sync::Arc;

use videogen_exporter::config::TaskStatusForm;
use videogen_exporter::counters::Exemplar;
use videogen_exporter::domain::number::Number;
use videogen_exporter::domain::task::{TaskOrigin, Video};
use videogen_exporter::domain::{Counter, FailureClass, NewTask, Status, Task, TaskId, Timestamp};
use videogen_exporter::metrics::families::{self, Family};
use videogen_exporter::metrics::{Encoder, Extra, Format, HistogramRow, Page, SeriesSelection, TaskContext};
use videogen_exporter::view::TaskRows;

fn id(text: &str) -> TaskId {
    TaskId::parse(text).unwrap()
}

/// A running task, and a failed task with an id and a label that need escapes.
fn tasks() -> [Task; 2] {
    let at = Timestamp::from_millis(1_795_000_000_250);
    let mut running = Task::new("tokenhot".into(), "tokenhot", NewTask::new(id("task_1")), at);
    running.status = Status::Running;
    running.progress = Number::new(0.25);
    running.last_poll = Some(at);
    let mut failed = Task::new("a\"b\\c".into(), "new_api", NewTask::new(id("\"q\\")), at);
    failed.status = Status::Failed;
    failed.failure = Some(FailureClass::Quota);
    failed.counted.ends = 1 << Status::Failed.index();
    failed.poll_failures = 2;
    let labels = [("team".to_owned(), "é\n".to_owned())].into();
    failed.origin = Arc::new(TaskOrigin { labels: Arc::new(labels), ..(*failed.origin).clone() });
    failed.video = Arc::new(Video { model: Some("sora-2".into()), ..Video::default() });
    [running, failed]
}

fn page(format: Format) -> Vec<u8> {
    let at = Timestamp::from_millis(1_795_000_100_500);
    let created = Some(Timestamp::from_secs(1_795_000_000));
    let exemplar = Exemplar { task_id: id("task_9"), value: 1.0, at };
    let mut out = Encoder::new(format, true);
    out.header(&families::SERIES_LIMIT);
    out.row(&[], 5000.0, Extra::default());
    out.header(&Family::from_counter(Counter::Finished));
    let labels = [("upstream", "tokenhot"), ("provider", "tokenhot"), ("model", "m\"\\\n"), ("status", "succeeded")];
    out.row(&labels, 3.0, Extra { created, exemplar: Some(&exemplar) });
    out.header(&Family::from_counter(Counter::Latency));
    let latency = Exemplar { value: 71.5, ..exemplar };
    let row = HistogramRow {
        bounds: &[60.0, 120.0],
        counts: &[0, 2, 1],
        sum: 1271.5,
        created,
        exemplars: vec![None, Some(&latency), None],
        ..HistogramRow::default()
    };
    out.histogram(&labels, &row);
    let mut rows = TaskRows::default();
    for task in tasks() {
        rows.insert(task);
    }
    let chunks = rows.chunks();
    Page::new(out, TaskStatusForm::Set, chunks.iter().map(|chunk| (chunk, TaskContext::none())), &SeriesSelection::ALL)
        .flatten()
        .collect()
}

#[test]
fn a_page_equals_its_golden_file() {
    for format in Format::ALL {
        let path = crate::documents::root().join(format!("tests/fixtures/pages/{}", format.as_str()));
        let now = page(format);
        if std::env::var("VGX_BLESS").is_ok() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &now).unwrap();
        }
        let golden = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(golden == now, "{} differs from the page:\n{}", path.display(), String::from_utf8_lossy(&now));
    }
}
