//! Any headers and label values, in every format and coding: `cargo +nightly fuzz run page` (CONTRIBUTING.md).

#![no_main]

use std::io::Read as _;

use flate2::bufread::GzDecoder;
use libfuzzer_sys::fuzz_target;
use videogen_exporter::metrics::families::Kind;
use videogen_exporter::metrics::{Coding, Compressor, Encoder, Extra, Format};

/// Compresses the pieces of a page into one body.
fn compress(coding: Coding, pieces: &[&[u8]]) -> Vec<u8> {
    let mut compressor = Compressor::new(coding);
    let mut body = Vec::new();
    for piece in pieces {
        body.extend(compressor.compress(piece.to_vec().into()).expect("memory"));
    }
    body.extend(compressor.finish().expect("memory"));
    body
}

fuzz_target!(|input: (&str, &str, &str, Vec<&[u8]>)| {
    let (accept, coding, label, pieces) = input;
    let (format, coding) = (Format::from_accept(accept), Coding::from_accept(coding));
    let mut out = Encoder::new(format, true);
    out.family("videogen_fuzz", label, Kind::Gauge);
    out.row(&[("label", label)], 1.0, Extra::default());
    let page = out.finish();
    if format != Format::Protobuf {
        let lines = std::str::from_utf8(&page).expect("text").lines().filter(|line| !line.starts_with("# "));
        assert_eq!(lines.count(), 1, "{label:?}");
    }
    let body = compress(coding, &[&page]);
    assert!(coding != Coding::Identity || body == page);

    // A gzip body is one member, and decompresses to the pieces.
    let member = compress(Coding::Gzip, &pieces);
    let (mut rest, mut read) = (member.as_slice(), Vec::new());
    GzDecoder::new(&mut rest).read_to_end(&mut read).expect("gzip");
    assert!(read == pieces.concat() && rest.is_empty());
});
