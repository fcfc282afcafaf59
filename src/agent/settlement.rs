//! Quotas that are known for good without another reading.

use super::commits::PendingCommits;
use super::settings::UpstreamSettings;
use super::table::TaskTable;
use crate::config::QuotaPerUnit;
use crate::domain::{Reading, Timestamp, settling};
use crate::view::RowSlot;

/// Readings of tasks that are removed soon, and of those whose charge waited for the rate of their gateway, which is known now.
pub fn readings(
    table: &TaskTable,
    commits: &PendingCommits,
    settings: &UpstreamSettings,
    has_rate: bool,
    now: Timestamp,
) -> Vec<(RowSlot, Reading)> {
    let retention = settings.rules.retention;
    let is_short = settings.upstream.dialect.is_new_api() && retention < settling::GIVEN_UP_AFTER;
    let has_rate = has_rate && settings.upstream.billing.quota_per_unit == Some(QuotaPerUnit::Auto);
    if !is_short && !has_rate {
        return Vec::new();
    }
    let settled = table.rows().slots(|row| {
        let task = &row.task;
        let is_known =
            has_rate && task.counted.charge_waits || is_short && settling::is_removed_soon(task, retention, now);
        is_known && !commits.contains(&task.id)
    });
    settled.into_iter().map(|slot| (slot, Reading::QuotaSettled)).collect()
}
