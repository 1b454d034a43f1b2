//! Waits until what was changed before is at all targets.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::ask::{Ask, text_of, told};
use super::fail;
use crate::clock;
use crate::control::Missing;
use crate::exit::Exit;

/// Flags of `ksyncd wait`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Removals that are held, since they were too many, are not waited for: once all else is acknowledged it \
says how many there are, and ends with 3. `ksyncd deletes` decides about them.")]
pub(super) struct Wait {
    #[command(flatten)]
    ask: Ask,

    /// Wait for this path and what is below it, whatever fails elsewhere: below the source, or
    /// absolute
    #[arg(long, value_name = "PATH")]
    path: Option<PathBuf>,

    /// Give up after this time, say what is missing, and end with 3 [default: never]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
}

pub(super) fn wait(flags: &Wait) -> Exit {
    let began = clock::now();
    let daemons = match flags.ask.daemons() {
        Ok(daemons) => daemons,
        Err(exit) => return exit,
    };
    let path = match flags.path.as_deref().map(text_of).transpose() {
        Ok(path) => path,
        Err(exit) => return exit,
    };
    let mut missing = Vec::new();
    for mut daemon in daemons {
        let left = flags.timeout.map(|timeout| timeout.saturating_sub(clock::now().since(began)));
        match daemon.wait(path, left) {
            Ok(waited) => missing.extend(waited.missing),
            Err(error) => return told(&error),
        }
    }
    if missing.is_empty() {
        return Exit::Success;
    }
    let lines: String = missing.iter().map(line).collect();
    fail(Exit::Incomplete, &format!("not everything is acknowledged yet{lines}"), None)
}

fn line(missing: &Missing) -> String {
    let Missing { target, put_off_paths } = missing;
    let mut line =
        format!("\n  {}: {}, {} changes on their way", target.name, target.state, target.lag_changes);
    // Writing to a string does not fail.
    if let Some(error) = target.error.as_ref().filter(|_| !target.is_up()) {
        let _infallible = write!(line, "; {}", error.what);
    }
    if target.held_removals > 0 {
        let count = target.held_removals;
        let _infallible =
            write!(line, "\n    {count} removals are held until a person decides: ksyncd deletes list");
    }
    for path in put_off_paths {
        let problem = target.problems.iter().find(|problem| problem.path == *path);
        let why = problem.map_or_else(
            || "is looked at again".to_owned(),
            |problem| format!("cannot {}", problem.problem.what),
        );
        let _infallible = write!(line, "\n    {path}: {why}");
    }
    if target.put_off > put_off_paths.len() as u64 && !put_off_paths.is_empty() {
        let _infallible = write!(line, "\n    and {} more", target.put_off - put_off_paths.len() as u64);
    }
    line
}
