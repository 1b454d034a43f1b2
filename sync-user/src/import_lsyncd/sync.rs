//! Makes a section of one `sync{}`.

use super::data::{Data, Table};
use super::delay::delay;
use super::part::Part;
use super::place::{self, Method};
use super::rsync;
use super::rules::Rules;
use super::ssh::Way;

/// What ksyncd does without, and why.
const NOT_NEEDED: &[(&str, &str)] = &[
    ("batchSizeLimit", "small changes overtake large files in any case"),
    ("exitcodes", "what fails is tried again: single paths, and connections"),
    (
        "maxDelays",
        "batch_max_changes bounds a batch, and the number of changes that wait is not limited by it",
    ),
    ("maxProcesses", "each target has one connection, and none waits for another"),
    ("monitor", "capture says how changes are seen"),
    ("rsyncExitCodes", "what fails is tried again: single paths, and connections"),
    ("sshExitCodes", "what fails is tried again: single paths, and connections"),
];

/// What a sync may bring of its own to run: functions of Lua, or commands of a shell.
const ACTIONS: &[&str] = &[
    "action",
    "collect",
    "full",
    "init",
    "onAttrib",
    "onCreate",
    "onDelete",
    "onFull",
    "onModify",
    "onMove",
    "onStartup",
    "prepare",
];

const NO_COMMANDS: &str = "ksyncd replicates, and runs no commands; ksyncd tail --json prints each change, for a program that acts on it";

/// The section for `table`, which stands on `line`.
pub(super) fn section(mut table: Table, line: usize) -> Part {
    let mut part = Part::at(line);
    let method = match table.take("_kind").as_ref().and_then(Data::word).as_deref() {
        Some("rsync") => Some(Method::Rsync),
        Some("rsyncssh") => Some(Method::RsyncSsh),
        Some("direct") => Some(Method::Direct),
        _ => None,
    };
    source(&mut table, &mut part);
    let (mut rules, mut way) = (Rules::default(), Way::default());
    if let Some(method) = method {
        rsync::read(&mut table, &mut part, &mut rules, &mut way);
        way.read(&mut table, &mut part);
        place::read(method, &mut table, &way, &mut part);
        deletion(&mut table, &mut part);
    } else {
        part.leave_out("sync", "it is none of default.rsync, default.rsyncssh and default.direct, so only its own commands know what it does");
        if let Some(target) = table.take("target").as_ref().and_then(Data::word) {
            part.settings.push(("target", vec![target]));
        }
    }
    tunnel(&mut table, &mut part);
    if let Some(name) = table.take("name").as_ref().and_then(Data::word) {
        part.set_one("name", "name", &name);
    }
    rules.read(&mut table, &mut part);
    delay(&mut table, &mut part);
    rest(table, &mut part);
    part
}

fn source(table: &mut Table, part: &mut Part) {
    match table.take("source").as_ref().and_then(Data::word) {
        Some(source) if source.starts_with('/') => part.set_one("source", "source", place::trimmed(&source)),
        Some(source) => {
            part.leave_out(&format!("source = {source:?}"), "write it from the root on, and remove the #");
            part.settings.push(("source", vec![source]));
        }
        None => part.leave_out("source", "it is missing"),
    }
}

/// Live, ksyncd always removes what was removed at the source. What it does at the start is a
/// setting, and only what was asked for in so many words is set.
fn deletion(table: &mut Table, part: &mut Part) {
    const KEY: &str = "delete_extraneous";
    let value = table.take("delete");
    let about = value.as_ref().map_or_else(|| "delete".to_owned(), |value| format!("delete = {value}"));
    match value {
        Some(Data::Switch(true)) => {
            part.set_one(&about, KEY, "true");
            part.differs(
                &about,
                "what only the target has is removed when the trees are compared at the start; if that would be more than max_delete per cent, all of it stays and is told of",
            );
        }
        Some(Data::Text(when)) if when == "startup" => {
            part.set_one(&about, KEY, "true");
            part.differs(&about, "what is removed at the source is removed at the target at once, and not only at the start");
        }
        Some(Data::Text(when)) if when == "running" => part.differs(
            &about,
            "what is removed at the source while ksyncd does not run is removed at its next start; what only the target has stays",
        ),
        Some(Data::Switch(false)) => part.leave_out(
            &about,
            "ksyncd removes at the target what is removed at the source, and no setting prevents that; what only the target has stays. Remove the # if that is right",
        ),
        None => {
            part.propose(KEY, "true");
            part.differs(
                &about,
                "where it is not set, lsyncd removes at its start what only the target has. ksyncd leaves that there; remove the # before delete_extraneous to have it removed",
            );
        }
        Some(_) => part.hand(&about, "it is none of true, false, \"startup\" and \"running\""),
    }
}

fn tunnel(table: &mut Table, part: &mut Part) {
    if table.take("tunnel").is_some() {
        let what = "ksyncd starts no tunnel: name the real host in target, say in ~/.ssh/config by ProxyJump or ProxyCommand how it is reached, and remove the #";
        part.leave_out("tunnel", what);
    }
}

/// What is left has no setting of its own.
fn rest(table: Table, part: &mut Part) {
    for (name, value) in table.named {
        let about = format!("{name} = {value}");
        let is_empty = matches!(&value, Data::Table(table) if *table == Table::default());
        let why = NOT_NEEDED.iter().find(|(known, _)| *known == name);
        match (why, &value) {
            // Every kind of sync brings empty ones along.
            _ if is_empty => {}
            (Some((_, why)), _) => part.not_needed(&about, why),
            (None, Data::Switch(false)) if name == "init" => {
                part.hand(&about, "ksyncd compares the trees at its first start, and sends what differs");
            }
            (None, Data::Switch(true)) if name == "subdirs" || name == "init" => {}
            (None, _) if name == "crontab" => {
                part.hand(&about, "ksyncd compares again by itself after each loss, and at no fixed times");
            }
            (None, Data::Function(_)) => part.hand(&about, NO_COMMANDS),
            (None, _) if ACTIONS.contains(&name.as_str()) => part.hand(&about, NO_COMMANDS),
            (None, _) => part.hand(&about, "ksyncd has nothing like it"),
        }
    }
}
