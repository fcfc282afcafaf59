//! Reads a response's body as it arrives: decompressed, bounded, and without very long texts where those are inputs or videos.

use std::io::{ErrorKind, Write as _};

use flate2::write::MultiGzDecoder;

use super::error::SendError;
use crate::domain::Reason;

/// Longer texts are not kept where responses repeat inputs, in bytes.
const MAX_TEXT: usize = 64 << 10;

/// What is written in place of such a text.
const OMITTED: &[u8] = b"[omitted]";

/// Most bytes that are kept of a body without its long texts.
const MAX_KEPT: usize = 4 << 20;

/// A body that is being read.
pub struct BodyReader {
    sink: Sink,
}

/// Where bytes go: through a decompressor or directly.
enum Sink {
    Plain(JsonText),
    Gzip(Box<MultiGzDecoder<JsonText>>),
    /// Compressed, and nothing has arrived yet.
    Empty(JsonText),
}

impl BodyReader {
    /// For a response with this `Content-Encoding`. `omits_long_texts` is for JSON only.
    ///
    /// # Errors
    /// When the encoding was not asked for and cannot be read.
    pub fn new(encoding: Option<&str>, max_size: u64, omits_long_texts: bool) -> Result<Self, SendError> {
        let text = JsonText { max_size, omits_long_texts, ..JsonText::default() };
        let sink = match encoding.map(|encoding| encoding.trim().to_ascii_lowercase()).as_deref() {
            None | Some("" | "identity") => Sink::Plain(text),
            // Also where it was not asked for.
            Some("gzip" | "x-gzip") => Sink::Empty(text),
            Some(_) => {
                return Err(SendError::new(
                    Reason::InvalidBody,
                    "a content coding that was not asked for and cannot be read",
                ));
            }
        };
        Ok(Self { sink })
    }

    /// Adds bytes as they arrive.
    ///
    /// # Errors
    /// When the body is too large, or its encoding is damaged.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        if let Sink::Empty(text) = &mut self.sink {
            self.sink = Sink::Gzip(Box::new(MultiGzDecoder::new(std::mem::take(text))));
        }
        match &mut self.sink {
            Sink::Plain(text) | Sink::Empty(text) => text.push(bytes).map_err(|_| too_large()),
            Sink::Gzip(decoder) => decoder.write_all(bytes).map_err(|error| match error.kind() {
                ErrorKind::FileTooLarge => too_large(),
                _ => damaged(),
            }),
        }
    }

    /// The body, and its size before texts were omitted.
    ///
    /// # Errors
    /// When its encoding is damaged.
    pub fn finish(self) -> Result<(Vec<u8>, u64), SendError> {
        let text = match self.sink {
            Sink::Plain(text) | Sink::Empty(text) => text,
            Sink::Gzip(decoder) => decoder.finish().map_err(|_| damaged())?,
        };
        Ok((text.kept, text.seen))
    }
}

fn too_large() -> SendError {
    SendError::new(Reason::BodyTooLarge, "it exceeds the size limit")
}

fn damaged() -> SendError {
    SendError::new(Reason::InvalidBody, "its gzip coding is damaged")
}

/// The text of a JSON document, without its long strings. It needs no more than to know where strings begin and end: a quotation
/// mark that no backslash escapes.
#[derive(Default)]
struct JsonText {
    /// Largest accepted body, decompressed.
    max_size: u64,
    omits_long_texts: bool,
    kept: Vec<u8>,
    /// All bytes.
    seen: u64,
    /// Where the string in progress begins in `kept`, behind its quotation mark.
    string: Option<usize>,
    /// The string in progress is too long to keep.
    is_omitted: bool,
    /// The byte before was a backslash that was not escaped itself.
    is_escaped: bool,
}

impl JsonText {
    /// Adds bytes.
    ///
    /// # Errors
    /// When the body, or what is kept of it, is too large.
    fn push(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.seen += bytes.len() as u64;
        if self.seen > self.max_size {
            return Err(ErrorKind::FileTooLarge.into());
        }
        if self.omits_long_texts {
            self.push_json(bytes);
        } else {
            self.kept.extend_from_slice(bytes);
        }
        if self.omits_long_texts && self.kept.len() > MAX_KEPT { Err(ErrorKind::FileTooLarge.into()) } else { Ok(()) }
    }

    fn push_json(&mut self, mut bytes: &[u8]) {
        while let [first, rest @ ..] = bytes {
            let Some(start) = self.string else {
                // Up to and including the quotation mark that begins the next string.
                let end = memchr::memchr(b'"', bytes).map_or(bytes.len(), |at| at + 1);
                self.kept.extend_from_slice(&bytes[..end]);
                self.string = bytes[..end].ends_with(b"\"").then_some(self.kept.len());
                bytes = &bytes[end..];
                continue;
            };
            if self.is_escaped {
                self.is_escaped = false;
                self.keep(&[*first]);
                bytes = rest;
                continue;
            }
            let end = memchr::memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len());
            self.keep(&bytes[..end]);
            if let Some(&special) = bytes.get(end) {
                if special == b'"' {
                    if self.is_omitted {
                        self.kept.truncate(start);
                        self.kept.extend_from_slice(OMITTED);
                        self.is_omitted = false;
                    }
                    self.kept.push(b'"');
                    self.string = None;
                } else {
                    self.is_escaped = true;
                    self.keep(b"\\");
                }
                bytes = &bytes[end + 1..];
            } else {
                bytes = &[];
            }
        }
    }

    /// Adds bytes of the string in progress.
    fn keep(&mut self, bytes: &[u8]) {
        let start = self.string.unwrap_or(self.kept.len());
        if self.is_omitted || self.kept.len() - start + bytes.len() > MAX_TEXT {
            self.is_omitted = true;
            self.kept.truncate(start);
        } else {
            self.kept.extend_from_slice(bytes);
        }
    }
}

impl std::io::Write for JsonText {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.push(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn read(pieces: &[&[u8]], encoding: Option<&str>, max: u64, omits: bool) -> Result<(Vec<u8>, u64), Reason> {
        let mut reader = BodyReader::new(encoding, max, omits).map_err(|error| error.reason)?;
        pieces.iter().try_for_each(|piece| reader.push(piece)).map_err(|error| error.reason)?;
        reader.finish().map_err(|error| error.reason)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn long_texts_are_omitted_wherever_pieces_end() {
        let long = format!("{}\\\"{}", "a\\\\".repeat(40_000), "b".repeat(10));
        let body = format!(r#"{{"short":"x\"y\\","long":"{long}","n":[1,"{}"],"z":"end"}}"#, "é".repeat(40_000));
        for size in [1, 2, 3, 7, 1000, 1 << 20] {
            let pieces: Vec<&[u8]> = body.as_bytes().chunks(size).collect();
            let (kept, seen) = read(&pieces, None, 1 << 20, true).unwrap();
            assert_eq!(seen, body.len() as u64);
            let value: Value = serde_json::from_slice(&kept).unwrap();
            assert_eq!(value, json!({"short": "x\"y\\", "long": "[omitted]", "n": [1, "[omitted]"], "z": "end"}));
        }
        let twenty_mib = format!(r#"{{"data":"{}"}}"#, "A".repeat(20 << 20));
        let (kept, _) = read(&[twenty_mib.as_bytes()], None, 64 << 20, true).unwrap();
        assert!(kept.capacity() < 256 << 10, "{}", kept.capacity());
    }

    #[test]
    fn bodies_are_decompressed_and_bounded() {
        let body = b"{\"status\":\"queued\"}".as_slice();
        let (kept, _) = read(&[&gzip(body)], Some("GZIP "), 1000, false).unwrap();
        assert_eq!(kept, body);
        assert_eq!(read(&[body], Some("identity"), 1000, false).unwrap().0, body);
        assert_eq!(read(&[body], Some("br"), 1000, false), Err(Reason::InvalidBody));
        assert_eq!(read(&[body], Some("gzip, gzip"), 1000, false), Err(Reason::InvalidBody));
        assert_eq!(read(&[b"no gzip"], Some("gzip"), 1000, false), Err(Reason::InvalidBody));
        let cut = gzip(body);
        assert_eq!(read(&[&cut[..cut.len() - 9]], Some("gzip"), 1000, false), Err(Reason::InvalidBody));
        assert_eq!(read(&[], Some("gzip"), 1000, false).unwrap(), (Vec::new(), 0));
        let (two, _) = read(&[&gzip(b"{"), &gzip(b"}")], Some("gzip"), 1000, false).unwrap();
        assert_eq!(two, b"{}", "several members");
        assert_eq!(read(&[body], None, 10, false), Err(Reason::BodyTooLarge));
        let bomb = gzip(&vec![b' '; 100 << 20]);
        assert_eq!(read(&[&bomb], Some("gzip"), 4 << 20, false), Err(Reason::BodyTooLarge));
        // Many texts of an allowed length.
        let many = format!("[{}]", vec![format!("\"{}\"", "a".repeat(MAX_TEXT)); 100].join(","));
        assert_eq!(read(&[many.as_bytes()], None, 64 << 20, true), Err(Reason::BodyTooLarge));
    }

    proptest! {
        #[test]
        fn a_body_without_long_texts_is_kept_as_it_is(body in prop::collection::vec(any::<u8>(), 0..600), at in 1_usize..50) {
            let pieces: Vec<&[u8]> = body.chunks(at).collect();
            prop_assert_eq!(read(&pieces, None, 1 << 20, true).unwrap().0, body.clone());
            prop_assert_eq!(read(&[&gzip(&body)], Some("gzip"), 1 << 20, true).unwrap().0, body);
        }
    }
}
