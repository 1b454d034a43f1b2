//! Installs the Debian packages that a command needs, after saying which and why.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::process::{run, succeeds};

/// What is needed for a purpose.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need {
    pub purpose: &'static str,
    pub packages: &'static [&'static str],
}

/// libssh2 is compiled from its source, against the system's OpenSSL and zlib.
pub(crate) const BUILD: &[Need] = &[Need {
    purpose: "to build",
    packages: &["gcc", "libc6-dev", "libssl-dev", "pkg-config", "zlib1g-dev"],
}];

/// What compiles eBPF from Rust where no rustup can bring a nightly toolchain with its source.
pub(crate) const BPF: &[Need] = &[Need {
    purpose: "to build the eBPF programs",
    packages: &[
        "rustc-web",
        "rust-web-src",
        "llvm-22-dev",
        "libzstd-dev",
        "zlib1g-dev",
        "libxml2-dev",
        "g++",
    ],
}];

pub(crate) const RUN: &[Need] = &[Need {
    purpose: "for the demonstration's SSH server",
    packages: &["openssh-server", "openssh-client"],
}];

/// What judges replicas in tests, and makes trees that are hard to replicate.
pub(crate) const TEST: &[Need] = &[
    Need { purpose: "to compare replicas in tests", packages: &["rsync", "attr", "acl"] },
    Need { purpose: "to compare latency logs in tests", packages: &["python3-venv"] },
    // The binaries alone: no service comes with them.
    Need {
        purpose: "to serve and read a replicated site in tests",
        packages: &["apache2-bin", "curl", "iproute2"],
    },
    // The smaller one of the two that Debian has, without windows.
    Need { purpose: "to look at the status page in tests", packages: &["chromium-headless-shell"] },
];

pub(crate) const VM: &[Need] = &[Need {
    purpose: "for virtual machines",
    packages: &[
        "qemu-system-x86",
        "busybox-static",
        "cpio",
        "e2fsprogs",
        "kmod",
        "xz-utils",
        "debian-archive-keyring",
    ],
}];

pub(crate) const MATRIX: &[Need] =
    &[Need { purpose: "to make file systems", packages: &["xfsprogs", "btrfs-progs"] }];

pub(crate) const PACKAGE: &[Need] = &[Need { purpose: "to make the package", packages: &["dpkg-dev"] }];

pub(crate) const CHROOT: &[Need] =
    &[Need { purpose: "to try the package", packages: &["debootstrap", "iproute2"] }];

pub(crate) const BENCH: &[Need] = &[
    Need { purpose: "to compare with", packages: &["lsyncd", "rsync"] },
    Need { purpose: "to measure on a new file system", packages: &["e2fsprogs"] },
];

/// Installs what is missing.
pub(crate) fn install(needs: &[Need]) -> Result<()> {
    for Need { purpose, packages } in needs {
        let missing: Vec<&str> = packages.iter().copied().filter(|package| !is_installed(package)).collect();
        if missing.is_empty() {
            continue;
        }
        if !Path::new("/usr/bin/apt-get").exists() {
            bail!("these programs are needed {purpose}, by their Debian names: {}", missing.join(" "));
        }
        let command = format!("apt-get install --yes --no-install-recommends {}", missing.join(" "));
        if !succeeds(Command::new("test").args(["-w", "/var/lib/dpkg/lock"])) {
            bail!("packages are missing {purpose}; install them by: sudo {command}");
        }
        eprintln!("xtask: installing {purpose}: {}", missing.join(" "));
        let apt = || {
            let mut apt = Command::new("apt-get");
            apt.env("DEBIAN_FRONTEND", "noninteractive").arg("-qq");
            apt
        };
        run(apt().arg("update"))?;
        run(apt().args(["install", "--yes", "--no-install-recommends"]).args(&missing))?;
    }
    Ok(())
}

/// Whether a package, or what it brings, is there. On other systems the same files are.
fn is_installed(package: &str) -> bool {
    let file = match package {
        "gcc" => "/usr/bin/gcc",
        "g++" => "/usr/bin/g++",
        "openssh-server" => "/usr/sbin/sshd",
        "openssh-client" => "/usr/bin/ssh-keygen",
        "pkg-config" => "/usr/bin/pkg-config",
        "qemu-system-x86" => "/usr/bin/qemu-system-x86_64",
        "busybox-static" => "/bin/busybox",
        "lsyncd" => "/usr/bin/lsyncd",
        "debootstrap" => "/usr/sbin/debootstrap",
        "dpkg-dev" => "/usr/bin/dpkg-shlibdeps",
        "rsync" => "/usr/bin/rsync",
        "attr" => "/usr/bin/setfattr",
        "acl" => "/usr/bin/setfacl",
        "apache2-bin" => "/usr/sbin/apache2",
        "curl" => "/usr/bin/curl",
        "chromium-headless-shell" => "/usr/bin/chromium-headless-shell",
        "iproute2" => "/usr/sbin/ip",
        "python3-venv" => {
            return succeeds(Command::new("python3").args(["-c", "import ensurepip, venv"]));
        }
        _ => {
            let status = ["-W", "-f", "${db:Status-Status}", package];
            let output = Command::new("dpkg-query").args(status).output();
            return output.is_ok_and(|output| output.stdout == b"installed");
        }
    };
    Path::new(file).exists()
}
