//! The files in config/receivers with a real Alertmanager and fake chat systems: what arrives there.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::exporter::{client, post};
use crate::inbox::{Inbox, Message};
use crate::prometheus::{KillOnDrop, assert_is_real_test, free_port, peer, root, start};
use videogen_exporter::http::Request;

/// Labels and texts that YAML, JSON, HTML, Markdown, templates and mail headers would take for something else.
const ALERT: &str = "Nasty: # <1>";
const UPSTREAM: &str = "a: b # c\nBcc: eve@example.com";
const MODEL: &str = r#"<b>&"x" [y](z) \ {{ .Status }}"#;
const SUMMARY: &str = r#"It's: a # "quoted" {{ .Status }} 中文 😀"#;
const DESCRIPTION: &str =
    "# one: <at id=all></at>\ntwo:\u{7f}- \"q\" \\n {{ template \"x\" }} *a* [l](http://e) | `c` 中文 😀";
const DASHBOARD: &str = "http://localhost:3000/d/videogen-task?var-upstream=a%3A+b&var-task=1)x";
const RUNBOOK: &str = "https://example.com/docs/runbooks.md#nasty";

/// What one system shows: a message with all of these texts, and one with a list of many alerts.
struct Expected {
    name: &'static str,
    path: &'static str,
    /// The place of the text in the body.
    text: &'static str,
    /// The largest text, in bytes.
    limit: usize,
    /// How many alerts with long texts the list has.
    long: usize,
    bullet: &'static str,
    /// COUNT stands for `FIRING (1)`.
    nasty: &'static str,
    /// LINES stands for the lines, MORE for the number of alerts that are not in the list.
    many: &'static str,
    /// ID stands for the number of the task.
    line: &'static str,
}

const EXPECTED: &[Expected] = &[
    Expected {
        name: "dingtalk",
        path: "/secret/dingtalk_url",
        text: "/markdown/text",
        limit: 8_100,
        long: 10,
        bullet: "- ",
        nasty: "**videogen COUNT**\n\nNasty: # ＜1＞\n\nIt's: a # \"quoted\" {{ .Status }} 中文 😀\n\n\
            severity: critical, upstream: a: b # c Bcc: eve@example.com, model: ＜b＞&\"x\" ［y］(z) \\ {{ .Status }}\n\n\
            - # one: ＜at id=all＞＜/at＞ two: - \"q\" \\n {{ template \"x\" }} *a* ［l］(http://e) | `c` 中文 😀 \
            [Dashboard](http://localhost:3000/d/videogen-task?var-upstream=a%3A+b&var-task=1%29x)\n\n\
            [Runbook](https://example.com/docs/runbooks.md#nasty)",
        many: "**videogen COUNT**\n\nMany\n\nA task failed.\n\nseverity: info, upstream: sim, model: veo\n\
            LINES\n\nand MORE more\n\n[Runbook](http://r)",
        line: "- Task task_ID failed. [Dashboard](http://g/ID)",
    },
    Expected {
        name: "email",
        path: "",
        text: "/text",
        limit: 30_000,
        long: 10,
        bullet: "- ",
        nasty: "COUNT Nasty: # <1>\nIt's: a # \"quoted\" {{ .Status }} 中文 😀\n\
            severity: critical\nupstream: a: b # c\nBcc: eve@example.com\nmodel: <b>&\"x\" [y](z) \\ {{ .Status }}\n\n\
            - # one: <at id=all></at>\ntwo:\u{7f}- \"q\" \\n {{ template \"x\" }} *a* [l](http://e) | `c` 中文 😀\n  \
            http://localhost:3000/d/videogen-task?var-upstream=a%3A+b&var-task=1)x\n\n\
            Runbook: https://example.com/docs/runbooks.md#nasty",
        many: "COUNT Many\nA task failed.\nseverity: info\nupstream: sim\nmodel: veo\n\
            LINES\nand MORE more\n\nRunbook: http://r",
        line: "- Task task_ID failed.\n  http://g/ID",
    },
    Expected {
        name: "feishu",
        path: "/secret/feishu_url",
        text: "/card/elements/0/content",
        limit: 8_100,
        long: 10,
        bullet: "- ",
        nasty: "**videogen COUNT**\nIt's: a # \"quoted\" {{ .Status }} 中文 😀\n\
            severity: critical, upstream: a: b # c Bcc: eve@example.com, model: ＜b＞&\"x\" ［y］(z) \\ {{ .Status }}\n\n\
            - # one: ＜at id=all＞＜/at＞ two: - \"q\" \\n {{ template \"x\" }} *a* ［l］(http://e) | `c` 中文 😀 \
            [Dashboard](http://localhost:3000/d/videogen-task?var-upstream=a%3A+b&var-task=1%29x)\n\n\
            [Runbook](https://example.com/docs/runbooks.md#nasty)",
        many: "**videogen COUNT**\nA task failed.\nseverity: info, upstream: sim, model: veo\n\
            LINES\nand MORE more\n\n[Runbook](http://r)",
        line: "- Task task_ID failed. [Dashboard](http://g/ID)",
    },
    Expected {
        name: "slack",
        path: "/secret/slack_url",
        text: "/attachments/0/text",
        limit: 3_600,
        long: 2,
        bullet: "• ",
        nasty: "*videogen COUNT*\nNasty: # &lt;1&gt;\nIt's: a # \"quoted\" {{ .Status }} 中文 😀\nseverity: critical, \
            upstream: a: b # c Bcc: eve@example.com, model: &lt;b&gt;&amp;\"x\" [y](z) \\ {{ .Status }}\n\n\
            • # one: &lt;at id=all&gt;&lt;/at&gt; two: - \"q\" \\n {{ template \"x\" }} *a* [l](http://e) | `c` 中文 😀 \
            <http://localhost:3000/d/videogen-task?var-upstream=a%3A+b&amp;var-task=1)x|Dashboard>\n\
            <https://example.com/docs/runbooks.md#nasty|Runbook>",
        many: "*videogen COUNT*\nMany\nA task failed.\nseverity: info, upstream: sim, model: veo\n\
            LINES\nand MORE more\n<http://r|Runbook>",
        line: "• Task task_ID failed. <http://g/ID|Dashboard>",
    },
    Expected {
        name: "telegram",
        path: "/bot12:secret/sendMessage",
        text: "/text",
        limit: 4_096,
        long: 3,
        bullet: "• ",
        nasty: "<b>videogen COUNT</b>\nNasty: # &lt;1&gt;\nIt&#39;s: a # &#34;quoted&#34; {{ .Status }} 中文 😀\nseverity: critical, \
            upstream: a: b # c Bcc: eve@example.com, model: &lt;b&gt;&amp;&#34;x&#34; [y](z) \\ {{ .Status }}\n\n\
            • # one: &lt;at id=all&gt;&lt;/at&gt; two: - &#34;q&#34; \\n {{ template &#34;x&#34; }} *a* [l](http://e) | `c` 中文 😀 \
            <a href=\"http://localhost:3000/d/videogen-task?var-upstream=a%3A+b&amp;var-task=1)x\">Dashboard</a>\n\n\
            <a href=\"https://example.com/docs/runbooks.md#nasty\">Runbook</a>",
        many: "<b>videogen COUNT</b>\nMany\nA task failed.\nseverity: info, upstream: sim, model: veo\n\
            LINES\nand MORE more\n\n<a href=\"http://r\">Runbook</a>",
        line: "• Task task_ID failed. <a href=\"http://g/ID\">Dashboard</a>",
    },
    Expected {
        name: "wecom",
        path: "/secret/wecom_url",
        text: "/markdown/content",
        limit: 4_096,
        long: 5,
        bullet: "- ",
        nasty: "**<font color=\"warning\">videogen COUNT</font>**\nNasty: # ＜1＞\nIt's: a # \"quoted\" {{ .Status }} 中文 😀\n\
            severity: critical, upstream: a: b # c Bcc: eve@example.com, model: ＜b＞&\"x\" ［y］(z) \\ {{ .Status }}\n\n\
            - # one: ＜at id=all＞＜/at＞ two: - \"q\" \\n {{ template \"x\" }} *a* ［l］(http://e) | `c` 中文 😀 \
            [Dashboard](http://localhost:3000/d/videogen-task?var-upstream=a%3A+b&var-task=1%29x)\n\n\
            [Runbook](https://example.com/docs/runbooks.md#nasty)",
        many: "**<font color=\"warning\">videogen COUNT</font>**\nMany\nA task failed.\n\
            severity: info, upstream: sim, model: veo\nLINES\nand MORE more\n\n[Runbook](http://r)",
        line: "- Task task_ID failed. [Dashboard](http://g/ID)",
    },
];

/// The whole body around `text`; all that is in it besides the text.
fn body(name: &str, text: &str, alert: &str, status: &str) -> Value {
    let is_resolved = status == "RESOLVED";
    let is_critical = alert == ALERT;
    let color = |resolved: &'static str, critical, other| match (is_resolved, is_critical) {
        (true, _) => resolved,
        (false, true) => critical,
        (false, false) => other,
    };
    // Titles have no signs that YAML or the system would read.
    let plain = if is_critical { "Nasty 1 " } else { alert };
    match name {
        "dingtalk" => {
            json!({"msgtype": "markdown", "markdown": {"title": format!("videogen {status} {plain}"), "text": text}})
        }
        "feishu" => json!({"msg_type": "interactive", "card": {
            "config": {"wide_screen_mode": true},
            "header": {
                "template": color("green", "red", "orange"),
                "title": {"tag": "plain_text", "content": format!("videogen {status} {plain}")},
            },
            "elements": [{"tag": "markdown", "content": text}],
        }}),
        "wecom" => json!({"msgtype": "markdown", "markdown": {
            "content": if is_resolved { text.replace("\"warning\"", "\"info\"") } else { text.to_owned() },
        }}),
        "telegram" => json!({
            "chat_id": "-1001234567890", "parse_mode": "HTML", "disable_web_page_preview": "true", "text": text,
        }),
        "slack" => json!({"username": "Alertmanager", "attachments": [{
            "fallback": format!("videogen {status} {plain}"), "color": color("good", "danger", "warning"), "text": text,
            "callback_id": "", "footer": "", "mrkdwn_in": ["fallback", "pretext", "text"],
        }]}),
        _ => unreachable!("no system has the name {name}"),
    }
}

/// The body of an e-mail around its text.
fn email(text: &str, status: &str, count: usize, alert: &str, html: &str) -> Value {
    let upstream = if alert == ALERT { UPSTREAM } else { "sim" };
    json!({
        "envelope": {
            "login": "\0alertmanager@example.com\0secret",
            "from": "<alertmanager@example.com>",
            "to": "<oncall@example.com>",
        },
        "subject": format!("videogen {status} ({count}) {alert} at {upstream}"),
        "text": text,
        "html": html,
    })
}

const NASTY_HTML: &str = "<p><b>COUNT\nNasty: # &lt;1&gt;</b><br>\nIt&#39;s: a # &#34;quoted&#34; {{ .Status }} 中文 😀</p>\n\
    <p>severity: critical<br>\nupstream: a: b # c\nBcc: eve@example.com<br>\n\
    model: &lt;b&gt;&amp;&#34;x&#34; [y](z) \\ {{ .Status }}<br>\n</p>\n<ul>\n\
    <li># one: &lt;at id=all&gt;&lt;/at&gt;\ntwo:\u{7f}- &#34;q&#34; \\n {{ template &#34;x&#34; }} *a* [l](http://e) | `c` 中文 😀 \
    <a href=\"http://localhost:3000/d/videogen-task?var-upstream=a%3A&#43;b&amp;var-task=1%29x\">Dashboard</a></li>\n</ul>\n\n\
    <p><a href=\"https://example.com/docs/runbooks.md#nasty\">Runbook</a></p>";

const MANY_HTML: &str = "<p><b>COUNT\nMany</b><br>\nA task failed.</p>\n\
    <p>severity: info<br>\nupstream: sim<br>\nmodel: veo<br>\n</p>\n<ul>LINES\n</ul>\n<p>and MORE more</p>\n\
    <p><a href=\"http://r\">Runbook</a></p>";

const MANY_HTML_LINE: &str = "<li>Task task_ID failed. <a href=\"http://g/ID\">Dashboard</a></li>";

/// The newest Alertmanager that is there, and whether it has payloads, which came with 0.32.
fn alertmanager() -> (Command, bool) {
    assert_is_real_test();
    let built = root().join(".peers/go/bin/alertmanager");
    let command = if built.exists() { Command::new(built) } else { peer("alertmanager") };
    let version = Command::new(command.get_program()).arg("--version").output().unwrap();
    let version = String::from_utf8([version.stdout, version.stderr].concat()).unwrap();
    let number = version.strip_prefix("alertmanager, version ").unwrap().split(' ').next().unwrap();
    let minor: u32 = number.strip_prefix("0.").unwrap_or("1000").split('.').next().unwrap().parse().unwrap();
    // The test runner hides output of `eprintln!`.
    let say = |text: &str| std::io::stderr().write_all(format!("\n!! config/receivers: {text}\n").as_bytes()).unwrap();
    if minor < 35 {
        say(&format!(
            "NOT TESTED with Alertmanager 0.35, only with {number}: ./tests/peers builds it where Go is installed"
        ));
    }
    if minor < 32 {
        say(&format!(
            "NOT TESTED: the messages of dingtalk, feishu and wecom, because Alertmanager {number} has no payload"
        ));
    }
    (command, minor >= 32)
}

/// A running Alertmanager with one receiver, whose messages arrive in `inbox`.
async fn run(command: &mut Command, name: &str, inbox: &Inbox, folder: &Path) -> (KillOnDrop, std::net::SocketAddr) {
    let at = |file: &str| folder.join(file);
    let http = inbox.listen_http().await;
    let smtp = inbox.listen_smtp().await;
    let shipped = fs::read_to_string(root().join(format!("config/receivers/{name}.yml"))).unwrap();
    let secrets = "/etc/alertmanager/";
    assert_eq!(shipped.matches(secrets).count(), 1, "{name} reads its secret from a file");
    let file = shipped.split_once(secrets).unwrap().1.lines().next().unwrap();
    let secret = match name {
        "telegram" => "12:secret".to_owned(),
        "email" => "secret".to_owned(),
        _ => format!("http://{http}/secret/{file}"),
    };
    fs::write(at(file), secret + "\n").unwrap();
    let receiver =
        shipped.replace(secrets, &format!("{}/", folder.display())).replace("smtp.example.com:587", &smtp.to_string());
    let config = format!(
        "global: {{telegram_api_url: 'http://{http}', smtp_require_tls: false}}\n\
         route: {{receiver: {name}, group_by: [alertname], group_wait: 1s, group_interval: 1s, repeat_interval: 1h}}\n{receiver}"
    );
    fs::write(at("alertmanager.yml"), config).unwrap();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let running = start(
        command
            .args(["--cluster.listen-address=", &format!("--web.listen-address={address}")])
            .arg(format!("--config.file={}", at("alertmanager.yml").display()))
            .arg(format!("--storage.path={}", at("data").display())),
        &at("alertmanager.log"),
    );
    let deadline = Instant::now() + Duration::from_mins(1);
    while !client(address).send(&Request::get(["-", "ready"]), None).await.is_ok_and(|answer| answer.status == 200) {
        assert!(Instant::now() < deadline, "{name}: {}", fs::read_to_string(at("alertmanager.log")).unwrap());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    (running, address)
}

fn nasty() -> Value {
    json!({
        "labels": {"alertname": ALERT, "severity": "critical", "upstream": UPSTREAM, "model": MODEL},
        "annotations": {"summary": SUMMARY, "description": DESCRIPTION, "dashboard_url": DASHBOARD, "runbook_url": RUNBOOK},
    })
}

fn many(id: usize) -> Value {
    json!({
        "labels": {"alertname": "Many", "severity": "info", "upstream": "sim", "model": "veo", "task_id": format!("task_{id:02}")},
        "annotations": {
            "summary": "A task failed.", "description": format!("Task task_{id:02} failed."),
            "dashboard_url": format!("http://g/{id:02}"), "runbook_url": "http://r",
        },
    })
}

/// All texts are too long, and so is every second link.
fn long(id: usize) -> Value {
    json!({
        "labels": {"alertname": "Long", "severity": "s".repeat(999), "upstream": "😀".repeat(999), "task_id": format!("{id:02}")},
        "annotations": {
            "summary": "中".repeat(9_999), "description": "&😀".repeat(9_999),
            "dashboard_url": format!("http://g/{}", "x".repeat(id % 2 * 2_000)), "runbook_url": "http://r",
        },
    })
}

fn resolved(mut alert: Value) -> Value {
    alert["startsAt"] = json!("2026-01-01T00:00:00Z");
    alert["endsAt"] = json!("2026-01-01T00:01:00Z");
    alert
}

impl Expected {
    fn text<'a>(&self, message: &'a Message) -> &'a str {
        message.body.pointer(self.text).and_then(Value::as_str).unwrap_or_else(|| panic!("{message:#?}"))
    }

    /// `status` and `count` are those of the title, `counts` those of the text, for example `FIRING (3), RESOLVED (1)`.
    fn assert_body(&self, message: &Message, text: &str, html: &str, counts: &str, alert: &str) {
        let (status, count) = counts.split(')').next().unwrap().split_once(" (").unwrap();
        let text = text.replace("COUNT", counts);
        let expected = if self.name == "email" {
            email(&text, status, count.parse().unwrap(), alert, &html.replace("COUNT", counts))
        } else {
            body(self.name, &text, alert, status)
        };
        assert_eq!(message.body, expected, "{}\n{}\n{text}", self.name, self.text(message));
        assert_eq!(message.path, self.path);
    }

    fn assert_list(&self, message: &Message, ids: std::ops::Range<usize>, more: usize, counts: &str) {
        let fill = |many: &str, line: &str| {
            let lines: Vec<_> = ids.clone().map(|id| line.replace("ID", &format!("{id:02}"))).collect();
            many.replace("LINES", &format!("\n{}", lines.join("\n"))).replace("MORE", &more.to_string())
        };
        self.assert_body(message, &fill(self.many, self.line), &fill(MANY_HTML, MANY_HTML_LINE), counts, "Many");
    }

    /// The list ends before the limit of the system, with whole lines, and the rest is counted.
    fn assert_long(&self, message: &Message) {
        let text = self.text(message);
        assert!(text.len() <= self.limit && message.raw.len() < 2 * self.limit, "{}: {text}", self.name);
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with(self.bullet)).collect();
        assert_eq!(lines.len(), self.long, "{}: {text}", self.name);
        assert_eq!(text.matches(&format!("\nand {} more\n", 40 - lines.len())).count(), 1, "{}: {text}", self.name);
        assert!(text.contains("http://r"), "{}: {text}", self.name);
        let shown = if self.name == "email" { 500 } else { 200 };
        let escaped = match self.name {
            "slack" | "telegram" => "&amp;😀",
            _ => "&😀",
        };
        for (id, line) in lines.into_iter().enumerate() {
            let start = format!("{}{}…", self.bullet, escaped.repeat(shown / 2));
            let link = line.strip_prefix(&start).unwrap_or_else(|| panic!("{}: {line}", self.name));
            // Only every second link is short enough. In the e-mail, links stand below.
            assert_eq!(link.contains("http://g/"), id % 2 == 0 && self.name != "email", "{}: {line}", self.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_alertmanager_posts_right_bodies_to_every_receiver() {
    let mut names: Vec<_> = fs::read_dir(root().join("config/receivers"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert_eq!(names, EXPECTED.iter().map(|expected| expected.name).collect::<Vec<_>>());

    let (found, has_payloads) = alertmanager();
    for expected in EXPECTED {
        if !has_payloads && ["dingtalk", "feishu", "wecom"].contains(&expected.name) {
            continue;
        }
        let mut command = Command::new(found.get_program());
        command.stdin(Stdio::null());
        if let Some(folder) = found.get_current_dir() {
            command.current_dir(folder);
        }
        let folder = tempfile::tempdir().unwrap();
        let inbox = Inbox::default();
        let (_running, address) = run(&mut command, expected.name, &inbox, folder.path()).await;
        let send = async |alerts: Vec<Value>| {
            let (status, answer) = post(address, "api/v2/alerts", &Value::from(alerts).to_string()).await;
            assert_eq!(status, 200, "{answer}");
        };

        send((0..40).flat_map(|id| [many(id), long(id)]).chain([nasty()]).collect()).await;
        expected.assert_body(&inbox.next("Nasty").await, expected.nasty, NASTY_HTML, "FIRING (1)", ALERT);
        expected.assert_list(&inbox.next("Many").await, 0..10, 30, "FIRING (40)");
        expected.assert_long(&inbox.next("Long").await);

        // Of each group, one alert ends. More would be several messages if a flush came between them.
        send(vec![resolved(nasty()), resolved(many(0))]).await;
        expected.assert_body(&inbox.next("Nasty").await, expected.nasty, NASTY_HTML, "RESOLVED (1)", ALERT);
        expected.assert_list(&inbox.next("Many").await, 1..11, 29, "FIRING (39), RESOLVED (1)");
        inbox.assert_is_empty();
    }
}
