//! Fake chat systems, webhooks and a fake mail server, which record what Alertmanager sends.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Json;
use axum::Router;
use axum::http::Uri;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The time limit for a message.
const PATIENCE: Duration = Duration::from_mins(1);

/// A message: the path and the raw body of a request, or an e-mail.
#[derive(Clone, Debug)]
pub struct Message {
    pub path: String,
    pub raw: String,
    /// The JSON body, or an object with the parts of the e-mail.
    pub body: Value,
}

#[derive(Clone, Default)]
pub struct Inbox(Arc<Mutex<Vec<Message>>>);

impl Inbox {
    /// A web server that accepts every message, as Slack, Telegram and the group robots do.
    pub async fn listen_http(&self) -> SocketAddr {
        let inbox = self.clone();
        let record = async move |uri: Uri, raw: String| {
            let body = serde_json::from_str(&raw).unwrap_or_else(|error| panic!("{error}: {raw}"));
            inbox.0.lock().unwrap().push(Message { path: uri.path().to_owned(), raw, body });
            Json(
                json!({"ok": true, "errcode": 0, "result": {"message_id": 1, "date": 1, "chat": {"id": 1, "type": "group"}}}),
            )
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(record)).await.unwrap() });
        address
    }

    /// A mail server without TLS.
    pub async fn listen_smtp(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inbox = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(receive(stream, inbox.clone()));
            }
        });
        address
    }

    /// Removes and returns the next message whose text contains `part`, once it is there.
    pub async fn next(&self, part: &str) -> Message {
        let deadline = Instant::now() + PATIENCE;
        loop {
            {
                let mut messages = self.0.lock().unwrap();
                if let Some(place) = messages.iter().position(|message| message.raw.contains(part)) {
                    return messages.remove(place);
                }
                assert!(Instant::now() < deadline, "no message contains {part:?}: {messages:#?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// All messages, in their order.
    pub fn all(&self) -> Vec<Message> {
        self.0.lock().unwrap().clone()
    }

    pub fn assert_is_empty(&self) {
        let messages = self.all();
        assert!(messages.is_empty(), "{messages:#?}");
    }
}

/// One session of SMTP.
async fn receive(stream: TcpStream, inbox: Inbox) {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    let mut envelope = BTreeMap::new();
    writer.write_all(b"220 inbox\r\n").await.unwrap();
    while let Some(line) = lines.next_line().await.unwrap() {
        let answer = match line.split_at(line.len().min(4)) {
            ("EHLO", _) => "250-inbox\r\n250 AUTH PLAIN",
            ("AUTH", rest) => {
                let secret = STANDARD.decode(rest.trim_start_matches(" PLAIN ")).unwrap();
                envelope.insert("login", String::from_utf8(secret).unwrap());
                "235 welcome"
            }
            ("MAIL" | "RCPT", rest) => {
                let (name, address) = rest.trim().split_once(':').unwrap();
                envelope.insert(if name == "FROM" { "from" } else { "to" }, address.to_owned());
                "250 OK"
            }
            ("DATA", _) => {
                writer.write_all(b"354 go on\r\n").await.unwrap();
                let mut mail = String::new();
                while let Some(line) = lines.next_line().await.unwrap().filter(|line| line != ".") {
                    mail += line.strip_prefix('.').unwrap_or(&line);
                    mail += "\n";
                }
                inbox.0.lock().unwrap().push(message(&envelope, &mail));
                "250 OK"
            }
            ("QUIT", _) => "221 bye",
            _ => "500 unknown",
        };
        writer.write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
    }
}

/// An e-mail with its envelope, its subject and its two parts.
fn message(envelope: &BTreeMap<&str, String>, mail: &str) -> Message {
    let (head, content) = mail.split_once("\n\n").unwrap();
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let boundary = format!("--{}", header("Content-Type: multipart/alternative;  boundary="));
    let part = |kind: &str| {
        let parts = content.split(&boundary);
        let whole = parts.filter_map(|part| part.trim_start().split_once("\n\n")).find(|(head, _)| head.contains(kind));
        quoted_printable(whole.unwrap().1.strip_suffix('\n').unwrap())
    };
    // Each line of the head is a header, so text from a label cannot add one.
    let names: Vec<_> = head.lines().map(|line| line.split_once(": ").unwrap().0).collect();
    assert_eq!(names.len(), 7, "{names:?}");
    let body = json!({
        "envelope": envelope, "subject": encoded_words(header("Subject: ")), "text": part("text/plain"), "html": part("text/html"),
    });
    Message { path: String::new(), raw: body.to_string(), body }
}

fn quoted_printable(text: &str) -> String {
    let text = text.replace("=\n", "");
    let mut pieces = text.split('=');
    let mut bytes = pieces.next().unwrap().as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(&piece[..2], 16).unwrap());
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}

/// The encoded words of a header (RFC 2047) decoded.
fn encoded_words(text: &str) -> String {
    let Some(words) = text.strip_prefix("=?utf-8?q?") else { return text.to_owned() };
    quoted_printable(&words.replace("?= =?utf-8?q?", "").replace("?=", "").replace('_', " "))
}
