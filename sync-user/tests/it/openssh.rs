//! Targets are reached as OpenSSH's client would reach them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::host::{Daemon, Host, KSYNCD};

/// A host with a configuration in which `web1` is its server, and `through` is that behind a jump host.
fn configured(more: &str) -> (Host, PathBuf) {
    let host = Host::new();
    let config = host.path().join("ssh_config");
    let (port, identity, known) = (host.sshd.port(), host.sshd.identity(), host.sshd.known_hosts());
    let text = format!(
        "{more}\nHost through\n  ProxyJump web1\nHost *\n  HostName 127.0.0.1\n  Port {port}\n  User root\n  \
         IdentityFile {}\n  IdentitiesOnly yes\n  UserKnownHostsFile {}\n  GlobalKnownHostsFile none\n",
        identity.display(),
        known.display()
    );
    fs::write(&config, text).unwrap();
    (host, config)
}

fn run(host: &Host, config: &PathBuf, alias: &str) -> Command {
    let mut command = Command::new(KSYNCD);
    command.args(["run", "--capture", "fanotify", "--source"]).arg(host.source());
    command.args(["--target", &format!("{alias}:{}", host.target().display()), "--ssh-config"]).arg(config);
    command.arg("--state-dir").arg(host.path().join("state"));
    command
}

#[test]
fn an_alias_has_its_host_and_port_and_keys() {
    let (host, config) = configured("");
    fs::write(host.source().join("page"), "one").unwrap();
    let mut daemon = Daemon::start(run(&host, &config, "web1"));
    host.wait_until_equal(&mut daemon);
}

#[test]
fn a_jump_host_is_gone_through_and_its_command_ends_with_the_run() {
    let (host, config) = configured("");
    fs::write(host.source().join("page"), "one").unwrap();
    let mut daemon = Daemon::start(run(&host, &config, "through"));
    host.wait_until_equal(&mut daemon);
    assert_eq!(jumps(&host).len(), 1);
    fs::write(host.source().join("page"), "two").unwrap();
    host.wait_until_equal(&mut daemon);
    assert!(daemon.stop().status.success());
    assert_eq!(jumps(&host), [""; 0]);
}

/// The commands that lead to the host's server through another.
fn jumps(host: &Host) -> Vec<String> {
    let to = format!("[127.0.0.1]:{}", host.sshd.port());
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let command = |process: String| fs::read(format!("/proc/{process}/cmdline")).ok();
    let commands =
        processes.filter_map(command).map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "));
    commands.filter(|command| command.contains(" -W ") && command.contains(&to)).collect()
}

#[test]
fn what_is_wrong_on_the_way_is_told() {
    let (host, config) = configured("Host lost\n  ProxyCommand echo no way there >&2; false");
    let mut daemon = Daemon::start(run(&host, &config, "lost"));
    daemon.wait_for_log("on the way to it: no way there");
    daemon.wait_for_log("SSH with 127.0.0.1 port");
    drop(daemon);
    let missing = host.path().join("missing");
    let ended = Daemon::start(run(&host, &missing, "web1")).wait();
    assert!(ended.stderr.contains("OpenSSH's configuration cannot be read"), "{}", ended.stderr);
}

/// An agent that knows the key of the host's server; dropping it ends it.
struct Agent(Child);

impl Agent {
    fn start(socket: &Path, key: &Path) -> Self {
        let agent = Self(
            Command::new("ssh-agent").arg("-D").arg("-a").arg(socket).stdout(Stdio::null()).spawn().unwrap(),
        );
        let began = Instant::now();
        while !socket.exists() {
            assert!(began.elapsed() < Duration::from_mins(1), "the agent does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        let added = Command::new("ssh-add").arg("-q").arg(key).env("SSH_AUTH_SOCK", socket).status().unwrap();
        assert!(added.success());
        agent
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

#[test]
fn the_agent_that_is_configured_has_the_keys_that_are_named() {
    let (host, config) = configured("");
    let (socket, key) = (host.path().join("agent"), host.path().join("key"));
    let _agent = Agent::start(&socket, &host.sshd.identity());
    let text = fs::read_to_string(&config).unwrap();
    let text = text.replace(&host.sshd.identity().display().to_string(), &key.display().to_string());
    fs::write(&config, format!("IdentityAgent {}\n{text}", socket.display())).unwrap();
    // Of a key in the agent only the public half has to be there; without it, none is named.
    let ended = Daemon::start(run(&host, &config, "web1")).wait();
    assert!(ended.stderr.contains("refused to let root in"), "{}", ended.stderr);
    fs::copy(host.sshd.identity().with_extension("pub"), key.with_extension("pub")).unwrap();
    fs::write(host.source().join("page"), "one").unwrap();
    let mut daemon = Daemon::start(run(&host, &config, "web1"));
    host.wait_until_equal(&mut daemon);
}
