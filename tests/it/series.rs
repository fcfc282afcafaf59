//! Limits on series: label sets of counters, and tasks with series of their own.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::json;

use crate::exporter::{Exporter, QUICK, value};
use crate::upstream::{Upstream, row, status};

/// The label sets of a family on a page, without labels of its own.
fn label_sets(page: &str, family: &str) -> BTreeSet<String> {
    let lines = page.lines().filter_map(|line| line.strip_prefix(family)?.strip_prefix('{'));
    lines.map(|line| line.split(",status=").next().unwrap().split('}').next().unwrap().to_owned()).collect()
}

fn sum(page: &str, family: &str) -> f64 {
    let lines = page.lines().filter(|line| line.starts_with(&format!("{family}{{")));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// A configuration of tasks t0 to t59, each with a team and a model of its own.
fn many_labels(folder: &Path, gateway: &Upstream, max: usize) {
    let group =
        |n| json!({"targets": [format!("t{n}")], "labels": {"app": format!("a{}", n % 2), "team": format!("x{n}")}});
    fs::write(folder.join("ids.json"), json!((0..60).map(group).collect::<Vec<_>>()).to_string()).unwrap();
    let limit = format!("zero_hold: 0s, aggregate_labels: [team, app], max_label_sets: {max}");
    let text = format!(
        "{}state: {{sqlite: {{path: s.db}}}}\nupstreams: [{{name: gw, provider: new_api, base_url: 'http://{}', \
         file_sd_configs: [{{files: [ids.json]}}]}}]\n",
        QUICK.replace("zero_hold: 0s", &limit),
        gateway.address
    );
    fs::write(folder.join("c.yml"), text).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn label_sets_are_limited_as_a_product_and_stay_the_same_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Upstream::start("127.0.0.1:0").await;
    for n in 0..60 {
        let model = json!({"origin_model_name": format!("m{n}")});
        gateway.script(&format!("t{n}"), vec![row(&json!({"status": "IN_PROGRESS", "properties": model}))]);
    }
    many_labels(folder.path(), &gateway, 50);
    let file = folder.path().join("c.yml");
    let exporter = Exporter::start_file(&file).await;
    let full = "videogen_exporter_label_sets{upstream=\"gw\"} 50";
    let mut page = exporter.wait_for(&[full, "videogen_exporter_label_sets_limit 50"]).await;
    while sum(&page, "videogen_tasks_submitted_total") < 60.0 {
        page = exporter.page().await;
    }
    let sets = label_sets(&page, "videogen_tasks");
    assert_eq!((sets.len(), &sets), (50, &label_sets(&page, "videogen_tasks_submitted_total")));
    assert!((sum(&page, "videogen_tasks") - 60.0).abs() < 0.1, "every task is in one of them");
    let at = |set: &str| sets.iter().any(|known| known.contains(set));
    assert!(at("label_app=\"other\",label_team=\"x"), "the last label of the configuration folds first: {sets:?}");
    assert!(at("model=\"other\",label_app=\"other\",label_team=\"other\""), "{sets:?}");
    assert!(value(&page, "videogen_exporter_label_sets_folded_total{upstream=\"gw\"}").unwrap() > 60.0);

    // A lower limit folds new sets only.
    many_labels(folder.path(), &gateway, 20);
    exporter.reload_and_wait().await;
    let lower = "videogen_exporter_label_sets_limit 20";
    assert_eq!(label_sets(&exporter.wait_for(&[full, lower]).await, "videogen_tasks"), sets);
    exporter.stop().await;
    let exporter = Exporter::start_file(&file).await;
    let page = exporter.wait_for(&[full, lower]).await;
    assert_eq!(label_sets(&page, "videogen_tasks"), sets);
    assert!((sum(&page, "videogen_tasks_submitted_total") - 60.0).abs() < 0.1);
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_with_many_tasks_leaves_the_others_their_series() {
    let gateway = Upstream::start("127.0.0.1:0").await;
    let ids = |letter: char, count| (0..count).map(|n| format!("{letter}{n}")).collect::<Vec<_>>();
    let upstream = |name: &str, ids: &[String]| {
        for id in ids {
            gateway.script(id, vec![status("IN_PROGRESS")]);
        }
        let ids = ids.join(", ");
        let address = &gateway.address;
        format!(
            "- {{name: {name}, provider: new_api, base_url: 'http://{address}', static_configs: [{{targets: [{ids}]}}]}}\n"
        )
    };
    let (big, small) = (upstream("big", &ids('b', 30)), upstream("small", &ids('s', 4)));
    let head = QUICK.replace("zero_hold: 0s", "zero_hold: 0s, max_task_series: 10");
    let exporter = Exporter::start(&format!("{head}upstreams:\n{big}{small}"), Path::new(".")).await;
    let page = exporter
        .wait_for(&["videogen_exporter_task_series_tasks 10", "videogen_exporter_task_series_refused_total 24"])
        .await;
    let tasks = |upstream: &str| page.matches(&format!("videogen_task_info{{upstream=\"{upstream}\"")).count();
    assert_eq!((tasks("big"), tasks("small")), (6, 4));
    exporter.stop().await;
}
