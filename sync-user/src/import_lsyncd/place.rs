//! Finds out where to: the address of a target, in each of the forms that lsyncd knows.

use super::data::{Data, Table};
use super::part::Part;
use super::ssh::Way;

/// What lsyncd's own kinds of sync do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Rsync,
    RsyncSsh,
    Direct,
}

const LOCAL: &str = "it is a directory of this machine, and ksyncd reaches targets by SSH alone; remove the # if root of this machine may log in to it";

const DAEMON: &str = "it is a module of an rsync daemon, and ksyncd speaks SSH; write target = \"USER@HOST:/DIR\" and remove the #";

/// Reads where to, and sets `target`.
pub(super) fn read(method: Method, table: &mut Table, way: &Way, part: &mut Part) {
    let mut word = |name: &str| table.take(name).as_ref().and_then(Data::word);
    if method == Method::RsyncSsh {
        return match (word("host"), word("targetdir")) {
            (Some(host), Some(directory)) => {
                remote(&format!("targetdir = {directory:?}"), &host, &directory, way, part);
            }
            (host, _) => {
                let missing = if host.is_none() { "host" } else { "targetdir" };
                part.leave_out(missing, "it is missing, so there is no target");
            }
        };
    }
    let Some(target) = word("target") else {
        return part.leave_out("target", "it is missing");
    };
    let about = format!("target = {target:?}");
    match split(&target) {
        Some((host, directory)) if method == Method::Rsync => {
            if target.starts_with("rsync://") || directory.starts_with(':') {
                part.leave_out(&about, DAEMON);
            } else {
                remote(&about, host, directory, way, part);
            }
        }
        _ => {
            part.leave_out(&about, LOCAL);
            part.settings.push(("target", vec![format!("localhost:{}", trimmed(&target))]));
        }
    }
}

/// Host and directory, at a colon before any slash that is not inside the brackets of an address.
fn split(target: &str) -> Option<(&str, &str)> {
    let behind = target.find(']').map_or(0, |bracket| bracket + 1);
    let colon = behind + target[behind..].find(':')?;
    let is_host = !target[..colon].contains('/');
    is_host.then(|| (&target[..colon], &target[colon + 1..]))
}

fn remote(about: &str, host: &str, directory: &str, way: &Way, part: &mut Part) {
    let (user, host) = match host.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (way.user.as_deref(), host),
    };
    let user = user.map(|user| format!("{user}@")).unwrap_or_default();
    let host =
        if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
    let directory = trimmed(directory);
    if !directory.starts_with('/') {
        let what = "the directory is relative to the home of the user there; write it from the root on, and remove the #";
        part.leave_out(about, what);
        part.settings.push(("target", vec![format!("{user}{host}:{directory}")]));
        return;
    }
    let address = match &way.port {
        Some(number) => format!("ssh://{user}{host}:{number}{directory}"),
        None => format!("{user}{host}:{directory}"),
    };
    part.set_one(about, "target", &address);
    if part.value("target").is_none() {
        part.leave_out(about, "there is no target that ksyncd can reach");
    }
}

/// Without the slashes at its end.
pub(super) fn trimmed(directory: &str) -> &str {
    match directory.trim_end_matches('/') {
        "" if directory.starts_with('/') => "/",
        trimmed => trimmed,
    }
}
