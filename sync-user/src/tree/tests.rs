use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;

use proptest::prelude::*;

use super::{Excludes, Reason, Rules, Seen, Tree, Verdict};
use crate::metadata::XattrPlace;
use crate::model::{Content, FileKind, Preserve, TreePath, Xattr};

fn path(text: &str) -> TreePath {
    TreePath::new(text.as_bytes()).unwrap()
}

/// Rules of which those with `+ ` before them include.
fn rules(patterns: &[&str]) -> Rules {
    let mut rules = Rules::default();
    for pattern in patterns {
        rules.add(pattern.as_bytes(), Verdict::Exclude, format!("--exclude {pattern}"));
    }
    rules
}

fn excludes(patterns: &[&str]) -> Excludes {
    Excludes::new(rules(patterns)).unwrap()
}

fn tree(root: &std::path::Path) -> Tree {
    Tree::open(root, excludes(&[]), Preserve::ALL).unwrap()
}

#[test]
fn patterns_leave_out_what_rsync_would_leave_out() {
    let cases = [
        ("foo", "foo", false, true),
        ("foo", "a/foo", false, true),
        ("foo", "foo/b", false, true),
        ("foo", "food", false, false),
        ("/foo", "foo", false, true),
        ("/foo", "a/foo", false, false),
        ("a/b", "x/a/b", false, true),
        ("foo/", "foo", true, true),
        ("foo/", "foo", false, false),
        ("foo/", "foo/b", false, true),
        ("*.tmp", "a/b.tmp", false, true),
        ("*.tmp", "a.tmp/b", false, true),
        ("a*b", "a/b", false, false),
        ("a/**/b", "a/x/y/b", false, true),
        ("a/**/b", "a/b", false, false),
        ("a**b", "x/a1/2b", false, true),
        ("**/foo", "foo", false, true),
        ("cache/***", "x/cache", true, true),
        ("cache/***", "x/cache", false, false),
        ("cache/***", "cache/deep/er", false, true),
        ("{a,b}", "a", false, false),
        ("[[:digit:]]?", "7x", false, true),
        ("a\\b", "a\\b", false, true),
        ("a\\*", "a*", false, true),
        ("a\\*", "ab", false, false),
        ("?.txt", "ab.txt", false, false),
    ];
    for (pattern, at, directory, expected) in cases {
        assert_eq!(excludes(&[pattern]).excluded(&path(at), directory), expected, "{pattern} on {at}");
    }
    let bytes = TreePath::new(b"a/\xff.tmp").unwrap();
    assert!(excludes(&["*.tmp"]).excluded(&bytes, false), "names need not be text");
    assert!(excludes(&[]).excluded(&path(".ksyncd/stage"), false));
    assert!(excludes(&[]).excluded(&path("a/.ksyncd.1.2"), false));
}

#[test]
fn the_first_rule_that_matches_decides() {
    let only_pages = excludes(&["+ */", "+ *.html", "*"]);
    for (at, directory, expected) in [
        ("news", true, false),
        ("news", false, true),
        ("news/index.html", false, false),
        ("news/index.html~", false, true),
    ] {
        assert_eq!(only_pages.excluded(&path(at), directory), expected, "{at}");
    }
    let none = excludes(&["+ foo", "foo", "bar", "!"]);
    assert_eq!(none.explain(&path("bar"), false), (false, Reason::NoRule), "all were taken back");
    // What an earlier rule includes is not below what is left out, for the kernel neither.
    let kept = excludes(&["+ /cache/", "/cache", "/tmp/", "+ /tmp/keep", "/a*"]);
    let below: Vec<String> = kept.left_out_below().iter().map(ToString::to_string).collect();
    assert_eq!(below, ["tmp", ".ksyncd"]);
    assert!(kept.excluded(&path("tmp/keep"), false), "its directory is left out");
}

#[test]
fn the_rule_that_decides_is_named() {
    let told = |patterns: &[&str], at: &str| match excludes(patterns).explain(&path(at), false) {
        (left_out, Reason::Rule(rule, above)) => {
            format!("{left_out} {rule} {}", above.map_or_else(String::new, |above| above.to_string()))
        }
        (left_out, other) => format!("{left_out} {other:?}"),
    };
    insta::assert_snapshot!(told(&["*.tmp", "/cache/"], "cache/a/b"), @r#"true exclude "/cache/" (--exclude /cache/) cache"#);
    insta::assert_snapshot!(told(&["+ a.tmp", "*.tmp"], "x/a.tmp"), @r#"false include "a.tmp" (--exclude + a.tmp) "#);
    insta::assert_snapshot!(told(&["*.tmp"], "x/a"), @"false NoRule");
    insta::assert_snapshot!(told(&[], ".ksyncd/x"), @"true Stage");
}

#[test]
fn a_pattern_that_cannot_be_meant_is_refused() {
    let refused = |pattern: &str| Excludes::new(rules(&[pattern])).unwrap_err().to_string();
    insta::assert_snapshot!(refused("[a"), @r#"the rule exclude "[a" (--exclude [a) cannot be read: a bracket is never closed; write \[ for a bracket in a name"#);
    insta::assert_snapshot!(refused("/"), @r#"the rule exclude "/" (--exclude /) cannot be read: it names nothing below the root"#);
    insta::assert_snapshot!(refused("[[:word:]]"), @r#"the rule exclude "[[:word:]]" (--exclude [[:word:]]) cannot be read: there is no class [:word:]"#);
    insta::assert_snapshot!(refused("*\\"), @r#"the rule exclude "*\\" (--exclude *\) cannot be read: nothing follows the backslash at its end"#);
}

proptest! {
    #[test]
    fn what_is_below_an_excluded_directory_is_excluded(above in "[ab]{1,2}(/[ab]{1,2}){0,2}", below in "[ab]{1,2}(/[ab]{1,2}){0,2}", pattern in "/?[ab*?]{1,3}/?") {
        let Ok(excludes) = Excludes::new(rules(&[&pattern])) else { return Ok(()) };
        let above = path(&above);
        if excludes.excluded(&above, true) {
            prop_assert!(excludes.excluded(&above.join(below.as_bytes()).unwrap(), false));
        }
    }
}

#[test]
fn looks_without_following_links() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("f"), "12345").unwrap();
    fs::create_dir(root.path().join("d")).unwrap();
    symlink("/etc", root.path().join("l")).unwrap();
    let tree = tree(root.path());
    let Seen::Present(file) = tree.look(&path("f")) else { panic!("it is there") };
    assert_eq!((file.version.kind, file.version.size), (FileKind::File, 5));
    let Seen::Present(link) = tree.look(&path("l")) else { panic!("it is there") };
    assert_eq!(link.destination.as_deref(), Some(&b"/etc"[..]));
    assert_eq!(tree.look(&path("l/passwd")), Seen::Absent, "nothing is below a link");
    assert_eq!(tree.look(&path("f/x")), Seen::Absent);
    assert!(tree.open_file(&path("l")).is_err() && tree.open_file(&path("l/passwd")).is_err());
    assert_eq!(tree.hash(&path("f")).unwrap().1, Content::of(b"12345"));
}

#[test]
fn a_fifo_is_not_replicated_and_not_waited_for() {
    let root = tempfile::tempdir().unwrap();
    nix::unistd::mkfifo(&root.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let tree = tree(root.path());
    assert_eq!(tree.look(&path("fifo")), Seen::Special);
    assert!(tree.open_file(&path("fifo")).is_err());
    assert!(tree.scan(&TreePath::root()).entries.is_empty());
}

#[test]
fn scans_large_trees_with_many_threads_and_small_ones_alone() {
    let root = tempfile::tempdir().unwrap();
    for directory in 0..100 {
        let directory = root.path().join(format!("d{directory}/inner"));
        fs::create_dir_all(&directory).unwrap();
        let file = fs::File::create(directory.join("f")).unwrap();
        let number = Xattr { name: b"trusted.of".to_vec(), value: directory.as_os_str().as_bytes().to_vec() };
        XattrPlace::of(&file).set(&number).unwrap();
    }
    let tree = Tree::open(root.path(), excludes(&["/d7"]), Preserve::ALL).unwrap();
    let scan = tree.scan(&TreePath::root());
    assert_eq!((scan.entries.len(), scan.unreadable.len()), (99 * 3, 0));
    for (path, entry) in scan.entries {
        assert_eq!(tree.look(&path), Seen::Present(entry), "whoever looks, and from wherever: {path}");
    }
    let below: Vec<String> = tree.scan(&path("d1")).entries.keys().map(ToString::to_string).collect();
    assert_eq!(below, ["d1", "d1/inner", "d1/inner/f"]);
    assert!(tree.scan(&path("missing")).entries.is_empty());
}

#[test]
fn a_directory_that_cannot_be_read_is_unknown_and_not_empty() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("secret/below")).unwrap();
    fs::set_permissions(root.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs::set_permissions(root.path().join("secret"), std::os::unix::fs::PermissionsExt::from_mode(0o000))
        .unwrap();
    let tree = tree(root.path());
    let scan = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                // SAFETY: the raw call changes this thread only, which ends right after.
                let status = unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
                assert_eq!(status, 0, "the test runs as root");
                tree.scan(&TreePath::root())
            })
            .join()
            .unwrap()
    });
    assert_eq!(scan.entries.len(), 1);
    assert_eq!(
        scan.unreadable.first().map(|unreadable| unreadable.place.clone()),
        Some(path("secret")),
        "I3"
    );
}

#[test]
fn notices_that_the_root_was_replaced_or_unmounted() {
    let outer = tempfile::tempdir().unwrap();
    let root = outer.path().join("www");
    fs::create_dir(&root).unwrap();
    let tree = tree(&root);
    tree.identity_holds().unwrap();
    fs::rename(&root, outer.path().join("old")).unwrap();
    insta::with_settings!({ filters => [(r"/\S+/www", "[root]")] }, {
        insta::assert_snapshot!(tree.identity_holds().unwrap_err(), @"the source [root] cannot be examined any more: No such file or directory (os error 2)");
    });
    fs::create_dir(&root).unwrap();
    insta::with_settings!({ filters => [(r"/\S+/www", "[root]")] }, {
        insta::assert_snapshot!(tree.identity_holds().unwrap_err(), @"the source [root] is another directory than at the start: restart ksyncd to replicate the new one");
    });
}
