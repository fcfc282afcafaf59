//! Any header and any label in every format and compression: `cargo +nightly fuzz run page` (CONTRIBUTING.md).

#![no_main]

use libfuzzer_sys::fuzz_target;
use videogen_exporter::metrics::families::Kind;
use videogen_exporter::metrics::{Coding, Compressor, Encoder, Extra, Format};

fuzz_target!(|input: (&str, &str, &str)| {
    let (accept, coding, label) = input;
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
});
