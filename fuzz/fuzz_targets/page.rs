//! Any header and any label in every format and compression: `cargo +nightly fuzz run page` (CONTRIBUTING.md).

#![no_main]

use std::io::Read as _;

use flate2::bufread::GzDecoder;
use libfuzzer_sys::fuzz_target;
use videogen_exporter::metrics::families::Kind;
use videogen_exporter::metrics::{Coding, Compressor, Encoder, Extra, Format};

fuzz_target!(|input: (&str, &str, &str, Vec<&[u8]>)| {
    let (accept, coding, label, pieces) = input;
    let (format, coding) = (Format::accepted(accept), Coding::accepted(coding));
    let mut out = Encoder::new(format, true);
    out.family("videogen_fuzz", label, Kind::Gauge);
    out.row(&[("label", label)], 1.0, Extra::default());
    let page = out.finish();
    if format != Format::Protobuf {
        let lines = std::str::from_utf8(&page).expect("text").lines().filter(|line| !line.starts_with("# "));
        assert_eq!(lines.count(), 1, "{label:?}");
    }
    let mut compressor = Compressor::new(coding).expect("memory");
    compressor.piece(page.into()).expect("memory");
    compressor.end().expect("memory");

    // Our own compressor, whatever it is given: one member, which reads back.
    let mut compressor = Compressor::new(Coding::Gzip).expect("memory");
    let mut member = Vec::new();
    for piece in &pieces {
        member.extend(compressor.piece(piece.to_vec().into()).expect("memory"));
    }
    member.extend(compressor.end().expect("memory"));
    let (mut rest, mut read) = (member.as_slice(), Vec::new());
    GzDecoder::new(&mut rest).read_to_end(&mut read).expect("gzip");
    assert!(read == pieces.concat() && rest.is_empty());
});
