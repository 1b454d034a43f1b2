//! One daemon serves all sections of a configuration file, and reads it again when asked to.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sync_user::control::Status;
use sync_user::demo::compare;

use crate::host::{Daemon, Ended, Host, KSYNCD};

/// A host with a configuration file.
struct Configured {
    host: Host,
}

impl Configured {
    fn new() -> Self {
        let host = Host::new();
        fs::create_dir(host.path().join("media")).unwrap();
        Self { host }
    }

    fn file(&self) -> PathBuf {
        self.host.path().join("ksyncd.toml")
    }

    fn at(&self, name: &str) -> PathBuf {
        self.host.path().join(name)
    }

    /// Writes what both sections need, `top`, and a section for each source in `sections` with
    /// more settings.
    fn write(&self, top: &str, sections: &[(&str, &str)]) {
        let sshd = &self.host.sshd;
        let path = |key: &str, path: &Path| format!("{key} = \"{}\"", path.display());
        let mut lines = vec![
            "capture = \"fanotify\"".to_owned(),
            format!("port = {}", sshd.port()),
            path("identity", &sshd.identity()),
            path("known_hosts", &sshd.known_hosts()),
            path("state_dir", &self.at("state")),
            top.to_owned(),
        ];
        for (source, more) in sections {
            let replica = format!("127.0.0.1:{}", self.at(&format!("{source}-replica")).display());
            let target = format!("target = \"{replica}\"");
            let section =
                ["[[sync]]".to_owned(), path("source", &self.at(source)), target, (*more).to_owned()];
            lines.extend(section);
        }
        let text = lines.join("\n");
        fs::write(self.file(), text).unwrap();
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(KSYNCD);
        command.args(words).arg("--config").arg(self.file());
        command
    }

    fn start(&self) -> Daemon {
        Daemon::start(self.command(&["run"]))
    }

    fn wait_until_equal(&self, daemon: &mut Daemon, source: &str) {
        let (source, replica) = (self.at(source), self.at(&format!("{source}-replica")));
        daemon.wait_until("the trees are equal", || {
            compare::differences(&source, &replica).is_ok_and(|differences| differences.is_empty())
        });
    }

    fn statuses(&self) -> Vec<Status> {
        let mut command = self.host.ask("status");
        command.arg("--json");
        let ended = Daemon::start(command).wait();
        ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What a program said, without what differs from run to run.
    fn said(&self, ended: &Ended) -> String {
        format!("{}{}", ended.stdout, ended.stderr).replace(&self.host.path().display().to_string(), "[host]")
    }
}

fn wait(command: Command) -> Ended {
    Daemon::start(command).wait()
}

#[test]
fn one_daemon_serves_all_sections() {
    let configured = Configured::new();
    configured.write("metrics_listen = \"127.0.0.1:0\"", &[("source", ""), ("media", "name = \"pictures\"")]);
    fs::write(configured.at("source/page"), "1").unwrap();
    fs::write(configured.at("media/picture"), "2").unwrap();
    let mut daemon = configured.start();
    configured.wait_until_equal(&mut daemon, "source");
    configured.wait_until_equal(&mut daemon, "media");
    let statuses = configured.statuses();
    let names: Vec<&str> = statuses.iter().map(|status| status.name.as_str()).collect();
    assert_eq!(names, [configured.at("source").to_str().unwrap(), "pictures"]);
    assert!(statuses.iter().all(|status| status.process == daemon.id() && status.is_up()));

    fs::write(configured.at("media/later"), "3").unwrap();
    assert!(wait(configured.host.ask("wait")).status.success());
    assert!(configured.at("media-replica/later").exists());
    let address = daemon.address();
    let (_, metrics) = crate::http::get(&address, "/metrics");
    for sync in &names {
        assert!(metrics.contains(&format!("ksyncd_up{{sync=\"{sync}\"}} 1\n")), "{metrics}");
    }
    crate::http::parse(&metrics);
    let (_, page) = crate::http::get(&address, "/");
    assert!(names.iter().all(|name| page.contains(&format!("<h1>{name}</h1>"))), "{page}");
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(ended.stdout.matches("ksyncd latency").count(), 2, "a table for each");
}

#[test]
fn a_changed_rule_takes_effect_by_a_reload_and_removes_nothing() {
    let configured = Configured::new();
    configured.write("", &[("source", "exclude = [\"*.bak\"]"), ("media", "")]);
    for name in ["source/page", "source/old.tmp", "source/old.bak", "media/picture"] {
        fs::write(configured.at(name), "1").unwrap();
    }
    let mut daemon = configured.start();
    daemon.wait_until("all is there", || {
        configured.at("source-replica/old.tmp").exists() && configured.at("media-replica/picture").exists()
    });
    assert!(!configured.at("source-replica/old.bak").exists());

    configured.write("", &[("source", "exclude = [\"*.tmp\"]"), ("media", "")]);
    let ended = wait(configured.host.ask("reload"));
    assert_eq!(ended.status.code(), Some(0), "{}", configured.said(&ended));
    let said = configured.said(&ended).replace(&daemon.id().to_string(), "[number]");
    insta::assert_snapshot!(said, @r"
    process [number] has read its settings again
    started    [host]/source
    unchanged  [host]/media
    ");
    fs::write(configured.at("source/new.tmp"), "2").unwrap();
    fs::remove_file(configured.at("source/old.tmp")).unwrap();
    fs::write(configured.at("source/page"), "22").unwrap();
    daemon.wait_until("what is not excluded any more is there", || {
        configured.at("source-replica/old.bak").exists()
    });
    daemon.wait_until("the page is there", || {
        fs::read_to_string(configured.at("source-replica/page")).is_ok_and(|text| text == "22")
    });
    assert!(wait(configured.host.ask("wait")).status.success());
    assert!(configured.at("source-replica/old.tmp").exists(), "I3: a rule removes nothing");
    assert!(!configured.at("source-replica/new.tmp").exists());
    let rescans: Vec<u64> = configured.statuses().iter().map(|status| status.rescans).collect();
    assert_eq!(rescans, [1, 1], "each was compared once, the other was left alone");
    assert_eq!(daemon.stop().status.code(), Some(0));
}

#[test]
fn a_bad_file_changes_nothing() {
    let configured = Configured::new();
    configured.write("", &[("source", "")]);
    let mut daemon = configured.start();
    daemon.wait_for_log("compared the trees");
    configured.write("", &[("source", "exlude = \"*.tmp\"")]);
    let ended = wait(configured.host.ask("reload"));
    assert_eq!(ended.status.code(), Some(78));
    insta::assert_snapshot!(configured.said(&ended), @r#"
    ksyncd: the settings stay as they were: [host]/ksyncd.toml:10:1: there is no setting "exlude"; did you mean exclude?
      10 | exlude = "*.tmp"
         | ^^^^^^
      hint: mend it, and try again; ksyncd config check says whether it is right
    "#);
    // By a signal it is told in the log; another mistake, to tell it from the first.
    configured.write("", &[("source", "exlude_from = \"*.tmp\"")]);
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    daemon.wait_for_log("did you mean exclude_from?");
    configured.write("", &[("media-that-is-not-there", "")]);
    let ended = wait(configured.host.ask("reload"));
    assert_eq!(ended.status.code(), Some(78));
    insta::assert_snapshot!(configured.said(&ended), @r"
    ksyncd: the settings stay as they were: [host]/media-that-is-not-there: find the source [host]/media-that-is-not-there: No such file or directory (os error 2)
      hint: mend it, and try again; ksyncd config check says whether it is right
    ");
    fs::write(configured.at("source/page"), "1").unwrap();
    configured.wait_until_equal(&mut daemon, "source");
    assert_eq!(configured.statuses()[0].rescans, 1, "it was not disturbed");
}

#[test]
fn sections_come_and_go_and_what_needs_a_restart_is_named() {
    let configured = Configured::new();
    configured.write("", &[("source", "")]);
    let mut daemon = configured.start();
    daemon.wait_for_log("compared the trees");
    fs::write(configured.at("media/picture"), "1").unwrap();
    configured.write("metrics_listen = \"127.0.0.1:0\"\nlog_level = \"debug\"", &[("media", "")]);
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    configured.wait_until_equal(&mut daemon, "media");
    daemon.wait_for_log("these take effect when ksyncd is restarted: metrics_listen");
    daemon.wait_for_log("DEBUG");
    let statuses = configured.statuses();
    assert_eq!(statuses.len(), 1);
    assert_eq!(statuses[0].source, configured.at("media").display().to_string());
    assert_eq!(daemon.stop().status.code(), Some(0));
}

#[test]
fn a_sync_that_ends_leaves_the_others_and_can_be_started_again() {
    let configured = Configured::new();
    fs::remove_dir(configured.at("media")).unwrap();
    configured.write("", &[("source", ""), ("media", "")]);
    let mut daemon = configured.start();
    daemon.wait_for_log("it has ended, the others go on");
    fs::write(configured.at("source/page"), "1").unwrap();
    configured.wait_until_equal(&mut daemon, "source");
    let ended = wait(configured.host.ask("status"));
    assert_eq!(ended.status.code(), Some(3), "not all is well");
    assert!(ended.stdout.contains("\nended     find the source "), "{}", ended.stdout);
    let mut command = configured.host.ask("wait");
    command.args(["--timeout", "1m"]);
    assert_eq!(wait(command).status.code(), Some(3), "it does not wait for what has ended");

    fs::create_dir(configured.at("media")).unwrap();
    fs::write(configured.at("media/picture"), "1").unwrap();
    let ended = wait(configured.host.ask("reload"));
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    configured.wait_until_equal(&mut daemon, "media");
    assert!(configured.statuses().iter().all(Status::is_up));
    assert_eq!(daemon.stop().status.code(), Some(0));
}

#[test]
fn settings_are_checked_and_shown_without_a_daemon() {
    let configured = Configured::new();
    configured.write("", &[("source", "batch_max_delay = \"10ms\""), ("media", "")]);
    let ended = wait(configured.command(&["config", "check"]));
    assert_eq!(ended.status.code(), Some(0));
    insta::assert_snapshot!(configured.said(&ended), @"ok: 2 sources, 2 targets, read from [host]/ksyncd.toml");
    let ended = wait(configured.command(&["config", "show", "--origin", "--batch-delay=2ms"]));
    let shown = configured.said(&ended);
    for line in ["batch_max_delay = \"10ms\"", "batch_delay = \"2ms\""] {
        assert!(shown.contains(line), "{shown}");
    }
    assert!(
        shown.contains("# [host]/ksyncd.toml line 9\n") && shown.contains("# --batch-delay\n"),
        "{shown}"
    );

    fs::remove_dir(configured.at("media")).unwrap();
    let ended = wait(configured.command(&["config", "check"]));
    assert_eq!(ended.status.code(), Some(66));
    fs::write(configured.file(), "exclude = [\"[\"]\n").unwrap();
    let ended = wait(configured.command(&["config", "check"]));
    assert_eq!(ended.status.code(), Some(78));
    insta::assert_snapshot!(configured.said(&ended), @r#"
    ksyncd: [host]/ksyncd.toml:1:12: a bracket is never closed; write \[ for a bracket in a name
      1 | exclude = ["["]
        |            ^^^
    "#);
    fs::remove_file(configured.file()).unwrap();
    let ended = wait(configured.command(&["run"]));
    assert_eq!(ended.status.code(), Some(78));
    insta::assert_snapshot!(configured.said(&ended), @r"
    ksyncd: read the configuration file [host]/ksyncd.toml: No such file or directory (os error 2)
      hint: give one that exists and that this user may read: --config FILE
    ");

    let mut command = Command::new(KSYNCD);
    command.args(["config", "default"]);
    let ended = wait(command);
    assert!(
        ended.status.success() && ended.stdout.contains("\n#batch_delay = \"0ms\"\n"),
        "{}",
        ended.stdout
    );
}

#[test]
fn the_rule_that_decides_is_named_by_daemon_and_by_flags() {
    let configured = Configured::new();
    let list = configured.at("rules");
    fs::write(&list, "+ keep.tmp\n*.tmp\n").unwrap();
    configured
        .write("", &[("source", &format!("exclude = \"/cache/\"\nexclude_from = \"{}\"", list.display()))]);
    fs::create_dir(configured.at("source/cache")).unwrap();
    let mut daemon = configured.start();
    daemon.wait_for_log("compared the trees");
    let by_daemon = |path: &str| {
        let mut command = Command::new(KSYNCD);
        command.args(["explain-exclude", path, "--state-dir"]).arg(configured.at("state"));
        let ended = wait(command);
        assert!(ended.status.success(), "{}", configured.said(&ended));
        configured.said(&ended)
    };
    let below = |path: &str| configured.at("source").join(path).display().to_string();
    insta::assert_snapshot!(by_daemon(&below("cache")), @r#"cache is left out by: exclude "/cache/" ([host]/ksyncd.toml line 10)"#);
    insta::assert_snapshot!(by_daemon(&below("cache/a/b")), @r#"cache/a/b is left out, since its directory cache is, by: exclude "/cache/" ([host]/ksyncd.toml line 10)"#);
    insta::assert_snapshot!(by_daemon(&below("news/keep.tmp")), @r#"news/keep.tmp is replicated by: include "keep.tmp" ([host]/rules line 1)"#);
    insta::assert_snapshot!(by_daemon(&below("news/a.tmp")), @r#"news/a.tmp is left out by: exclude "*.tmp" ([host]/rules line 2)"#);
    insta::assert_snapshot!(by_daemon(&below("page")), @"page is replicated: no rule matches it");
    let by_flags = |path: &str| {
        let mut command = Command::new(KSYNCD);
        command.args(["explain-exclude", path, "--source", "/srv/www"]);
        command.args(["--include", "a.tmp", "--exclude", "*.tmp", "--exclude", "/tmp/"]);
        let ended = wait(command);
        assert!(ended.status.success());
        ended.stdout
    };
    insta::assert_snapshot!(by_flags("b.tmp"), @r#"b.tmp is left out by: exclude "*.tmp" (--exclude)"#);
    insta::assert_snapshot!(by_flags("a.tmp"), @r#"a.tmp is replicated by: include "a.tmp" (--include)"#);
    insta::assert_snapshot!(by_flags("/srv/www/tmp/"), @r#"tmp is left out by: exclude "/tmp/" (--exclude)"#);
    assert_eq!(daemon.stop().status.code(), Some(0));
}
