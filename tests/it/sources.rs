//! Sources of task ids with real servers: HTTP, lists that change while they are read, databases.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::{Value, json};
use videogen_exporter::config;
use videogen_exporter::domain::Timestamp;
use videogen_exporter::source::{Listing, Source};

use crate::exporter::{Exporter, PATIENCE, QUICK, value};
use crate::known::now;
use crate::server::Server;
use crate::upstream::{Upstream, status};

/// The source of an upstream with this configuration.
fn source(folder: &Path, provider: &str, address: SocketAddr, source: &str) -> Source {
    let text = format!("upstreams: [{{name: u, provider: {provider}, base_url: 'http://{address}', {source}}}]\n");
    let config = config::parse(&text, &folder.join("c.yml")).unwrap_or_else(|error| panic!("{error}"));
    Source::from_upstream(&config.upstreams[0]).remove(0).1
}

/// Reads all pages of a source into one listing.
async fn read_all(source: &mut Source) -> Listing {
    let mut whole = Listing { has_more: true, ..Listing::default() };
    while whole.has_more {
        let part = source.read().await;
        whole.requests.extend(part.requests);
        whole.errors += part.errors;
        whole.messages.extend(part.messages);
        (whole.tasks, whole.is_complete, whole.is_absent) = (part.tasks, part.is_complete, part.is_absent);
        (whole.is_truncated, whole.has_more) = (part.is_truncated, part.has_more);
        if whole.has_more {
            source.wait_until_due().await;
        }
    }
    whole
}

fn ids(listing: &Listing) -> BTreeSet<String> {
    listing.tasks.iter().map(|task| task.id.to_string()).collect()
}

fn set(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

#[tokio::test]
async fn an_http_source_is_refreshed_and_keeps_its_last_valid_list() {
    let reply: Arc<Mutex<(u16, String)>> = Arc::new(Mutex::new((
        200,
        r#"[{"targets": ["a", "b"], "labels": {"team": "x"}}, {"targets": ["c", ""]}]"#.into(),
    )));
    let requests: Arc<Mutex<Vec<HeaderMap>>> = Arc::default();
    let (current_reply, seen) = (reply.clone(), requests.clone());
    let server = Server::start(move |request| {
        seen.lock().unwrap().push(request.headers().clone());
        assert_eq!(request.uri(), "/ids/of%2Fours?kind=video");
        let (status, body) = current_reply.lock().unwrap().clone();
        let etag = format!("\"{}\"", body.len());
        if status == 200 && request.headers().get(header::IF_NONE_MATCH).is_some_and(|known| *known == *etag) {
            return StatusCode::NOT_MODIFIED.into_response();
        }
        (StatusCode::from_u16(status).unwrap(), [(header::ETAG, etag)], body).into_response()
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("k"), "sd-key\n").unwrap();
    let written = format!(
        "http_sd_configs: [{{url: 'http://{}/ids/of%2Fours?kind=video', refresh_interval: 7s, max_targets: 3, authorization: {{credentials_file: k}}}}]",
        server.0
    );
    let mut source = source(folder.path(), "new_api", server.0, &written);
    let first = source.read().await;
    assert_eq!((ids(&first), first.errors, first.is_complete), (set(&["a", "b", "c"]), 1, true));
    assert_eq!(first.tasks[0].labels["team"], "x");
    let again = source.read().await;
    assert_eq!((ids(&again), again.is_complete), (set(&["a", "b", "c"]), true));
    {
        let requests = requests.lock().unwrap();
        assert_eq!(requests[0]["x-prometheus-refresh-interval-seconds"], "7");
        assert_eq!(requests[0][header::AUTHORIZATION], "Bearer sd-key");
        assert!(requests[1].contains_key(header::IF_NONE_MATCH), "the request has the ETag of the last list");
    }
    let too_many = r#"[{"targets": ["p", "q"]}, {"targets": ["r", "s"]}]"#;
    for (status, body) in [
        (200, too_many),
        (200, "[{\"targets\": [\"z\""),
        (500, "[]"),
        (404, "[]"),
        (200, "{}"),
        (200, "<html>"),
        (304, ""),
    ] {
        *reply.lock().unwrap() = (status, body.to_owned());
        let bad = source.read().await;
        let expected = u64::from(status != 304);
        assert_eq!((ids(&bad), bad.errors), (set(&["a", "b", "c"]), expected), "{status} {body}");
        assert_eq!(bad.is_complete, status == 304, "{status} {body}");
    }
    *reply.lock().unwrap() = (200, "[]".to_owned());
    let none = source.read().await;
    assert_eq!((ids(&none), none.errors, none.is_complete), (set(&[]), 0, true));
    assert!(!source.identity().contains("ours"), "a URL may hold a secret");
}

/// A list of tasks that grows while its pages are read.
struct ChangingList {
    /// Newest first: id and submit time, in seconds.
    tasks: Vec<(String, u64)>,
    created: usize,
    /// The clock skew of the server, in seconds.
    skew: i64,
    /// The most new tasks before each page.
    max_new_per_page: usize,
    chance: fastrand::Rng,
}

impl ChangingList {
    fn add_tasks(&mut self, count: usize, ago: u64) {
        for _ in 0..count {
            let at = (now() / 1000).checked_add_signed(self.skew).unwrap() - ago;
            self.tasks.insert(0, (format!("t{}", self.created), at));
            self.created += 1;
        }
    }

    fn page(&mut self, request: &Request) -> (Vec<(String, u64)>, usize) {
        let count = self.chance.usize(0..=self.max_new_per_page);
        self.add_tasks(count, 0);
        let query = request.uri().query().unwrap_or_default();
        let text = |name: &str| {
            let found = query.split('&').filter_map(|pair| pair.split_once('='));
            found.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).next()
        };
        let number = |names: &[&str]| names.iter().find_map(|name| text(name)?.parse::<usize>().ok());
        let size = number(&["page_size", "pageSize", "limit"]).unwrap().min(10);
        let since = number(&["start_timestamp"]).unwrap_or(0) as u64;
        let window = |name: &str| {
            let civil = jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", text(name)?).unwrap();
            let at = civil.to_zoned(jiff::tz::TimeZone::fixed(jiff::tz::offset(8))).unwrap().timestamp();
            u64::try_from(at.as_second()).ok()
        };
        let (since, until) = (window("start_time").unwrap_or(since), window("end_time").unwrap_or(u64::MAX));
        assert!(until.saturating_sub(since) <= 86_400 || until == u64::MAX, "a window is at most a day");
        let wanted = |at: &u64| (since..=until).contains(at);
        let there: Vec<_> = self.tasks.iter().filter(|(_, at)| wanted(at)).cloned().collect();
        let from = match text("after") {
            Some(after) => there.iter().position(|(id, _)| *id == after).map_or(there.len(), |place| place + 1),
            None => number(&["p", "page_num", "pageNum", "page_no"]).map_or(0, |number| (number - 1) * size),
        };
        (there.iter().skip(from).take(size).cloned().collect(), there.len())
    }
}

/// A page in the format of a provider.
fn page(provider: &str, tasks: &[(String, u64)], total: usize) -> Value {
    let each = |entry: fn(&str, u64) -> Value| tasks.iter().map(|(id, at)| entry(id, *at)).collect::<Vec<_>>();
    match provider {
        "new_api" => {
            let rows =
                each(|id, at| json!({"task_id": id, "status": "IN_PROGRESS", "submit_time": at, "progress": "30%"}));
            json!({"success": true, "message": "", "data": {"page": 1, "page_size": 10, "total": total, "items": rows}})
        }
        "ark" => {
            json!({"items": each(|id, at| json!({"id": id, "status": "running", "created_at": at, "updated_at": at, "model": "m"})), "total": total})
        }
        "kling" => {
            json!({"code": 0, "message": "", "data": each(|id, at| json!({"task_id": id, "task_status": "processing", "created_at": at * 1000, "updated_at": at * 1000}))})
        }
        "openai_videos" => {
            json!({"object": "list", "data": each(|id, at| json!({"id": id, "object": "video", "status": "in_progress", "created_at": at, "model": "sora-2"}))})
        }
        "minimax_hailuo" => {
            json!({"items": each(|id, at| json!({"id": id, "status": "running", "created_at": at, "updated_at": at, "model": "m"})), "total": total})
        }
        _ => {
            json!({"request_id": "r", "data": each(|id, at| json!({"task_id": id, "status": "RUNNING", "start_time": at * 1000, "gmt_create": at * 1000})), "total": total})
        }
    }
}

const LISTS: [&str; 6] = ["new_api", "ark", "kling", "openai_videos", "minimax_hailuo", "dashscope"];

#[tokio::test]
async fn every_task_of_a_changing_list_is_found_once() {
    let folder = tempfile::tempdir().unwrap();
    for provider in LISTS {
        for skew in [0, -3600, 3600] {
            let list = ChangingList {
                tasks: Vec::new(),
                created: 0,
                skew,
                max_new_per_page: 3,
                chance: fastrand::Rng::with_seed(7),
            };
            let list = Arc::new(Mutex::new(list));
            // 15 tasks are older than the lookback; the others are within it.
            list.lock().unwrap().add_tasks(15, 3 * 86_400);
            for n in 0..95 {
                list.lock().unwrap().add_tasks(1, 86_000 - 3800 - n * 800);
            }
            let shown = list.clone();
            let server = Server::start(move |request| {
                let (tasks, total) = shown.lock().unwrap().page(request);
                // Ark lists the other service tier only on request.
                let other = request.uri().query().is_some_and(|query| query.contains("flex"));
                let tasks = if other { Vec::new() } else { tasks };
                let total = if other { 0 } else { total };
                let seconds = (now() / 1000).checked_add_signed(skew).unwrap();
                let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
                ([(header::DATE, date)], page(provider, &tasks, total).to_string()).into_response()
            })
            .await;
            let mut list_source =
                source(folder.path(), provider, server.0, "list_configs: [{requests_per_second: 1000}]");
            for round in 0..6 {
                if round == 3 {
                    // A restart loses what is known of the list.
                    list_source =
                        source(folder.path(), provider, server.0, "list_configs: [{requests_per_second: 1000}]");
                }
                let before = list.lock().unwrap().tasks.clone();
                let listing = read_all(&mut list_source).await;
                assert_eq!((listing.errors, listing.is_complete), (0, true), "{provider} {:?}", listing.messages);
                let found = ids(&listing);
                assert_eq!(found.len(), listing.tasks.len(), "{provider}: duplicate ids");
                let wanted: BTreeSet<String> = before
                    .iter()
                    .filter(|(id, _)| id[1..].parse::<usize>().unwrap() >= 15)
                    .map(|(id, _)| id.clone())
                    .collect();
                let missing: Vec<_> = wanted.difference(&found).collect();
                assert!(missing.is_empty(), "{provider} {skew} round {round}: {missing:?} of {}", wanted.len());
                assert!(!found.contains("t0"), "{provider}: a task is older than the lookback");
                // Later reads need few pages.
                let pages = listing.requests.len();
                if provider != "dashscope" && ![0, 3].contains(&round) {
                    let young = list.lock().unwrap().created - 110;
                    assert!(pages <= young / 10 + 5, "{provider} round {round}: {pages} pages for {young} new tasks");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_failing_list_keeps_its_tasks_and_its_requests_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let row = |id: &str| json!({"task_id": id, "status": "IN_PROGRESS", "submit_time": now() / 1000 - 50});
    let list = |rows: Value| json!({"success": true, "data": {"total": 2, "items": rows}}).to_string();
    let replies: Vec<(u16, String)> = vec![
        (200, list(json!([]))),
        (200, list(json!([row("a"), row("b")]))),
        (200, json!({"success": false, "message": "Unauthorized, invalid access token"}).to_string()),
        (500, String::new()),
        (200, "<html>".to_owned()),
        (200, list(json!([]))),
        (200, list(json!([row("b"), row("c")]))),
    ];
    let queue = Arc::new(Mutex::new(replies));
    let headers: Arc<Mutex<Vec<(String, HeaderMap)>>> = Arc::default();
    let (next, seen) = (queue.clone(), headers.clone());
    let server = Server::start(move |request| {
        seen.lock().unwrap().push((request.uri().path().to_owned(), request.headers().clone()));
        let (status, body) = next.lock().unwrap().remove(0);
        (StatusCode::from_u16(status).unwrap(), body).into_response()
    })
    .await;
    fs::write(folder.path().join("dashboard"), "token").unwrap();
    let written = "list_configs: [{authorization: {credentials_file: dashboard}, user_id: '42', max_targets: 2, requests_per_second: 1000}]";
    let mut source = source(folder.path(), "tokenhot", server.0, written);
    let first = read_all(&mut source).await;
    assert_eq!(
        (ids(&first), first.is_absent, first.is_complete),
        (set(&[]), true, true),
        "an empty list is not the first load"
    );
    let found = read_all(&mut source).await;
    assert_eq!((ids(&found), found.is_absent), (set(&["a", "b"]), false));
    for code in [200, 500, 200] {
        let bad = read_all(&mut source).await;
        assert_eq!((ids(&bad), bad.errors, bad.is_complete), (set(&["a", "b"]), 1, false));
        assert_eq!(bad.requests[0].code, Some(code));
        assert!(bad.requests[0].reason.is_some());
    }
    let empty = read_all(&mut source).await;
    assert_eq!((ids(&empty), empty.errors), (set(&["a", "b"]), 0), "an empty list removes no tasks");
    let large = read_all(&mut source).await;
    assert_eq!(
        (ids(&large), large.errors, large.is_complete),
        (set(&["a", "b"]), 1, false),
        "a third task is too many"
    );
    assert!(large.messages[0].starts_with("more than 2 task ids"), "{:?}", large.messages);
    let headers = headers.lock().unwrap();
    assert!(headers.iter().all(|(path, sent)| path == "/api/task/self"
        && sent["new-api-user"] == "42"
        && sent[header::AUTHORIZATION] == "Bearer token"));
}

#[tokio::test]
async fn a_rate_limited_list_continues_at_the_same_page() {
    let folder = tempfile::tempdir().unwrap();
    let count = Arc::new(Mutex::new(0));
    let requests = count.clone();
    let server = Server::start(move |request| {
        let mut requests = requests.lock().unwrap();
        *requests += 1;
        let number = usize::from(!request.uri().query().unwrap().starts_with("p=1&"));
        if *requests == 2 {
            return (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "1")], "").into_response();
        }
        let rows: Vec<_> = (0..100)
            .map(|n| json!({"task_id": format!("t{}", number * 100 + n), "status": "QUEUED", "submit_time": now() / 1000}))
            .collect();
        json!({"success": true, "data": {"total": 200, "items": rows}}).to_string().into_response()
    })
    .await;
    let mut source = source(folder.path(), "new_api", server.0, "list_configs: [{requests_per_second: 1000}]");
    let begun = Instant::now();
    let listing = read_all(&mut source).await;
    assert_eq!((listing.tasks.len(), listing.errors, listing.requests.len()), (200, 0, 3));
    assert!(begun.elapsed() >= Duration::from_secs(1), "Retry-After is obeyed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_in_a_list_and_a_file_is_polled_and_counted_once() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Upstream::start("127.0.0.1:0").await;
    let rows = json!([{"task_id": "a", "status": "IN_PROGRESS", "submit_time": now() / 1000}]);
    let list = json!({"success": true, "data": {"total": 1, "items": rows}}).to_string();
    gateway.script("self", vec![crate::upstream::Reply::Body(200, list)]);
    gateway.script("a", vec![status("IN_PROGRESS"), status("FAILURE")]);
    fs::write(folder.path().join("ids.json"), r#"[{"targets": ["a"]}]"#).unwrap();
    let text = format!(
        "{QUICK}upstreams: [{{name: gw, provider: new_api, base_url: 'http://{}', list_configs: [{{refresh_interval: 1s}}], \
         file_sd_configs: [{{files: [ids.json]}}]}}]\n",
        gateway.address
    );
    let exporter = Exporter::start(&text, folder.path()).await;
    exporter
        .wait_for(&[
            "videogen_tasks_finished_total{upstream=\"gw\",provider=\"new_api\",model=\"m\",status=\"failed\"} 1",
            "videogen_discovery_tasks{source=\"list/0\",upstream=\"gw\"} 1",
            "videogen_discovery_tasks{source=\"file/0\",upstream=\"gw\"} 1",
            "videogen_discovery_truncated_total{source=\"list/0\",upstream=\"gw\"} 0",
        ])
        .await;
    let page = exporter.page().await;
    assert!(
        page.contains("videogen_upstream_requests_total{code=\"200\",operation=\"list\",upstream=\"gw\"}"),
        "{page}"
    );
    exporter.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_rate_limited_discovered_page_by_page_and_continued_after_a_reload() {
    const PAGES: usize = 30;
    let requests: Arc<Mutex<Vec<usize>>> = Arc::default();
    let pages = requests.clone();
    let server = Server::start(move |request| {
        if request.uri().path() != "/api/task/self" {
            return json!({"code": "success", "data": {"task_id": "t", "status": "QUEUED"}})
                .to_string()
                .into_response();
        }
        let query = request.uri().query().unwrap();
        let number: usize = query.split(['=', '&']).nth(1).unwrap().parse().unwrap();
        pages.lock().unwrap().push(number);
        let row =
            |n| json!({"task_id": format!("t{}", number * 10 + n), "status": "QUEUED", "submit_time": now() / 1000});
        let rows: Vec<_> = (0..10).map(row).collect();
        json!({"success": true, "data": {"total": PAGES * 10, "items": rows}}).to_string().into_response()
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "state: {{memory: {{}}}}\npolling: {{interval: 1m, requests_per_second: 40, burst: 1}}\nmetrics: {{zero_hold: 0s}}\n\
         upstreams: [{{name: u, provider: new_api, base_url: 'http://{}', list_configs: [{{}}]}}]\n",
        server.0
    );
    let file = folder.path().join("c.yml");
    fs::write(&file, text).unwrap();
    let exporter = Exporter::start_file(&file).await;
    let known =
        |page: &str| value(page, "videogen_tasks_discovered_total{upstream=\"u\",source=\"list/0\"}").unwrap_or(0.0);
    let begun = Instant::now();
    let mut reloads = 0;
    let mut partly = false;
    loop {
        let page = exporter.page().await;
        let (found, listed) =
            (known(&page), value(&page, "videogen_discovery_tasks{source=\"list/0\",upstream=\"u\"}"));
        partly |= found > 0.0 && listed == Some(0.0);
        if listed == Some(300.0) && found > 299.0 {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{listed:?} listed, {found} discovered");
        if reloads < 4 && found > 50.0 * f64::from(reloads) {
            exporter.reload_and_wait().await;
            reloads += 1;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let requests = requests.lock().unwrap().clone();
    assert!(partly && reloads == 4, "{reloads} reloads while the list was read, {requests:?}");
    // A reload repeats the page that is in flight.
    assert!((PAGES..=PAGES + 4).contains(&requests.len()) && requests.is_sorted(), "{requests:?}");
    let page = exporter.page().await;
    let counted = value(&page, "videogen_upstream_requests_total{code=\"200\",operation=\"list\",upstream=\"u\"}");
    assert!(counted.is_some_and(|counted| (30.0..=34.0).contains(&counted)), "{counted:?}");
    let waited = value(&page, "videogen_upstream_throttle_wait_seconds_total{upstream=\"u\"}").unwrap();
    assert!(waited > 0.1, "no request waited for the rate limit: {waited}");
    exporter.stop().await;
}

#[tokio::test]
async fn a_sqlite_file_is_queried_and_never_written() {
    let folder = tempfile::tempdir().unwrap();
    let jobs = folder.path().join("jobs.db");
    let shell = rusqlite::Connection::open(&jobs).unwrap();
    shell
        .execute_batch("create table jobs (task_id text, team text); insert into jobs values ('a', 'x'), ('b', null)")
        .unwrap();
    fs::write(folder.path().join("url"), "sqlite:jobs.db").unwrap();
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
    let source_of = |query: &str| {
        source(
            folder.path(),
            "new_api",
            nowhere,
            &format!("sql_sd_configs: [{{url_file: url, timeout: 1s, query: {query:?}}}]"),
        )
    };
    let mut good = source_of("select task_id, team from jobs;");
    let listing = good.read().await;
    assert_eq!((ids(&listing), listing.errors, listing.is_complete), (set(&["a", "b"]), 0, true));
    shell.execute_batch("alter table jobs rename to jobs2").unwrap();
    let kept = good.read().await;
    assert_eq!(
        (ids(&kept), kept.errors, kept.is_complete),
        (set(&["a", "b"]), 1, false),
        "the last valid list is kept"
    );
    let endless = "with recursive n (task_id) as (select 1 union all select task_id + 1 from n) select max(task_id) as task_id from n";
    let begun = Instant::now();
    let slow = source_of(endless).read().await;
    assert!(slow.messages[0].contains("did not finish within `timeout`"), "{:?}", slow.messages);
    assert!(begun.elapsed() < PATIENCE, "the query is interrupted");
}

/// A `PostgreSQL` server; it stops when it is dropped.
struct Postgres {
    folder: tempfile::TempDir,
    server: Child,
    port: u16,
}

/// A program of the server in the folder of Debian.
fn postgres_program(name: &str) -> PathBuf {
    crate::prometheus::assert_is_real_test();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        versions.map(|version| version.path().join("bin").join(name)).filter(|path| path.is_file()).collect();
    found.sort();
    found.pop().unwrap_or_else(|| panic!("PostgreSQL is not installed; ./tests/run installs it"))
}

impl Postgres {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let is_root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
        // The server refuses to run as root.
        let nobody = 65_534;
        if is_root {
            std::os::unix::fs::chown(folder.path(), Some(nobody), Some(nobody)).unwrap();
        }
        let run = |program: &str| {
            let mut command = Command::new(postgres_program(program));
            command.current_dir(folder.path()).stdout(Stdio::null());
            if is_root {
                command.uid(nobody).gid(nobody);
            }
            command
        };
        fs::write(folder.path().join("password"), "se:cr@t").unwrap();
        let data = folder.path().join("data");
        let made = run("initdb")
            .args(["-A", "scram-sha-256", "-U", "reader", "--pwfile=password", "-E", "UTF8", "--no-sync", "-D"])
            .arg(&data)
            .status();
        assert!(made.unwrap().success());
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let server = run("postgres")
            .arg("-D")
            .arg(&data)
            .args(["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-p", &port.to_string(), "-k"])
            .arg(folder.path())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { folder, server, port }
    }

    fn url(&self) -> String {
        format!("postgres://reader:se%3Acr%40t@127.0.0.1:{}/postgres", self.port)
    }

    async fn client(&self) -> tokio_postgres::Client {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match tokio_postgres::connect(&self.url(), tokio_postgres::NoTls).await {
                Ok((client, connection)) => {
                    #[expect(clippy::disallowed_methods, reason = "it ends with the client")]
                    tokio::spawn(connection);
                    return client;
                }
                Err(error) if Instant::now() > deadline => {
                    panic!("{error}: {}", fs::read_to_string(self.folder.path().join("log")).unwrap())
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_postgresql_is_queried_and_never_written() {
    let database = Postgres::start();
    let client = database.client().await;
    let made = "create table jobs (task_id text, submit_time timestamptz, team text, tries int, secret bytea);
        insert into jobs values ('a', '2026-01-02 03:04:05+00', 'x', 3, null), ('b', null, null, null, null), ('no id ' || chr(10), null, null, null, null);
        create function harmless() returns text language sql as $$ insert into jobs (task_id) values ('evil') returning task_id $$;
        create function slow() returns text language plpgsql as $$ begin perform pg_sleep(30); return 'a'; end $$;";
    client.batch_execute(made).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
    let source_of = |url: &str, query: &str| {
        fs::write(folder.path().join("url"), url).unwrap();
        source(
            folder.path(),
            "new_api",
            nowhere,
            &format!("sql_sd_configs: [{{url_file: url, timeout: 1s, query: {query:?}}}]"),
        )
    };
    let mut good = source_of(&database.url(), "select task_id, submit_time, team, tries from jobs; ");
    let listing = good.read().await;
    assert_eq!(
        (ids(&listing), listing.errors, listing.is_complete),
        (set(&["a", "b"]), 1, true),
        "{:?}",
        listing.messages
    );
    let task = listing.tasks.iter().find(|task| task.id.as_str() == "a").unwrap();
    assert_eq!((task.labels["team"].as_str(), task.labels["tries"].as_str(), task.labels.len()), ("x", "3", 2));
    assert_eq!(task.submit.map(Timestamp::as_millis), Some(1_767_323_045_000));

    for (query, why) in [
        ("select harmless() as task_id", "read-only transaction (25006)"),
        ("select slow() as task_id", "statement timeout (57014)"),
        ("delete from jobs returning task_id", "42601"),
        ("select 'a' as task_id) as found; drop table jobs; --", "42601"),
        ("select 'a' as task_id from nobody", "(42P01)"),
        ("select 'a' as id", "no column task_id"),
        ("select 'a' as task_id, 1 as \"a b\"", "a column name is not a label name"),
    ] {
        let listing = source_of(&database.url(), query).read().await;
        assert!(listing.messages.iter().any(|message| message.contains(why)), "{query}: {:?}", listing.messages);
    }
    let wrong = database.url().replace("se%3Acr", "wrong");
    let listing = source_of(&wrong, "select 'a' as task_id").read().await;
    assert!(listing.messages[0].contains("28P01") && !listing.messages[0].contains("wrong"), "{:?}", listing.messages);
    for url in ["mysql://reader@127.0.0.1/x", "postgres://reader@127.0.0.1:port/x"] {
        let listing = source_of(url, "select 'a' as task_id").read().await;
        assert_eq!((listing.errors, listing.is_complete), (1, false), "{url}");
    }
    let count: i64 = client.query_one("select count(*) from jobs", &[]).await.unwrap().get(0);
    assert_eq!(count, 3, "the database was not changed");

    drop(client);
    drop(database);
    let kept = good.read().await;
    assert_eq!(
        (ids(&kept), kept.errors, kept.is_complete),
        (set(&["a", "b"]), 1, false),
        "the last valid list is kept"
    );
}
