//! Valid files load; invalid files are rejected with every problem and its position, and no secret is printed.

use std::fs;
use std::path::{Path, PathBuf};

use videogen_exporter::config::{self, ConfigError, Origin};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(ending: &str) -> Vec<PathBuf> {
    let folder = fs::read_dir(root().join("tests/fixtures/config")).unwrap();
    let mut found: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.to_string_lossy().ends_with(ending));
    found.sort();
    found
}

#[test]
fn each_invalid_file_is_rejected_with_all_of_its_problems() {
    let bad = files(".bad.yml");
    assert!(bad.len() >= 40, "only {} invalid files", bad.len());
    for path in bad {
        let text = fs::read_to_string(&path).unwrap();
        let expected: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# expect: ")).collect();
        assert!(!expected.is_empty(), "{} has no `# expect:` line", path.display());
        let Err(ConfigError(problems)) = config::load(&path) else { panic!("{} was accepted", path.display()) };
        let output = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        for message in &expected {
            assert!(output.contains(message), "{}: no {message:?} in\n{output}", path.display());
        }
        assert_eq!(problems.len(), expected.len(), "{}:\n{output}", path.display());
        assert!(!output.contains("S3CRET"), "{} prints a secret:\n{output}", path.display());
        for problem in &problems {
            let Origin::File(file, at) = &problem.origin else { panic!("{problem}") };
            assert_eq!(*file, path);
            let whole_file = problem.key.is_empty() || problem.key == "upstreams";
            assert!(at.is_some() || whole_file, "{}: {problem} has no line", path.display());
        }
    }
}

#[test]
fn a_problem_has_its_line_and_column() {
    let error = config::parse(
        "upstreams:\n  - name: a\n    provider: tokenhot\n    polling:\n      intervall: 5s\n",
        Path::new("x.yml"),
    );
    let output = error.unwrap_err().to_string();
    assert!(output.contains("\n  x.yml:5:7: upstreams.0.polling.intervall: unknown key"), "{output}");
    let missing = config::load(Path::new("no/such/file.yml")).unwrap_err().to_string();
    assert!(missing.contains("no/such/file.yml: cannot read the file"), "{missing}");
}

#[test]
fn each_valid_file_and_the_shipped_examples_load() {
    let good = files(".ok.yml");
    assert!(good.len() >= 3);
    for path in good.iter().chain([&root().join("config/videogen-exporter.yml")]) {
        config::load(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    let minimal = fs::read_to_string(root().join("config/minimal.yml")).unwrap();
    let without_key: String =
        minimal.lines().filter(|line| !line.contains("authorization")).map(|line| format!("{line}\n")).collect();
    config::parse(&without_key, Path::new("minimal.yml")).unwrap();
}

#[test]
fn text_that_looks_like_a_number_keeps_its_spelling() {
    let config = config::load(&root().join("tests/fixtures/config/everything.ok.yml")).unwrap();
    let tasks = &config.upstreams[0].static_sources[0].tasks;
    let ids: Vec<_> = tasks.iter().map(|task| task.id.as_str()).collect();
    assert_eq!(ids, ["t1", "0123", "866900000000000001", "../x?y=1"]);
    assert_eq!(tasks[0].labels["cost_center"], "007");
    let inherited = config::load(&root().join("tests/fixtures/config/inherited_interval.ok.yml")).unwrap();
    let pace = |n: usize| inherited.upstreams[n].polling.pace;
    assert_eq!((pace(0).interval.as_secs(), pace(0).min.as_secs(), pace(0).max.as_secs()), (2, 2, 60));
    assert_eq!((pace(1).interval.as_secs(), pace(1).min.as_secs(), pace(1).max.as_secs()), (300, 5, 300));
}

/// `config/videogen-exporter.yml` has every key, with the default that the code has.
#[test]
fn the_full_example_shows_every_default() {
    let path = root().join("config/videogen-exporter.yml");
    let text = fs::read_to_string(&path).unwrap();
    let config = config::load(&path).unwrap();
    let shown = serde_json::to_value(config.shown()).unwrap();
    let default = config::parse("upstreams: [{name: a, provider: tokenhot}]", Path::new("x.yml")).unwrap();
    let default = serde_json::to_value(default.shown()).unwrap();
    let mut checked = 0;
    for section in ["state", "api"] {
        assert_eq!(shown[section], default[section], "{section}");
    }
    for section in ["tasks", "metrics"] {
        assert_eq!(shown[section], default[section], "{section}");
        for key in default[section].as_object().unwrap().keys() {
            assert!(
                text.lines().any(|line| line.trim_start().starts_with(&format!("{key}:"))),
                "{section}.{key} is not in the file"
            );
            checked += 1;
        }
    }
    assert!(checked >= 14);
    assert_eq!(shown["polling"].as_object().unwrap().len(), 9, "every key of `polling` is shown");
    // The file writes the defaults of polling.
    let written = config::load(&path).unwrap().upstreams[0].polling;
    let default =
        config::parse("upstreams: [{name: a, provider: tokenhot}]", Path::new("x.yml")).unwrap().upstreams[0].polling;
    assert_eq!(written, default);
    // The message about an unknown key lists all keys; each is in the file, perhaps in a comment.
    let wrong =
        config::parse("upstreams: [{name: a, provider: tokenhot, x: 1}]", Path::new("x.yml")).unwrap_err().to_string();
    let keys = wrong.split("known keys: ").nth(1).unwrap();
    for key in keys.split(", ").map(str::trim) {
        assert!(text.contains(&format!("{key}:")), "{key} is not in the file");
    }
}

#[test]
fn the_password_of_a_proxy_is_not_shown() {
    let text = "upstreams: [{name: a, provider: tokenhot, proxy_url: 'http://u:S3CRET@proxy.example:3128'}]";
    let config = config::parse(text, Path::new("x.yml")).unwrap();
    let shown = serde_json::to_string(&config.shown()).unwrap();
    assert!(!shown.contains("S3CRET"), "{shown}");
    assert!(!format!("{config:?}").contains("S3CRET"));
}
