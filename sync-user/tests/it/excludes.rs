//! Exclude and include rules mean what rsync takes them for: rsync itself is the judge.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use sync_user::model::{FileKind, Preserve, TreePath};
use sync_user::tree::{Excludes, Rules, Tree, Verdict};

use crate::host::{Daemon, Host};

/// A tree with names that patterns trip over.
fn make_tree(root: &Path) {
    let names = ["a", "b", "ab", "a.b", "abc", "a b", "[a]", "a*b", "a\\b", "{a,b}", "-a", "a]", "A1", "b!"];
    for name in names {
        fs::write(root.join(name), "").unwrap();
    }
    let directories =
        ["d", "d/a", "d/a/b", "d/ab", "d/ab/d", "d/ab/d/a", "e", "e/d", "e/d/ab", "ad", "ad/bd"];
    for directory in directories {
        fs::create_dir(root.join(directory)).unwrap();
    }
    for directory in directories {
        for name in ["b", "ab", "c.a", "1", "x-y"] {
            let path = root.join(directory).join(name);
            if !path.exists() {
                fs::write(path, "").unwrap();
            }
        }
    }
}

/// What rsync would send, directories with a slash at the end.
fn by_rsync(root: &Path, flags: &[String]) -> BTreeSet<String> {
    let output = Command::new("rsync")
        .args(["--dry-run", "--recursive", "--links", "--8-bit-output", "--out-format=%n"])
        .args(flags)
        .arg(format!("{}/", root.display()))
        .arg(format!("{}/", root.with_file_name("target").display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{flags:?}: {}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    // rsync writes a backslash that could be read as one of its own escapes with its number.
    lines.lines().filter(|line| *line != "./").map(|line| line.replace("\\#134", "\\")).collect()
}

fn by_ksyncd(root: &Path, rules: Rules) -> BTreeSet<String> {
    let tree = Tree::open(root, Excludes::new(rules).unwrap(), Preserve::NONE).unwrap();
    let entries = tree.scan(&TreePath::root()).entries;
    let name = |path: &TreePath, kind| {
        let slash = if kind == FileKind::Directory { "/" } else { "" };
        format!("{}{slash}", String::from_utf8_lossy(path.as_bytes()))
    };
    entries
        .iter()
        .filter(|(path, _)| !path.is_root())
        .map(|(path, entry)| name(path, entry.version.kind))
        .collect()
}

/// A pattern of the parts that matter, put together at random.
fn pattern() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => "[abd]",
        2 => Just("*".to_owned()),
        2 => Just("**".to_owned()),
        1 => Just("***".to_owned()),
        2 => Just("?".to_owned()),
        3 => Just("/".to_owned()),
        1 => Just("/**/".to_owned()),
        1 => Just("/***".to_owned()),
        1 => Just("[!a]".to_owned()),
        1 => Just("[^a-c]".to_owned()),
        1 => Just("[a-b]".to_owned()),
        1 => Just("[]a]".to_owned()),
        1 => Just("[b-a]".to_owned()),
        1 => Just("[[:upper:]]".to_owned()),
        1 => Just("[[:alpha:]b-]".to_owned()),
        1 => Just("[\\]a]".to_owned()),
        1 => Just("[[a]".to_owned()),
        1 => Just("\\*".to_owned()),
        1 => Just("\\b".to_owned()),
        1 => Just("{a,b}".to_owned()),
        1 => Just(".".to_owned()),
        1 => Just(" ".to_owned()),
        1 => Just("]".to_owned()),
    ];
    prop::collection::vec(part, 1..6).prop_map(|parts| parts.concat())
}

/// What we refuse on purpose, and rsync takes for a pattern that matches nothing.
fn is_refused(pattern: &str) -> bool {
    let mut rules = Rules::default();
    rules.add(pattern.as_bytes(), Verdict::Exclude, String::new());
    Excludes::new(rules).is_err()
}

#[derive(Debug, Clone)]
struct Case {
    /// Whether it includes, and the pattern.
    rules: Vec<(bool, String)>,
    by_file: bool,
}

fn case() -> impl Strategy<Value = Case> {
    let rules = prop::collection::vec((prop::bool::weighted(0.4), pattern()), 1..6);
    (rules, any::<bool>()).prop_map(|(rules, by_file)| {
        let rules = rules.into_iter().filter(|(_, pattern)| !is_refused(pattern)).collect();
        Case { rules, by_file }
    })
}

#[test]
fn rules_leave_out_what_rsync_leaves_out() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("source");
    fs::create_dir(&root).unwrap();
    make_tree(&root);
    let file = directory.path().join("rules");
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let judged = |Case { rules, by_file }: Case| {
        let (mut ours, mut flags) = (Rules::default(), Vec::new());
        if by_file {
            let line = |(include, pattern): &(bool, String)| {
                format!("{} {pattern}\n", if *include { '+' } else { '-' })
            };
            fs::write(&file, rules.iter().map(line).collect::<String>()).unwrap();
            ours.read(&file).unwrap();
            flags.push(format!("--exclude-from={}", file.display()));
        } else {
            for (include, pattern) in &rules {
                let (verdict, word) =
                    if *include { (Verdict::Include, "include") } else { (Verdict::Exclude, "exclude") };
                ours.add(pattern.as_bytes(), verdict, String::new());
                flags.push(format!("--{word}={pattern}"));
            }
        }
        let (ours, theirs) = (by_ksyncd(&root, ours), by_rsync(&root, &flags));
        let only_ours: Vec<&String> = ours.difference(&theirs).collect();
        let only_theirs: Vec<&String> = theirs.difference(&ours).collect();
        prop_assert!(
            only_ours.is_empty() && only_theirs.is_empty(),
            "{rules:?}: sent by us alone {only_ours:?}, by rsync alone {only_theirs:?}"
        );
        Ok(())
    };
    runner.run(&case(), judged).unwrap();
}

#[test]
fn only_what_is_included_is_replicated_as_it_changes() {
    let host = Host::new();
    let mut command = host.run();
    command.args(["--include", "*/", "--include", "*.html", "--exclude", "*"]);
    let mut daemon = Daemon::start(command);
    daemon.wait_for_log("compared the trees");
    // Of a new or a removed name capture does not say what it was: as a file `news` would be left out.
    fs::create_dir(host.source().join("news")).unwrap();
    let there = |name: &str| host.target().join(name).exists();
    daemon.wait_until("the directory is there", || there("news"));
    fs::write(host.source().join("news/draft"), "1").unwrap();
    fs::write(host.source().join("news/page.html"), "1").unwrap();
    daemon.wait_until("the page is there", || there("news/page.html"));
    assert!(!there("news/draft"));
    fs::remove_dir_all(host.source().join("news")).unwrap();
    daemon.wait_until("the directory is gone", || !there("news"));
    assert_eq!(daemon.stop().status.code(), Some(0));
}
