//! The house keeps its shape: who may import whom, and which outside crate belongs to which module.

use std::fs;
use std::path::{Path, PathBuf};

/// From the ground up; a module imports only from layers below its own.
const LAYERS: &[&[&str]] = &[
    &["domain", "clock", "secret", "supervise", "telemetry"],
    &["http"],
    &["provider"],
    &["config"],
    &["source", "store", "metrics"],
    &["agent"],
    &["server", "simulate"],
    &["app"],
    &["cli"],
    &["lib", "main"],
];

/// Imports within the ground layer that are part of the picture.
const GROUND: &[(&str, &str)] = &[("secret", "clock")];

/// Outside crates and the only modules that may name them.
const OWNERS: &[(&str, &[&str])] = &[
    ("reqwest", &["http"]),
    ("rustls", &["http"]),
    ("figment", &["config"]),
    ("granit_parser", &["config"]),
    ("prometheus", &["metrics"]),
    ("axum", &["server", "simulate"]),
    ("hyper", &["server"]),
    ("tokio_io_timeout", &["server"]),
    ("socket2", &["server"]),
    ("crc32fast", &["metrics"]),
    ("zstd", &["metrics"]),
    ("memchr", &["metrics"]),
    ("hyper_util", &["server"]),
    ("clap", &["cli", "main"]),
    ("tracing_subscriber", &["telemetry", "cli"]),
    ("governor", &["agent", "server"]),
    ("notify", &["source"]),
    ("glob", &["source", "config"]),
    ("fastrand", &["agent", "simulate"]),
    ("rusqlite", &["store", "source"]),
    ("tokio_postgres", &["source"]),
    ("tokio_postgres_rustls", &["source"]),
    ("rustls_platform_verifier", &["http"]),
    ("ring", &["secret"]),
    ("subtle", &["secret"]),
    ("base64", &["secret", "server"]),
    ("serde_json_path", &["provider"]),
    ("form_urlencoded", &["provider", "simulate"]),
    ("httpdate", &["http"]),
];

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Every source file with the module it belongs to and its text without comments.
fn sources() -> Vec<(PathBuf, String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let read = |path: PathBuf| {
        let own = path.strip_prefix(&root).unwrap().iter().next().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let code: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        (path.clone(), own.trim_end_matches(".rs").to_owned(), code.join("\n"))
    };
    files(&root).into_iter().map(read).collect()
}

fn rank(module: &str) -> usize {
    LAYERS.iter().position(|layer| layer.contains(&module)).unwrap_or_else(|| panic!("{module} is in no layer"))
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

#[test]
fn imports_point_down() {
    let mut arrows = 0;
    for (path, own, code) in sources() {
        for used in code.split("crate::").skip(1).map(word).filter(|used| *used != "VERSION") {
            let fine = used == own || rank(used) < rank(&own) || GROUND.contains(&(own.as_str(), used));
            assert!(fine, "{}: {own} may not use {used}", path.display());
            arrows += usize::from(used != own);
        }
    }
    assert!(arrows > 50, "only {arrows} imports were checked");
}

#[test]
fn each_outside_crate_has_its_owner() {
    let mut uses = 0;
    for (path, own, code) in sources() {
        for (name, owners) in OWNERS {
            let named = code.match_indices(&format!("{name}::")).any(|(at, _)| {
                let before = code[..at].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
            });
            assert!(!named || owners.contains(&own.as_str()), "{}: {own} may not use {name}", path.display());
            uses += usize::from(named);
        }
    }
    assert!(uses > OWNERS.len(), "only {uses} uses of outside crates were seen");
}

#[test]
fn no_file_is_a_maze() {
    for (path, _, _) in sources() {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.lines().count() <= 400, "{} has over 400 lines", path.display());
        assert!(text.starts_with("//!"), "{} does not say what lives in it", path.display());
    }
}
