//! The objective: 95 % of the ended tasks succeed. Cancelled tasks do not count.

use super::panel::Panel;
use super::promql::{ERRORS, JUDGED, MODEL, grown};
use super::values::UPSTREAM_PAGE_OF_SERIES;

/// The share of tasks that may end without a result.
const BUDGET: f64 = 0.05;

/// Whether the objective is met, and how fast the error budget burns.
pub fn objective() -> Vec<Panel> {
    let series = |statuses: &str| format!(r#"videogen_tasks_finished_total{{{MODEL},status=~"{statuses}"}}"#);
    let ratio = |range: &str, by: &str| {
        let of = |statuses: &str| format!("sum by ({by}) (increase({}[{range}]))", series(statuses));
        format!("{} / ({} > 0)", of(ERRORS), of(JUDGED))
    };
    let burn = |range: &str| format!("({}) / {BUDGET}", ratio(range, "upstream"));
    vec![
        Panel::row("Objective: 95 % of the ended tasks succeed"),
        Panel::stat("Succeeded", "Succeeded / (succeeded + failed + expired + lost) in the selected range, by upstream.")
            .size(6, 7)
            .unit("percentunit")
            .decimals(1)
            .thresholds(&[(None, "red"), (Some(0.9), "orange"), (Some(0.95), "green")])
            .no_value("no task has ended")
            .link("Upstream dashboard", UPSTREAM_PAGE_OF_SERIES)
            .instant(
                &format!("{} / ({} > 0)", grown("upstream", &series("succeeded")), grown("upstream", &series(JUDGED))),
                "{{upstream}}",
            ),
        Panel::stat("Error budget left", "What is left of the errors that the objective allows in three days, by upstream. Below 0 it is missed.")
            .size(6, 7)
            .unit("percentunit")
            .decimals(0)
            .thresholds(&[(None, "red"), (Some(0.0), "orange"), (Some(0.5), "green")])
            .no_value("no task has ended")
            .instant(&format!("1 - {}", burn("3d")), "{{upstream}}"),
        Panel::lines(
            "Burn rate",
            "How many times faster than allowed errors happen. At 1 the budget is spent exactly. Pages fire at 14.4 (1 h) and 6 (6 h).",
        )
        .size(12, 7)
        .unit("short")
        .decimals(1)
        .limit(1.0)
        .no_value("no task has ended")
        .range(&burn("1h"), "{{upstream}} 1h")
        .range(&burn("6h"), "{{upstream}} 6h"),
    ]
}
