//! Checks who imports whom inside `sync-user`: the table here is the architecture.

use super::{Complaint, Source};

/// A module at the top of `sync-user`, and the modules of ours that it may name. The order is
/// one in which each names only modules above it, so there is no cycle.
const LAYERS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("clock", &["model"]),
    ("priority", &[]),
    ("bell", &[]),
    ("shutdown", &["bell"]),
    ("exit", &[]),
    ("logging", &[]),
    ("state", &[]),
    ("home", &["model"]),
    ("wire", &["model"]),
    ("metadata", &["model"]),
    ("metrics", &["model"]),
    ("aliases", &["model"]),
    ("barrier", &["bell", "model"]),
    ("history", &["model"]),
    ("delta", &[]),
    ("tree", &["model", "home", "metadata", "aliases"]),
    ("ledger", &["model"]),
    ("queue", &["model", "clock"]),
    ("capture", &["model", "clock", "shutdown", "aliases", "barrier"]),
    ("batch", &["model"]),
    ("plan", &["model", "ledger"]),
    ("ship", &["bell", "model", "clock", "home", "wire", "metadata", "tree", "delta"]),
    ("settings", &["model", "capture", "ship", "tree"]),
    ("import_lsyncd", &["settings"]),
    ("receive", &["model", "clock", "home", "wire", "metadata"]),
    ("receiver", &["model", "clock", "priority", "wire", "receive"]),
    (
        "daemon",
        &[
            "bell", "model", "clock", "shutdown", "home", "wire", "metadata", "metrics", "aliases",
            "barrier", "history", "delta", "tree", "ledger", "queue", "capture", "batch", "plan", "ship",
        ],
    ),
    (
        "control",
        &[
            "model", "clock", "priority", "shutdown", "metrics", "barrier", "history", "tree", "ledger",
            "daemon",
        ],
    ),
    ("http", &["clock", "model", "shutdown", "metrics", "daemon", "control"]),
    ("demo", &["clock", "home"]),
    (
        "cli",
        &[
            "clock",
            "model",
            "shutdown",
            "exit",
            "logging",
            "state",
            "home",
            "metrics",
            "barrier",
            "tree",
            "ledger",
            "queue",
            "capture",
            "batch",
            "ship",
            "settings",
            "import_lsyncd",
            "receiver",
            "daemon",
            "control",
            "http",
            "demo",
        ],
    ),
];

pub(super) fn check(sources: &[Source]) -> Vec<Complaint> {
    check_by(LAYERS, sources)
}

fn check_by(layers: &[(&str, &[&str])], sources: &[Source]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (index, (module, may)) in layers.iter().enumerate() {
        let above: Vec<&str> = layers[..index].iter().map(|(module, _)| *module).collect();
        for named in may.iter().filter(|named| !above.contains(named)) {
            let what = format!("`{module}` may name `{named}`, which stands below it: a cycle");
            complaints.push(Complaint { file: "xtask/src/tidy/layers.rs".to_owned(), line: 1, what });
        }
    }
    for source in sources {
        let Some(below) = source.path.strip_prefix("sync-user/src/") else { continue };
        let module = below.split(['/', '.']).next().unwrap_or(below);
        if module == "main" || module == "lib" {
            continue;
        }
        let Some((_, may)) = layers.iter().find(|(name, _)| *name == module) else {
            let what = format!("the module `{module}` is not in the table of layers");
            complaints.push(Complaint { file: source.path.clone(), line: 1, what });
            continue;
        };
        for (line, text) in source.lines_without_tests() {
            let code = text.split("//").next().unwrap_or(text);
            for named in code.split("crate::").skip(1).flat_map(named_modules) {
                let known = layers.iter().any(|(name, _)| *name == named);
                if known && named != module && !may.contains(&named.as_str()) {
                    let what = format!(
                        "`{module}` may not name `{named}`: see the table in xtask/src/tidy/layers.rs"
                    );
                    complaints.push(Complaint { file: source.path.clone(), line, what });
                }
            }
        }
    }
    complaints
}

/// The modules that the text behind `crate::` begins with: one, or several in braces.
fn named_modules(rest: &str) -> Vec<String> {
    let word = |text: &str| {
        text.trim()
            .chars()
            .take_while(|character| character.is_alphanumeric() || *character == '_')
            .collect::<String>()
    };
    match rest.strip_prefix('{') {
        Some(list) => list.split(['}', ';']).next().unwrap_or(list).split(',').map(word).collect(),
        None => vec![word(rest)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn finds_imports_that_the_table_does_not_allow() {
        let layers: &[(&str, &[&str])] = &[("model", &[]), ("batch", &["model"]), ("ship", &[])];
        let sources = [
            source("sync-user/src/batch/mod.rs", "use crate::model::A;\nuse crate::{model, ship};\n"),
            source(
                "sync-user/src/ship.rs",
                "// crate::batch\nfn f() { crate::batch::g() }\n#[cfg(test)]\nmod tests {\nuse crate::batch;\n}",
            ),
            source("sync-user/src/new.rs", ""),
        ];
        let found: Vec<String> = check_by(layers, &sources)
            .iter()
            .map(|complaint| format!("{}:{}", complaint.file, complaint.line))
            .collect();
        assert_eq!(
            found,
            ["sync-user/src/batch/mod.rs:2", "sync-user/src/ship.rs:2", "sync-user/src/new.rs:1"]
        );
    }

    #[test]
    fn finds_cycles_in_the_table() {
        let layers: &[(&str, &[&str])] = &[("a", &["b"]), ("b", &["a"])];
        assert_eq!(check_by(layers, &[]).len(), 1);
    }
}
