//! The cost dashboard, for whoever pays: what do tasks cost, what is left, and how long will they take?

use serde_json::json;

use super::grafana::{Dashboard, model, team, upstream, variables};
use super::panel::Panel;
use super::promql::{JOB, KEY, MODEL, UPSTREAM, grown, latency, quantile};
use super::slo;
use super::values::{by_name, colored};

pub fn dashboard() -> Dashboard {
    let panels = [now(), slo::objective(), spending(), budgets(), accounts(), expectations()];
    Dashboard {
        uid: "videogen-cost",
        title: "Videogen / Cost and SLO",
        description: "What do tasks cost, what is left to spend, and is the objective met? Costs need `pricing:` or upstreams that \
                      report costs: see docs/costs.md.",
        variables: variables([upstream(), model(), team()]),
        panels: panels.into_iter().flatten().collect(),
    }
}

fn cost() -> String {
    format!("videogen_cost_total{{{MODEL}}}")
}

/// The ten label sets with the most costs in the selected range.
fn most(by: &str, matchers: &str) -> String {
    format!("topk(10, {} > 0)", grown(by, &format!("videogen_cost_total{{{MODEL},{matchers}}}")))
}

/// What tasks without a result cost, by model.
fn wasted() -> String {
    let info = format!(r#"max by ({KEY}, model) (videogen_task_failure_info{{{MODEL},status!="cancelled"}})"#);
    format!(
        "topk(10, sum by (model, currency) (max by ({KEY}, currency) (videogen_task_cost{{{UPSTREAM}}}) \
         * on ({KEY}) group_left (model) {info}) > 0)"
    )
}

fn finished() -> String {
    format!("videogen_tasks_finished_total{{{MODEL}}}")
}

fn now() -> Vec<Panel> {
    let unpriced = grown("", &format!("videogen_unpriced_tasks_total{{{MODEL}}}"));
    let charged = grown("currency", &format!("videogen_charged_total{{{MODEL}}}"));
    let succeeded = grown("", &format!(r#"videogen_tasks_finished_total{{{MODEL},status="succeeded"}}"#));
    vec![
        Panel::row("In the selected range"),
        Panel::stat("Cost", "What ended tasks cost at their providers.")
            .size(5, 4)
            .unit("short")
            .decimals(2)
            .plain()
            .with_names()
            .no_value("no cost is known")
            .instant(&grown("currency", &cost()), "{{currency}}"),
        Panel::stat("Cost per hour", "Costs of the last hour.")
            .size(5, 4)
            .unit("short")
            .decimals(2)
            .plain()
            .with_names()
            .no_value("no cost is known")
            .instant(&format!("sum by (currency) (increase({}[1h]))", cost()), "{{currency}}"),
        Panel::stat("Cost of a success", "Costs divided by succeeded tasks: failures that are charged make it dearer.")
            .size(5, 4)
            .unit("short")
            .decimals(3)
            .plain()
            .with_names()
            .no_value("none succeeded")
            .instant(
                &format!("{} / on () group_left () ({succeeded} > 0)", grown("currency", &cost())),
                "{{currency}}",
            ),
        Panel::stat(
            "Charged",
            "What gateways charged for succeeded tasks, by their own units. Never add it to the cost.",
        )
        .size(5, 4)
        .unit("short")
        .decimals(2)
        .plain()
        .with_names()
        .no_value("no gateway with quota_per_unit")
        .instant(&charged, "{{currency}}"),
        Panel::stat("Without a cost", "Ended tasks whose cost is unknown. The costs here lack them.")
            .size(4, 4)
            .unit("short")
            .decimals(0)
            .thresholds(&[(None, "green"), (Some(0.5), "orange")])
            .instant(&format!("{unpriced} or vector(0)"), ""),
    ]
}

fn spending() -> Vec<Panel> {
    let hourly = |by: &str| format!("sum by ({by}) (increase({}[1h])) > 0", cost());
    let by = "upstream, model, currency";
    let columns = [
        ("upstream", "Upstream"),
        ("model", "Model"),
        ("currency", "Currency"),
        ("Value #A", "Cost"),
        ("Value #B", "Cost of a task"),
        ("Value #C", "Tasks"),
        ("Value #D", "Without a cost"),
        ("Value #E", "Seconds"),
        ("Value #F", "Tokens"),
    ];
    let by_task = "upstream, model";
    let tasks = grown(by_task, &finished());
    let unpriced = grown(by_task, &format!("videogen_unpriced_tasks_total{{{MODEL}}}"));
    vec![
        Panel::row("Spending"),
        Panel::stacked("Cost per hour by model", "Costs of the hour before each moment.")
            .unit("short")
            .no_value("no cost is known")
            .range(&hourly("model, currency"), "{{model}} {{currency}}"),
        Panel::stacked("Cost per hour by upstream", "Costs of the hour before each moment.")
            .unit("short")
            .no_value("no cost is known")
            .range(&hourly("upstream, currency"), "{{upstream}} {{currency}}"),
        Panel::bar_gauge("By team", "Costs of the selected range by team. It needs the aggregate label team.")
            .size(6, 7)
            .unit("short")
            .decimals(2)
            .thresholds(&[(None, "blue")])
            .no_value("no cost with a team")
            .instant(&most("label_team, currency", r#"label_team!~"|none""#), "{{label_team}} {{currency}}"),
        Panel::bar_gauge(
            "By source of the figure",
            "Where the costs of the selected range come from: reported by the upstream, metered by a price, or derived from a formula.",
        )
        .size(6, 7)
        .unit("short")
        .decimals(2)
        .thresholds(&[(None, "blue")])
        .no_value("no cost is known")
        .instant(&most("cost_source, currency", ""), "{{cost_source}} {{currency}}"),
        Panel::bar_gauge("Per second of video", "Costs divided by the seconds of video of succeeded tasks, in the selected range.")
            .size(6, 7)
            .unit("short")
            .decimals(3)
            .thresholds(&[(None, "blue")])
            .no_value("no length is told")
            .instant(
                &format!(
                    "topk(10, {} / on (model) group_left () ({} > 0))",
                    grown("model, currency", &cost()),
                    grown("model", &format!("videogen_video_seconds_total{{{MODEL}}}"))
                ),
                "{{model}} {{currency}}",
            ),
        Panel::bar_gauge(
            "Spent on tasks without a result",
            "Costs of failed, expired and lost tasks that are on /metrics now (tasks.retention).",
        )
        .size(6, 7)
        .unit("short")
        .decimals(2)
        .thresholds(&[(None, "orange")])
        .no_value("nothing")
        .instant(&wasted(), "{{model}} {{currency}}"),
        Panel::table(
            "Models",
            "Totals of the selected range. Without a cost: ended tasks that are not in the cost; the metric has the reason.",
        )
        .size(24, 9)
        .no_value("no task ended")
        .joined(&columns, &["Time"])
        .columns(vec![
            by_name("Cost", &[("decimals", json!(2))]),
            by_name("Cost of a task", &[("decimals", json!(3))]),
            by_name("Tasks", &[("decimals", json!(0))]),
            colored("Without a cost", "short", 0, &[(None, "transparent"), (Some(0.5), "orange")]),
            by_name("Seconds", &[("unit", json!("s")), ("decimals", json!(0))]),
            by_name("Tokens", &[("unit", json!("short")), ("decimals", json!(1))]),
        ])
        .sorted_by(&[("Cost", true)])
        .rows(&grown(by, &cost()))
        .rows(&format!("{} / on ({by_task}) group_left () ({tasks} > 0)", grown(by, &cost())))
        .rows(&tasks)
        .rows(&unpriced)
        .rows(&grown(by_task, &format!("videogen_video_seconds_total{{{MODEL}}}")))
        .rows(&grown(by_task, &format!("videogen_tokens_total{{{MODEL}}}"))),
    ]
}

fn budgets() -> Vec<Panel> {
    let spent = format!("sum by (budget, currency) (videogen_budget_spent{{{JOB}}})");
    let amount = format!("max by (budget, currency) (videogen_budget{{{JOB}}})");
    let end = format!("max by (budget) (videogen_budget_end_timestamp_seconds{{{JOB}}} - time())");
    let hours = format!("max by (budget, currency) (count_over_time(videogen_budget_spent{{{JOB}}}[7d:1h]))");
    let pace = format!("sum by (budget, currency) (increase(videogen_budget_spent{{{JOB}}}[7d])) / (3600 * {hours})");
    vec![
        Panel::row("Budgets"),
        Panel::bar_gauge(
            "Budgets",
            "How much of each budget is spent in its day, week or month (UTC). Alerts fire at 80 and 100 %.",
        )
        .size(8, 8)
        .unit("percentunit")
        .max(1.0)
        .thresholds(&[(None, "green"), (Some(0.8), "orange"), (Some(1.0), "red")])
        .no_value("no budget")
        .instant(&format!("{spent} / {amount}"), "{{budget}}"),
        Panel::bar_gauge(
            "At the end of the period",
            "What will be spent when the period ends, at the pace of the last seven days. An alert fires above 100 %.",
        )
        .size(8, 8)
        .unit("percentunit")
        .max(1.0)
        .thresholds(&[(None, "green"), (Some(0.8), "orange"), (Some(1.0), "red")])
        .no_value("no budget")
        .instant(&format!("({spent} + {pace} * on (budget) group_left () {end}) / {amount}"), "{{budget}}"),
        Panel::lines("Spent", "What was spent since the period of each budget began.")
            .size(8, 8)
            .legend_below()
            .unit("short")
            .no_value("no budget")
            .range(&spent, "{{budget}} {{currency}}"),
    ]
}

fn accounts() -> Vec<Panel> {
    let of = |metric: &str| format!("max by (upstream, currency) ({metric}{{{UPSTREAM}}})");
    let (balance, used) =
        (format!("videogen_account_balance{{{UPSTREAM}}}"), format!("videogen_account_used{{{UPSTREAM}}}"));
    let spent = |amount: &str| format!("(max by (upstream, currency) ({amount}) > 0)");
    let falls = format!("sum_over_time(clamp_min({balance} offset 5m - {balance}, 0)[1d:5m])");
    let pace = format!("{} or {}", spent(&format!("increase({used}[1d])")), spent(&falls));
    let days = format!("{} / ({pace})", of("videogen_account_balance"));
    vec![
        Panel::row("Accounts"),
        Panel::lines("Balance", "What the accounts at the upstreams still have.")
            .size(12, 7)
            .unit("short")
            .no_value("no account is read")
            .range(&of("videogen_account_balance"), "{{upstream}} {{currency}}"),
        Panel::stat(
            "Days left",
            "How long the balance lasts at the pace of the last 24 hours. An alert fires under three days.",
        )
        .size(6, 7)
        .unit("short")
        .decimals(1)
        .thresholds(&[(None, "red"), (Some(3.0), "orange"), (Some(7.0), "green")])
        .no_value("no account is read")
        .instant(&days, "{{upstream}}"),
        Panel::stat("Last read", "When each account was last read.")
            .size(6, 7)
            .unit("dateTimeAsIso")
            .plain()
            .no_value("no account is read")
            .instant(
                &format!("1000 * max by (upstream) (videogen_account_last_success_timestamp_seconds{{{UPSTREAM}}})"),
                "{{upstream}}",
            ),
    ]
}

fn expectations() -> Vec<Panel> {
    let vendor = format!(r#"videogen_task_vendor_latency_seconds_bucket{{{MODEL},status="succeeded"}}[1h]"#);
    let baseline =
        format!(r#"max by (upstream, model) (videogen_baseline_latency_seconds{{{MODEL},percentile="95"}})"#);
    let active = format!(r#"sum by (upstream, model) (videogen_tasks{{{MODEL},status=~"queued|running|unknown"}})"#);
    let deviation = |q: &str| quantile(q, "model", &format!("videogen_token_deviation_ratio_bucket{{{MODEL}}}[6h]"));
    vec![
        Panel::row("What to expect"),
        Panel::lines(
            "Latency p95 by who tells it",
            "Told: by the upstream. Observed: by the exporter, where the upstream tells no times. Vendor: what the provider behind a \
             gateway took itself; the rest is the gateway's.",
        )
        .unit("s")
        .no_value("none ended")
        .range(&latency("0.95", "model", MODEL, "1h"), "{{model}} {{latency_source}}")
        .range(&format!("{} >= 0", quantile("0.95", "model", &vendor)), "{{model}} vendor"),
        Panel::lines(
            "Baseline p95",
            "The 95th percentile of the last 500 succeeded tasks of each model. The expected finish of a task is its submission plus this.",
        )
        .unit("s")
        .no_value("fewer than 20 tasks of a model")
        .range(&baseline, "{{model}} at {{upstream}}"),
        Panel::stacked("Stuck tasks", "Active tasks that are older than tasks.stuck allows.")
            .size(8, 8)
            .unit("short")
            .no_value("none is stuck")
            .range(&format!("sum by (upstream, model) (videogen_tasks_stuck{{{MODEL}}}) > 0"), "{{model}} at {{upstream}}"),
        Panel::lines("Time to drain", "How long until all active tasks have ended, as fast as tasks ended in the last 15 minutes.")
            .size(8, 8)
            .legend_below()
            .unit("s")
            .no_value("none ended")
            .range(
                &format!("{active} / (sum by (upstream, model) (rate({}[15m])) > 0)", finished()),
                "{{model}} at {{upstream}}",
            ),
        Panel::lines(
            "Tokens reported / predicted",
            "Reported tokens divided by those of the vendor's published formula. Far from 1: another price, another format, or an error.",
        )
        .size(8, 8)
        .legend_below()
        .unit("short")
        .no_value("no model with a formula")
        .range(&format!("{} >= 0", deviation("0.50")), "p50 {{model}}")
        .range(&format!("{} >= 0", deviation("0.95")), "p95 {{model}}"),
    ]
}
