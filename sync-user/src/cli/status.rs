//! Prints how running daemons are.

use clap::Args;

use super::ask::{Ask, told};
use super::{fail, print};
use crate::control::summary;
use crate::exit::Exit;

/// Flags of `ksyncd status`.
#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    ask: Ask,

    /// Print JSON: one object a line for each daemon
    #[arg(long)]
    json: bool,
}

/// Succeeds when every target of every daemon is connected.
pub(super) fn status(flags: &Status) -> Exit {
    let daemons = match flags.ask.daemons() {
        Ok(daemons) => daemons,
        Err(exit) => return exit,
    };
    let mut all_up = true;
    let mut texts = Vec::new();
    for mut daemon in daemons {
        let status = match daemon.status() {
            Ok(status) => status,
            Err(error) => return told(&error),
        };
        all_up &= status.is_up();
        let text = if flags.json { serde_json::to_string(&status) } else { Ok(summary(&status)) };
        match text {
            Ok(text) => texts.push(text),
            Err(error) => return fail(Exit::Failure, &error, None),
        }
    }
    print(&texts.join("\n"));
    if all_up { Exit::Success } else { Exit::Incomplete }
}
