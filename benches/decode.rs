//! Speed of decoding answers: `cargo bench --bench decode`.
//!
//! Each provider reads its recorded answers, all equally often. The examples of the two seed documents have rows of their own.
//! One core; the median of the rounds counts.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock itself")]
#![expect(clippy::unwrap_used, reason = "all input is fixed")]
#![expect(clippy::cast_precision_loss, reason = "small counts")]

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use serde_json::Value;
use videogen_exporter::provider::{Dialect, PROVIDERS};

/// Rounds; their median counts.
const ROUNDS: usize = 41;

/// About this many answers are read per round.
const ANSWERS: usize = 20_000;

/// Lowest allowed speed of a provider, in answers per second.
const FLOOR: f64 = 50_000.0;

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/providers");
    let manifest: Vec<Value> =
        serde_json::from_str(&fs::read_to_string(folder.join("manifest.json")).unwrap()).unwrap();
    let bodies = |is_wanted: &dyn Fn(&str, &str) -> bool| -> Vec<(u16, Vec<u8>)> {
        let matches = |entry: &&Value| {
            entry["expect"]["kind"] == "task"
                && is_wanted(entry["provider"].as_str().unwrap(), entry["file"].as_str().unwrap())
        };
        let read = |entry: &Value| {
            let status = entry["http_status"].as_u64().unwrap();
            (u16::try_from(status).unwrap(), fs::read(folder.join(entry["file"].as_str().unwrap())).unwrap())
        };
        manifest.iter().filter(matches).map(read).collect()
    };
    println!("{:<28} {:>8} {:>12} {:>8} {:>10}", "answers", "bytes", "answers/s", "MB/s", "us each");
    let mut slowest = f64::INFINITY;
    for provider in PROVIDERS {
        let Ok(dialect) = Dialect::from_provider(provider) else { continue };
        // Gateways without recordings read those of new-api.
        let own = bodies(&|name, _| name == provider.name);
        let own = if own.is_empty() { bodies(&|name, _| name == "new_api") } else { own };
        slowest = slowest.min(measure(provider.name, &dialect, &own));
    }
    for seed in ["tokenhot/seed_success.json", "tikhub_seedance/seed_success.json"] {
        let provider = PROVIDERS.iter().find(|provider| seed.starts_with(provider.name)).unwrap();
        measure(seed, &Dialect::from_provider(provider).unwrap(), &bodies(&|_, file| file == seed));
    }
    println!("slowest provider: {slowest:.0} answers/s; must be at least {FLOOR:.0}");
    assert!(slowest >= FLOOR, "too slow");
}

/// Prints a row, and returns the answers per second.
fn measure(name: &str, dialect: &Dialect, bodies: &[(u16, Vec<u8>)]) -> f64 {
    let times = ANSWERS.div_ceil(bodies.len());
    let answers = (times * bodies.len()) as f64;
    let bytes = bodies.iter().map(|(_, body)| body.len()).sum::<usize>() as f64 * times as f64;
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..times {
                for (status, body) in bodies {
                    let _ = black_box(dialect.read(*status, black_box(body)));
                }
            }
            start.elapsed().as_secs_f64()
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    let seconds = rounds[ROUNDS / 2];
    let rate = answers / seconds;
    println!("{name:<28} {:>8.0} {rate:>12.0} {:>8.0} {:>10.2}", bytes / answers, bytes / seconds / 1e6, 1e6 / rate);
    rate
}
