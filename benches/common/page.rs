//! Reads `/metrics` of the running program.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock itself")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The response body as it is on the wire, and the time from the connection to the last byte.
pub fn scrape(address: &str, coding: &str) -> Option<(Vec<u8>, Duration)> {
    let start = Instant::now();
    let mut socket = TcpStream::connect(address).ok()?;
    write!(socket, "GET /metrics HTTP/1.0\r\nAccept-Encoding: {coding}\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).ok()?;
    let took = start.elapsed();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    Some((answer.split_off(end), took))
}

/// The uncompressed page.
pub fn text(address: &str) -> Option<String> {
    String::from_utf8(scrape(address, "identity")?.0).ok()
}

/// The sum of all samples whose lines begin with `prefix`.
pub fn sum(page: &str, prefix: &str) -> f64 {
    let lines = page.lines().filter(|line| line.starts_with(prefix));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// A size in MiB.
#[expect(clippy::cast_precision_loss, reason = "a size to be printed")]
pub fn mebibytes(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
