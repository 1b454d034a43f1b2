//! Says whether a path is left out, and which rule decides that.

use std::path::{Path, PathBuf};

use clap::Args;

use super::ask::{Ask, answers, text_of};
use super::{fail, print, refused};
use crate::control::{Explained, below, explain};
use crate::exit::Exit;
use crate::settings::{self, Given};

/// Flags of `ksyncd explain-exclude`.
#[derive(Debug, Args)]
pub(super) struct ExplainExclude {
    /// The path: absolute, or below the source; with a slash at its end it is a directory, also if
    /// there is none
    #[arg(value_name = "PATH")]
    path: PathBuf,

    #[command(flatten)]
    given: Given,
}

pub(super) fn explain_exclude(flags: &ExplainExclude) -> Exit {
    let path = match text_of(&flags.path) {
        Ok(path) => path,
        Err(exit) => return exit,
    };
    let explained = if flags.given.is_any() {
        by_settings(&flags.given.clone().for_rules(), path)
    } else {
        by_daemons(flags, path)
    };
    match explained {
        Ok(explained) => {
            print(&explained.iter().map(text).collect::<Vec<_>>().join("\n"));
            Exit::Success
        }
        Err(exit) => exit,
    }
}

fn by_daemons(flags: &ExplainExclude, path: &str) -> Result<Vec<Explained>, Exit> {
    let found = Ask::of(flags.given.state_dir()).found()?;
    if found.is_empty() {
        return by_settings(&flags.given, path);
    }
    answers(found, |daemon| daemon.explain_exclude(path))
}

fn by_settings(given: &Given, path: &str) -> Result<Vec<Explained>, Exit> {
    let loaded = settings::load(given).map_err(|trouble| refused(&trouble))?;
    let (mut explained, mut last) = (Vec::new(), None);
    for sync in &loaded.syncs {
        let source = sync.settings.source.canonicalize().unwrap_or_else(|_| sync.settings.source.clone());
        match below(Path::new(&source), path) {
            Ok(below) => explained.push(explain(&source, &sync.excludes, &below, path.ends_with('/'))),
            Err(what) => last = Some(what),
        }
    }
    match last {
        Some(what) if explained.is_empty() => Err(fail(Exit::Failure, &what, None)),
        _ => Ok(explained),
    }
}

fn text(explained: &Explained) -> String {
    let Explained { path, left_out, rule, above } = explained;
    let verdict = if *left_out { "left out" } else { "replicated" };
    match (rule, above) {
        (None, _) => format!("{path} is {verdict}: no rule matches it"),
        (Some(rule), None) => format!("{path} is {verdict} by: {rule}"),
        (Some(rule), Some(above)) => {
            format!("{path} is {verdict}, since its directory {above} is, by: {rule}")
        }
    }
}
