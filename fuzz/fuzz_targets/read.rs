//! Any bytes as the answer of every provider: `cargo +nightly fuzz run read` (CONTRIBUTING.md).

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/it/sane.rs"]
mod sane;

fuzz_target!(|body: &[u8]| sane::check(body));
