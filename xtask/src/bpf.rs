//! Builds the eBPF object with whatever toolchain there is that can.
//!
//! It takes a compiler that builds `core` for the kernel's target, and `bpf-linker`. Debian's
//! `rustc-web` with `rust-web-src` is one; a rustup nightly with `rust-src` is another. Without
//! either ksyncd is built all the same, and captures by fanotify.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::process::{output, run, succeeds};
use crate::{build, packages, workspace};

/// The kernel's little-endian machine.
const TARGET: &str = "bpfel-unknown-none";

/// A compiler that comes with the source of `core`.
#[derive(Debug)]
enum Toolchain {
    Nightly,
    /// Debian's, at this path: stable, and told not to mind.
    Debian(PathBuf),
}

/// Builds the object; `None` when no toolchain is to be had, after saying what is missing.
pub(crate) fn build() -> Result<Option<PathBuf>> {
    let toolchain = match find().map_or_else(install, Ok) {
        Ok(toolchain) => toolchain,
        Err(error) => {
            eprintln!("xtask: without eBPF, capture is by fanotify alone: {error:#}");
            return Ok(None);
        }
    };
    let folder = workspace().join("target/bpf");
    let mut cargo = build::cargo();
    match &toolchain {
        Toolchain::Nightly => {
            cargo.env("RUSTUP_TOOLCHAIN", "nightly").env_remove("RUSTC");
        }
        Toolchain::Debian(compiler) => {
            cargo.env("RUSTC", compiler).env("RUSTC_BOOTSTRAP", "1");
        }
    }
    run(cargo
        .args(["build", "--package", "sync-ebpf", "--bin", "ksyncd-bpf", "--release"])
        .args(["--target", TARGET, "-Z", "build-std=core", "--target-dir"])
        .arg(&folder)
        // BTF lets the verifier speak of our lines; the rest keeps panics and tables out.
        .env("CARGO_ENCODED_RUSTFLAGS", "-Cdebuginfo=2\u{1f}-Clink-arg=--btf\u{1f}-Cpanic=abort")
        .env("CARGO_PROFILE_RELEASE_LTO", "true")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3")
        .env_remove("CARGO"))?;
    Ok(Some(folder.join(TARGET).join("release/ksyncd-bpf")))
}

fn find() -> Option<Toolchain> {
    if !succeeds(Command::new("bpf-linker").arg("--version")) {
        return None;
    }
    let nightly = output(Command::new("rustc").args(["+nightly", "--print", "sysroot"])).ok();
    if nightly.is_some_and(|sysroot| has_source(Path::new(sysroot.trim()))) {
        return Some(Toolchain::Nightly);
    }
    let debian = PathBuf::from("/usr/bin/rustc");
    let sysroot = output(Command::new(&debian).args(["--print", "sysroot"])).ok()?;
    has_source(Path::new(sysroot.trim())).then_some(Toolchain::Debian(debian))
}

fn has_source(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").exists()
}

/// Installs Debian's toolchain and the linker.
fn install() -> Result<Toolchain> {
    packages::install(packages::BPF)?;
    if !succeeds(Command::new("bpf-linker").arg("--version")) {
        eprintln!("xtask: installing bpf-linker (takes some minutes)");
        let linker =
            ["install", "bpf-linker", "--version", "^0.13", "--no-default-features", "--features", "llvm-22"];
        run(build::cargo().args(linker).env("LLVM_PREFIX", "/usr/lib/llvm-22"))?;
    }
    match find() {
        Some(toolchain) => Ok(toolchain),
        None => bail!("neither a nightly toolchain with rust-src nor rustc-web with rust-web-src is there"),
    }
}
