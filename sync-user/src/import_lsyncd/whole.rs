//! Reads `settings{}`: what is about the whole daemon, or about every sync.

use super::data::{Data, Table};
use super::delay::delay;
use super::part::Part;

/// What ksyncd does without, and why.
const NOT_NEEDED: &[(&str, &str)] = &[
    ("inotifyMode", "ksyncd sees every way in which a file changes"),
    ("insist", "ksyncd tries again what fails, at the start too"),
    ("log", "log_level says how much is logged"),
    ("logfacility", "the log goes to the journal, or to standard error"),
    ("logfile", "the log goes to the journal (journalctl --unit ksyncd), or to standard error"),
    ("logident", "the log goes to the journal, or to standard error"),
    (
        "maxDelays",
        "batch_max_changes bounds a batch, and the number of changes that wait is not limited by it",
    ),
    ("maxProcesses", "each target has one connection, and none waits for another"),
    ("nodaemon", "ksyncd run stays in the foreground, as systemd wants it"),
    ("pidfile", "systemd knows the process, and ksyncd refuses to run twice"),
    ("statusInterval", "status_file is written every 5 s"),
];

/// Where the service of the package may write a status.
const WRITABLE: &[&str] = &["/run/ksyncd/", "/var/log/ksyncd/"];

/// What stands above all sections. What holds for every sync unless it is set there does so in a
/// configuration of ksyncd, too.
pub(super) fn whole((mut table, line): (Table, usize)) -> Part {
    let mut part = Part::at(line);
    delay(&mut table, &mut part);
    if let Some(file) = table.take("statusFile") {
        status_file(&file, &mut part);
    }
    if table.take("onepass") == Some(Data::Switch(true)) {
        let what = "ksyncd runs until it is stopped; ksyncd wait returns when all is there";
        part.hand("onepass = true", what);
    }
    for (name, value) in table.named {
        let about = format!("{name} = {value}");
        match NOT_NEEDED.iter().find(|(known, _)| *known == name) {
            Some((_, why)) => part.not_needed(&about, why),
            None => part.hand(&about, "ksyncd has nothing like it"),
        }
    }
    part
}

/// A daemon does not start that cannot write its status file, and the service of the package may write to
/// few places.
fn status_file(file: &Data, part: &mut Part) {
    let about = format!("statusFile = {file}");
    let path = file.word().unwrap_or_default();
    if WRITABLE.iter().any(|directory| path.starts_with(directory)) {
        part.set_one(&about, "status_file", &path);
        part.differs(&about, "it holds what ksyncd status says: adapt what reads it");
        return;
    }
    part.propose("status_file", "/run/ksyncd/status");
    part.differs(
        &about,
        "ask ksyncd status, or remove the # before status_file and adapt what reads it: it holds what ksyncd status says. The service may write below /run/ksyncd and /var/log/ksyncd alone",
    );
}
