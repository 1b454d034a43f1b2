//! Finds the running daemons that a command is about.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::fail;
use crate::control::{self, Daemon, Place};
use crate::exit::Exit;
use crate::state;

/// Flags of every command that asks a running daemon.
#[derive(Debug, Args)]
pub(super) struct Ask {
    /// The state directory of the daemon [default: `$RUNTIME_DIRECTORY`, /run/ksyncd, or where
    /// `ksyncd run` keeps its state]
    #[arg(long, value_name = "DIR")]
    pub(super) state_dir: Option<PathBuf>,

    /// Only the daemon that replicates this directory
    #[arg(long, value_name = "DIR")]
    pub(super) source: Option<PathBuf>,
}

impl Ask {
    /// Asks all that can be found: those of a state directory, or those of the usual ones.
    pub(super) fn of(state_dir: Option<PathBuf>) -> Self {
        Self { state_dir, source: None }
    }

    fn directories(&self) -> Vec<PathBuf> {
        state::control_directories(self.state_dir.as_deref())
    }

    fn places(&self) -> Vec<Place> {
        self.directories().iter().map(|directory| Place::new(directory)).collect()
    }

    /// The daemons that run, whatever they replicate: maybe none.
    pub(super) fn found(&self) -> Result<Vec<Daemon>, Exit> {
        control::daemons(&self.places()).map_err(|error| told(&error))
    }

    /// The daemons that are meant and run, for those who look again and again: maybe none, and nothing is
    /// told of what is wrong.
    pub(super) fn still_running(&self) -> Vec<Daemon> {
        let mut daemons = control::daemons(&self.places()).unwrap_or_default();
        if let Some(source) = self.wanted() {
            daemons.retain_mut(|daemon| daemon.status().is_ok_and(|status| status.source == source));
        }
        daemons
    }

    /// The source that is asked for, as daemons name theirs.
    fn wanted(&self) -> Option<String> {
        let source = self.source.as_ref()?;
        Some(source.canonicalize().unwrap_or_else(|_| source.clone()).display().to_string())
    }

    /// The daemons to ask: at least one. What is wrong is told, and is the exit status.
    pub(super) fn daemons(&self) -> Result<Vec<Daemon>, Exit> {
        let directories = self.directories();
        let mut daemons = self.found()?;
        let mut others = Vec::new();
        if let Some(source) = self.wanted() {
            let mut wanted = Vec::new();
            for mut daemon in daemons {
                let status = daemon.status().map_err(|error| told(&error))?;
                if status.source == source {
                    wanted.push(daemon);
                } else {
                    others.push(status.source);
                }
            }
            daemons = wanted;
        }
        if daemons.is_empty() {
            return Err(nobody(&directories, &others));
        }
        Ok(daemons)
    }
}

/// What the daemons answer to a question about a path: an absolute one is below one source, and not
/// below others, so that one answer is enough.
pub(super) fn answers<T>(
    daemons: Vec<Daemon>,
    mut ask: impl FnMut(&mut Daemon) -> Result<T, control::Error>,
) -> Result<Vec<T>, Exit> {
    let (mut answers, mut last) = (Vec::new(), None);
    for mut daemon in daemons {
        match ask(&mut daemon) {
            Ok(answer) => answers.push(answer),
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) if answers.is_empty() => Err(told(&error)),
        _ => Ok(answers),
    }
}

/// A path as a daemon is asked about it.
pub(super) fn text_of(path: &Path) -> Result<&str, Exit> {
    path.to_str().ok_or_else(|| fail(Exit::Usage, &format!("{} is not UTF-8", path.display()), None))
}

/// How often something is shown anew. Shorter, and it would be the terminal's latency that is measured.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if interval < Duration::from_millis(100) {
        Err("at least 100ms is needed".to_owned())
    } else {
        Ok(interval)
    }
}

/// Tells why a daemon gave no answer.
pub(super) fn told(error: &control::Error) -> Exit {
    fail(Exit::Failure, error, error.remedy.as_deref())
}

fn nobody(directories: &[PathBuf], others: &[String]) -> Exit {
    if !others.is_empty() {
        let what = format!("no daemon replicates that source; running are those of {}", others.join(", "));
        return fail(Exit::NoDaemon, &what, Some("give one of these as --source, or none to ask all"));
    }
    let places: Vec<String> = directories.iter().map(|directory| directory.display().to_string()).collect();
    let what = format!("no daemon is running: nobody listens in {}", places.join(" or "));
    let remedy = "start one by ksyncd run, or say which state directory it was given: --state-dir DIR";
    fail(Exit::NoDaemon, &what, Some(remedy))
}
