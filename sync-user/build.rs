//! Puts into the daemon what it carries inside: the eBPF object, and the receiver for targets.
//!
//! `cargo xtask build` makes both and leaves them where `.cargo/config.toml` says. A build
//! without them works, and says what is missing.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_SOURCE").is_none() {
        return;
    }
    embed("KSYNCD_BPF_OBJECT", "capture.bpf.o", "there is no eBPF object: only fanotify is in");
    embed(
        "KSYNCD_RECEIVER",
        "receiver",
        "there is no static receiver: targets get a copy of the whole program",
    );
}

/// Copies the file that `variable` names to `name` in the output folder; an empty file stands
/// for none.
fn embed(variable: &str, name: &str, missing: &str) {
    println!("cargo::rerun-if-env-changed={variable}");
    let target = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join(name);
    let source = env::var_os(variable).map(PathBuf::from);
    let bytes = source.as_deref().and_then(read);
    if bytes.is_none() {
        println!("cargo::warning={missing} (`cargo xtask build` makes it)");
    }
    fs::write(&target, bytes.unwrap_or_default())
        .unwrap_or_else(|error| panic!("write {}: {error}", target.display()));
}

fn read(source: &Path) -> Option<Vec<u8>> {
    println!("cargo::rerun-if-changed={}", source.display());
    fs::read(source).ok()
}
