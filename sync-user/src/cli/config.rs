//! Prints, checks and explains the settings.

use clap::{Args, Subcommand};

use super::sync::{Failure, contradiction, try_source};
use super::{fail, print, refused};
use crate::exit::Exit;
use crate::settings::{self, Given};

/// Flags of `ksyncd config`.
#[derive(Debug, Args)]
pub(super) struct Config {
    #[command(subcommand)]
    work: Work,
}

#[derive(Debug, Subcommand)]
enum Work {
    /// Print a configuration file with every setting and its default, to begin with
    Default,
    /// Print the settings in force, of the file, the environment and the flags given here
    Show {
        /// Say where each value was set
        #[arg(long)]
        origin: bool,
        #[command(flatten)]
        given: Box<Given>,
    },
    /// Say what is wrong with the settings, or that nothing is
    Check {
        #[command(flatten)]
        given: Box<Given>,
    },
}

pub(super) fn config(flags: &Config) -> Exit {
    match &flags.work {
        Work::Default => print(&settings::template()),
        Work::Show { origin, given } => match settings::load(given) {
            Ok(loaded) => print(&settings::show(&loaded, *origin)),
            Err(trouble) => return refused(&trouble),
        },
        Work::Check { given } => return check(given),
    }
    Exit::Success
}

fn check(given: &Given) -> Exit {
    let loaded = match settings::load(given) {
        Ok(loaded) => loaded,
        Err(trouble) => return refused(&trouble),
    };
    for sync in &loaded.syncs {
        if let Err(error) = try_source(sync) {
            return fail(Exit::NoSource, &format!("{}: {error}", sync.name), Some(&error.remedy));
        }
        if let Err(Failure { exit, what, remedy }) = contradiction(&sync.settings) {
            return fail(exit, &format!("{}: {what}", sync.name), remedy.as_deref());
        }
    }
    let count = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    let targets = loaded.syncs.iter().map(|sync| sync.settings.targets.len()).sum();
    let files: Vec<String> = loaded.files.iter().map(|file| file.display().to_string()).collect();
    let read = if files.is_empty() { String::new() } else { format!(", read from {}", files.join(", ")) };
    print(&format!("ok: {}, {}{read}", count(loaded.syncs.len(), "source"), count(targets, "target")));
    Exit::Success
}
