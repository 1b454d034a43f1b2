use super::*;

fn imported(program: &str) -> Imported {
    import("lsyncd.conf.lua", program.as_bytes()).unwrap()
}

/// What is in force, and what was noted, without the comments of the file.
fn in_force(program: &str) -> String {
    let Imported { toml, .. } = imported(program);
    let lines = toml.lines().filter(|line| !line.starts_with("# ") && !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

fn sync(more: &str) -> String {
    format!("sync{{ default.rsync, source = '/srv', target = 'web2:/srv', delete = 'running', {more} }}")
}

/// What was noted of a section, and how.
fn notes(program: &str) -> Vec<String> {
    let Imported { notes, .. } = imported(program);
    let mut notes: Vec<String> = notes.lines().map(|line| line.replace("lsyncd.conf.lua:1: ", "")).collect();
    // The last line sums them up.
    notes.pop();
    notes.retain(|note| {
        !note.starts_with("differs: delete = \"running\"") && !note.starts_with("differs: rsync.perms")
    });
    notes
}

#[test]
fn what_most_have_is_imported_whole() {
    let Imported { toml, notes, needs_a_hand } = imported(
        r#"settings {
    logfile = "/var/log/lsyncd/lsyncd.log",
    statusFile = "/var/log/lsyncd/lsyncd.status",
    statusInterval = 20,
    maxProcesses = 1,
    nodaemon = false,
}

sync {
    default.rsyncssh,
    source = "/var/www/",
    host = "deploy@web2.example.net",
    targetdir = "/var/www/",
    delay = 5,
    delete = true,
    exclude = { "*.tmp", "/cache/" },
    rsync = { archive = true, compress = true, temp_dir = "/tmp", bwlimit = 2000, _extra = { "--numeric-ids" } },
    ssh = { port = 2222, identityFile = "/root/.ssh/id_ed25519" },
}"#,
    );
    assert!(!needs_a_hand);
    insta::assert_snapshot!(toml, @r#"
# Made of lsyncd.conf.lua by ksyncd import-lsyncd. What lsyncd did in another way, and what needs
# a hand, stands above the settings that it is about.

# settings{} of line 1
# differs: statusFile = "/var/log/lsyncd/lsyncd.status": ask ksyncd status, or remove the # before
# status_file and adapt what reads it: it holds what ksyncd status says. The service may write
# below /run/ksyncd and /var/log/ksyncd alone
#status_file = "/run/ksyncd/status"

# sync{} of line 9
# differs: delete = true: what only the target has is removed when the trees are compared at the
# start; if that would be more than max_delete per cent, all of it stays and is told of
# differs: delay = 5: ksyncd sends a change at once, and has changes gather only while earlier
# ones are on their way; remove the # before batch_delay to have each wait all the same
[[sync]]
source = "/var/www"
target = "ssh://deploy@web2.example.net:2222/var/www"
bwlimit = 2000
numeric_ids = true
preserve = "owner,group"
identity = "/root/.ssh/id_ed25519"
delete_extraneous = true
exclude = ["*.tmp", "/cache/"]
#batch_delay = "5s"
"#);
    insta::assert_snapshot!(notes, @r#"
lsyncd.conf.lua:1: differs: statusFile = "/var/log/lsyncd/lsyncd.status": ask ksyncd status, or remove the # before status_file and adapt what reads it: it holds what ksyncd status says. The service may write below /run/ksyncd and /var/log/ksyncd alone
lsyncd.conf.lua:1: not needed: logfile = "/var/log/lsyncd/lsyncd.log": the log goes to the journal (journalctl --unit ksyncd), or to standard error
lsyncd.conf.lua:1: not needed: maxProcesses = 1: each target has one connection, and none waits for another
lsyncd.conf.lua:1: not needed: nodaemon = false: ksyncd run stays in the foreground, as systemd wants it
lsyncd.conf.lua:1: not needed: statusInterval = 20: status_file is written every 5 s
lsyncd.conf.lua:9: not needed: rsync.temp_dir = "/tmp": files are built in .ksyncd at the root of the target, and renamed into place
lsyncd.conf.lua:9: differs: delete = true: what only the target has is removed when the trees are compared at the start; if that would be more than max_delete per cent, all of it stays and is told of
lsyncd.conf.lua:9: differs: delay = 5: ksyncd sends a change at once, and has changes gather only while earlier ones are on their way; remove the # before batch_delay to have each wait all the same
1 section with 1 target imported, 0 written behind #; 3 settings differ, 5 are not needed, 0 need a hand
"#);
}

#[test]
fn sections_that_differ_in_their_target_become_one() {
    let program = r#"
settings = { logfile = "/var/log/lsyncd.log", delay = 1 }
for _, host in ipairs{ "web2", "web3" } do
    sync{ default.rsync, source = "/srv", target = host .. ":/srv/", delete = "running", rsync = { archive = true } }
end
sync{ default.rsync, source = "/srv", target = "web3:/srv", delete = "running", rsync = { acls = true } }
sync{ default.rsync, source = "/srv/", target = "far:/srv", delete = "running", rsync = { acls = true } }
"#;
    insta::assert_snapshot!(in_force(program), @r#"
#batch_delay = "1s"
[[sync]]
source = "/srv"
target = ["web2:/srv", "web3:/srv"]
preserve = "owner,group"
#[[sync]]
#source = "/srv"
#target = "web3:/srv"
#preserve = "acls"
[[sync]]
source = "/srv"
target = "far:/srv"
name = "/srv 2"
preserve = "acls"
"#);
}

#[test]
fn a_target_is_read_in_each_of_its_forms() {
    let target = |sync: &str| {
        let text = in_force(&format!("sync{{ source = '/a', {sync} }}"));
        text.lines().find(|line| line.contains("target = ")).unwrap_or("none").to_owned()
    };
    for (sync, expected) in [
        ("default.rsync, target = 'web2:/b/'", r#"target = "web2:/b""#),
        ("default.rsync, target = 'me@web2:/b'", r#"target = "me@web2:/b""#),
        ("default.rsync, target = 'me@[fe80::1]:/b'", r#"target = "me@[fe80::1]:/b""#),
        ("default.rsync, target = 'web2:/'", r#"target = "web2:/""#),
        ("default.rsyncssh, host = 'me@web2', targetdir = '/b'", r#"target = "me@web2:/b""#),
        (
            "default.rsyncssh, host = '::1', targetdir = '/b', ssh = { port = 22 }",
            r#"target = "ssh://[::1]:22/b""#,
        ),
        (
            "default.rsync, target = 'web2:/b', rsync = { rsh = 'ssh -p 23 -l me' }",
            r#"target = "ssh://me@web2:23/b""#,
        ),
        ("default.rsync, target = 'web2:b'", r#"#target = "web2:b""#),
        ("default.rsync, target = '/b/c:d'", r#"#target = "localhost:/b/c:d""#),
        ("default.direct, target = '/b'", r#"#target = "localhost:/b""#),
        ("default.rsync, target = 'web2::module'", "none"),
        ("default.rsync, target = 'rsync://web2/module'", "none"),
        ("default.rsyncssh, host = 'web2'", "none"),
        ("default.rsyncssh, host = 'web2', targetdir = '/b', ssh = { port = 'x' }", "none"),
    ] {
        assert_eq!(target(sync), expected, "{sync}");
        let hand = imported(&format!("sync{{ source = '/a', {sync} }}")).needs_a_hand;
        assert_eq!(hand, !expected.starts_with("target"), "{sync}: whoever has to act is told");
    }
}

#[test]
fn a_removal_that_lsyncd_would_not_do_is_not_in_force() {
    let lines = |delete: &str| {
        let text = in_force(&format!("sync{{ default.rsync, source = '/a', target = 'b:/c', {delete} }}"));
        let is_about = |line: &&str| line.contains("[[sync]]") || line.contains("delete");
        text.lines().filter(is_about).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(lines("delete = true"), "[[sync]] delete_extraneous = true");
    assert_eq!(lines("delete = 'startup'"), "[[sync]] delete_extraneous = true");
    assert_eq!(lines("delete = 'running'"), "[[sync]]");
    assert_eq!(lines("delete = false"), "#[[sync]]");
    assert_eq!(lines(""), "[[sync]] #delete_extraneous = true", "nobody has asked for it");
}

#[test]
fn options_of_rsync_become_settings() {
    let set = |more: &str| {
        let text = in_force(&sync(more));
        let is_new =
            |line: &&str| !["[[sync]]", "source =", "target ="].iter().any(|start| line.starts_with(start));
        text.lines().filter(is_new).collect::<Vec<_>>().join("; ")
    };
    for (more, expected) in [
        ("", "preserve = \"none\""),
        ("rsync = { archive = true }", "preserve = \"owner,group\""),
        (
            "rsync = { archive = true, owner = false, acls = true, xattrs = true, hard_links = true }",
            "preserve = \"group,xattrs,acls,links\"",
        ),
        ("rsync = { _extra = { '-rltp', '--group', '-H' } }", "preserve = \"group,links\""),
        ("rsyncOpts = '-aA'", "preserve = \"owner,group,acls\""),
        ("rsync = { _extra = { '-a', '--no-o' } }", "preserve = \"group\""),
        (
            "rsync = { bwlimit = 500, compress = false }",
            "bwlimit = 500; compress = \"never\"; preserve = \"none\"",
        ),
        (
            "rsync = { _extra = { '--bwlimit=1m', '--numeric-ids' } }",
            "bwlimit = \"1m\"; numeric_ids = true; preserve = \"none\"",
        ),
        (
            "rsync = { _extra = { '--include=/a/', '--exclude', '/*', '-f', '- b' } }, exclude = { 'c', '- d' }, excludeFrom = '/e', subdirs = false",
            "preserve = \"none\"; exclude = [\"+ /a/\", \"/*\", \"- b\", \"c\", \"- d\", \"/*/\"]; exclude_from = [\"/e\"]",
        ),
        (
            "filter = { '+ /keep/**', 'exclude *' }",
            "preserve = \"none\"; exclude = [\"+ /keep/**\", \"- *\"]",
        ),
        ("name = 'pages'", "name = \"pages\"; preserve = \"none\""),
    ] {
        assert_eq!(set(more), expected, "{more}");
    }
}

#[test]
fn what_has_no_counterpart_is_told() {
    for (more, expected) in [
        (
            "rsync = { temp_dir = '/tmp' }",
            "not needed: rsync.temp_dir = \"/tmp\": files are built in .ksyncd at the root of the target, and renamed into place",
        ),
        (
            "rsync = { inplace = true }",
            "differs: rsync.inplace = true: a changed file is replaced by a new one, and never written in place",
        ),
        (
            "rsync = { binary = '/usr/bin/rsync' }",
            "not needed: rsync.binary = \"/usr/bin/rsync\": no rsync is started",
        ),
        (
            "rsync = { binary = '/root/hook.sh' }",
            "needs a hand: rsync.binary = \"/root/hook.sh\": no rsync is started, so whatever that program does besides is not done",
        ),
        (
            "rsync = { _extra = { '--rsync-path=sudo rsync' } }",
            "needs a hand: rsync._extra: --rsync-path=sudo rsync: no rsync is started at the target; ksyncd writes as the user that logs in",
        ),
        (
            "rsync = { _extra = { '--frobnicate' } }",
            "needs a hand: rsync._extra: --frobnicate: ksyncd has nothing like it",
        ),
        (
            "ssh = { identityFile = '~/.ssh/key' }",
            "needs a hand: ssh.identityFile: identity cannot be \"~/.ssh/key\": write the whole path, from / on",
        ),
        (
            "ssh = { options = { ConnectTimeout = 5 } }",
            "not needed: ssh.options.ConnectTimeout = 5: ksyncd speaks SSH by itself, over one connection",
        ),
        (
            "ssh = { options = { ProxyJump = 'bastion' } }",
            "needs a hand: ssh.options.ProxyJump = \"bastion\": put it into ~/.ssh/config: ksyncd reads host names, users, ports, keys, known hosts and jump hosts there",
        ),
        (
            "maxDelays = 1",
            "not needed: maxDelays = 1: batch_max_changes bounds a batch, and the number of changes that wait is not limited by it",
        ),
        (
            "init = false",
            "needs a hand: init = false: ksyncd compares the trees at its first start, and sends what differs",
        ),
        (
            "init = function() end",
            "needs a hand: init = the function of line 1: ksyncd replicates, and runs no commands; ksyncd tail --json prints each change, for a program that acts on it",
        ),
        ("frobnicate = { 1 }", "needs a hand: frobnicate = {…}: ksyncd has nothing like it"),
    ] {
        assert_eq!(notes(&sync(more)), [expected], "{more}");
    }
}

#[test]
fn what_keeps_something_from_being_sent_is_not_dropped() {
    for (more, why) in [
        (
            "exclude = { '[', 'a' }",
            "exclude: exclude cannot be \"[\": a bracket is never closed; write \\[ for a bracket in a name",
        ),
        (
            "excludeFrom = 'rules'",
            "excludeFrom: exclude_from cannot be \"rules\": write the whole path, from / on",
        ),
        (
            "rsync = { _extra = { '--filter=: .rsync-filter' } }",
            "rsync._extra: --filter=: .rsync-filter: of rsync's filter rules only those that begin with + or - are understood",
        ),
        ("filter = 'P keep'", "filter: the rule \"P keep\" begins with neither + nor -"),
        (
            "rsync = { update = true }",
            "rsync.update = true: what is newer at a target is replaced when the source changes, and counted in ksyncd status; remove the # if that is right",
        ),
        (
            "rsync = { _extra = { '--max-size=1m' } }",
            "rsync._extra: --max-size=1m: files of all sizes are replicated; remove the # if that is right",
        ),
        (
            "rsync = { dry_run = true }",
            "rsync.dry_run = true: lsyncd changes nothing at the target, and ksyncd would; remove the # to replicate",
        ),
    ] {
        assert_eq!(notes(&sync(more))[0], format!("needs a hand: {why}"));
        let text = in_force(&sync(more));
        assert!(text.lines().all(|line| line.starts_with('#')), "{text}");
    }
}

#[test]
fn a_status_file_is_kept_where_the_service_may_write() {
    let status = |file: &str| {
        let text = in_force(&format!("settings{{ statusFile = '{file}' }} {}", sync("")));
        text.lines().next().unwrap().to_owned()
    };
    assert_eq!(status("/run/ksyncd/lsyncd.status"), "status_file = \"/run/ksyncd/lsyncd.status\"");
    assert_eq!(status("/tmp/lsyncd.status"), "#status_file = \"/run/ksyncd/status\"");
    assert_eq!(status("relative"), "#status_file = \"/run/ksyncd/status\"");
}

#[test]
fn a_password_is_not_repeated() {
    let Imported { toml, notes, .. } = imported(&sync("rsync = { rsh = 'sshpass -p secret ssh -p 22' }"));
    assert!(!toml.contains("secret") && !notes.contains("secret"), "{toml}{notes}");
    assert!(
        notes.contains("needs a hand: rsync.rsh: ksyncd speaks SSH by itself, and does not start sshpass;"),
        "{notes}"
    );
}

#[test]
fn a_note_is_one_line() {
    let Imported { notes, .. } = imported(&sync("['x\\n[[sync]]'] = 'a\\nb'"));
    assert!(
        notes.contains("1: needs a hand: x [[sync]] = \"a\\nb\": ksyncd has nothing like it\n"),
        "{notes}"
    );
}

#[test]
fn what_is_set_twice_is_written_once() {
    let text = in_force(&sync(
        "rsync = { bwlimit = 5, _extra = { '--bwlimit=7', '--exclude-from=/a' } }, excludeFrom = '/b'",
    ));
    assert!(text.ends_with("bwlimit = 7\npreserve = \"none\"\nexclude_from = [\"/a\", \"/b\"]"), "{text}");
}

#[test]
fn what_only_its_own_commands_know_is_left_out() {
    let program =
        "local shell = { onCreate = 'cp ^source ^target' } sync{ shell, source = '/a', target = '/b' }";
    assert_eq!(in_force(program), "#[[sync]]\n#source = \"/a\"\n#target = \"/b\"");
    let tunnelled = in_force(
        "sync{ default.rsyncssh, source = '/a', host = 'localhost', targetdir = '/b', delete = true, tunnel = tunnel{ command = 'ssh' } }",
    );
    assert!(tunnelled.lines().all(|line| line.starts_with('#')), "{tunnelled}");
}

#[test]
fn a_file_without_a_sync_is_refused() {
    assert!(matches!(import("f", b"settings{ delay = 1 }"), Err(ImportError::NoSync)));
}
