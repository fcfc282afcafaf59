//! Tells the program which compiler and which revision it was built from.

use std::process::Command;

#[expect(clippy::disallowed_methods, reason = "a build script is told things by variables")]
fn main() {
    println!("cargo:rerun-if-env-changed=VGX_REVISION");
    println!("cargo:rerun-if-changed=.git/HEAD");
    let said = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let revision = std::env::var("VGX_REVISION").ok().or_else(|| said("git", &["rev-parse", "--short=12", "HEAD"]));
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let rust = said(&rustc, &["--version"]).and_then(|text| text.split_whitespace().nth(1).map(str::to_owned));
    println!("cargo:rustc-env=VGX_REVISION={}", revision.as_deref().unwrap_or("unknown"));
    println!("cargo:rustc-env=VGX_RUST_VERSION={}", rust.as_deref().unwrap_or("unknown"));
}
