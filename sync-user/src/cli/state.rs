//! Looks after the ledgers that runs leave behind: checks, compacts and forgets them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use clap::{Args, Subcommand};

use super::fail;
use crate::exit::Exit;
use crate::ledger::{Outlines, Store, StoreError, held_removals};
use crate::state::{Pair, State};

/// Flags of `ksyncd state`.
#[derive(Debug, Args)]
pub(super) struct Flags {
    #[command(subcommand)]
    work: Work,

    /// Where ksyncd keeps what outlives a run [default: as for `ksyncd run`]
    #[arg(long, value_name = "DIR", global = true)]
    state_dir: Option<PathBuf>,

    /// Only the ledgers of this target, as `ksyncd run` was given it
    #[arg(long, value_name = "TARGET", global = true)]
    target: Option<String>,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Work {
    /// Read every ledger through, and say what it knows
    Check,
    /// Give unused space back
    Compact,
    /// Forget what targets hold: the next start compares with the target's own listing, and
    /// removes nothing
    Reset,
}

pub(super) fn state(flags: &Flags) -> Exit {
    let pairs = match State::open(flags.state_dir.as_deref()).and_then(|state| state.pairs()) {
        Ok(pairs) => pairs,
        Err(error) => return fail(Exit::Failure, &error, Some(&error.remedy)),
    };
    let is_meant = |pair: &Pair| {
        pair.ledger.exists() && flags.target.as_ref().is_none_or(|target| *target == pair.target)
    };
    let mut pairs = pairs.into_iter().filter(is_meant).peekable();
    if pairs.peek().is_none() {
        println!("there are no ledgers");
    }
    let mut exit = Exit::Success;
    for pair in pairs {
        let about = format!("{} -> {}", pair.source, pair.target);
        let result = match &pair.holder {
            Some(holder) => Err(format!("is in use by {holder}")),
            None => work(flags.work, &pair.ledger),
        };
        match result {
            Ok(text) => println!("{text}  {about}"),
            Err(text) => {
                exit = Exit::Failure;
                println!("{text}  {about}");
            }
        }
    }
    exit
}

fn work(work: Work, ledger: &Path) -> Result<String, String> {
    let damaged = |error: StoreError| format!("damaged: {error}");
    let failed = |error: io::Error| format!("{}: {error}", ledger.display());
    match work {
        Work::Check => {
            let saved = Store::open_only(ledger).and_then(|store| store.load()).map_err(damaged)?;
            let size = size(ledger).map_err(failed)?;
            let (state, paths) = match &saved {
                Some(saved) if saved.about.complete => ("complete", saved.entries.len()),
                Some(saved) => ("cut short", saved.entries.len()),
                None => ("empty", 0),
            };
            Ok(format!("{state}: {paths} paths, {size}"))
        }
        Work::Compact => {
            let before = size(ledger).map_err(failed)?;
            Store::open_only(ledger).and_then(|mut store| store.compact()).map_err(damaged)?;
            Ok(format!("{before}, now {}", size(ledger).map_err(failed)?))
        }
        Work::Reset => {
            fs::remove_file(ledger).map_err(failed)?;
            let rest = [
                fs::remove_file(ledger.with_extension("journal")),
                fs::remove_file(held_removals(ledger)),
                fs::remove_dir_all(Outlines::beside(ledger)),
            ];
            for removed in rest {
                match removed {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                    _ => {}
                }
            }
            Ok("forgotten: the next start lists the target".to_owned())
        }
    }
}

fn size(ledger: &Path) -> io::Result<ByteSize> {
    Ok(ByteSize(fs::metadata(ledger)?.len()))
}
