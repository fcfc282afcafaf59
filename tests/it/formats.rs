//! The formats and compressions of the page, read by the reference parsers, Prometheus and VictoriaMetrics.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::exporter::{Exporter, PATIENCE, QUICK, client};
use crate::known::now;
use crate::prometheus::{KillOnDrop, free_port, peer, start};
use crate::upstream::{Upstream, row};

/// The counter after all tasks ended; then every page has the same values.
const ENDED: &str = "videogen_tasks_finished_total{upstream=\"g\\\"w\\\\\",provider=\"new_api\",model=\"m\\\"\\\\\",label_team=\"a\\\"b\\\\c é\",status=\"succeeded\"} 24";

/// Ids with special characters, and one that is too long for an exemplar.
fn ids() -> Vec<String> {
    let mut ids: Vec<String> = (0..22).map(|n| format!("t{n}")).collect();
    ids.extend(["q\"\\{}".to_owned(), "x".repeat(200), "bad".to_owned()]);
    ids
}

/// An exporter whose tasks have ended: 24 succeeded after 70 s, one failed.
async fn start_with_ended_tasks(folder: &Path) -> (Exporter, Upstream) {
    let gateway = Upstream::start("127.0.0.1:0").await;
    let finished = now() / 1000 - 5;
    for id in ids() {
        let path = percent(&id);
        let word = if id == "bad" { "FAILURE" } else { "SUCCESS" };
        let done = row(&json!({"task_id": id, "status": word, "progress": "100%", "submit_time": finished - 70,
            "start_time": finished - 69, "finish_time": finished, "properties": {"origin_model_name": "m\"\\"},
            "fail_reason": if word == "FAILURE" { "quota exceeded" } else { "" }}));
        gateway.script(&path, vec![done]);
    }
    let upstreams = json!([{
        "name": "g\"w\\", "provider": "new_api", "base_url": format!("http://{}", gateway.address),
        "static_configs": [{"targets": ids(), "labels": {"team": "a\"b\\c é"}}],
    }]);
    let quick = QUICK.replace("zero_hold: 0s", "zero_hold: 0s, created_lines: true, aggregate_labels: [team]");
    let config = format!("{quick}tasks: {{recheck_ended: 0s, count_since: always}}\nupstreams: {upstreams}\n");
    let exporter = Exporter::start(&config, folder).await;
    exporter.wait_for(&[ENDED]).await;
    (exporter, gateway)
}

fn percent(id: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    id.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// The headers and the raw body of a scrape.
async fn scrape(address: SocketAddr, accept: &str, coding: &str) -> (BTreeMap<String, String>, Vec<u8>) {
    let request = reqwest::Client::new().get(format!("http://{address}/metrics"));
    let answer = request.header("Accept", accept).header("Accept-Encoding", coding).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let headers = answer.headers().iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    (headers.collect(), answer.bytes().await.unwrap().to_vec())
}

const OPEN: &str = "application/openmetrics-text;version=1.0.0";
const PROTO: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

/// Whether a metric differs from scrape to scrape.
fn is_volatile(name: &str) -> bool {
    name.starts_with("process_")
        || name.contains("_render_")
        || name.contains("_exposition_")
        || name.contains("commit_duration")
        || name.contains("state_bytes")
}

type Samples = BTreeMap<String, Value>;

/// A page in the reference parser: value by series, exemplar by series, and all rows.
fn read(folder: &Path, form: &str, coding: &str, body: &[u8]) -> (Samples, BTreeMap<String, Value>, Vec<Value>) {
    let file = folder.join("page");
    fs::write(&file, body).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate::prometheus::assert_is_real_test();
    let python = root.join(".peers/python/bin/python");
    let output = Command::new(python).arg(root.join("tests/it/read_page.py")).args([form, coding]).arg(file).output();
    let output = output.expect("Python packages are missing; run ./tests/peers");
    assert!(output.status.success(), "{form} {coding}: {}", String::from_utf8_lossy(&output.stderr));
    let (mut samples, mut exemplars) = (BTreeMap::new(), BTreeMap::new());
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    for row in &rows {
        let name = row[0].as_str().unwrap();
        if is_volatile(name) || name.ends_with("_created") {
            continue;
        }
        let series = format!("{name}{}", row[1]);
        if !row[3].is_null() {
            exemplars.insert(series.clone(), row[3].clone());
        }
        assert!(samples.insert(series, row[2].clone()).is_none(), "duplicate series: {row}");
    }
    (samples, exemplars, rows)
}

#[tokio::test(flavor = "multi_thread")]
async fn real_reference_parsers_read_equal_samples_from_both_text_formats_and_from_gzip() {
    let folder = tempfile::tempdir().unwrap();
    let (exporter, _gateway) = start_with_ended_tasks(folder.path()).await;
    let (headers, plain) = scrape(exporter.address, "*/*", "identity").await;
    assert_eq!(headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!((headers.get("content-encoding"), headers["vary"].as_str()), (None, "Accept, Accept-Encoding"));
    let (text, none, _) = read(folder.path(), "text", "identity", &plain);
    assert!(text.len() > 1000 && none.is_empty(), "{}", text.len());
    for (accepted, coding) in
        [("identity", "identity"), ("gzip", "gzip"), ("zstd", "identity"), ("zstd, gzip;q=0.5", "gzip")]
    {
        let (headers, body) = scrape(exporter.address, OPEN, accepted).await;
        assert_eq!(headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
        assert_eq!(headers.get("content-encoding").map_or("identity", String::as_str), coding);
        let (open, exemplars, rows) = read(folder.path(), "openmetrics", coding, &body);
        assert_eq!(open.keys().collect::<Vec<_>>(), text.keys().collect::<Vec<_>>(), "{coding}");
        assert_eq!(open, text, "{coding}");
        // Each kind of counter has exemplars; the id that is too long has none.
        let named: BTreeSet<(&str, &str)> = exemplars
            .iter()
            .map(|(series, exemplar)| (series.split('{').next().unwrap(), exemplar[0]["task_id"].as_str().unwrap()))
            .collect();
        let families: BTreeSet<&str> = named.iter().map(|(name, _)| *name).collect();
        assert_eq!(
            families,
            BTreeSet::from([
                "videogen_task_failures_total",
                "videogen_task_latency_seconds_bucket",
                "videogen_tasks_finished_total"
            ])
        );
        assert!(named.contains(&("videogen_task_failures_total", "bad")), "{named:?}");
        assert!(named.iter().all(|(_, id)| ids().iter().any(|known| known == id && id.len() < 200)), "{named:?}");
        let latency = exemplars.iter().find(|(series, _)| series.contains("latency") && series.contains("succeeded"));
        assert_eq!(latency.map(|(_, exemplar)| exemplar[1].as_f64().unwrap()), Some(70.0));
        let created = rows.iter().filter(|row| row[0].as_str().unwrap().ends_with("_created"));
        assert!(created.clone().count() > 50 && created.clone().all(|row| row[2].as_f64().unwrap() > 1.7e9));
        // Every sample belongs to a family; for example, gauges have no `_created`.
        assert!(rows.iter().all(|row| row[4] != "unknown"), "{rows:?}");
        let unit = |name: &str| rows.iter().find(|row| row[0] == name).map(|row| row[5].as_str().unwrap().to_owned());
        assert_eq!(unit("videogen_task_duration_seconds").as_deref(), Some("seconds"));
        assert_eq!(unit("videogen_task_progress_ratio").as_deref(), Some("ratio"));
        if coding == "identity" {
            assert!(body.ends_with(b"# EOF\n"));
        } else {
            assert!(body.len() * 5 < plain.len(), "{coding}: {} of {}", body.len(), plain.len());
        }
    }
    // Protobuf families are delimited by their lengths, without other bytes.
    let (headers, proto) = scrape(exporter.address, PROTO, "gzip;q=0").await;
    assert!(headers["content-type"].starts_with("application/vnd.google.protobuf; proto=io.prometheus.client"));
    let (mut at, mut families) = (0, 0);
    while at < proto.len() {
        let (mut length, mut shift) = (0, 0);
        loop {
            length |= usize::from(proto[at] & 0x7f) << shift;
            shift += 7;
            at += 1;
            if proto[at - 1] < 0x80 {
                break;
            }
        }
        at += length;
        families += 1;
    }
    assert!(at == proto.len() && families > 40, "{families} families end at {at} of {}", proto.len());
    // Metrics about the page itself.
    let page = exporter.page().await;
    assert!(page.contains("videogen_exporter_exposition_bytes{format=\"openmetrics\"}"), "{page}");
    assert!(page.contains("videogen_exporter_render_duration_seconds "), "{page}");
    exporter.stop().await;
}

/// Requests the API of Prometheus; `None` while it is not ready.
async fn api(port: u16, path: &str, query: &[(&str, &str)]) -> Option<Value> {
    let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let request = videogen_exporter::http::Request { query, ..videogen_exporter::http::Request::get(path.split('/')) };
    let response = client(([127, 0, 0, 1], port).into()).send(&request, None).await.ok()?;
    let answer: Value = serde_json::from_slice(&response.body.ok()?).ok()?;
    (answer["status"] == "success").then(|| answer["data"].clone())
}

/// The values of an instant query, by series without its job; native histograms are omitted.
async fn values(port: u16, promql: &str) -> BTreeMap<String, String> {
    let data = api(port, "api/v1/query", &[("query", promql)]).await.unwrap_or_default();
    let rows = data["result"].as_array().cloned().unwrap_or_default();
    let value = |row: &Value| {
        let mut labels = row["metric"].clone();
        labels.as_object_mut()?.remove("job");
        Some((labels.to_string(), row["value"][1].as_str()?.to_owned()))
    };
    rows.iter().filter_map(value).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn real_prometheus_reads_equal_samples_from_each_format_and_the_exemplars() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (exporter, _gateway) = start_with_ended_tasks(folder.path()).await;
    let job = |name: &str, protocol: &str, more: &str| {
        format!(
            "- {{job_name: {name}, scrape_protocols: [{protocol}], {more} static_configs: [{{targets: ['{}']}}]}}\n",
            exporter.address
        )
    };
    let config = format!(
        "global: {{scrape_interval: 500ms}}\nscrape_configs:\n{}{}{}",
        job("text", "PrometheusText0.0.4", ""),
        job("open", "OpenMetricsText1.0.0", ""),
        job("proto", "PrometheusProto", "always_scrape_classic_histograms: true,"),
    );
    fs::write(at("p.yml"), config).unwrap();
    let port = free_port();
    let _prometheus: KillOnDrop = start(
        peer("prometheus")
            .args(["--enable-feature=native-histograms,exemplar-storage"])
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg(format!("--config.file={}", at("p.yml").display()))
            .arg(format!("--storage.tsdb.path={}", at("data").display())),
        &at("prometheus.log"),
    );
    let deadline = Instant::now() + PATIENCE;
    // Several scrapes of each job, so that none is incomplete.
    while values(port, "count(count_over_time(up[1m]) >= 3 and up == 1) == 3").await.is_empty() {
        let log = || fs::read_to_string(at("prometheus.log")).unwrap();
        assert!(Instant::now() < deadline, "not every job is up: {}", log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let of = |job: &str| {
        // Without metrics that differ from scrape to scrape or exist in one format only.
        format!(
            "{{job=\"{job}\",__name__=~\"videogen_.+\",__name__!~\".*_created|.*commit_duration.*|.*_render_.*|.*_exposition_.*\"}}"
        )
    };
    let (text, open, proto) =
        (values(port, &of("text")).await, values(port, &of("open")).await, values(port, &of("proto")).await);
    assert!(text.len() > 1000, "{}", text.len());
    assert_eq!(text, open);
    assert_eq!(text, proto);

    for job in ["open", "proto"] {
        let query = format!("videogen_task_latency_seconds_bucket{{job=\"{job}\",status=\"succeeded\"}}");
        let (start, end) = ((now() / 1000 - 600).to_string(), (now() / 1000 + 60).to_string());
        let found = api(port, "api/v1/query_exemplars", &[("query", &query), ("start", &start), ("end", &end)]).await;
        let found = found.unwrap();
        let id = found[0]["exemplars"][0]["labels"]["task_id"].as_str().unwrap_or_default().to_owned();
        assert!(ids().contains(&id), "{job}: {found}");
    }

    // The native and the classic histogram agree.
    let one = async |promql: &str| -> f64 {
        let found = values(port, promql).await;
        found.values().next().unwrap_or_else(|| panic!("{promql}")).parse().unwrap()
    };
    let series = "{job=\"proto\",status=\"succeeded\"}";
    let native = one(&format!("histogram_quantile(0.5, videogen_task_latency_seconds{series})")).await;
    let classic = one(&format!("histogram_quantile(0.5, videogen_task_latency_seconds_bucket{series})")).await;
    assert!((native - 70.0).abs() < 7.0 && (60.0..=90.0).contains(&classic), "{native} {classic}");
    let count = one(&format!("histogram_count(videogen_task_latency_seconds{series})")).await;
    let sum = one(&format!("histogram_sum(videogen_task_latency_seconds{series})")).await;
    assert!((count - 24.0).abs() < 0.1 && (sum - 24.0 * 70.0).abs() < 0.1, "{count} {sum}");
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_victoriametrics_reads_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (exporter, _gateway) = start_with_ended_tasks(folder.path()).await;
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: v, static_configs: [{{targets: ['{}']}}]}}]\n",
        exporter.address
    );
    fs::write(at("v.yml"), config).unwrap();
    let port = free_port();
    let _victoria = start(
        victoria()
            .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
            .arg(format!("-promscrape.config={}", at("v.yml").display()))
            .arg(format!("-storageDataPath={}", at("data").display()))
            .arg("-search.latencyOffset=0s"),
        &at("victoria.log"),
    );
    let page = exporter.page().await;
    let tasks = page.lines().filter(|line| line.starts_with("videogen_task_info{")).count();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = values(port, "count(videogen_task_info)").await;
        if found.values().next().is_some_and(|count| *count == tasks.to_string()) {
            break;
        }
        let log = || fs::read_to_string(at("victoria.log")).unwrap();
        assert!(Instant::now() < deadline, "{found:?} of {tasks}: {}", log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let finished = values(port, "sum(videogen_tasks_finished_total)").await;
    assert_eq!(finished.values().next().map(String::as_str), Some("25"));
    exporter.stop().await;
}

/// VictoriaMetrics; `peer` cannot be used because it has no `--version`.
fn victoria() -> Command {
    crate::prometheus::assert_is_real_test();
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join(".peers/usr/bin/victoria-metrics");
    Command::new(if fetched.exists() { fetched } else { "victoria-metrics".into() })
}
