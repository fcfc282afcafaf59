//! Writes the Grafana dashboards into `dashboards/`; with `--check`, reports files there that are stale.
//!
//! Run it from the root of the project: `cargo run --example dashboards` or `cargo run --example dashboards -- --check`.
#![forbid(unsafe_code)]

mod boards;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

const FOLDER: &str = "dashboards";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let expected: BTreeMap<String, String> = boards::all().into_iter().collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => write(&expected).map(|()| ExitCode::SUCCESS),
        ["--check"] => check(&expected),
        _ => {
            eprintln!("usage: dashboards [--check]");
            return ExitCode::from(2);
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("{FOLDER}: {error}");
        ExitCode::FAILURE
    })
}

fn write(expected: &BTreeMap<String, String>) -> io::Result<()> {
    fs::create_dir_all(FOLDER)?;
    for (name, text) in expected {
        let path = Path::new(FOLDER).join(name);
        fs::write(&path, text)?;
        println!("{}", path.display());
    }
    Ok(())
}

/// Reports files that differ from the generated ones, and JSON files that no dashboard generates.
fn check(expected: &BTreeMap<String, String>) -> io::Result<ExitCode> {
    let found = read(Path::new(FOLDER))?;
    let stale: Vec<&String> =
        expected.iter().filter(|(name, text)| found.get(*name) != Some(text)).map(|(name, _)| name).collect();
    let strays: Vec<&String> = found.keys().filter(|name| !expected.contains_key(*name)).collect();
    for name in &stale {
        eprintln!("{FOLDER}/{name}: stale, run `cargo run --example dashboards`");
    }
    for name in &strays {
        eprintln!("{FOLDER}/{name}: no dashboard generates this file; remove it");
    }
    Ok(if stale.is_empty() && strays.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(folder: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    if !folder.exists() {
        return Ok(found);
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json")
            && let Some(name) = path.file_name()
        {
            found.insert(name.to_string_lossy().into_owned(), fs::read_to_string(&path)?);
        }
    }
    Ok(found)
}
