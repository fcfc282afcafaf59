//! The flags of a task, and the parts of it that are counted, by their names in its record.

use crate::domain::Task;
use crate::domain::task::Counted;

/// A name, and where the flag is.
pub type Flag<T> = (&'static str, fn(&mut T) -> &mut bool);

/// Flags of a task.
pub const FLAGS: [Flag<Task>; 9] = [
    ("brought_late", |task| &mut task.discovered_after_first_load),
    ("synthetic_progress", |task| &mut task.synthetic_progress),
    ("finish_made_up", |task| &mut task.finish_is_synthetic),
    ("goes_on", |task| &mut task.reopened),
    ("seen_active", |task| &mut task.seen_active),
    ("read_has_side_effect", |task| &mut task.read_has_side_effect),
    ("large_answers", |task| &mut task.has_large_answers),
    ("list_only", |task| &mut task.is_list_only),
    ("dropped", |task| &mut task.is_forgotten),
];

/// Parts that are counted.
pub const PARTS: [Flag<Counted>; 11] = [
    ("submitted", |counted| &mut counted.submitted),
    ("latency", |counted| &mut counted.latency),
    ("queue", |counted| &mut counted.queue),
    ("run", |counted| &mut counted.run),
    ("tokens", |counted| &mut counted.tokens),
    ("quota", |counted| &mut counted.quota),
    ("video", |counted| &mut counted.video),
    ("gateway_lag", |counted| &mut counted.gateway_lag),
    ("vendor_latency", |counted| &mut counted.vendor_latency),
    ("charge_waits", |counted| &mut counted.charge_waits),
    ("unpriced", |counted| &mut counted.unpriced),
];

/// The names of the flags that are set.
pub fn set<T>(flags: &[Flag<T>], of: &mut T) -> impl Iterator<Item = String> {
    flags.iter().filter(|(_, flag)| *flag(of)).map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>().into_iter()
}
