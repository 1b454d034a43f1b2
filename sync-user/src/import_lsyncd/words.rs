//! Splits rsync's options, however they are written, into one name and value each.

use super::data::{Data, Table};

/// An option by its long name, without dashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RsyncOption {
    pub(super) name: String,
    /// `None` of one that stands alone.
    pub(super) value: Option<String>,
    /// Whether it is switched off.
    pub(super) off: bool,
    /// As it is written.
    pub(super) about: String,
}

/// Options of one letter, and whether a value follows.
const LETTERS: &[(char, &str, bool)] = &[
    ('a', "archive", false),
    ('A', "acls", false),
    ('b', "backup", false),
    ('B', "block-size", true),
    ('c', "checksum", false),
    ('C', "cvs-exclude", false),
    ('d', "dirs", false),
    ('D', "devices", false),
    ('e', "rsh", true),
    ('E', "executability", false),
    ('f', "filter", true),
    ('g', "group", false),
    ('h', "human-readable", false),
    ('H', "hard-links", false),
    ('i', "itemize-changes", false),
    ('I', "ignore-times", false),
    ('J', "omit-link-times", false),
    ('k', "copy-dirlinks", false),
    ('K', "keep-dirlinks", false),
    ('l', "links", false),
    ('L', "copy-links", false),
    ('m', "prune-empty-dirs", false),
    ('n', "dry-run", false),
    ('o', "owner", false),
    ('O', "omit-dir-times", false),
    ('p', "perms", false),
    ('P', "partial", false),
    ('q', "quiet", false),
    ('r', "recursive", false),
    ('s', "protect-args", false),
    ('S', "sparse", false),
    ('t', "times", false),
    ('T', "temp-dir", true),
    ('u', "update", false),
    ('v', "verbose", false),
    ('W', "whole-file", false),
    ('x', "one-file-system", false),
    ('X', "xattrs", false),
    ('y', "fuzzy", false),
    ('z', "compress", false),
    ('4', "ipv4", false),
    ('6', "ipv6", false),
];

/// Long options whose value may be the next word.
const WITH_VALUE: &[&str] = &[
    "backup-dir",
    "block-size",
    "bwlimit",
    "chmod",
    "chown",
    "compress-level",
    "contimeout",
    "exclude",
    "exclude-from",
    "files-from",
    "filter",
    "groupmap",
    "include",
    "include-from",
    "log-file",
    "max-delete",
    "max-size",
    "min-size",
    "partial-dir",
    "password-file",
    "port",
    "rsh",
    "rsync-path",
    "suffix",
    "temp-dir",
    "timeout",
    "usermap",
];

/// Those of `rsync = {…}`, by name: `temp_dir = "/tmp"`.
pub(super) fn of_table(table: &Table) -> Vec<RsyncOption> {
    let option = |(name, value): (&String, &Data)| {
        let about = format!("rsync.{name} = {value}");
        let name = name.replace('_', "-");
        RsyncOption { name, value: value.word(), off: *value == Data::Switch(false), about }
    };
    table.named.iter().map(option).collect()
}

/// Those of a command line: `-az`, `--temp-dir=/tmp`.
pub(super) fn of_line(about: &str, line: &[String]) -> Vec<RsyncOption> {
    let mut options = Vec::new();
    let mut words = line.iter().peekable();
    while let Some(word) = words.next() {
        let about = format!("{about}: {word}");
        if let Some(long) = word.strip_prefix("--") {
            let (name, mut value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            if value.is_none() && WITH_VALUE.contains(&name) {
                value = words.next().cloned();
            }
            let (name, off) = match name.strip_prefix("no-") {
                // One letter may stand there, too: --no-p.
                Some(name) => (of_letter(name).unwrap_or(name), true),
                None => (name, false),
            };
            options.push(RsyncOption { name: name.to_owned(), value, off, about });
        } else if let Some(letters) = word.strip_prefix('-') {
            for (place, letter) in letters.char_indices() {
                let known = LETTERS.iter().find(|(known, ..)| *known == letter);
                let (name, takes) = known.map_or((letters, false), |(_, name, takes)| (*name, *takes));
                let mut option =
                    RsyncOption { name: name.to_owned(), value: None, off: false, about: about.clone() };
                if takes {
                    let rest = &letters[place + letter.len_utf8()..];
                    option.value =
                        if rest.is_empty() { words.next().cloned() } else { Some(rest.to_owned()) };
                }
                options.push(option);
                if takes || known.is_none() {
                    break;
                }
            }
        } else {
            options.push(RsyncOption { name: word.clone(), value: None, off: false, about });
        }
    }
    options
}

fn of_letter(name: &str) -> Option<&'static str> {
    let mut letters = name.chars();
    let letter = letters.next().filter(|_| letters.next().is_none())?;
    LETTERS.iter().find(|(known, ..)| *known == letter).map(|(_, name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &[&str]) -> Vec<(String, Option<String>, bool)> {
        let line: Vec<String> = line.iter().map(|word| (*word).to_owned()).collect();
        let plain = |option: RsyncOption| (option.name, option.value, option.off);
        of_line("_extra", &line).into_iter().map(plain).collect()
    }

    #[test]
    fn options_are_read_as_rsync_does() {
        let on = |name: &str| (name.to_owned(), None, false);
        let with = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()), false);
        assert_eq!(options(&["-az"]), [on("archive"), on("compress")]);
        assert_eq!(options(&["--temp-dir=/tmp", "-T/a"]), [with("temp-dir", "/tmp"), with("temp-dir", "/a")]);
        assert_eq!(options(&["-ve", "ssh -p 2"]), [on("verbose"), with("rsh", "ssh -p 2")]);
        assert_eq!(options(&["--exclude", "*.tmp", "-O"]), [with("exclude", "*.tmp"), on("omit-dir-times")]);
        assert_eq!(
            options(&["--no-p", "--no-owner"]),
            [("perms".to_owned(), None, true), ("owner".to_owned(), None, true)]
        );
        assert_eq!(options(&["-ö", "word"]), [on("ö"), on("word")]);
    }
}
