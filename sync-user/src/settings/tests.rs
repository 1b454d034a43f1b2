use std::ffi::OsString;
use std::fs;

use clap::{Args as _, Command, FromArgMatches as _};

use super::key::Key;
use super::layers::load_with;
use super::{Given, Loaded, Trouble, markdown, show, template};

fn given(words: &[&str]) -> Given {
    let command = Given::augment_args(Command::new("run").no_binary_name(true));
    Given::from_arg_matches(&command.try_get_matches_from(words).unwrap()).unwrap()
}

fn variables(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

/// Loads a file and others in `conf.d`; paths in messages are shortened.
fn load(
    text: &str,
    more: &[(&str, &str)],
    environment: &[(&str, &str)],
    words: &[&str],
) -> Result<(Loaded, String), Trouble> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ksyncd.toml");
    fs::write(&file, text).unwrap();
    fs::create_dir(directory.path().join("conf.d")).unwrap();
    for (name, text) in more {
        fs::write(directory.path().join("conf.d").join(name), text).unwrap();
    }
    let short = |text: &str| text.replace(directory.path().to_str().unwrap(), "[etc]");
    let mut given = given(words);
    given.config = Some(file);
    match load_with(&given, variables(environment)) {
        Ok(loaded) => {
            let shown = short(&show(&loaded, true));
            Ok((loaded, shown))
        }
        Err(Trouble { what, remedy, in_file }) => Err(Trouble { what: short(&what), remedy, in_file }),
    }
}

fn refused(text: &str) -> String {
    let trouble = load(text, &[], &[], &[]).unwrap_err();
    assert!(trouble.in_file);
    match trouble.remedy {
        Some(remedy) => format!("{}\nhint: {remedy}", trouble.what),
        None => trouble.what,
    }
}

/// The lines of `shown` that are not about defaults.
fn set(shown: &str) -> String {
    let lines = shown.lines().filter(|line| !line.ends_with("# default") && !line.is_empty());
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("\n")
}

const SECTION: &str = "[[sync]]\nsource = \"/srv/www\"\ntarget = \"web2:/srv/www\"\n";

#[test]
fn a_setting_is_taken_from_the_strongest_layer() {
    let file = format!(
        "log_level = \"warn\"\nbatch_delay = \"1ms\"\nbatch_max_delay = \"1ms\"\nport = 1\n{SECTION}batch_max_bytes = \"1MiB\"\ndurability = \"file\"\n"
    );
    let more = [
        (
            "20-later.toml",
            "port = 3\n[[sync]]\nsource = \"/srv/media\"\ntarget = [\"web2:/m\", \"web3:/m\"]\nport = 4\n",
        ),
        ("10-first.toml", "port = 2\nbatch_max_delay = \"2ms\"\n"),
        ("note.txt", "this is none"),
    ];
    let environment = [
        ("KSYNCD_BATCH_MAX_BYTES", "2MiB"),
        ("KSYNCD_BATCH_DELAY", "5ms"),
        ("KSYNCD_PORT", ""),
        ("PATH", "/"),
    ];
    let (loaded, shown) =
        load(&file, &more, &environment, &["--batch-delay", "6ms", "--numeric-ids"]).unwrap();
    insta::assert_snapshot!(set(&shown), @r#"
    log_level = "warn" # [etc]/ksyncd.toml line 1
    [[sync]]
    source = "/srv/www" # [etc]/ksyncd.toml line 6
    target = ["web2:/srv/www"] # [etc]/ksyncd.toml line 7
    port = 3 # [etc]/conf.d/20-later.toml line 1
    batch_delay = "6ms" # --batch-delay
    batch_max_delay = "2ms" # [etc]/conf.d/10-first.toml line 2
    batch_max_bytes = "2MiB" # KSYNCD_BATCH_MAX_BYTES
    numeric_ids = true # --numeric-ids
    durability = "file" # [etc]/ksyncd.toml line 9
    [[sync]]
    source = "/srv/media" # [etc]/conf.d/20-later.toml line 3
    target = ["web2:/m", "web3:/m"] # [etc]/conf.d/20-later.toml line 4
    port = 4 # [etc]/conf.d/20-later.toml line 5
    batch_delay = "6ms" # --batch-delay
    batch_max_delay = "2ms" # [etc]/conf.d/10-first.toml line 2
    batch_max_bytes = "2MiB" # KSYNCD_BATCH_MAX_BYTES
    numeric_ids = true # --numeric-ids
    "#);
    let [www, media] = loaded.syncs.as_slice() else { panic!("two sections") };
    assert_eq!((www.settings.port, media.settings.port), (Some(3), Some(4)));
    assert!(www.settings.numeric_ids && media.settings.numeric_ids);
    assert_eq!((www.name.as_str(), media.settings.targets.len()), ("/srv/www", 2));
}

#[test]
fn what_is_wrong_in_a_file_is_shown_at_its_place() {
    insta::assert_snapshot!(refused(&format!("batch_delya = \"5ms\"\n{SECTION}bach-max-delay = \"1s\"\ncolour = 1\n")), @r#"
    [etc]/ksyncd.toml:1:1: there is no setting "batch_delya"; did you mean batch_delay?
      1 | batch_delya = "5ms"
        | ^^^^^^^^^^^
    [etc]/ksyncd.toml:5:1: there is no setting "bach-max-delay"; did you mean batch_max_delay?
      5 | bach-max-delay = "1s"
        | ^^^^^^^^^^^^^^
    [etc]/ksyncd.toml:6:1: there is no setting "colour"
      6 | colour = 1
        | ^^^^^^
    "#);
    insta::assert_snapshot!(refused(&format!("{SECTION}\tbatch_max_delay = \"20 parsecs\"\n")), @r#"
    [etc]/ksyncd.toml:4:20: unknown time unit "parsecs", supported units: ns, us/µs, ms, sec, min, hours, days, weeks, months, years (and few variations)
      4 | 	batch_max_delay = "20 parsecs"
        | 	                  ^^^^^^^^^^^^
    "#);
    insta::assert_snapshot!(refused(&format!("{SECTION}durability = \"fiel\"\n")), @r#"
    [etc]/ksyncd.toml:4:14: it is one of none, batch, file; did you mean "file"?
      4 | durability = "fiel"
        |              ^^^^^^
    "#);
    insta::assert_snapshot!(refused(&format!("{SECTION}numeric_ids = \"yes\"\nport = 70000\nexclude = [\"*.tmp\", \"[a\"]\n")), @r#"
    [etc]/ksyncd.toml:4:15: it is one of true, false
      4 | numeric_ids = "yes"
        |               ^^^^^
    [etc]/ksyncd.toml:5:8: 70000 is not in 0..=65535
      5 | port = 70000
        |        ^^^^^
    [etc]/ksyncd.toml:6:21: a bracket is never closed; write \[ for a bracket in a name
      6 | exclude = ["*.tmp", "[a"]
        |                     ^^^^
    "#);
    insta::assert_snapshot!(refused(&format!("{SECTION}port = [1, 2]\npreserve = 1.5\nidentity = \"~/.ssh/id\"\n")), @r#"
    [etc]/ksyncd.toml:4:8: port takes one value, not a list
      4 | port = [1, 2]
        |        ^^^^^^
    [etc]/ksyncd.toml:5:12: preserve takes a text in quotes
      5 | preserve = 1.5
        |            ^^^
    [etc]/ksyncd.toml:6:12: write the whole path, from / on
      6 | identity = "~/.ssh/id"
        |            ^^^^^^^^^^^
    "#);
    insta::assert_snapshot!(refused(&format!("{SECTION}log_level = \"warn\"\n")), @r#"
    [etc]/ksyncd.toml:4:1: log_level is a setting of the whole daemon: move it above the first [[sync]]
      4 | log_level = "warn"
        | ^^^^^^^^^
    "#);
    insta::assert_snapshot!(refused("[sync]\nsource = \"/srv/www\"\n"), @r"
    [etc]/ksyncd.toml:1:2: write a section as [[sync]], with two brackets: there may be several
      1 | [sync]
        |  ^^^^
    ");
    insta::assert_snapshot!(refused(&format!("{SECTION}port = 22\nport = 23\n")), @r"
    [etc]/ksyncd.toml:5:1: duplicate key
      5 | port = 23
        | ^^^^
    ");
    insta::assert_snapshot!(refused(&format!("{SECTION}port = \n")), @r"
    [etc]/ksyncd.toml:4:8: string values must be quoted, expected literal string
      4 | port = 
        |        ^
    ");
}

#[test]
fn what_is_wrong_between_sections_is_told() {
    insta::assert_snapshot!(refused("log_level = \"warn\"\n"), @r#"
    there is no [[sync]] section in [etc]/ksyncd.toml
    hint: add one with source = "DIR" and target = "[USER@]HOST:DIR"; ksyncd config default shows an example
    "#);
    insta::assert_snapshot!(refused("[[sync]]\nsource = \"/srv/www\"\n"), @r#"
    [etc]/ksyncd.toml line 1: the section has no target
    hint: add target = "[USER@]HOST:DIR"
    "#);
    insta::assert_snapshot!(refused(&format!("{SECTION}{SECTION}")), @r"
    [etc]/ksyncd.toml line 4: the source with the target web2:/srv/www is that of another section, /srv/www, too
    hint: give each section its own
    ");
    insta::assert_snapshot!(refused(&format!("name = \"www\"\n{SECTION}[[sync]]\nsource = \"/m\"\ntarget = \"h:/m\"\n")), @r"
    [etc]/ksyncd.toml line 5: the name www is that of another section, www, too
    hint: give each section its own
    ");
    insta::assert_snapshot!(refused(&format!("latency_log = \"/l\"\n{SECTION}[[sync]]\nsource = \"/m\"\ntarget = \"h:/m\"\n")), @r"
    [etc]/ksyncd.toml line 5: the latency log /l is that of another section, /srv/www, too
    hint: give each section its own
    ");
    insta::assert_snapshot!(refused(&format!("{SECTION}exclude_from = \"/no/such\"\n")), @r"
    read the rules in /no/such: No such file or directory (os error 2) ([etc]/ksyncd.toml line 4)
    hint: name a file that exists and that this user may read
    ");
}

#[test]
fn what_is_wrong_with_flags_and_environment_is_told() {
    let told = |environment: &[(&str, &str)], words: &[&str]| {
        let trouble = load_with(&given(words), variables(environment)).unwrap_err();
        assert!(!trouble.in_file, "{trouble}");
        trouble.what
    };
    insta::assert_snapshot!(told(&[("KSYNCD_BATCH_DELYA", "1s")], &[]), @"the environment has KSYNCD_BATCH_DELYA, which is no setting; did you mean KSYNCD_BATCH_DELAY?");
    insta::assert_snapshot!(told(&[("KSYNCD_BATCH_DELAY", "1")], &[]), @r#"the environment has KSYNCD_BATCH_DELAY="1": time unit needed, for example 1sec or 1ms"#);
    insta::assert_snapshot!(told(&[], &["--source", "/srv"]), @"--target is missing");
    insta::assert_snapshot!(told(&[], &["--target", "web2:/srv"]), @"--target is given without --source: in the configuration file each section has its own");
    insta::assert_snapshot!(told(&[("KSYNCD_NAME", "x")], &[]), @"KSYNCD_NAME is given without --source: in the configuration file each section has its own");
    insta::assert_snapshot!(told(&[], &["--source", "/srv", "--target", "h:/", "--config", "/etc/x"]), @"--source and --config cannot be given together: the sources are in the file");
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let trouble = load_with(&given(&["--config", "/no/such.toml"]), Vec::new()).unwrap_err();
    insta::assert_snapshot!(trouble.what, @"read the configuration file /no/such.toml: No such file or directory (os error 2)");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ksyncd.toml");
    fs::write(&file, b"# caf\xe9\n").unwrap();
    let trouble = load_with(&given(&["--config", file.to_str().unwrap()]), Vec::new()).unwrap_err();
    let what = trouble.what.replace(directory.path().to_str().unwrap(), "[etc]");
    insta::assert_snapshot!(what, @"read the configuration file [etc]/ksyncd.toml: it is not UTF-8: invalid utf-8 sequence of 1 bytes from index 5");
}

#[test]
fn without_a_file_flags_and_environment_are_enough() {
    let environment = variables(&[
        ("KSYNCD_SOURCE", "/srv/www"),
        ("KSYNCD_TARGET", "[\"web2:/www\", \"web3:/www\"]"),
        ("KSYNCD_EXCLUDE", "[ab].tmp"),
        ("KSYNCD_BPF_OBJECT", "of another program"),
    ]);
    let loaded = load_with(&given(&["--port", "2222"]), environment).unwrap();
    insta::assert_snapshot!(set(&show(&loaded, true)), @r#"
    [[sync]]
    source = "/srv/www" # KSYNCD_SOURCE
    target = ["web2:/www", "web3:/www"] # KSYNCD_TARGET
    port = 2222 # --port
    exclude = ["[ab].tmp"] # KSYNCD_EXCLUDE
    "#);
}

#[test]
fn rules_are_asked_as_they_were_typed_or_as_they_are_written() {
    let directory = tempfile::tempdir().unwrap();
    let list = directory.path().join("list");
    fs::write(&list, "# what nobody needs\n\n*.bak\n+ *.old\r\n").unwrap();
    let rules = |loaded: &Loaded| {
        let text = loaded.syncs[0].rules.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        text.replace(directory.path().to_str().unwrap(), "[etc]")
    };
    let words = ["--source", "/srv", "--target", "h:/", "--exclude", "a", "--include", "b", "--exclude-from"];
    let words = [&words[..], &[list.to_str().unwrap(), "--exclude", "+ c", "--include=d"]].concat();
    insta::assert_snapshot!(rules(&load_with(&given(&words), Vec::new()).unwrap()), @r#"
    exclude "a" (--exclude)
    include "b" (--include)
    exclude "*.bak" ([etc]/list line 3)
    include "*.old" ([etc]/list line 4)
    include "c" (--exclude)
    include "d" (--include)
    "#);
    let file = format!(
        "{SECTION}exclude_from = {:?}\nexclude = [\"*.tmp\",\n  \"- x\"]\ninclude = \"keep.tmp\"\n",
        list.to_str().unwrap()
    );
    let (loaded, _) = load(&file, &[], &[], &[]).unwrap();
    let text = rules(&loaded);
    let told: Vec<&str> = text.lines().map(|line| line.split(" (").next().unwrap()).collect();
    assert_eq!(
        told,
        [
            "include \"keep.tmp\"",
            "exclude \"*.tmp\"",
            "exclude \"x\"",
            "exclude \"*.bak\"",
            "include \"*.old\""
        ]
    );
    assert!(text.lines().nth(2).unwrap().ends_with("ksyncd.toml line 6)"), "{text}");
}

#[test]
fn a_sync_is_the_same_wherever_it_was_set() {
    let list = tempfile::NamedTempFile::new().unwrap();
    let exclude_from = format!("exclude_from = {:?}\n", list.path().to_str().unwrap());
    let one = |text: &str| load(text, &[], &[], &[]).unwrap().0;
    let before = one(&format!("port = 23\n{SECTION}{exclude_from}"));
    let moved =
        one(&format!("log_level = \"debug\"\nstate_dir = \"/s\"\n{SECTION}port = 23\n{exclude_from}"));
    assert!(before.syncs[0].is_same(&moved.syncs[0]));
    assert!(!before.syncs[0].is_same(&one(&format!("{SECTION}{exclude_from}")).syncs[0]));
    fs::write(list.path(), "*.tmp\n").unwrap();
    assert!(
        !before.syncs[0].is_same(&one(&format!("port = 23\n{SECTION}{exclude_from}")).syncs[0]),
        "what is in the list"
    );
    assert_eq!(before.daemon.needs_restart(&moved.daemon), ["state_dir"]);
}

#[test]
fn the_template_sets_nothing_and_all_of_it_can_be_set() {
    let template = template();
    assert!(template.lines().all(|line| line.is_empty() || line.starts_with('#')), "{template}");
    // Settings have no space after the mark; comments do.
    let set: Vec<&str> = template
        .lines()
        .filter_map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ') && !rest.is_empty()))
        .filter(|line| !line.starts_with("exclude_from"))
        .collect();
    let set = set.join("\n");
    let (loaded, _) = load(&set, &[], &[], &[]).unwrap_or_else(|trouble| panic!("{trouble}\n{set}"));
    assert_eq!(loaded.syncs.len(), 1);
    assert_eq!(set.lines().count(), Key::all().len(), "each, and [[sync]], without exclude_from");
}

#[test]
fn what_is_shown_can_be_read_again() {
    let (before, _) =
        load(&format!("{SECTION}exclude = [\"a\\\"b\\\\\", \"7\"]\nname = \"x\\ty\"\n"), &[], &[], &[])
            .unwrap();
    let (after, _) = load(&show(&before, false), &[], &[], &[]).unwrap();
    assert!(before.syncs[0].is_same(&after.syncs[0]), "{}", show(&after, false));
}

#[test]
fn every_setting_is_in_the_reference_once() {
    let text = markdown();
    for key in Key::all() {
        assert_eq!(text.matches(&format!("\n### `{}`\n", key.name)).count(), 1, "{}", key.name);
        assert!(text.contains(&format!("`{}`", key.variable())));
        assert!(!key.help().is_empty());
    }
}
