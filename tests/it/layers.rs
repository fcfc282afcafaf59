//! The rules of the architecture: imports between modules, and the owners of external crates.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// From the lowest layer up; a module imports only from lower layers.
const LAYERS: &[&[&str]] = &[
    &["domain", "clock", "files", "liveness", "secret", "supervise", "systemd", "telemetry"],
    &["counters", "http"],
    &["view", "provider"],
    &["config"],
    &["source", "store", "metrics"],
    &["agent"],
    &["server", "simulate"],
    &["app"],
    &["cli"],
    &["lib", "main"],
];

/// Allowed imports within the lowest layer.
const GROUND: &[(&str, &str)] = &[
    ("secret", "clock"),
    ("clock", "domain"),
    ("files", "clock"),
    ("secret", "files"),
    ("liveness", "clock"),
    ("systemd", "clock"),
    ("systemd", "liveness"),
    ("telemetry", "domain"),
];

/// External crates and the only modules that may use them.
const OWNERS: &[(&str, &[&str])] = &[
    ("reqwest", &["http"]),
    ("rustls", &["http", "server"]),
    ("tokio_rustls", &["server"]),
    ("rustls_native_certs", &["server"]),
    ("x509_cert", &["server"]),
    ("bcrypt", &["server"]),
    ("listenfd", &["server"]),
    ("figment", &["config"]),
    ("granit_parser", &["config"]),
    ("schemars", &["config"]),
    ("prometheus", &["metrics"]),
    ("axum", &["server", "simulate"]),
    ("hyper", &["server"]),
    ("tokio_io_timeout", &["server"]),
    ("socket2", &["server"]),
    ("tower_service", &["server"]),
    ("flate2", &["http", "metrics"]),
    ("hyper_util", &["server"]),
    ("clap", &["cli", "main"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("sd_notify", &["systemd"]),
    ("tracing_subscriber", &["telemetry", "cli"]),
    ("tracing_appender", &["telemetry"]),
    ("governor", &["agent", "server"]),
    ("ipnet", &["server"]),
    ("notify", &["source"]),
    ("glob", &["source", "config"]),
    ("fastrand", &["agent", "simulate"]),
    ("rusqlite", &["store", "source"]),
    ("tokio_postgres", &["source"]),
    ("tokio_postgres_rustls", &["source"]),
    ("rustls_platform_verifier", &["http"]),
    ("ring", &["secret"]),
    ("subtle", &["secret"]),
    ("base64", &["http", "provider", "secret", "server"]),
    ("serde_json_path", &["provider"]),
    ("form_urlencoded", &["http", "provider", "server", "simulate"]),
    ("percent_encoding", &["http"]),
    ("data_encoding", &["secret"]),
    ("httpdate", &["http"]),
    ("memchr", &["http"]),
    ("rustix", &["files", "cli", "store"]),
    ("rust_decimal", &["domain", "config", "provider", "agent"]),
    ("wildmatch", &["domain"]),
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

/// Every source file with its module and its code without comments.
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
    LAYERS.iter().position(|layer| layer.contains(&module)).unwrap_or_else(|| panic!("{module} has no layer"))
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

#[test]
fn modules_import_only_from_lower_layers() {
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

/// The module path of a file: `agent/queue.rs` is `agent::queue`, `agent/mod.rs` is `agent`.
fn module(path: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let path = path.strip_prefix(&root).unwrap().with_extension("");
    let parts: Vec<_> = path.iter().map(|part| part.to_str().unwrap()).filter(|part| *part != "mod").collect();
    parts.join("::")
}

/// The paths of a `use` statement, without its keywords: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(tree: &str) -> Vec<String> {
    let Some((head, rest)) = tree.split_once('{') else { return vec![tree.trim().to_owned()] };
    let (inner, mut depth, mut part) = (rest.rsplit_once('}').unwrap().0, 0, String::new());
    let mut found = Vec::new();
    for c in inner.chars().chain([',']) {
        match c {
            ',' if depth == 0 => {
                let part = std::mem::take(&mut part);
                found.extend(paths(part.trim()).into_iter().map(|path| format!("{}{path}", head.trim())));
                continue;
            }
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        part.push(c);
    }
    found
}

/// A file's code without its tests.
fn without_tests(code: &str) -> &str {
    code.split("#[cfg(test)]\nmod tests {").next().unwrap()
}

/// The `use` statements of a file, each with whether it is public, and the rest of its code.
fn statements(code: &str) -> (Vec<(bool, String)>, String) {
    let (mut uses, mut rest) = (Vec::new(), String::new());
    for text in without_tests(code).split(';') {
        if text.trim_start().trim_start_matches("pub ").starts_with("mod ") {
            continue;
        }
        let at = text.rfind("use ").filter(|at| text[..*at].chars().next_back().is_none_or(char::is_whitespace));
        let Some(at) = at else {
            rest += text;
            continue;
        };
        let is_public = text[..at].trim_end().ends_with("pub");
        uses.extend(paths(&text[at + 4..]).into_iter().map(|path| (is_public, path)));
        rest += &text[..at];
    }
    (uses, rest)
}

/// The absolute form of a path in a module.
fn absolute(own: &str, path: &str) -> String {
    let path = path.split(" as ").next().unwrap().trim_end_matches("::self");
    if let Some(whole) = path.strip_prefix("crate::") {
        return whole.to_owned();
    }
    let mut base: Vec<&str> = own.split("::").collect();
    let mut rest = path.strip_prefix("self::").unwrap_or(path);
    while let Some(above) = rest.strip_prefix("super::") {
        base.pop();
        rest = above;
    }
    base.into_iter().chain(rest.split("::")).collect::<Vec<_>>().join("::")
}

/// Whether code has a word, followed by `after`.
fn has_word(code: &str, word: &str, after: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    code.match_indices(word).any(|(at, _)| {
        let rest = &code[at + word.len()..];
        !code[..at].chars().next_back().is_some_and(is_part)
            && rest.starts_with(after)
            && (!after.is_empty() || !rest.chars().next().is_some_and(|c| c.is_alphanumeric() || c == '_'))
    })
}

/// Pairs of files: user and used. A re-export counts as its original file.
fn arrows() -> BTreeSet<(String, String)> {
    let files: BTreeMap<String, String> = sources().into_iter().map(|(path, _, code)| (module(&path), code)).collect();
    let mut reexports: BTreeMap<String, String> = BTreeMap::new();
    let mut used: Vec<(String, String)> = Vec::new();
    for (own, code) in &files {
        let (uses, rest) = statements(code);
        for (is_public, path) in uses {
            let target = absolute(own, &path);
            let name = target.rsplit("::").next().unwrap().to_owned();
            // A re-export may be used as well.
            if !is_public || has_word(&rest, &name, "") {
                used.push((own.clone(), target.clone()));
            }
            if is_public {
                reexports.insert(format!("{own}::{name}"), target);
            }
        }
        let child =
            |file: &str| file.strip_prefix(&format!("{own}::")).filter(|name| !name.contains(':')).map(str::to_owned);
        for name in files.keys().filter_map(|file| child(file)).filter(|name| has_word(&rest, name, "::")) {
            used.push((own.clone(), format!("{own}::{name}")));
        }
        for path in rest.split("crate::").skip(1) {
            let end = path.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(path.len());
            used.push((own.clone(), path[..end].trim_end_matches(':').to_owned()));
        }
    }
    let mut found = BTreeSet::new();
    for (own, mut target) in used {
        loop {
            if files.contains_key(&target) {
                break;
            } else if let Some(owner) = reexports.get(&target) {
                target.clone_from(owner);
            } else if let Some((above, _)) = target.rsplit_once("::") {
                target.truncate(above.len());
            } else {
                break;
            }
        }
        if files.contains_key(&target) && target != own {
            found.insert((own, target));
        }
    }
    found
}

#[test]
fn no_two_files_import_each_other() {
    let arrows = arrows();
    assert!(arrows.len() > 300, "only {} imports were found", arrows.len());
    let has = |from: &str, to: &str| arrows.contains(&(from.to_owned(), to.to_owned()));
    assert!(has("agent::poller", "agent::queue") && has("agent::tracker", "domain::advance"), "{arrows:?}");
    let mutual = arrows.iter().filter(|(a, b)| a < b && arrows.contains(&(b.clone(), a.clone())));
    let mutual: Vec<_> = mutual.collect();
    assert!(mutual.is_empty(), "{mutual:#?}");
}

#[test]
fn external_crates_are_used_only_by_their_owners() {
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
    assert!(uses > OWNERS.len(), "only {uses} uses of external crates were found");
}

#[test]
fn files_are_short_and_begin_with_a_description() {
    for (path, _, _) in sources() {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.lines().count() <= 400, "{} has over 400 lines", path.display());
        assert!(text.starts_with("//!"), "{} does not begin with a description", path.display());
    }
}
