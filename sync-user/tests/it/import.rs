//! What an lsyncd.conf asks for is replicated by the configuration that is made of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::host::{Daemon, Ended, Host, KSYNCD};

fn import(file: &Path) -> Ended {
    let mut command = Command::new(KSYNCD);
    command.arg("import-lsyncd").arg(file);
    Daemon::start(command).wait()
}

/// Keeps what was imported as a configuration file; `top` stands above it.
fn keep(host: &Host, top: &str, imported: &Ended) -> PathBuf {
    let file = host.path().join("ksyncd.toml");
    fs::write(&file, format!("{top}\n{}", imported.stdout)).unwrap();
    file
}

fn check(file: &Path) -> Ended {
    let mut command = Command::new(KSYNCD);
    command.args(["config", "check", "--config"]).arg(file);
    Daemon::start(command).wait()
}

#[test]
fn what_is_imported_replicates() {
    let host = Host::new();
    let (source, target) = (host.source(), host.target());
    let conf = host.path().join("lsyncd.conf.lua");
    let program = format!(
        r#"settings {{ logfile = "/var/log/lsyncd.log", nodaemon = true }}
local hosts = {{ "127.0.0.1" }}
for _, host in ipairs(hosts) do
    sync {{
        default.rsyncssh,
        source = "{source}/",
        host = host,
        targetdir = "{target}/",
        delay = 1,
        delete = true,
        exclude = {{ "*.tmp", "/cache/" }},
        rsync = {{ archive = true, temp_dir = "/tmp", hard_links = true }},
        ssh = {{ port = {port}, identityFile = "{identity}", options = {{ UserKnownHostsFile = "{known}" }} }},
    }}
end"#,
        source = source.display(),
        target = target.display(),
        port = host.sshd.port(),
        identity = host.sshd.identity().display(),
        known = host.sshd.known_hosts().display(),
    );
    fs::write(&conf, program).unwrap();
    let imported = import(&conf);
    assert_eq!(imported.status.code(), Some(0), "{}", imported.stderr);
    let top = format!("capture = \"fanotify\"\nstate_dir = \"{}\"", host.path().join("state").display());
    let file = keep(&host, &top, &imported);
    let checked = check(&file);
    assert_eq!(checked.status.code(), Some(0), "{}\n{}", checked.stderr, imported.stdout);

    fs::create_dir(source.join("cache")).unwrap();
    for name in ["page", "page.tmp", "cache/page"] {
        fs::write(source.join(name), name).unwrap();
    }
    // lsyncd removes at its start what only the target has, and so does this.
    fs::create_dir(&target).unwrap();
    for name in ["old", "kept.tmp"] {
        fs::write(target.join(name), "").unwrap();
    }
    let mut command = Command::new(KSYNCD);
    command.args(["run", "--max-delete", "100", "--config"]).arg(&file);
    let mut daemon = Daemon::start(command);
    daemon.wait_until("the page is there, and what only the target has is not", || {
        target.join("page").exists() && !target.join("old").exists()
    });
    fs::write(source.join("later"), "").unwrap();
    fs::remove_file(source.join("page")).unwrap();
    let waited = Daemon::start(host.ask("wait")).wait();
    assert_eq!(waited.status.code(), Some(0), "{}", waited.stderr);
    let mut names: Vec<_> = fs::read_dir(&target).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.retain(|name| name != ".ksyncd");
    names.sort();
    assert_eq!(names, ["kept.tmp", "later"]);
    assert_eq!(daemon.stop().status.code(), Some(0));
}

#[test]
fn whatever_is_imported_is_a_configuration() {
    let host = Host::new();
    let conf = host.path().join("lsyncd.conf.lua");
    let source = host.source().display().to_string();
    // Each with what is wrong with it for ksyncd, and one that is not.
    let syncs = [
        "target = 'web2:/srv'",
        "target = 'web3:relative'",
        "target = '/backup'",
        "target = 'web4::module'",
        "target = 'web5:/srv', delete = false",
        "target = 'web2:/srv', exclude = { '[', 'a\"b', '# c' }",
        "target = 'web6:/srv', exclude = { '[', 'a\"b', '\\\\[c', 'ä\\t' }",
        "target = 'web7:/srv', rsync = { bwlimit = 'fast', _extra = { '-e', 'ssh -p 70000' } }",
        "target = 'web8:/srv', onCreate = function() end, excludeFrom = 'relative'",
        "target = 'web9:/srv', name = 'x\"\\n', exclude = { 'a\"b', '\\\\[c', 'ä\\t' }, delay = 1e300",
    ];
    let program: Vec<String> =
        syncs.iter().map(|sync| format!("sync{{ default.rsync, source = '{source}', {sync} }}")).collect();
    fs::write(&conf, format!("settings = {{ statusFile = 'status', delay = 0.2 }}\n{}", program.join("\n")))
        .unwrap();
    let imported = import(&conf);
    assert_eq!(imported.status.code(), Some(3), "{}", imported.stderr);
    assert!(imported.stderr.ends_with("need a hand\n"), "{}", imported.stderr);
    let checked = check(&keep(&host, "", &imported));
    assert_eq!(checked.status.code(), Some(0), "{}\n{}", checked.stderr, imported.stdout);
    assert!(
        checked.stdout.starts_with("ok: 2 sources, 2 targets"),
        "{}\n{}",
        checked.stdout,
        imported.stdout
    );

    // Without the marks it is one but for what a person has to change.
    let all: String = imported.stdout.lines().fold(String::new(), |all, line| {
        let is_setting = line.starts_with('#') && !line.starts_with("# ");
        all + if is_setting { &line[1..] } else { line } + "\n"
    });
    let refused = check(&keep(&host, "", &Ended { stdout: all, ..imported }));
    assert_eq!(refused.status.code(), Some(78));
    assert!(
        refused.stderr.contains("web3:relative") || refused.stderr.contains("is relative"),
        "{}",
        refused.stderr
    );
    assert!(!refused.stderr.contains("there is no setting"), "{}", refused.stderr);
}
