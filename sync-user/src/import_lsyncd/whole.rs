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

/// What stands above all sections. What holds for every sync unless it is set there does so in a
/// configuration of ksyncd, too.
pub(super) fn whole((mut table, line): (Table, usize)) -> Part {
    let mut part = Part::at(line);
    delay(&mut table, &mut part);
    if let Some(file) = table.take("statusFile") {
        let about = format!("statusFile = {file}");
        if part.set(&about, "status_file", vec![file.word().unwrap_or_default()]) {
            let what = "it holds what ksyncd status says: what reads the file of lsyncd has to be adapted";
            part.differs(&about, what);
        }
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
