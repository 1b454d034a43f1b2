//! Prints what happened to a path, and how it is at each target.

use std::path::PathBuf;

use clap::Args;

use super::ask::{Ask, answers, text_of};
use super::print;
use crate::control::{Why, WhyHappening, WhyTarget};
use crate::exit::Exit;
use crate::metrics::time;

/// Flags of `ksyncd why`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Each daemon remembers its last 65536 events, and as much of what became of them at each target, in \
3 MiB each at most. Events of what is left out by rules are not remembered.")]
pub(super) struct WhyFlags {
    /// The path: absolute, or below the source; with a slash at its end it is a directory, also if
    /// there is none
    #[arg(value_name = "PATH")]
    path: PathBuf,

    #[command(flatten)]
    ask: Ask,

    /// Print JSON: one object a line for each daemon
    #[arg(long)]
    json: bool,
}

pub(super) fn why(flags: &WhyFlags) -> Exit {
    let path = match text_of(&flags.path) {
        Ok(path) => path,
        Err(exit) => return exit,
    };
    let daemons = match flags.ask.daemons() {
        Ok(daemons) => daemons,
        Err(exit) => return exit,
    };
    match answers(daemons, |daemon| daemon.why(path)) {
        Ok(answers) => {
            let json = |why: &Why| serde_json::to_string(why).unwrap_or_default();
            let texts = answers.iter().map(if flags.json { json } else { text });
            print(&texts.collect::<Vec<_>>().join("\n"));
            Exit::Success
        }
        Err(exit) => exit,
    }
}

fn text(why: &Why) -> String {
    let mut lines: Vec<String> = why.happenings.iter().map(happening).collect();
    if lines.is_empty() {
        lines.push("nothing is remembered of it".to_owned());
    }
    lines.push(format!("\nsource    {}", why.source));
    lines.extend(why.targets.iter().map(target));
    lines.push(format!("\n{}", why.sentence));
    lines.join("\n")
}

fn happening(happening: &WhyHappening) -> String {
    let WhyHappening { time: at, kind, what, above, target, process, command, batch: _, latency_seconds } =
        happening;
    let above = above.as_ref().map(|above| format!(" ({above})"));
    let who = process.map(|process| format!("  {}[{process}]", command.as_deref().unwrap_or("?")));
    let after = latency_seconds.map(|seconds| format!("  after {}", time(seconds * 1e9)));
    let target = target.as_ref().map(|target| format!("  {target}"));
    let details: String = [above, who, after, target].into_iter().flatten().collect();
    format!("{at}  {kind:<8} {what}{details}")
}

fn target(target: &WhyTarget) -> String {
    let WhyTarget { name, ledger, failures, .. } = target;
    let failures = if *failures > 0 { format!(", failed {failures} times in a row") } else { String::new() };
    format!("ledger    {ledger}{failures}  {name}")
}
