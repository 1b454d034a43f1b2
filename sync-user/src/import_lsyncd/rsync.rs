//! Says what becomes of rsync's options.

use super::data::{Data, Table};
use super::part::Part;
use super::rules::Rules;
use super::ssh::Way;
use super::words::{self, RsyncOption};

/// What ksyncd does without, or does in any case, and why.
const NOT_NEEDED: &[(&str, &str)] = &[
    ("block-size", "ksyncd finds what has changed in a large file by itself"),
    ("compress-level", "ksyncd compresses what shrinks"),
    ("contimeout", "a connection that cannot be made is tried again"),
    ("delay-updates", "each file is put into place by a rename once it is complete"),
    ("delete", "the setting delete says it"),
    ("delete-after", "the setting delete says it"),
    ("delete-before", "the setting delete says it"),
    ("delete-delay", "the setting delete says it"),
    ("delete-during", "the setting delete says it"),
    ("dirs", "directories are replicated in any case"),
    ("executability", "modes are kept in any case"),
    ("force", "what takes the place of a directory replaces it"),
    ("fuzzy", "content that the target has under another name is copied there"),
    ("human-readable", "no rsync is started"),
    ("ignore-errors", "what cannot be read at the source is never removed at a target"),
    ("info", "no rsync is started"),
    ("debug", "no rsync is started"),
    ("itemize-changes", "ksyncd tail shows changes as they are seen"),
    ("log-file", "the log goes to the journal, or to standard error"),
    ("one-file-system", "what is mounted below the source is left alone in any case"),
    ("out-format", "no rsync is started"),
    ("partial", "readers at the target never see part of a file"),
    ("partial-dir", "readers at the target never see part of a file"),
    ("progress", "ksyncd status says how it goes"),
    ("protect-args", "no shell reads the names"),
    ("quiet", "no rsync is started"),
    ("recursive", "the whole tree is replicated in any case"),
    ("secluded-args", "no shell reads the names"),
    ("sparse", "sparse files stay sparse in any case"),
    ("stats", "ksyncd status and ksyncd latency say how it goes"),
    ("temp-dir", "files are built in .ksyncd at the root of the target, and renamed into place"),
    ("timeout", "a connection that falls silent is made anew"),
    ("verbose", "log_level says how much is logged"),
    ("whole-file", "only what has changed of a large file is sent"),
];

/// What ksyncd does in another way.
const DIFFERS: &[(&str, &str)] = &[
    (
        "checksum",
        "what has changed is known by kind, size and time; all content is checked by its hash on its way",
    ),
    ("devices", "devices, sockets and fifos are told of, and not replicated"),
    (
        "ignore-times",
        "what has changed is known by kind, size and time; all content is checked by its hash on its way",
    ),
    ("inplace", "a changed file is replaced by a new one, and never written in place"),
    ("omit-dir-times", "times of directories are kept, too"),
    ("omit-link-times", "times of symbolic links are kept, too"),
    ("specials", "devices, sockets and fifos are told of, and not replicated"),
];

/// What has no counterpart.
const HAND: &[(&str, &str)] = &[
    ("append", "a file that grows is sent like any other change"),
    ("append-verify", "a file that grows is sent like any other change"),
    ("backup", "what is replaced or removed at a target is not kept"),
    ("backup-dir", "what is replaced or removed at a target is not kept"),
    ("suffix", "what is replaced or removed at a target is not kept"),
    ("chmod", "modes are as at the source"),
    ("chown", "owners are as at the source, or those of the receiving user"),
    ("groupmap", "groups go by name, or by number with numeric_ids"),
    ("usermap", "owners go by name, or by number with numeric_ids"),
    ("copy-dirlinks", "symbolic links are replicated as links"),
    ("copy-links", "symbolic links are replicated as links"),
    ("copy-unsafe-links", "symbolic links are replicated as links"),
    ("keep-dirlinks", "a symbolic link at the target is replaced, if the source has a directory there"),
    ("safe-links", "symbolic links are replicated as links, wherever they lead"),
    ("delete-excluded", "what is left out stays at the target, if it is there"),
    ("fake-super", "owners that the receiving user cannot set are not kept"),
    ("ipv4", "set AddressFamily for the host in OpenSSH's configuration, and see whether ksyncd reaches it"),
    ("ipv6", "set AddressFamily for the host in OpenSSH's configuration, and see whether ksyncd reaches it"),
    ("max-delete", "max_delete is in per cent of what the target holds"),
    ("password-file", "it is for rsync daemons; ksyncd logs in by SSH, with a key"),
    ("port", "it is for rsync daemons; write the port of SSH as ssh://HOST:PORT/DIR"),
    ("prune-empty-dirs", "empty directories are replicated"),
    ("rsync-path", "no rsync is started at the target; ksyncd writes as the user that logs in"),
];

/// What keeps something from being sent or replaced: without it that would happen.
const HOLDS_BACK: &[(&str, &str)] = &[
    ("cvs-exclude", "name what is to be left out in exclude"),
    ("existing", "what is new at the source is sent"),
    ("files-from", "the whole tree is replicated; say in include and exclude what of it"),
    ("ignore-existing", "what is there already is replaced when it differs"),
    ("max-size", "files of all sizes are replicated"),
    ("min-size", "files of all sizes are replicated"),
    ("update", "what is newer at a target is replaced when the source changes, and counted in ksyncd status"),
];

/// Which attributes rsync was to keep.
#[derive(Debug, Default)]
struct Attributes {
    perms: bool,
    owner: bool,
    group: bool,
    xattrs: bool,
    acls: bool,
    links: bool,
}

impl Attributes {
    fn archive(&mut self) {
        (self.perms, self.owner, self.group) = (true, true, true);
    }
}

/// Reads `rsync = {…}` and what older configurations had in its place.
pub(super) fn read(table: &mut Table, part: &mut Part, rules: &mut Rules, way: &mut Way) {
    let mut options = Vec::new();
    let mut line = |about: &str, words: &Data, part: &mut Part| match words.words() {
        Some(words) => options.extend(words::of_line(about, &words)),
        None => part.hand(about, "it is not a list of options"),
    };
    for name in ["rsyncOps", "rsyncOpts"] {
        if let Some(words) = table.take(name) {
            line(name, &words, part);
        }
    }
    if let Some(Data::Table(mut rsync)) = table.take("rsync") {
        if let Some(words) = rsync.take("_extra") {
            line("rsync._extra", &words, part);
        }
        // Those by name count first: rsync is given them before the others.
        options.splice(..0, words::of_table(&rsync));
    }
    let mut attributes = Attributes::default();
    for option in &options {
        one(option, &mut attributes, part, rules, way);
    }
    preserve(&attributes, part);
}

fn one(option: &RsyncOption, attributes: &mut Attributes, part: &mut Part, rules: &mut Rules, way: &mut Way) {
    let RsyncOption { name, value, off, about } = option;
    let on = !off;
    let found =
        |list: &[(&str, &'static str)]| list.iter().find(|(known, _)| known == name).map(|(_, why)| *why);
    match (name.as_str(), value) {
        // A later option may take a part of it back.
        ("archive", _) if on => attributes.archive(),
        ("perms", _) => attributes.perms = on,
        ("owner", _) => attributes.owner = on,
        ("group", _) => attributes.group = on,
        ("xattrs", _) => attributes.xattrs = on,
        ("acls", _) => attributes.acls = on,
        ("hard-links", _) => attributes.links = on,
        // Times and links are kept in any case, and it is compressed where that pays.
        ("times" | "links" | "compress", _) if on => {}
        ("times", _) => part.differs(about, "times are kept in any case"),
        ("links", _) => part.hand(about, "symbolic links are replicated in any case"),
        ("numeric-ids", _) if on => part.set_one(about, "numeric_ids", "true"),
        ("compress", _) => part.set_one(about, "compress", "never"),
        ("bwlimit", Some(rate)) => part.set_one(about, "bwlimit", rate),
        ("rsh", Some(command)) => way.command(about, command, part),
        ("dry-run", _) if on => {
            part.leave_out(
                about,
                "lsyncd changes nothing at the target, and ksyncd would; remove the # to replicate",
            );
        }
        ("binary", Some(program)) if program.rsplit('/').next() == Some("rsync") => {
            part.not_needed(about, "no rsync is started");
        }
        ("binary", _) => {
            part.hand(about, "no rsync is started, so whatever that program does besides is not done");
        }
        ("include" | "exclude" | "filter" | "include-from" | "exclude-from", Some(value)) => {
            rules.option(about, name, value, part);
        }
        _ if *off => {}
        _ if found(HOLDS_BACK).is_some() => {
            let why = found(HOLDS_BACK).unwrap_or_default();
            part.leave_out(about, &format!("{why}; remove the # if that is right"));
        }
        _ => match (found(NOT_NEEDED), found(DIFFERS), found(HAND)) {
            (Some(why), ..) => part.not_needed(about, why),
            (_, Some(why), _) => part.differs(about, why),
            (.., Some(why)) => part.hand(about, why),
            _ => part.hand(about, "ksyncd has nothing like it"),
        },
    }
}

/// rsync keeps no more than it is told to, and ksyncd all that it can: so it is said in any case.
fn preserve(attributes: &Attributes, part: &mut Part) {
    let Attributes { perms, owner, group, xattrs, acls, links } = attributes;
    let kept =
        [("owner", *owner), ("group", *group), ("xattrs", *xattrs), ("acls", *acls), ("links", *links)];
    let kept: Vec<&str> = kept.iter().filter(|(_, kept)| *kept).map(|(name, _)| *name).collect();
    let list = if kept.is_empty() { "none".to_owned() } else { kept.join(",") };
    part.set_one("rsync", "preserve", &list);
    if !perms {
        part.differs(
            "rsync.perms",
            "modes are kept in any case; lsyncd keeps those that files have at the target",
        );
    }
}
