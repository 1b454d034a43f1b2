//! Has running daemons read their settings again.

use std::collections::BTreeSet;

use clap::Args;

use super::ask::{Ask, told};
use super::{fail, print};
use crate::control::Reloaded;
use crate::exit::Exit;

/// Flags of `ksyncd reload`.
#[derive(Debug, Args)]
pub(super) struct Reload {
    #[command(flatten)]
    ask: Ask,
}

pub(super) fn reload(flags: &Reload) -> Exit {
    let daemons = match flags.ask.daemons() {
        Ok(daemons) => daemons,
        Err(exit) => return exit,
    };
    // Each process has a socket for each of its syncs, and one is enough.
    let mut asked = BTreeSet::new();
    let mut exit = Exit::Success;
    for mut daemon in daemons {
        match daemon.status() {
            Ok(status) if !asked.insert(status.process) => continue,
            Ok(_) => {}
            Err(error) => return told(&error),
        }
        match daemon.reload() {
            Ok(reloaded) => {
                print(&text(&reloaded));
                if !reloaded.failed.is_empty() {
                    exit = Exit::Failure;
                }
            }
            Err(error) => {
                let remedy = error
                    .remedy
                    .as_deref()
                    .or(Some("mend it, and try again; ksyncd config check says whether it is right"));
                exit = fail(Exit::Config, &format!("the settings stay as they were: {error}"), remedy);
            }
        }
    }
    exit
}

fn text(reloaded: &Reloaded) -> String {
    let Reloaded { process, started, ended, unchanged, failed, needs_restart } = reloaded;
    let mut lines = vec![format!("process {process} has read its settings again")];
    for (word, names) in
        [("started", started), ("ended", ended), ("unchanged", unchanged), ("failed", failed)]
    {
        lines.extend(names.iter().map(|name| format!("{word:<10} {name}")));
    }
    lines.extend(
        needs_restart.iter().map(|name| format!("restart    {name} takes effect when ksyncd is restarted")),
    );
    lines.join("\n")
}
