//! Reads the command line, and starts what it asks for.

#[cfg(feature = "source")]
mod ask;
#[cfg(feature = "source")]
mod check;
#[cfg(feature = "source")]
mod config;
#[cfg(feature = "source")]
mod conflicts;
#[cfg(feature = "source")]
mod deletes;
#[cfg(feature = "source")]
mod demo;
#[cfg(feature = "source")]
mod explain;
#[cfg(feature = "source")]
mod import;
#[cfg(feature = "source")]
mod latency;
#[cfg(feature = "source")]
mod log;
#[cfg(feature = "source")]
mod progress;
mod receive;
#[cfg(feature = "source")]
mod reload;
#[cfg(feature = "source")]
mod run;
#[cfg(feature = "source")]
mod service;
#[cfg(feature = "source")]
mod signals;
#[cfg(feature = "source")]
mod state;
#[cfg(feature = "source")]
mod status;
#[cfg(feature = "source")]
mod status_file;
#[cfg(feature = "source")]
mod sync;
#[cfg(feature = "source")]
mod tail;
#[cfg(feature = "source")]
mod top;
mod undo;
#[cfg(feature = "source")]
mod verify;
#[cfg(feature = "source")]
mod wait;
#[cfg(feature = "source")]
mod why;

use std::fmt::Display;
use std::io::Write as _;
use std::path::PathBuf;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::exit::{self, Exit};
use crate::logging;
#[cfg(feature = "source")]
use crate::settings::{Given, Trouble};

/// Replicates a web root to other servers the moment its files change
#[derive(Debug, Parser)]
#[command(name = "ksyncd", version, max_term_width = 100, after_long_help = format!("Exit status:\n{}", exit::table()))]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Replicate directories to their targets, until stopped: one that is given, or those of the
    /// configuration file
    #[cfg(feature = "source")]
    Run(Box<Given>),
    /// Print a configuration to begin with, or the one in force, or what is wrong with it
    #[cfg(feature = "source")]
    Config(config::Config),
    /// Turn a configuration of lsyncd into one of ksyncd, and say what differs
    #[cfg(feature = "source")]
    ImportLsyncd(import::ImportLsyncd),
    /// Make running daemons read their configuration again
    #[cfg(feature = "source")]
    Reload(reload::Reload),
    /// Say whether a path is left out, and which rule decides that: of the running daemon, or of the
    /// settings that are given here
    #[cfg(feature = "source")]
    ExplainExclude(Box<explain::ExplainExclude>),
    /// Apply what a source sends on standard input to a directory (started by the source, over SSH)
    Receive {
        /// The directory to keep equal to the source; its last component is made if missing
        #[arg(long, value_name = "DIR")]
        root: PathBuf,
    },
    /// Say what this machine can do, and what is missing for more
    #[cfg(feature = "source")]
    Check {
        /// The directory that is to be replicated
        #[arg(value_name = "DIR", default_value = ".")]
        source: PathBuf,
    },
    /// Say how a running daemon is: each target's state, lag and problems
    #[cfg(feature = "source")]
    Status(status::Status),
    /// Say how long changes take, stage by stage
    #[cfg(feature = "source")]
    Latency(latency::Latency),
    /// Watch running daemons on a terminal: rates, lag, latencies, busiest directories, problems
    #[cfg(feature = "source")]
    Top(top::Top),
    /// Wait until what was changed before is acknowledged by all targets
    #[cfg(feature = "source")]
    Wait(wait::Wait),
    /// Say what happened to a path, and how it is at each target
    #[cfg(feature = "source")]
    Why(why::WhyFlags),
    /// Compare source and targets by the hash of every content, while replication goes on
    #[cfg(feature = "source")]
    Verify(verify::Verify),
    /// Look after the removals that are held, since they were too many: --max-delete
    #[cfg(feature = "source")]
    Deletes(deletes::Flags),
    /// Put back what was removed in a target, as far as it has been kept (--trash)
    Undo(undo::Undo),
    /// Print changes below a directory as they are seen, with the process behind each
    #[cfg(feature = "source")]
    Tail(tail::Tail),
    /// Look after the ledgers, in which runs keep what their targets hold
    #[cfg(feature = "source")]
    State(state::Flags),
    /// Look after what lost a conflict, where replication is two-way
    #[cfg(feature = "source")]
    Conflicts(conflicts::Flags),
    /// Show ksyncd at work on this machine alone: a sample web root, a throw-away SSH server, a replica
    #[cfg(feature = "source")]
    Demo(demo::Demo),
}

/// Runs the program, and says how it ended.
pub fn main() -> Exit {
    match Arguments::parse().command {
        #[cfg(feature = "source")]
        Command::Run(given) => run::run(&given),
        #[cfg(feature = "source")]
        Command::Config(flags) => config::config(&flags),
        #[cfg(feature = "source")]
        Command::ImportLsyncd(flags) => import::import_lsyncd(&flags),
        #[cfg(feature = "source")]
        Command::Reload(flags) => reload::reload(&flags),
        #[cfg(feature = "source")]
        Command::ExplainExclude(flags) => explain::explain_exclude(&flags),
        Command::Receive { root } => receive::receive(&root),
        #[cfg(feature = "source")]
        Command::Check { source } => check::check(&source),
        #[cfg(feature = "source")]
        Command::Status(flags) => status::status(&flags),
        #[cfg(feature = "source")]
        Command::Latency(flags) => latency::latency(&flags),
        #[cfg(feature = "source")]
        Command::Top(flags) => top::top(&flags),
        #[cfg(feature = "source")]
        Command::Wait(flags) => wait::wait(&flags),
        #[cfg(feature = "source")]
        Command::Why(flags) => why::why(&flags),
        #[cfg(feature = "source")]
        Command::Verify(flags) => verify::verify(&flags),
        #[cfg(feature = "source")]
        Command::Deletes(flags) => deletes::deletes(&flags),
        Command::Undo(flags) => undo::undo(&flags),
        #[cfg(feature = "source")]
        Command::Tail(flags) => tail::tail(flags),
        #[cfg(feature = "source")]
        Command::State(flags) => state::state(&flags),
        #[cfg(feature = "source")]
        Command::Conflicts(flags) => conflicts::conflicts(&flags),
        #[cfg(feature = "source")]
        Command::Demo(flags) => match crate::demo::run(flags.into()) {
            Ok(()) => Exit::Success,
            Err(error) => fail(Exit::Failure, &format!("{error:#}"), None),
        },
    }
}

/// All commands with their flags, for those who write them down.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Tells what is wrong with the settings.
#[cfg(feature = "source")]
fn refused(trouble: &Trouble) -> Exit {
    let exit = if trouble.in_file { Exit::Config } else { Exit::Usage };
    fail(exit, trouble, trouble.remedy.as_deref())
}

/// Prints a text that ends with one line end, to standard output.
#[cfg(feature = "source")]
fn print(text: &str) {
    // Nobody reads it when standard output is closed.
    let _closed = writeln!(std::io::stdout().lock(), "{}", text.trim_end_matches('\n'));
}

/// Tells why the program ends, and what to do about it, on standard error.
fn fail(exit: Exit, what: &dyn Display, remedy: Option<&str>) -> Exit {
    let mut out = std::io::stderr().lock();
    // There is nobody left to tell when standard error is closed.
    let _closed = writeln!(out, "{}ksyncd: {what}", logging::error_prefix());
    if let Some(remedy) = remedy {
        let _closed = writeln!(out, "  hint: {remedy}");
    }
    exit
}
