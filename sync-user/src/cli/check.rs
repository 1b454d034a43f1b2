//! Prints what this machine can do, and what to do about what it cannot.

use std::fmt::Write as _;
use std::path::Path;

use super::fail;
use crate::capture::{Requirement, RequirementState, Requirements, ebpf, requirements};
use crate::exit::Exit;
use crate::ship;

/// Checks for a source at `root`.
pub(super) fn check(root: &Path) -> Exit {
    if !root.is_dir() {
        let remedy = "name the directory that is to be replicated: ksyncd check DIR";
        return fail(Exit::NoSource, &format!("{} is not a directory", root.display()), Some(remedy));
    }
    let found = requirements(root);
    let build = [
        ("eBPF programs", ebpf::is_embedded(), "without them capture is by fanotify"),
        (
            "static receiver",
            ship::has_static_receiver(),
            "without it targets get a copy of this whole program",
        ),
    ];
    print!("{}", render(&found, &build));
    if found.backend.is_some() { Exit::Success } else { Exit::NoCapture }
}

/// The report. `build` tells what is embedded in this program, and what it means if not.
fn render(found: &Requirements, build: &[(&str, bool, &str)]) -> String {
    let mut report = String::new();
    let mut line = |mark: &str, name: &str, text: &str, remedy: Option<&str>| {
        // A `String` takes whatever is written to it.
        let _written = writeln!(report, "{mark:<8} {name:<16} {text}");
        if let Some(remedy) = remedy {
            let _written = writeln!(report, "{:<8} {:<16} hint: {remedy}", "", "");
        }
    };
    for Requirement { name, state } in &found.all {
        match state {
            RequirementState::Met(what) => line("ok", name, what, None),
            RequirementState::Missing { what, remedy } => line("missing", name, what, Some(remedy)),
        }
    }
    for (name, is_in, otherwise) in build {
        if *is_in {
            line("ok", name, "in this program", None);
        } else {
            line("missing", name, otherwise, Some("build it by `cargo xtask build`"));
        }
    }
    let verdict = match found.backend {
        Some(backend) => format!("ksyncd can capture here; --capture auto takes {backend}"),
        None => "ksyncd cannot capture here: one of eBPF and fanotify is needed".to_owned(),
    };
    let _written = writeln!(report, "\n{verdict}");
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(name: &'static str, text: &str) -> Requirement {
        Requirement { name, state: RequirementState::Met(text.to_owned()) }
    }

    fn missing(name: &'static str, what: &str, remedy: &str) -> Requirement {
        let state = RequirementState::Missing { what: what.to_owned(), remedy: remedy.to_owned() };
        Requirement { name, state }
    }

    #[test]
    fn every_miss_comes_with_its_remedy() {
        let found = Requirements {
            all: vec![
                met("kernel", "Linux 6.1.0"),
                missing("eBPF", "load the eBPF program `fsnotify`: not permitted", "run as root"),
                met("fanotify", "watches the file system of /srv/www"),
            ],
            backend: Some("fanotify"),
        };
        let build = [("eBPF programs", true, ""), ("static receiver", false, "targets get a copy of all")];
        insta::assert_snapshot!(render(&found, &build), @r"
        ok       kernel           Linux 6.1.0
        missing  eBPF             load the eBPF program `fsnotify`: not permitted
                                  hint: run as root
        ok       fanotify         watches the file system of /srv/www
        ok       eBPF programs    in this program
        missing  static receiver  targets get a copy of all
                                  hint: build it by `cargo xtask build`

        ksyncd can capture here; --capture auto takes fanotify
        ");
        let nothing = Requirements { all: Vec::new(), backend: None };
        insta::assert_snapshot!(render(&nothing, &[]), @"ksyncd cannot capture here: one of eBPF and fanotify is needed");
    }
}
