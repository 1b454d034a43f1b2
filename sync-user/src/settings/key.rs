//! Names the settings: the same one as a flag, as a key of a file and as a variable.

use std::ffi::{OsStr, OsString};

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Args as _, Command as Parser};

use super::definitions::{DaemonSettings, SyncSettings};

/// How alike two names have to be for one to be proposed for the other, from 0 to 1.
const ALIKE: f64 = 0.8;

/// What a setting is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// The whole daemon: it stands above all sections.
    Daemon,
    /// One sync: it stands in its section, or above all of them for each that has none.
    Sync,
}

/// One setting.
#[derive(Debug, Clone)]
pub(super) struct Key {
    /// As in a file: `batch_delay`.
    pub(super) name: String,
    pub(super) scope: Scope,
    arg: Arg,
}

impl Key {
    /// All of them, in the order of their definition.
    pub(super) fn all() -> Vec<Self> {
        let keys = |command: Parser, scope| {
            let keys = command.get_arguments().filter_map(|arg| {
                let name = arg.get_long()?.replace('-', "_");
                Some(Self { name, scope, arg: arg.clone() })
            });
            keys.collect::<Vec<_>>()
        };
        let sync = keys(SyncSettings::augment_args(Parser::new("sync")), Scope::Sync);
        let daemon = keys(DaemonSettings::augment_args(Parser::new("daemon")), Scope::Daemon);
        [sync, daemon].concat()
    }

    /// `--batch-delay`
    pub(super) fn flag(&self) -> String {
        format!("--{}", self.name.replace('_', "-"))
    }

    /// `KSYNCD_BATCH_DELAY`
    pub(super) fn variable(&self) -> String {
        variable(&self.name)
    }

    pub(super) fn id(&self) -> &str {
        self.arg.get_id().as_str()
    }

    /// Whether it takes several values.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.arg.get_action(), ArgAction::Append)
    }

    /// Whether it names a place in the file system.
    pub(super) fn is_path(&self) -> bool {
        matches!(self.value_name(), "DIR" | "FILE")
    }

    pub(super) fn value_name(&self) -> &str {
        self.arg.get_value_names().and_then(|names| names.first()).map_or("VALUE", |name| name.as_str())
    }

    pub(super) fn default(&self) -> Option<&OsStr> {
        self.arg.get_default_values().first().map(clap::builder::OsStr::as_os_str)
    }

    pub(super) fn help(&self) -> String {
        let help = self.arg.get_long_help().or_else(|| self.arg.get_help());
        help.map(StyledStr::to_string).unwrap_or_default()
    }

    /// The values that it may have, where they are few, and what each means.
    pub(super) fn choices(&self) -> Vec<(String, String)> {
        let choices = self.arg.get_possible_values();
        let is_switch = choices.iter().any(|choice| choice.get_name() == "true");
        let choice = |choice: &clap::builder::PossibleValue| {
            let help = choice.get_help().map(StyledStr::to_string).unwrap_or_default();
            (choice.get_name().to_owned(), help)
        };
        choices.iter().filter(|_| !is_switch).map(choice).collect()
    }

    /// Says what is wrong with a value, if anything is.
    pub(super) fn check(&self, value: &OsStr) -> Result<(), String> {
        let command = Parser::new("check").no_binary_name(true).disable_help_flag(true);
        let mut word = OsString::from(self.flag());
        word.push("=");
        word.push(value);
        let matched = command.arg(self.arg.clone().required(false)).try_get_matches_from([word]);
        matched.map(drop).map_err(|error| why(&error))
    }
}

fn variable(name: &str) -> String {
    format!("KSYNCD_{}", name.to_uppercase())
}

fn why(error: &clap::Error) -> String {
    if let Some(cause) = std::error::Error::source(error) {
        return cause.to_string();
    }
    let strings = |kind| match error.get(kind) {
        Some(ContextValue::Strings(strings)) => strings.clone(),
        Some(ContextValue::String(string)) => vec![string.clone()],
        _ => Vec::new(),
    };
    let valid = strings(ContextKind::ValidValue);
    if valid.is_empty() {
        return error.kind().to_string();
    }
    let proposed = strings(ContextKind::SuggestedValue);
    let proposed = proposed.first().map(|value| format!("; did you mean \"{value}\"?")).unwrap_or_default();
    format!("it is one of {}{proposed}", valid.join(", "))
}

/// The name among `names` that is most like `name`, if one is like it at all.
pub(super) fn alike<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |other: &str| strsim::jaro_winkler(name, other);
    let best = names.into_iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)))?;
    (likeness(best) > ALIKE).then_some(best)
}
