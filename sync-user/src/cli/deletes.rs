//! Shows the removals that running daemons hold, and tells them what becomes of these.

use clap::{Args, Subcommand};

use super::ask::{Ask, told};
use super::{fail, print};
use crate::control::{Deletes, HeldPath, HeldTarget};
use crate::exit::Exit;
use crate::metrics::time;

/// Flags of `ksyncd deletes`.
#[derive(Debug, Args)]
pub(super) struct Flags {
    #[command(subcommand)]
    work: Work,
}

#[derive(Debug, Subcommand)]
enum Work {
    /// Name the removals that are held; a directory stands for all that is below it
    List {
        #[command(flatten)]
        which: Which,

        /// Print JSON: one object a line for each target
        #[arg(long)]
        json: bool,
    },
    /// Make the removals that are held, now
    Approve(Which),
    /// Leave to the target what is held: it stays there, and is none of ksyncd's from then on. With
    /// --two-way it comes back to the source
    Reject(Which),
}

/// Whose removals.
#[derive(Debug, Args)]
struct Which {
    /// Only those at this target, by its name or a part of it
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,

    #[command(flatten)]
    ask: Ask,
}

pub(super) fn deletes(flags: &Flags) -> Exit {
    let (work, which, json) = match &flags.work {
        Work::List { which, json } => (Deletes::List, which, *json),
        Work::Approve(which) => (Deletes::Approve, which, false),
        Work::Reject(which) => (Deletes::Reject, which, false),
    };
    let daemons = match which.ask.daemons() {
        Ok(daemons) => daemons,
        Err(exit) => return exit,
    };
    let (mut all, mut last) = (Vec::new(), None);
    for mut daemon in daemons {
        match daemon.deletes(work, which.target.as_deref()) {
            Ok(held) => all.extend(held),
            // A target is one of one daemon, and not of others.
            Err(error) => last = Some(error),
        }
    }
    if let Some(error) = last
        && (all.is_empty() || which.target.is_none())
    {
        return told(&error);
    }
    if json {
        let lines: Result<Vec<String>, _> = all.iter().map(serde_json::to_string).collect();
        return match lines {
            Ok(lines) => {
                print(&lines.join("\n"));
                Exit::Success
            }
            Err(error) => fail(Exit::Failure, &error, None),
        };
    }
    print(&text(work, &all));
    Exit::Success
}

fn text(work: Deletes, all: &[HeldTarget]) -> String {
    let some: Vec<String> =
        all.iter().filter(|target| target.held > 0).map(|target| one(work, target)).collect();
    if some.is_empty() { "no removals are held".to_owned() } else { some.join("\n") }
}

fn one(work: Deletes, target: &HeldTarget) -> String {
    let HeldTarget { target, held, of, held_seconds, paths, more } = target;
    match work {
        Deletes::Approve => return format!("{target}: {held} removals are approved, and made now"),
        Deletes::Reject => {
            return format!(
                "{target}: {held} removals are rejected: what is there stays, and is not ksyncd's any more"
            );
        }
        Deletes::List => {}
    }
    let since = time(held_seconds * 1e9);
    let mut lines = vec![format!("{target}: {held} removals are held for {since}, of {of} paths")];
    lines.extend(paths.iter().map(|HeldPath { path, count }| match count {
        1 => format!("  {path}"),
        count => format!("  {path} ({count} paths)"),
    }));
    if *more > 0 {
        lines.push(format!("  and {more} more"));
    }
    lines.push(
        "`ksyncd deletes approve` makes them, `ksyncd deletes reject` leaves the paths to the target"
            .to_owned(),
    );
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_with_held_removals_is_told() {
        let path = |path: &str, count| HeldPath { path: path.to_owned(), count };
        let held = HeldTarget {
            target: "web2:/srv".to_owned(),
            held: 1201,
            of: 3000,
            held_seconds: 90.0,
            paths: vec![path("news", 1200), path("robots.txt", 1)],
            more: 3,
        };
        let none = HeldTarget {
            held: 0,
            paths: Vec::new(),
            more: 0,
            target: "web3:/srv".to_owned(),
            ..held.clone()
        };
        let all = [held, none.clone()];
        let texts = [Deletes::List, Deletes::Approve, Deletes::Reject].map(|work| text(work, &all));
        insta::assert_snapshot!(texts.join("\n"), @r"
        web2:/srv: 1201 removals are held for 1.5 min, of 3000 paths
          news (1200 paths)
          robots.txt
          and 3 more
        `ksyncd deletes approve` makes them, `ksyncd deletes reject` leaves the paths to the target
        web2:/srv: 1201 removals are approved, and made now
        web2:/srv: 1201 removals are rejected: what is there stays, and is not ksyncd's any more
        ");
        assert_eq!(text(Deletes::List, &[none]), "no removals are held");
    }
}
