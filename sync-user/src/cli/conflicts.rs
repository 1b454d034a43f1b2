//! Shows what lost a conflict, and brings it back or removes it.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::fail;
use crate::exit::Exit;
use crate::home::{self, conflicts};
use crate::model::{FileKind, TreePath};

/// Flags of `ksyncd conflicts`.
#[derive(Debug, Args)]
pub(super) struct Flags {
    #[command(subcommand)]
    work: Work,
}

#[derive(Debug, Subcommand)]
enum Work {
    /// Name all that are kept, the oldest first
    List {
        /// The root in which they were
        #[arg(value_name = "DIR")]
        root: PathBuf,
    },
    /// Print the content of one
    Show {
        #[arg(value_name = "DIR")]
        root: PathBuf,
        /// As `list` names it
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Put one back where it was; what is there now is kept in its place
    Restore {
        #[arg(value_name = "DIR")]
        root: PathBuf,
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Remove one for good, or `all`
    Drop {
        #[arg(value_name = "DIR")]
        root: PathBuf,
        #[arg(value_name = "ID")]
        id: String,
    },
}

pub(super) fn conflicts(flags: &Flags) -> Exit {
    let (Work::List { root }
    | Work::Show { root, .. }
    | Work::Restore { root, .. }
    | Work::Drop { root, .. }) = &flags.work;
    match work(&flags.work, root) {
        Ok(exit) => exit,
        Err(error) => {
            let remedy = "give the root of a replica, as the user who owns its .ksyncd";
            fail(
                Exit::Failure,
                &format!("look after the conflicts of {}: {error}", root.display()),
                Some(remedy),
            )
        }
    }
}

fn work(work: &Work, root: &Path) -> io::Result<Exit> {
    let root = OwnedFd::from(File::open(root)?);
    let home = home::open_directory(&root, Path::new(home::NAME))?;
    let all = conflicts::list(&home)?;
    let of = |id: &str| all.iter().find(|(known, _)| known == id).map(|(_, kept)| kept);
    let unknown = |id: &str| {
        fail(
            Exit::Failure,
            &format!("no conflict is called {id}"),
            Some("`ksyncd conflicts list` names them"),
        )
    };
    match work {
        Work::List { .. } => {
            let mut out = io::stdout().lock();
            for (id, kept) in &all {
                let path = TreePath::new(&kept.path).map_or_else(|_| "?".to_owned(), |path| path.to_string());
                let what = match kept.version {
                    Some(version) if version.kind == FileKind::Symlink => "symbolic link".to_owned(),
                    Some(version) => format!("{} bytes", version.size),
                    None => "changed meanwhile".to_owned(),
                };
                let at = humantime::format_rfc3339_seconds(
                    std::time::UNIX_EPOCH + std::time::Duration::from_secs(kept.at),
                );
                writeln!(out, "{id}  {at}  {path}  ({what}), replaced by {}", kept.by)?;
            }
        }
        Work::Show { id, .. } => {
            if of(id).is_none() {
                return Ok(unknown(id));
            }
            io::copy(&mut conflicts::open(&home, id)?, &mut io::stdout().lock())?;
        }
        Work::Restore { id, .. } => match of(id) {
            Some(kept) => conflicts::restore(&root, &home, id, kept)?,
            None => return Ok(unknown(id)),
        },
        Work::Drop { id, .. } if id == "all" => {
            for (id, _) in &all {
                conflicts::forget(&home, id)?;
            }
        }
        Work::Drop { id, .. } => match of(id) {
            Some(_) => conflicts::forget(&home, id)?,
            None => return Ok(unknown(id)),
        },
    }
    Ok(Exit::Success)
}
