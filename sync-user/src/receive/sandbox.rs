//! Locks the receiver into its root, where the kernel has Landlock (Linux 5.19 and newer).
//!
//! What [`super::confine`] does for each path the kernel then does for the whole process: even a
//! mistake here, or a directory that is moved out of the root between two calls, leads nowhere. It
//! cannot be undone, and holds for this thread and those that it starts.

use std::os::fd::AsFd;
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetError,
};

/// The oldest version that lets a file be renamed from one directory to another, which is how all
/// that is staged gets into place.
const LEAST: ABI = ABI::V2;

/// The newest version that this program knows how to ask for.
const NEWEST: ABI = ABI::V5;

/// What a receiver reads outside of its root: the names of users and groups, what tells one start of
/// this machine from another, and the source of the numbers that it draws.
const READ_ELSEWHERE: [&str; 4] =
    ["/etc/passwd", "/etc/group", "/proc/sys/kernel/random/boot_id", "/dev/urandom"];

/// Leaves this thread nothing but what is in `root`, and no network. An error says why the kernel
/// does not do that; then nothing is different.
pub(super) fn lock_in(root: impl AsFd) -> Result<(), RulesetError> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(LEAST))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .create()?
        .add_rule(PathBeneath::new(root, AccessFs::from_all(NEWEST)))?;
    for path in READ_ELSEWHERE {
        // Who is not there is not needed.
        if let Ok(file) = PathFd::new(Path::new(path)) {
            rules = rules.add_rule(PathBeneath::new(file, AccessFs::ReadFile))?;
        }
    }
    rules.restrict_self().map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_the_root_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let (root, outside) = (directory.path().join("root"), directory.path().join("outside"));
        for directory in [root.join("a"), root.join("b"), outside.clone()] {
            fs::create_dir_all(directory).unwrap();
        }
        fs::write(outside.join("secret"), "x").unwrap();
        // It holds for good, so a thread of its own does it.
        let locked = std::thread::spawn(move || {
            // Older kernels have no Landlock, and some have it switched off.
            lock_in(fs::File::open(&root).unwrap()).ok()?;
            fs::write(root.join("a/f"), "x").unwrap();
            fs::rename(root.join("a/f"), root.join("b/f")).unwrap();
            fs::hard_link(root.join("b/f"), root.join("a/g")).unwrap();
            assert!(fs::read("/etc/passwd").is_ok());
            let refused = [
                fs::read(outside.join("secret")).map(drop),
                fs::write(outside.join("new"), "x"),
                fs::remove_file(outside.join("secret")),
                fs::rename(root.join("b/f"), outside.join("f")),
                fs::hard_link(outside.join("secret"), root.join("secret")),
                fs::create_dir(outside.join("d")),
                std::net::TcpListener::bind("127.0.0.1:0").map(drop),
            ];
            for refused in refused {
                // A link to or from outside crosses file systems, as far as Landlock is concerned.
                let error = refused.unwrap_err().raw_os_error();
                assert!(matches!(error, Some(libc::EACCES | libc::EXDEV)), "{error:?}");
            }
            Some(())
        });
        let locked = locked.join().unwrap();
        let release = nix::sys::utsname::uname().unwrap().release().to_string_lossy().into_owned();
        let is_old = ["5.", "6.0.", "6.1."].iter().any(|old| release.starts_with(old));
        assert!(locked.is_some() || is_old, "{release} has Landlock, unless it was left out");
    }
}
