//! The documents: relative links lead to files and headings that exist, and commands are those of the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::program::{program, stdout};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Markdown file of the project.
fn documents() -> Vec<PathBuf> {
    fn add(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                add(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    for name in ["docs", "packaging"] {
        add(&root().join(name), &mut found);
    }
    found.extend(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root().join(name)));
    found
}

/// The text without code.
fn prose(text: &str) -> String {
    let mut is_code = false;
    let lines = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text);
    let headings = headings.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let kept = line.trim_start_matches('#').trim().to_lowercase();
            let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[test]
fn relative_links_lead_to_files_and_headings() {
    let mut checked = 0;
    for document in documents() {
        let text = prose(&fs::read_to_string(&document).unwrap());
        for part in text.split("](").skip(1) {
            let link = part.split([')', ' ']).next().unwrap();
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { document.clone() } else { document.parent().unwrap().join(path) };
            assert!(target.exists(), "{}: {link} does not exist", document.display());
            if !anchor.is_empty() && target.extension().is_some_and(|extension| extension == "md") {
                let known = anchors(&fs::read_to_string(&target).unwrap());
                assert!(known.contains(anchor), "{}: no heading for {link}", document.display());
            }
            checked += 1;
        }
    }
    assert!(checked > 100, "only {checked} links were found");
}

#[test]
fn commands_of_the_documents_exist() {
    let help = stdout(&program().arg("--help").output().unwrap());
    let commands = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let known: BTreeSet<&str> =
        commands.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    let mut used = BTreeSet::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for block in text.split("```sh\n").skip(1) {
            for line in block.split("```").next().unwrap().lines() {
                let mut words = line.split_whitespace().skip_while(|word| !word.ends_with("videogen-exporter"));
                let is_command = words
                    .next()
                    .is_some_and(|word| word == "videogen-exporter" || word.ends_with("/videogen-exporter"));
                let is_alone = line.trim_start().starts_with("videogen-exporter ");
                let Some(word) = words.find(|word| !word.starts_with('-')).filter(|_| is_command && is_alone) else {
                    continue;
                };
                if word.chars().all(|c| c.is_ascii_lowercase()) {
                    assert!(known.contains(word), "{}: no command {word}: {line}", document.display());
                    used.insert(word.to_owned());
                }
            }
        }
        for script in text.split("packaging/").skip(1) {
            let path = script
                .split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '/' | '-' | '_' | '.'))
                .next()
                .unwrap();
            let path = root().join("packaging").join(path.trim_end_matches(['.', '/']));
            // What a reader makes there.
            let is_own = path.ends_with("overlays/mine");
            assert!(path.exists() || is_own, "{}: {} does not exist", document.display(), path.display());
        }
    }
    for word in ["check", "probe", "backup", "health", "rules", "demo"] {
        assert!(used.contains(word), "no document shows `videogen-exporter {word}`");
    }
}
