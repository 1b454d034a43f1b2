//! Lays flags, environment, files and defaults over each other, and says what comes out.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use clap::{Command as Parser, FromArgMatches};

use super::definitions::{DaemonSettings, SyncSettings};
use super::document::{self, Entry, Section};
use super::files;
use super::key::{Key, Scope, alike};
use super::typed::Given;
use crate::tree::{Excludes, Rules, Verdict};

/// The prefix of all variables.
const PREFIX: &str = "KSYNCD_";

/// Names the configuration file; it is no setting, since a file cannot say where it is.
const CONFIG_VARIABLE: &str = "KSYNCD_CONFIG";

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Default,
    /// And its line.
    File(PathBuf, usize),
    /// The variable.
    Environment(String),
    /// As it was typed.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File(file, line) => write!(formatter, "{} line {line}", file.display()),
            Self::Environment(variable) => formatter.write_str(variable),
            Self::Flag(flag) => formatter.write_str(flag),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) text: OsString,
    pub(super) origin: Origin,
}

/// One setting as it is in force; no values where it has none.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) key: Key,
    pub(super) values: Vec<Value>,
}

/// What is wrong with the settings, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Trouble {
    pub what: String,
    pub remedy: Option<String>,
    /// Whether a file is to blame, and not what was typed or is in the environment.
    pub in_file: bool,
}

/// All settings in force.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub daemon: Daemon,
    pub syncs: Vec<Sync>,
    /// The files that were read.
    pub files: Vec<PathBuf>,
}

/// Settings of the whole daemon.
#[derive(Debug, Clone)]
pub struct Daemon {
    pub settings: DaemonSettings,
    pub(super) effective: Vec<Setting>,
}

/// One source and its targets.
#[derive(Debug, Clone)]
pub struct Sync {
    pub settings: SyncSettings,
    /// What it is called.
    pub name: String,
    pub excludes: Excludes,
    /// What of a batch becomes visible last.
    pub publish_last: Excludes,
    pub(super) rules: Rules,
    pub(super) effective: Vec<Setting>,
}

impl Sync {
    /// Whether nothing differs, wherever it was set.
    pub fn is_same(&self, other: &Self) -> bool {
        let rule =
            |rules: &Rules| rules.iter().map(|rule| (rule.verdict, rule.pattern.clone())).collect::<Vec<_>>();
        texts(&self.effective) == texts(&other.effective) && rule(&self.rules) == rule(&other.rules)
    }
}

impl Daemon {
    /// The settings that differ and take effect only when the daemon starts.
    pub fn needs_restart(&self, now: &Self) -> Vec<String> {
        let (before, after) = (texts(&self.effective), texts(&now.effective));
        // What to log is changed as it runs.
        let differs = |(name, values): &(String, Vec<OsString>)| {
            name != "log_level" && !before.contains(&(name.clone(), values.clone()))
        };
        after.into_iter().filter(differs).map(|(name, _)| name).collect()
    }
}

fn texts(effective: &[Setting]) -> Vec<(String, Vec<OsString>)> {
    let values = |setting: &Setting| setting.values.iter().map(|value| value.text.clone()).collect();
    effective.iter().map(|setting| (setting.key.name.clone(), values(setting))).collect()
}

/// Finds out all settings. Everything that is wrong in the files is told at once.
pub fn load(given: &Given) -> Result<Loaded, Trouble> {
    load_with(given, std::env::vars_os().collect())
}

/// As [`load`], with these variables.
pub(super) fn load_with(given: &Given, variables: Vec<(OsString, OsString)>) -> Result<Loaded, Trouble> {
    let keys = Key::all();
    let mut layers =
        Layers { flags: HashMap::new(), order: Vec::new(), environment: HashMap::new(), keys: &keys };
    layers.read_flags(given);
    let mut config = given.config.clone();
    layers.read_environment(variables, &mut config)?;
    if let Some([source, ..]) = layers.over("source") {
        if given.config.is_some() {
            let what = format!(
                "{} and --config cannot be given together: the sources are in the file",
                source.origin
            );
            return Err(usage(&what, "leave one of them out"));
        }
        return layers.loaded(&[], &[Section::default()], Vec::new());
    }
    for name in ["target", "name", "latency_log"] {
        if let Some([value, ..]) = layers.over(name) {
            let what = format!(
                "{} is given without --source: in the configuration file each section has its own",
                value.origin
            );
            return Err(usage(&what, "give --source too, or leave it to the file"));
        }
    }
    let files = files::read(config, &keys)?;
    layers.loaded(&files.top, &files.sections, files.paths)
}

fn usage(what: &str, remedy: &str) -> Trouble {
    Trouble { what: what.to_owned(), remedy: (!remedy.is_empty()).then(|| remedy.to_owned()), in_file: false }
}

struct Layers<'a> {
    keys: &'a [Key],
    flags: HashMap<String, Vec<Value>>,
    /// The flags of rules, in the order in which they were typed.
    order: Vec<(String, Value)>,
    environment: HashMap<String, Vec<Value>>,
}

impl Layers<'_> {
    fn read_flags(&mut self, given: &Given) {
        for (name, text) in &given.typed.0 {
            let flag = format!("--{}", name.replace('_', "-"));
            let value = Value { text: text.clone(), origin: Origin::Flag(flag) };
            self.order.push((name.clone(), value.clone()));
            self.flags.entry(name.clone()).or_default().push(value);
        }
    }

    fn read_environment(
        &mut self,
        variables: Vec<(OsString, OsString)>,
        config: &mut Option<PathBuf>,
    ) -> Result<(), Trouble> {
        for (variable, text) in variables {
            let Some(variable) = variable.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
            // Empty is what a variable is set to that is not meant.
            if text.is_empty() {
                continue;
            }
            if variable == CONFIG_VARIABLE {
                config.get_or_insert_with(|| PathBuf::from(&text));
                continue;
            }
            let Some(key) = self.keys.iter().find(|key| key.variable() == variable) else {
                let name = variable.strip_prefix(PREFIX).unwrap_or(variable).to_lowercase();
                let names = self.keys.iter().map(|key| key.name.as_str()).chain(["config"]);
                // Others may be for other programs.
                if let Some(proposed) = alike(&name, names) {
                    let proposed = proposed.to_uppercase();
                    let what = format!(
                        "the environment has {variable}, which is no setting; did you mean {PREFIX}{proposed}?"
                    );
                    return Err(usage(&what, ""));
                }
                continue;
            };
            let list = if key.is_list() { text.to_str().and_then(document::list) } else { None };
            let texts =
                list.map_or_else(|| vec![text], |list| list.into_iter().map(OsString::from).collect());
            for text in &texts {
                key.check(text).map_err(|what| {
                    usage(&format!("the environment has {variable}={:?}: {what}", text.to_string_lossy()), "")
                })?;
            }
            let value = |text| Value { text, origin: Origin::Environment(variable.to_owned()) };
            self.environment.insert(key.name.clone(), texts.into_iter().map(value).collect());
        }
        Ok(())
    }

    /// What stands above all files.
    fn over(&self, name: &str) -> Option<&[Value]> {
        self.flags.get(name).or_else(|| self.environment.get(name)).map(Vec::as_slice)
    }

    fn effective(&self, scope: Scope, section: &[Entry], top: &[Entry]) -> Vec<Setting> {
        let setting = |key: &Key| {
            let values = match self.over(&key.name) {
                Some(values) => values.to_vec(),
                None => match section.iter().chain(top).find(|entry| entry.key == key.name) {
                    Some(entry) => entry.values.clone(),
                    None => key
                        .default()
                        .map(|text| Value { text: text.to_owned(), origin: Origin::Default })
                        .into_iter()
                        .collect(),
                },
            };
            Setting { key: key.clone(), values }
        };
        self.keys.iter().filter(|key| key.scope == scope).map(setting).collect()
    }

    fn loaded(&self, top: &[Entry], sections: &[Section], files: Vec<PathBuf>) -> Result<Loaded, Trouble> {
        let effective = self.effective(Scope::Daemon, &[], top);
        let daemon = Daemon { settings: parsed(&effective)?, effective };
        let mut syncs: Vec<Sync> = Vec::new();
        for Section { place, entries } in sections {
            let sync = self.sync(place, self.effective(Scope::Sync, entries, top))?;
            if let Some((what, other)) = syncs.iter().find_map(|other| Some((shared(&sync, other)?, other))) {
                return Err(Trouble {
                    what: format!("{place}: {what} is that of another section, {}, too", other.name),
                    remedy: Some("give each section its own".to_owned()),
                    in_file: true,
                });
            }
            syncs.push(sync);
        }
        Ok(Loaded { daemon, syncs, files })
    }

    fn sync(&self, place: &str, effective: Vec<Setting>) -> Result<Sync, Trouble> {
        for (name, example) in [("source", "DIR"), ("target", "[USER@]HOST:DIR")] {
            if effective.iter().any(|setting| setting.key.name == name && setting.values.is_empty()) {
                return Err(match place {
                    "" => usage(&format!("--{name} is missing"), &format!("give --{name} {example}")),
                    place => Trouble {
                        what: format!("{place}: the section has no {name}"),
                        remedy: Some(format!("add {name} = \"{example}\"")),
                        in_file: true,
                    },
                });
            }
        }
        let settings: SyncSettings = parsed(&effective)?;
        let rules = self.rules(&effective)?;
        let patterns = |rules: Rules| {
            Excludes::new(rules).map_err(|error| Trouble {
                what: error.to_string(),
                remedy: None,
                in_file: !place.is_empty(),
            })
        };
        let excludes = patterns(rules.clone())?;
        let mut last = Rules::default();
        for pattern in &settings.publish_last {
            last.add(pattern.as_bytes(), Verdict::Exclude, "publish_last".to_owned());
        }
        let publish_last = patterns(last)?;
        let name = settings.name.clone().unwrap_or_else(|| settings.source.display().to_string());
        Ok(Sync { settings, name, excludes, publish_last, rules, effective })
    }

    /// Rules in their order: as typed where any were, else what is kept first, then what is left
    /// out, then what is in files.
    fn rules(&self, effective: &[Setting]) -> Result<Rules, Trouble> {
        const NAMES: [&str; 3] = ["include", "exclude", "exclude_from"];
        let typed: Vec<(&str, &Value)> = self
            .order
            .iter()
            .map(|(name, value)| (name.as_str(), value))
            .filter(|(name, _)| NAMES.contains(name))
            .collect();
        let of = |name: &'static str| {
            let settings = effective.iter().filter(move |setting| setting.key.name == name);
            settings.flat_map(|setting| &setting.values).map(move |value| (name, value))
        };
        let found = if typed.is_empty() { NAMES.into_iter().flat_map(of).collect() } else { typed };
        let mut rules = Rules::default();
        for (name, Value { text, origin }) in found {
            match name {
                "include" => rules.add(text.as_bytes(), Verdict::Include, origin.to_string()),
                "exclude" => rules.add(text.as_bytes(), Verdict::Exclude, origin.to_string()),
                _ => rules.read(Path::new(text)).map_err(|error| Trouble {
                    what: format!("read the rules in {}: {error} ({origin})", Path::new(text).display()),
                    remedy: Some("name a file that exists and that this user may read".to_owned()),
                    in_file: matches!(origin, Origin::File(..)),
                })?,
            }
        }
        Ok(rules)
    }
}

/// What two syncs cannot both have.
fn shared(one: &Sync, other: &Sync) -> Option<String> {
    let (one, other) = ((one, &one.settings), (other, &other.settings));
    if one.1.source == other.1.source {
        let target = one.1.targets.iter().find(|target| other.1.targets.contains(target));
        if let Some(target) = target {
            return Some(format!("the source with the target {target}"));
        }
    }
    if one.0.name == other.0.name {
        return Some(format!("the name {}", one.0.name));
    }
    let log = one.1.latency_log.as_ref().filter(|log| other.1.latency_log.as_ref() == Some(log))?;
    Some(format!("the latency log {}", log.display()))
}

/// The settings as they are used. Each value was checked before, where it can be told where it stands.
fn parsed<T: clap::Args + FromArgMatches>(effective: &[Setting]) -> Result<T, Trouble> {
    let mut words: Vec<OsString> = Vec::new();
    for Setting { key, values } in effective {
        for Value { text, origin } in values {
            if *origin != Origin::Default {
                words.push([OsStr::new(&key.flag()), OsStr::new("="), text].into_iter().collect());
            }
        }
    }
    let command = T::augment_args(Parser::new("settings").no_binary_name(true));
    let matches = command.try_get_matches_from(words);
    matches
        .and_then(|matches| T::from_arg_matches(&matches))
        .map_err(|error| usage(error.to_string().trim_end(), ""))
}
