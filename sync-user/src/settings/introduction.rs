//! Says how settings are given and which is the strongest: the same words for the reference and for
//! the man page.
//!
//! What is in backticks is written as it is, in both.

/// A part of a text that has its own form.
#[derive(Debug, Clone, Copy)]
pub(super) enum Block {
    Text(&'static str),
    /// In an order that matters.
    Steps(&'static [&'static str]),
    Points(&'static [&'static str]),
    /// A file, in TOML.
    Example(&'static str),
}

pub(super) const INTRODUCTION: &[Block] = &[
    Block::Text(
        "`ksyncd run` without `--source` reads `/etc/ksyncd/ksyncd.toml`, or the file of `--config`, and `*.toml` in `conf.d`
beside it, in the order of their names:",
    ),
    Block::Example(
        "metrics_listen = \"127.0.0.1:9847\"

[[sync]]
source = \"/var/www\"
target = [\"deploy@web2.example.net:/var/www\", \"deploy@web3.example.net:/var/www\"]
exclude = [\"*.tmp\", \"/cache/\"]

[[sync]]
source = \"/srv/media\"
target = \"deploy@web2.example.net:/srv/media\"
batch_max_delay = \"200ms\"",
    ),
    Block::Text(
        "Each setting can also be given as an environment variable and as a flag. The strongest wins:",
    ),
    Block::Steps(&[
        "the flag",
        "the environment variable; one that is empty counts as not set; a list is written as in the file",
        "the file: the section before what stands above all sections, and there later files before earlier ones",
        "the default",
    ]),
    Block::Text(
        "With `--source`, or `KSYNCD_SOURCE`, no file is read. Sizes have units (`64MiB`), and so have times (`50ms`, `1h 30m`).
Rules of what is left out are asked in their order, and the first that matches decides: those of the command line
in the order in which they stand there, else those of `include`, `exclude` and `exclude_from` in this order.",
    ),
    Block::Points(&[
        "`ksyncd config default` prints a file with all settings, to begin with.",
        "`ksyncd config check` says what is wrong, with line and place.",
        "`ksyncd config show --origin` prints what is in force, and where each value was set.",
        "`ksyncd reload`, or SIGHUP, makes the running daemon read everything again. If anything is wrong it says so, and goes
on as before. A section that is as it was goes on undisturbed. One that differs is started anew, by itself: its
source is scanned and compared with its ledgers, and only differences are sent. Nothing is removed at a target because
a section, a target or a rule has changed. Settings of the whole daemon need a restart, but for `log_level`; a reload
names those that do.",
    ]),
];

/// What stands above the settings of the whole daemon.
pub(super) const OF_DAEMON: &str = "They stand above the first `[[sync]]`.";

/// And above those of each section.
pub(super) const OF_SYNC: &str =
    "They stand in a `[[sync]]`, or above all of them for each that does not have its own.";
