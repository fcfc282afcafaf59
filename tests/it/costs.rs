//! Money from real servers: costs and charges against a simulated gateway, and balances of accounts that answer in every way.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::exporter::{Exporter, PATIENCE, QUICK, value};
use crate::server::Server;
use crate::simulation::Simulation;

/// The sum of the values of a family's series.
fn sum(page: &str, start: &str) -> f64 {
    let rows = page.lines().filter(|line| line.starts_with(start)).filter_map(|line| line.rsplit_once(' '));
    rows.map(|(_, value)| value.parse::<f64>().unwrap()).sum()
}

fn count(page: &str, start: &str) -> usize {
    page.lines().filter(|line| line.starts_with(start)).count()
}

fn is_near(left: f64, right: f64) -> bool {
    (left - right).abs() < 1e-6
}

/// Costs by token, second and clip; Veo has no rule.
const PRICES: &str = "pricing:\n  rates: {CNY: 0.14}\n  budgets: [{name: all, per: month, amount: 100}]\n  rules:\n  \
    - {match: {model: '*seedance*'}, currency: CNY, price: {per: token, amount: 46, each: 1000000}}\n  \
    - {match: {model: 'sora-2'}, price: {per: second, amount: 0.1}}\n  \
    - {match: {model: 'kling*'}, price: {per: second, amount: 0.07}, charge_on: {failed: true}}\n  \
    - {match: {model: 'happyhorse*'}, price: {per: second, amount: 0.123769}}\n  \
    - {match: {model: 'MiniMax*'}, price: {per: clip, amount: 0.28}}\n";

#[tokio::test]
async fn the_costs_of_tasks_are_the_counters_and_the_budget_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let simulation = Simulation::start(60, 40.0).await;
    let file = folder.path().join("test.yml");
    let text = format!(
        "{QUICK}tasks: {{count_since: always, recheck_ended: 0s}}\nstate: {{sqlite: {{path: s.db}}}}\n{PRICES}upstreams:\n\
         - name: gw\n  provider: new_api\n  base_url: http://{}\n  quota_per_unit: auto\n  balance: {{refresh_interval: 1s}}\n  \
         static_configs: [{{targets: {}}}]\n",
        simulation.address,
        serde_json::to_string(&simulation.ids()).unwrap(),
    );
    std::fs::write(&file, &text).unwrap();
    let exporter = Exporter::start_file(&file).await;
    let is_settled = |page: &str| {
        let active = ["queued", "running", "unknown"].map(|status| {
            let of_status = |line: &&str| line.contains(&format!("status=\"{status}\"")) && !line.ends_with(" 0");
            page.lines().filter(|line| line.starts_with("videogen_tasks{")).filter(of_status).count()
        });
        let charged = sum(page, "videogen_charged_total{");
        active == [0; 3] && charged > 0.0 && is_near(charged, sum(page, "videogen_quota_total{") / 500_000.0)
    };
    let began = Instant::now();
    let page = loop {
        let page = exporter.page().await;
        // Every quota is settled 2 to 5 seconds after its end.
        if began.elapsed() > Duration::from_secs(8) && is_settled(&page) {
            break page;
        }
        assert!(began.elapsed() < PATIENCE, "{page}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let check = |page: &str| {
        let cost = sum(page, "videogen_cost_total{");
        assert!(cost > 5.0 && is_near(cost, sum(page, "videogen_task_cost{")), "{page}");
        assert!(is_near(cost, sum(page, "videogen_budget_spent{")), "{page}");
        assert!(
            is_near(sum(page, "videogen_charged_total{"), sum(page, "videogen_quota_total{") / 500_000.0),
            "{page}"
        );
        cost
    };
    let cost = check(&page);
    let ends = sum(&page, "videogen_tasks_finished_total{");
    let unpriced = sum(&page, "videogen_unpriced_tasks_total{");
    let priced = count(&page, "videogen_task_cost{");
    assert!(
        (ends - unpriced - f64::from(u32::try_from(priced).unwrap())).abs() < 0.5,
        "each end is priced or not: {page}"
    );
    assert!(sum(&page, "videogen_token_deviation_ratio_count{") > 0.0, "{page}");
    assert!(sum(&page, "videogen_task_vendor_latency_seconds_count{") > 0.0, "{page}");
    let balance = value(&page, "videogen_account_balance{currency=\"USD\",upstream=\"gw\"}").unwrap();
    let used = value(&page, "videogen_account_used{currency=\"USD\",upstream=\"gw\"}").unwrap();
    assert!(is_near(balance + used, 1000.0) && used > 1.0, "{page}");
    exporter.stop().await;
    let exporter = Exporter::start_file(&file).await;
    let again = exporter.page().await;
    assert!(is_near(check(&again), cost), "{again}");
    exporter.stop().await;
    // An upstream that is removed has spent what it has.
    std::fs::write(&file, text.replace("name: gw", "name: renamed")).unwrap();
    let exporter = Exporter::start_file(&file).await;
    let page = exporter.page().await;
    assert!(!page.contains("upstream=\"gw\"") && sum(&page, "videogen_budget_spent{") + 1e-6 >= cost, "{page}");
    exporter.stop().await;
}

/// What an account answers to a path; `None` for an unknown one.
type Account = fn(&str) -> Option<Value>;

/// A server with this account, which can be broken; it notes the keys and paths of requests.
async fn account_server(account: Account) -> (Server, Arc<Mutex<bool>>, Arc<Mutex<Vec<String>>>) {
    let (broken, asked) = (Arc::new(Mutex::new(false)), Arc::new(Mutex::new(Vec::new())));
    let (is_broken, log) = (broken.clone(), asked.clone());
    let server = Server::start(move |request: &Request| -> Response {
        let path = request.uri().path_and_query().unwrap().to_string();
        let header = |name: &str| request.headers().get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
        log.lock().unwrap().push(format!("{path} {} {}", header("authorization"), header("new-api-user")));
        if *is_broken.lock().unwrap() {
            return (StatusCode::BAD_GATEWAY, "<html>").into_response();
        }
        match account(&path) {
            Some(body) => Response::new(Body::from(body.to_string())),
            None => (StatusCode::NOT_FOUND, "{}").into_response(),
        }
    });
    (server.await, broken, asked)
}

async fn start(folder: &Path, server: &Server, upstream: &str) -> Exporter {
    std::fs::write(folder.join("key"), "sk-key").unwrap();
    std::fs::write(folder.join("dashboard"), "dash-token").unwrap();
    let text = format!(
        "{QUICK}upstreams:\n- {{name: gw, base_url: 'http://{}', authorization: {{credentials_file: key}}, {upstream}}}\n",
        server.0
    );
    Exporter::start(&text, folder).await
}

const BALANCE: &str = "videogen_account_balance{currency=\"USD\",upstream=\"gw\"}";
const USED: &str = "videogen_account_used{currency=\"USD\",upstream=\"gw\"}";

fn new_api(path: &str) -> Option<Value> {
    Some(match path {
        "/api/status" => {
            json!({"success": true, "data": {"quota_per_unit": 500_000, "quota_display_type": "CNY", "price": 7.3}})
        }
        "/api/usage/token/" => json!({"code": true, "message": "ok", "data": {"total_granted": 1_997_350_000,
            "total_used": 488_985_850, "total_available": 1_508_364_150, "unlimited_quota": false}}),
        "/api/user/self" => json!({"success": true, "data": {"quota": 2_500_000, "used_quota": 500_000}}),
        _ => return None,
    })
}

#[tokio::test]
async fn a_balance_is_that_of_the_key_or_with_the_dashboards_token_of_the_account() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _, asked) = account_server(new_api).await;
    let of_key = start(folder.path(), &server, "provider: tokenhot, balance: {refresh_interval: 1s}").await;
    of_key.wait_for(&[&format!("{BALANCE} 3016.7283"), &format!("{USED} 977.9717")]).await;
    of_key.stop().await;
    assert!(asked.lock().unwrap().contains(&"/api/usage/token/ Bearer sk-key -".to_owned()), "{asked:?}");
    assert!(asked.lock().unwrap().contains(&"/api/status - -".to_owned()), "public: it is asked without a key");
    asked.lock().unwrap().clear();
    let list = "list_configs: [{authorization: {credentials_file: dashboard}, user_id: '42', discover: false}]";
    let fixed = "quota_per_unit: {value: 250000, currency: CNY}";
    let of_account = start(
        folder.path(),
        &server,
        &format!("provider: tokenhot, balance: {{refresh_interval: 1s}}, {list}, {fixed}"),
    )
    .await;
    let cny = |line: &str| line.replace("USD", "CNY");
    let page = of_account.wait_for(&[&format!("{} 10", cny(BALANCE)), &format!("{} 2", cny(USED))]).await;
    assert_eq!(value(&page, BALANCE), None);
    assert!(asked.lock().unwrap().contains(&"/api/user/self Bearer dash-token 42".to_owned()), "{asked:?}");
    assert!(
        !asked.lock().unwrap().iter().any(|request| request.starts_with("/api/status")),
        "its units are configured"
    );
    of_account.stop().await;
}

#[tokio::test]
async fn a_balance_that_fails_is_absent_after_three_intervals_and_never_zero() {
    let folder = tempfile::tempdir().unwrap();
    let (server, broken, _) = account_server(new_api).await;
    let exporter = start(folder.path(), &server, "provider: tokenhot, balance: {refresh_interval: 1s}").await;
    exporter.wait_for(&[&format!("{BALANCE} 3016.7283")]).await;
    *broken.lock().unwrap() = true;
    let since = Instant::now();
    let failed =
        "videogen_upstream_request_errors_total{operation=\"balance\",reason=\"server_error\",upstream=\"gw\"}";
    let page = loop {
        let page = exporter.page().await;
        match value(&page, BALANCE) {
            None => break page,
            found => assert_eq!(found, Some(3016.7283), "the last value or none"),
        }
        assert!(since.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(value(&page, failed).unwrap() >= 2.0, "{page}");
    assert_eq!(
        (value(&page, USED), value(&page, "videogen_upstream_up{upstream=\"gw\"}")),
        (None, None),
        "it tells nothing of polls"
    );
    let last = "videogen_account_last_success_timestamp_seconds{upstream=\"gw\"}";
    assert!(value(&page, last).is_some());
    *broken.lock().unwrap() = false;
    exporter.wait_for(&[&format!("{BALANCE} 3016.7283")]).await;
    exporter.stop().await;
}

#[tokio::test]
async fn other_accounts_are_read_where_they_are_and_unlimited_ones_have_no_balance() {
    let unlimited: Account = |path| match path {
        "/api/usage/token/" => {
            Some(json!({"code": true, "data": {"total_available": 0, "total_used": 0, "unlimited_quota": true}}))
        }
        other => new_api(other),
    };
    let old: Account = |path| match path {
        "/v1/dashboard/billing/subscription" => {
            Some(json!({"object": "billing_subscription", "hard_limit_usd": 3994.7}))
        }
        "/v1/dashboard/billing/usage" => Some(json!({"object": "list", "total_usage": 97797.17})),
        _ => None,
    };
    let absurd: Account = |path| match path {
        "/v1/dashboard/billing/subscription" => Some(json!({"hard_limit_usd": -7.9e28})),
        "/v1/dashboard/billing/usage" => Some(json!({"total_usage": 7.9e28})),
        _ => None,
    };
    let own: Account = |path| (path == "/v1/me?unit=cent").then(|| json!({"data": {"left": "1250", "spent": 50}}));
    let broke: Account = |path| match path {
        "/api/usage/token/" => Some(json!({"message": "This token status is unavailable", "success": false})),
        other => new_api(other),
    };
    let custom = "balance: {refresh_interval: 1s, custom: {path: '/v1/me?unit=cent', fields: {balance: /data/left, used: /data/spent}, currency: USD, each: 100}}";
    let plain = "provider: tokenhot, balance: {refresh_interval: 1s}";
    let custom = format!("provider: kling, {custom}");
    for (account, upstream, balance, used, is_read) in [
        (unlimited, plain, None, None, true),
        (old, plain, Some(3016.7283), Some(977.9717), true),
        (absurd, plain, None, Some(7.9e26), true),
        (own, custom.as_str(), Some(12.5), Some(0.5), true),
        (broke, plain, None, None, false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (server, _, asked) = account_server(account).await;
        let exporter = start(folder.path(), &server, upstream).await;
        let deadline = Instant::now() + PATIENCE;
        // The second time round, what the first answer has taught is known.
        while asked.lock().unwrap().len() < 6 {
            assert!(Instant::now() < deadline, "{asked:?}");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        let page = exporter.page().await;
        assert_eq!((value(&page, BALANCE), value(&page, USED)), (balance, used), "{upstream} {asked:?}");
        assert_eq!(page.contains("videogen_account_last_success_timestamp_seconds{"), is_read, "{page}");
        exporter.stop().await;
    }
}
