//! Puts back what a receiver has moved to the trash.
//!
//! The receiver that a source has brought along can do it, too: on a target nothing else is installed.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use clap::Args;
use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::fail;
use crate::clock;
use crate::exit::Exit;
use crate::home::{self, trash};
use crate::model::TreePath;

/// Flags of `ksyncd undo`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
What is there now is never replaced: it is named, with the reason, and what was removed there stays in \
the trash. Of a path that was removed several times the last version comes back.

It ends with 0 when all came back, and with 3 when something was left out.

A daemon that replicates into the directory leaves alone what has come back: it is what only the target \
has. To have it at the source as well, copy it there.")]
pub(super) struct Undo {
    /// The root of the target, on its own machine
    #[arg(value_name = "DIR")]
    root: PathBuf,

    /// Only these paths and what is below them: below the root, or absolute
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Put back what was removed within this time: 10m, 2h, 1day
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    since: Duration,

    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn undo(flags: &Undo) -> Exit {
    let wanted: Result<Vec<TreePath>, String> =
        flags.paths.iter().map(|path| below(&flags.root, path)).collect();
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(what) => return fail(Exit::Usage, &what, Some("give paths below the root of the target")),
    };
    match work(flags, &wanted) {
        Ok(0) => Exit::Success,
        Ok(_) => Exit::Incomplete,
        Err(error) => {
            let what = format!("put back what was removed in {}: {error}", flags.root.display());
            let remedy = "give the root of a target, as the user who owns its .ksyncd, or as root";
            fail(Exit::Failure, &what, Some(remedy))
        }
    }
}

/// Does it, and says how much was left out.
fn work(flags: &Undo, wanted: &[TreePath]) -> io::Result<usize> {
    let root = OwnedFd::from(File::open(&flags.root)?);
    let home = home::open_directory(&root, Path::new(home::NAME))?;
    let from = clock::since_1970().saturating_sub(flags.since).as_secs();
    let is_wanted = |path: &TreePath| wanted.is_empty() || wanted.iter().any(|top| path.is_at_or_below(top));
    let mut out = io::stdout().lock();
    let (mut back, mut left_out, mut last) = (0, 0, None);
    let mut directories = BTreeSet::new();
    // Parents come before what is in them.
    for removed in trash::list(&home)? {
        let Ok(path) = TreePath::new(&removed.path) else { continue };
        // Of one path only the last removal counts.
        if removed.at < from || !is_wanted(&path) || last.as_ref() == Some(&path) {
            continue;
        }
        let result = if !flags.dry_run {
            trash::put_back(&root, &home, &removed)
        } else if path.above().any(|above| directories.contains(&above)) {
            Ok(())
        } else {
            trash::is_free(&root, &removed)
        };
        let when = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(removed.at));
        match result {
            Ok(()) => {
                back += 1;
                let verb = if flags.dry_run { "would put back" } else { "put back" };
                writeln!(out, "{verb} {path}, removed {when}")?;
                if removed.is_directory {
                    directories.insert(path.clone());
                }
            }
            // What was in it comes back into the one that is there.
            Err(Errno::EXIST) if removed.is_directory && is_directory(&root, &path) => {}
            Err(error) => {
                left_out += 1;
                writeln!(out, "left out {path}, removed {when}: {}", why(error))?;
            }
        }
        last = Some(path);
    }
    let verb = if flags.dry_run { "would come back" } else { "came back" };
    writeln!(out, "{back} paths {verb}, {left_out} were left out")?;
    Ok(left_out)
}

fn why(error: Errno) -> String {
    match error {
        Errno::EXIST => "something is there, which stays".to_owned(),
        Errno::NOENT | Errno::NOTDIR => "the directory that it was in is not there".to_owned(),
        Errno::LOOP | Errno::XDEV => "a symbolic link is where its directory was".to_owned(),
        error => error.to_string(),
    }
}

fn is_directory(root: &OwnedFd, path: &TreePath) -> bool {
    let Ok((directory, name)) = home::beneath(root, path.as_bytes()) else { return false };
    let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir())
}

/// The path below the root that was given.
fn below(root: &Path, path: &Path) -> Result<TreePath, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let relative = match path.strip_prefix(root) {
        Ok(relative) => relative,
        Err(_) if path.is_absolute() => return Err(failed(&"it is not below the root")),
        Err(_) => path,
    };
    let relative: PathBuf =
        relative.components().filter(|part| *part != std::path::Component::CurDir).collect();
    TreePath::new(relative.as_os_str().as_bytes()).map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_below_the_root() {
        let root = Path::new("/srv/www");
        for (text, path) in [("/srv/www/a/b", "a/b"), ("a", "a"), ("./a/", "a"), ("/srv/www", "")] {
            assert_eq!(below(root, Path::new(text)).unwrap().as_bytes(), path.as_bytes());
        }
        for wrong in ["/srv/other", "../a"] {
            assert!(below(root, Path::new(wrong)).is_err(), "{wrong}");
        }
    }
}
