//! Makes the archive that is the machine's root: a shell, an SSH server, ksyncd, the command.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::kernel::Kernel;
use crate::process::{output, quote, run};
use crate::workspace;

/// What the demonstration needs, with all its libraries.
const PROGRAMS: [&str; 2] = ["/usr/sbin/sshd", "/usr/bin/ssh-keygen"];

/// Started by the kernel.
const INIT: &str = include_str!("init.sh");

/// The archive and the disk of a machine.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) archive: PathBuf,
    /// One for each file system, in the order asked for.
    pub(super) disks: Vec<PathBuf>,
}

/// A file system that a disk can have: its name, and the command that makes it.
pub(super) type FileSystem = (&'static str, &'static [&'static str]);

/// The first is what a machine has at /data.
pub(super) const FILE_SYSTEMS: [FileSystem; 3] = [
    ("ext4", &["/sbin/mkfs.ext4", "-q", "-F", "-b", "4096"]),
    ("xfs", &["/sbin/mkfs.xfs", "-q", "-f"]),
    ("btrfs", &["/sbin/mkfs.btrfs", "-q", "-f"]),
];

/// Room for what is replicated; the file is sparse.
const DISK: &str = "2G";

/// Makes both, below `target/vm` in a folder of this name, for a machine that is to run `command`, with
/// `programs` in its `/bin`, and a disk for each of `file_systems`.
pub(super) fn make(
    folder: &str,
    kernel: &Kernel,
    command: &str,
    programs: &[(PathBuf, &str)],
    file_systems: &[FileSystem],
) -> Result<Image> {
    let folder = workspace().join("target/vm").join(folder);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    let root = folder.join("root");
    for directory in ["bin", "dev", "proc", "sys", "tmp", "run", "etc", "data", "root", "modules", "more"] {
        let directory = root.join(directory);
        fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
    }
    put(&root, "/etc/passwd", "root:x:0:0::/root:/bin/sh\nsshd:x:100:65534::/run/sshd:/bin/false\n")?;
    put(&root, "/etc/group", "root:x:0:\nnogroup:x:65534:\n")?;
    put(&root, "/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")?;
    put(&root, "/command", command)?;
    put(&root, "/init", INIT)?;
    fs::set_permissions(root.join("init"), PermissionsExt::from_mode(0o755))
        .context("make init executable")?;
    copy(Path::new("/bin/busybox"), &root, "/bin/busybox")?;
    symlink("busybox", root.join("bin/sh")).context("link the shell")?;
    for (folder, modules) in [("modules", &kernel.modules), ("more", &kernel.file_systems)] {
        for (number, module) in modules.iter().enumerate() {
            let name = module.file_name().unwrap_or_default().to_string_lossy();
            copy(module, &root, &format!("/{folder}/{number}-{name}"))?;
        }
    }
    let mut links = String::new();
    for (from, name) in programs {
        program(from, &root, &format!("/bin/{name}"))?;
        links.push_str(&link(from, name));
    }
    put(&root, "/links", &links)?;
    for path in PROGRAMS {
        program(Path::new(path), &root, path)?;
    }
    let archive = folder.join("root.cpio");
    // The shell's redirections spare a second process to pour from one to the other.
    run(Command::new("sh")
        .args([
            "-c",
            "find . -print0 | cpio --null --create --format=newc --owner=0:0 --quiet > ../root.cpio",
        ])
        .current_dir(&root))?;
    let mut disks = Vec::new();
    for (name, make) in file_systems {
        let disk = folder.join(name);
        run(Command::new("truncate").args(["--size", DISK]).arg(&disk))?;
        run(Command::new(make[0]).args(&make[1..]).arg(&disk))?;
        disks.push(disk);
    }
    Ok(Image { archive, disks })
}

/// The command that makes a program be where it was built, by which path tests start it.
fn link(built: &Path, name: &str) -> String {
    let folder = built.parent().unwrap_or(Path::new("/")).display().to_string();
    let (folder, built) = (quote(&[folder]), quote(&[built.display().to_string()]));
    format!("mkdir -p {folder} && ln -s /bin/{name} {built}\n")
}

/// Copies a program, and the libraries that it is linked to.
fn program(from: &Path, root: &Path, to: &str) -> Result<()> {
    copy(from, root, to)?;
    for library in libraries(&output(Command::new("ldd").arg(from))?) {
        if !root.join(library.trim_start_matches('/')).exists() {
            copy(Path::new(&library), root, &library)?;
        }
    }
    Ok(())
}

/// The files that `ldd` tells of: `name => /path (address)`, or `/path (address)`.
fn libraries(told: &str) -> Vec<String> {
    told.lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(str::to_owned)
        .collect()
}

fn copy(from: &Path, root: &Path, to: &str) -> Result<()> {
    let to = root.join(to.trim_start_matches('/'));
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    }
    fs::copy(from, &to).with_context(|| format!("copy {} to {}", from.display(), to.display())).map(drop)
}

fn put(root: &Path, path: &str, text: &str) -> Result<()> {
    fs::write(root.join(path.trim_start_matches('/')), text)
        .with_context(|| format!("write the machine's {path}"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn libraries_are_read_from_both_kinds_of_lines() {
        let told =
            "\tlinux-vdso.so.1 (0x7ffd)\n\tlibz.so.1 => /lib/libz.so.1 (0x7f)\n\t/lib64/ld.so.2 (0x7f)\n";
        assert_eq!(super::libraries(told), ["/lib/libz.so.1", "/lib64/ld.so.2"]);
    }
}
