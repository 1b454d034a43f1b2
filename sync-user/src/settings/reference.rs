//! Writes the settings down: a file to begin with, the reference, and what is in force.

use std::fmt::Write as _;

use super::FILE;
use super::introduction::{Block, INTRODUCTION, OF_DAEMON, OF_SYNC};
use super::key::{Key, Scope};
use super::layers::{Loaded, Setting, Value};
use super::lines::{comment, quoted};

/// A configuration file in which every setting is named, and none is set.
pub fn template() -> String {
    let keys = Key::all();
    let mut out = format!(
        "# The configuration of ksyncd: ksyncd run reads {FILE}, and *.toml in conf.d beside it.\n\
         #\n\
         # What is set above the first [[sync]] holds for every section that does not set it itself.\n\
         # Stronger than this file is an environment variable, KSYNCD_BATCH_DELAY for batch_delay,\n\
         # and a flag, --batch-delay, is stronger than that. ksyncd config check says what is wrong,\n\
         # ksyncd config show what is in force, and ksyncd reload makes a running daemon read it again.\n"
    );
    for key in keys.iter().filter(|key| key.scope == Scope::Daemon) {
        write_commented(&mut out, key);
    }
    out.push_str("\n# One section for each source; remove the # to begin with.\n#[[sync]]\n");
    for key in keys.iter().filter(|key| key.scope == Scope::Sync) {
        write_commented(&mut out, key);
    }
    out
}

fn write_commented(out: &mut String, key: &Key) {
    out.push('\n');
    let mut help = key.help();
    for (choice, meaning) in key.choices().into_iter().filter(|(_, meaning)| !meaning.is_empty()) {
        // Writing to a string does not fail.
        let _infallible = write!(help, "\n  {choice}: {meaning}");
    }
    out.push_str(&comment(&help));
    let value = key.default().map_or_else(|| example(key), |value| quoted(&value.to_string_lossy()));
    let value = if key.is_list() { format!("[{value}]") } else { value };
    let _infallible = writeln!(out, "#{} = {value}", key.name);
}

/// A value for a setting that has no default.
fn example(key: &Key) -> String {
    let text = match key.name.as_str() {
        "source" => "/var/www",
        "target" => "deploy@web2.example.net:/var/www",
        "name" => "www",
        "port" => "22",
        "ssh_config" => "/root/.ssh/config",
        "identity" => "/root/.ssh/id_ed25519",
        "known_hosts" => "/root/.ssh/known_hosts",
        "state_dir" => "/var/lib/ksyncd",
        "metrics_listen" => "127.0.0.1:9847",
        "trash" => "7d",
        "status_file" => "/run/ksyncd/status",
        "latency_log" => "/var/log/ksyncd/www.hlog",
        "include" => "keep.tmp",
        "exclude" => "*.tmp",
        "publish_last" => "*.html",
        "exclude_from" => "/etc/ksyncd/excludes",
        _ => key.value_name(),
    };
    quoted(text)
}

const HEAD: &str = "\
# Configuration

<!-- Written by `cargo xtask docs` from sync-user/src/settings/definitions.rs. -->
";

/// The reference of all settings, as Markdown.
pub fn markdown() -> String {
    let keys = Key::all();
    let mut out = String::from(HEAD);
    write_introduction(&mut out);
    for (scope, title, where_they_stand) in
        [(Scope::Daemon, "Of the whole daemon", OF_DAEMON), (Scope::Sync, "Of each section", OF_SYNC)]
    {
        let _infallible = write!(out, "\n## {title}\n\n{where_they_stand}\n");
        for key in keys.iter().filter(|key| key.scope == scope) {
            let default = key.default().map(|value| value.to_string_lossy().into_owned());
            let default = default.map(|value| format!(" · default `{value}`")).unwrap_or_default();
            let several = if key.is_list() { " · a list" } else { "" };
            let _infallible = write!(
                out,
                "\n### `{}`\n\n`{} {}` · `{}`{default}{several}\n\n{}.\n",
                key.name,
                key.flag(),
                key.value_name(),
                key.variable(),
                key.help().replace('<', "&lt;")
            );
            let choices = key.choices();
            if choices.iter().any(|(_, meaning)| !meaning.is_empty()) {
                out.push('\n');
            }
            for (choice, meaning) in choices.into_iter().filter(|(_, meaning)| !meaning.is_empty()) {
                let _infallible = writeln!(out, "- `{choice}`: {meaning}");
            }
        }
    }
    out
}

/// The introduction as Markdown: as it is written, since its lines are as long as those of the page.
fn write_introduction(out: &mut String) {
    for block in INTRODUCTION {
        // Writing to a string does not fail.
        let _infallible = match block {
            Block::Text(text) => write!(out, "\n{text}\n"),
            Block::Example(text) => write!(out, "\n```toml\n{text}\n```\n"),
            Block::Steps(steps) => {
                let lines = (1..).zip(*steps).map(|(number, step)| format!("{number}. {step}\n"));
                write!(out, "\n{}", lines.collect::<String>())
            }
            Block::Points(points) => {
                let lines = points.iter().map(|point| format!("- {}\n", point.replace('\n', "\n  ")));
                write!(out, "\n{}", lines.collect::<String>())
            }
        };
    }
}

/// What is in force, as a configuration file. With `origin` it says where each value was set.
pub fn show(loaded: &Loaded, origin: bool) -> String {
    let mut out = String::new();
    write_settings(&mut out, &loaded.daemon.effective, origin);
    for sync in &loaded.syncs {
        out.push_str("\n[[sync]]\n");
        write_settings(&mut out, &sync.effective, origin);
    }
    out
}

fn write_settings(out: &mut String, settings: &[Setting], origin: bool) {
    for Setting { key, values } in settings {
        let text = |value: &Value| quoted(&value.text.to_string_lossy());
        let Some(first) = values.first() else { continue };
        let line = if key.is_list() {
            format!("{} = [{}]", key.name, values.iter().map(text).collect::<Vec<_>>().join(", "))
        } else {
            // The last one given is the one that counts.
            format!("{} = {}", key.name, text(values.last().unwrap_or(first)))
        };
        let origin = if origin {
            format!("{:1$}# {2}", "", 40_usize.saturating_sub(line.len()).max(1), first.origin)
        } else {
            String::new()
        };
        let _infallible = writeln!(out, "{line}{origin}");
    }
}
