//! Builds the three programs: the eBPF object, the static receiver, and the daemon that carries
//! both inside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process::{output, run};
use crate::{bpf, workspace};

/// Builds all three, and says where the daemon is.
pub(crate) fn build() -> Result<PathBuf> {
    embedded()?;
    run(cargo().args(["build", "--release", "--package", "sync-user", "--bin", "ksyncd"]))?;
    Ok(workspace().join("target/release/ksyncd"))
}

/// Builds all three as the tests have them, which takes no second build of everything, and says where
/// the daemon is.
pub(crate) fn for_tests() -> Result<PathBuf> {
    embedded()?;
    run(cargo().args(["build", "--package", "sync-user", "--bin", "ksyncd"]))?;
    Ok(workspace().join("target/debug/ksyncd"))
}

/// Builds what the daemon carries inside, into `target/embed`.
pub(crate) fn embedded() -> Result<()> {
    let embed = workspace().join("target/embed");
    fs::create_dir_all(&embed).with_context(|| format!("make {}", embed.display()))?;
    if let Some(object) = bpf::build()? {
        replace_if_changed(&object, &embed.join("ksyncd.bpf.o"))?;
    }
    replace_if_changed(&receiver()?, &embed.join("ksyncd-receiver"))
}

/// Builds the differential test, with the hooks that it can leave out, and says where it is.
pub(crate) fn differential() -> Result<PathBuf> {
    test_program("differential", &["--features", "mutation"])
}

/// Builds the integration tests, and says where they are. They start the program that [`for_tests`] builds.
pub(crate) fn integration() -> Result<PathBuf> {
    test_program("it", &[])
}

fn test_program(test: &str, features: &[&str]) -> Result<PathBuf> {
    let told = output(
        cargo()
            .args(["test", "--package", "sync-user", "--test", test, "--no-run", "--message-format=json"])
            .args(features),
    )?;
    let executable = told.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_test = message["target"]["name"] == test;
        is_test.then(|| message["executable"].as_str().map(PathBuf::from)).flatten()
    });
    executable.with_context(|| format!("cargo did not say where the test `{test}` is"))
}

/// Whether the eBPF object is among what is embedded.
pub(crate) fn has_bpf() -> bool {
    workspace().join("target/embed/ksyncd.bpf.o").exists()
}

/// Builds the receiver that is brought to targets: static, so that it runs on any Linux of this
/// architecture, and without the sending half.
fn receiver() -> Result<PathBuf> {
    let host = host()?;
    // A target folder of its own, since these flags would rebuild everything else. `--target`
    // keeps them away from build scripts.
    let folder = workspace().join("target/receiver");
    run(cargo()
        .args(["build", "--package", "sync-user", "--bin", "ksyncd", "--no-default-features"])
        .args(["--profile", "receiver", "--target", &host])
        .arg("--target-dir")
        .arg(&folder)
        .env("RUSTFLAGS", "-C target-feature=+crt-static"))?;
    Ok(folder.join(host).join("receiver/ksyncd"))
}

pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace());
    cargo
}

fn host() -> Result<String> {
    let version = output(Command::new("rustc").arg("-vV"))?;
    match version.lines().find_map(|line| line.strip_prefix("host: ")) {
        Some(host) => Ok(host.to_owned()),
        None => bail!("`rustc -vV` names no host"),
    }
}

/// An equal file stays as it is: the daemon is built anew whenever it is newer.
fn replace_if_changed(from: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(from).with_context(|| format!("read {}", from.display()))?;
    if fs::read(to).is_ok_and(|before| before == bytes) {
        return Ok(());
    }
    fs::write(to, bytes).with_context(|| format!("write {}", to.display()))
}
