//! Keeps what was typed on the command line, in the order in which it was typed.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};

use super::definitions::{DaemonSettings, SyncSettings};
use super::key::Key;

/// The key that says where a running daemon is found.
const STATE_DIR: &str = "state_dir";

/// What a command was given that reads the settings.
#[derive(Debug, Clone, Args)]
pub struct Given {
    /// The configuration file; files in `conf.d` beside it are read too [default:
    /// `/etc/ksyncd/ksyncd.toml`, where no --source is given] [env: `KSYNCD_CONFIG`]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    #[command(flatten)]
    pub(super) typed: Typed,
}

impl Given {
    /// With a source and a target where none are named: for what is about rules alone.
    #[must_use]
    pub fn for_rules(mut self) -> Self {
        if self.config.is_none() {
            for (name, text) in [("source", "."), ("target", "localhost:/")] {
                if !self.typed.0.iter().any(|(given, _)| given == name) {
                    self.typed.0.push((name.to_owned(), text.into()));
                }
            }
        }
        self
    }

    /// Whether it names settings: a file, or flags other than that of the state directory.
    pub fn is_any(&self) -> bool {
        self.config.is_some() || self.typed.0.iter().any(|(name, _)| name != STATE_DIR)
    }

    /// The state directory, as it was typed.
    pub fn state_dir(&self) -> Option<PathBuf> {
        let mut values = self.typed.0.iter().filter(|(name, _)| name == STATE_DIR);
        values.next().map(|(_, value)| PathBuf::from(value))
    }
}

/// Settings that were given as flags: the name of the key, and a value of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Typed(pub(super) Vec<(String, OsString)>);

impl Args for Typed {
    fn augment_args(command: Command) -> Command {
        let command = DaemonSettings::augment_args(SyncSettings::augment_args(command));
        let keys = Key::all();
        command.mut_args(|arg| match keys.iter().find(|key| key.id() == arg.get_id().as_str()) {
            // What has to be there is known when all layers are.
            Some(key) => {
                let help = format!("{} [env: {}]", key.help(), key.variable());
                arg.required(false).help(help)
            }
            None => arg,
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Typed {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut found = Vec::new();
        for key in Key::all() {
            if matches.value_source(key.id()) != Some(ValueSource::CommandLine) {
                continue;
            }
            let places = matches.indices_of(key.id()).into_iter().flatten();
            let values = matches.get_raw(key.id()).into_iter().flatten();
            found
                .extend(places.zip(values).map(|(place, value)| (place, key.name.clone(), value.to_owned())));
        }
        found.sort();
        Ok(Self(found.into_iter().map(|(_, key, value)| (key, value)).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
