//! Made-up tasks as an upstream's actor publishes them.

use std::sync::Arc;

use videogen_exporter::domain::Interner;
use videogen_exporter::domain::{NewTask, Status, Task, TaskId, Timestamp};
use videogen_exporter::view::{TaskChunk, TaskRows};

/// First seen time of the first task, in milliseconds.
const START: i64 = 1_795_000_000_000;

/// Task `n`. It has 12 series: no answer of the upstream has been read yet.
pub fn task(n: usize) -> Task {
    let id = format!("task_{:032x}", (n as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
    let after = |step| Timestamp::from_millis(START + step * i64::try_from(n).expect("a small number"));
    let new = NewTask::new(TaskId::parse(&id).expect("a valid id"));
    let mut task = Task::new("tokenhot".into(), "tokenhot", new, after(37));
    task.status = Status::ALL[n % Status::ALL.len()];
    task.last_change = after(41);
    task
}

/// The chunks of `count` tasks. They share equal values, as the actor's table does.
pub fn chunks(count: usize) -> Vec<Arc<TaskChunk>> {
    let (mut interner, mut rows) = (Interner::default(), TaskRows::default());
    for n in 0..count {
        let mut task = task(n);
        interner.intern(&mut task);
        rows.insert(task);
    }
    rows.chunks()
}
