//! Waits until every target has acknowledged what was captured, or tells what is missing.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};

use super::status::{Status, TargetStatus};
use super::watched::Watched;
use crate::clock;
use crate::metrics::Connection;
use crate::model::TreePath;
use crate::shutdown::Stop;

/// How often it is asked whether the marker has passed, in milliseconds.
const INTERVAL_MS: u16 = 2;

/// Paths that are named for each target.
const PATHS_MAX: usize = 20;

/// How a wait ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Waited {
    /// How long it took.
    pub seconds: f64,
    /// Targets that have not acknowledged everything, or at which removals are held: none when the wait has succeeded.
    pub missing: Vec<Missing>,
}

/// What a target has not acknowledged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Missing {
    #[serde(flatten)]
    pub target: TargetStatus,
    /// Paths that failed and are looked at again, by name: at most 20 of them.
    pub put_off_paths: Vec<String>,
}

/// Waits for all that was captured by now, with `path` for what concerns this path. Ends early
/// when a target was given up. Removals that are held are not waited for, since that might take for
/// ever: they are what is missing then. `None` when the run, or the client, ends meanwhile.
pub(super) fn wait(
    watched: &Watched,
    path: Option<&TreePath>,
    timeout: Option<Duration>,
    stream: &UnixStream,
    stop: &Stop,
) -> Option<Waited> {
    let began = clock::now();
    let (barrier, targets) = (&watched.gauges.barrier, &watched.gauges.targets);
    let marker = barrier.place();
    loop {
        let missing: Vec<usize> =
            (0..targets.len()).filter(|target| !barrier.is_passed(*target, marker, path)).collect();
        let took = clock::now().since(began);
        let hopeless = || {
            if watched.ended.get().is_some() {
                return true;
            }
            let connection = |target: &usize| targets[*target].snapshot(clock::now()).connection;
            missing.iter().any(|target| connection(target) == Connection::GivenUp)
        };
        let is_at_end = missing.is_empty() || timeout.is_some_and(|timeout| took >= timeout) || hopeless();
        if is_at_end {
            let is_missing = |target: &usize| missing.contains(target) || barrier.holds(*target, path);
            let missing: Vec<usize> = (0..targets.len()).filter(is_missing).collect();
            return Some(Waited { seconds: took.as_secs_f64(), missing: tell(watched, &missing) });
        }
        let mut ends =
            [PollFd::new(stream.as_fd(), PollFlags::empty()), PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ends, PollTimeout::from(INTERVAL_MS)).is_ok_and(|ended| ended > 0) {
            return None;
        }
    }
}

fn tell(watched: &Watched, missing: &[usize]) -> Vec<Missing> {
    let mut targets: Vec<Option<TargetStatus>> = Status::of(watched).targets.into_iter().map(Some).collect();
    let missing = missing.iter().filter_map(|index| Some((index, targets.get_mut(*index)?.take()?)));
    let missing = missing.map(|(index, target)| {
        let put_off = watched.gauges.barrier.put_off(*index).paths;
        let put_off_paths = put_off.iter().take(PATHS_MAX).map(ToString::to_string).collect();
        Missing { target, put_off_paths }
    });
    missing.collect()
}

/// The path below the source that `text` names: relative to it, or absolute.
pub fn below(source: &Path, text: &str) -> Result<TreePath, String> {
    use std::os::unix::ffi::OsStrExt as _;
    let path = Path::new(text);
    let below = match path.strip_prefix(source) {
        Ok(below) => below,
        Err(_) if path.is_absolute() => {
            return Err(format!("{text} is not below the source {}", source.display()));
        }
        Err(_) => path,
    };
    let below = below.components().filter(|part| *part != std::path::Component::CurDir);
    let below: std::path::PathBuf = below.collect();
    if below.as_os_str().is_empty() {
        return Ok(TreePath::root());
    }
    TreePath::new(below.as_os_str().as_bytes()).map_err(|error| format!("{text}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_may_be_absolute_or_below_the_source() {
        let source = Path::new("/srv/www");
        for (text, path) in
            [("news/a.html", "news/a.html"), ("./news/", "news"), ("/srv/www/news/a.html", "news/a.html")]
        {
            assert_eq!(below(source, text).unwrap().to_string(), path);
        }
        for root in ["/srv/www", "/srv/www/", ".", ""] {
            assert!(below(source, root).unwrap().is_root(), "{root}");
        }
        for wrong in ["/srv/wwwroot/a", "../a", "/etc"] {
            assert!(below(source, wrong).is_err(), "{wrong}");
        }
    }
}
