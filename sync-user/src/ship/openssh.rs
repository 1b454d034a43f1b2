//! Asks OpenSSH's client how a host is reached: aliases, users, ports, keys and jump hosts that
//! `~/.ssh/config` has.
//!
//! `ssh -G` prints what it would do, with every `Host`, `Match` and `Include` considered, so there
//! is no second reader of that file that knows only a part of it. Without OpenSSH's client the
//! target is reached as it is typed.

use std::fmt;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tracing::debug;

use super::address::TargetAddress;
use super::auth::current_user;
use super::connect::{Access, ConnectError};
use crate::clock;

/// The client's name for no file, no command and no agent.
const NONE: &str = "none";

/// How a host is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    /// As it was typed.
    pub(super) alias: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    /// The name that its key is known by, if that is not its own.
    pub(super) key_alias: Option<String>,
    /// Private keys to try; those that are not there are passed over.
    pub(super) identities: Vec<PathBuf>,
    /// Of the agent's keys only these are tried.
    pub(super) identities_only: bool,
    pub(super) agent: Agent,
    pub(super) known_hosts: Vec<PathBuf>,
    /// What to run instead of connecting: it talks with the server on its standard streams.
    pub(super) proxy: Option<Vec<String>>,
}

/// Which SSH agent is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Agent {
    /// The one that the environment names, if it does.
    Usual,
    At(PathBuf),
    Nobody,
}

impl Route {
    /// The way to `target`.
    pub(super) fn to(target: &TargetAddress, access: &Access) -> Result<Self, ConnectError> {
        let mut route = Self::as_typed(target, access);
        if access.ssh_config.as_deref() != Some(Path::new(NONE)) {
            match ask(target, access) {
                Ok(told) => route = route.with(&told, access),
                // Without the client nobody means its configuration, unless a file was named.
                Err(error) if error.kind() == ErrorKind::NotFound && access.ssh_config.is_none() => {
                    debug!(host = route.alias, "OpenSSH's configuration is not considered: {error}");
                }
                // The name may stand for another host, so it is not tried.
                Err(error) => return Err(ConnectError::Config { cause: error.to_string() }),
            }
        }
        if let Some(file) = &access.known_hosts {
            route.known_hosts = vec![file.clone()];
        }
        Ok(route)
    }

    fn as_typed(target: &TargetAddress, access: &Access) -> Self {
        let ssh = home().join(".ssh");
        Self {
            alias: target.host().to_owned(),
            host: target.host().to_owned(),
            port: target.port().or(access.port).unwrap_or(22),
            user: target.user().map_or_else(current_user, str::to_owned),
            key_alias: None,
            identities: ["id_rsa", "id_ecdsa", "id_ed25519"].map(|name| ssh.join(name)).to_vec(),
            identities_only: false,
            agent: Agent::Usual,
            known_hosts: vec![ssh.join("known_hosts"), PathBuf::from("/etc/ssh/ssh_known_hosts")],
            proxy: None,
        }
    }

    /// What `ssh -G` has printed: a word and its value on each line.
    fn with(mut self, told: &str, access: &Access) -> Self {
        let lines = || told.lines().filter_map(|line| line.split_once(' '));
        let value = |word: &str| lines().find(|(name, _)| *name == word).map(|(_, value)| value);
        let set = |word: &str| value(word).filter(|value| !value.eq_ignore_ascii_case(NONE));
        if let Some(host) = set("hostname") {
            host.clone_into(&mut self.host);
        }
        if let Some(port) = set("port").and_then(|port| port.parse().ok()) {
            self.port = port;
        }
        if let Some(user) = set("user") {
            user.clone_into(&mut self.user);
        }
        self.key_alias = set("hostkeyalias").map(str::to_owned);
        let files = |word: &'static str| {
            let values = lines().filter(move |(name, _)| *name == word).map(|(_, value)| value);
            values.filter(|value| *value != NONE)
        };
        self.identities = files("identityfile").filter_map(|file| self.file(file)).collect();
        self.identities_only = value("identitiesonly") == Some("yes");
        self.agent = match value("identityagent") {
            None | Some("SSH_AUTH_SOCK") => Agent::Usual,
            Some(NONE) => Agent::Nobody,
            Some(file) => self.file(file).map_or(Agent::Nobody, Agent::At),
        };
        let known = files("userknownhostsfile").chain(files("globalknownhostsfile"));
        self.known_hosts = known.flat_map(str::split_whitespace).filter_map(|file| self.file(file)).collect();
        self.proxy = match (set("proxyjump"), set("proxycommand")) {
            (Some(jumps), _) => Some(self.jump(jumps, access)),
            (None, Some(command)) => self
                .expand(command)
                .map(|command| vec!["sh".to_owned(), "-c".to_owned(), format!("exec {command}")]),
            (None, None) => None,
        };
        self
    }

    /// The client's own command for jump hosts: through all but the last, and from there on.
    fn jump(&self, jumps: &str, access: &Access) -> Vec<String> {
        // A way that is dead has to end, as our own connections do.
        let options = ["BatchMode=yes", "ServerAliveInterval=10", "ServerAliveCountMax=3"];
        let options = options.iter().flat_map(|option| ["-o", option]);
        let mut command: Vec<String> = ["ssh"].into_iter().chain(options).map(str::to_owned).collect();
        if let Some(file) = &access.ssh_config {
            command.extend(["-F".to_owned(), file.display().to_string()]);
        }
        let last = match jumps.rsplit_once(',') {
            Some((before, last)) => {
                command.extend(["-J".to_owned(), before.to_owned()]);
                last
            }
            None => jumps,
        };
        let last = if last.starts_with("ssh://") { last.to_owned() } else { format!("ssh://{last}") };
        command.extend(["-W".to_owned(), format!("[{}]:{}", self.host, self.port), "--".to_owned(), last]);
        command
    }

    fn file(&self, text: &str) -> Option<PathBuf> {
        let text = self.expand(text.trim_matches('"'))?;
        Some(text.strip_prefix("~/").map_or_else(|| PathBuf::from(&text), |rest| home().join(rest)))
    }

    /// With the client's tokens replaced; `None` if there is one that is not known here.
    fn expand(&self, text: &str) -> Option<String> {
        let mut expanded = String::new();
        let mut rest = text.chars();
        while let Some(character) = rest.next() {
            if character != '%' {
                expanded.push(character);
                continue;
            }
            match rest.next()? {
                '%' => expanded.push('%'),
                'd' => expanded.push_str(&home().display().to_string()),
                'h' => expanded.push_str(&self.host),
                'k' => expanded.push_str(self.key_alias.as_ref().unwrap_or(&self.alias)),
                'n' => expanded.push_str(&self.alias),
                'p' => expanded.push_str(&self.port.to_string()),
                'r' => expanded.push_str(&self.user),
                'u' => expanded.push_str(&current_user()),
                _ => return None,
            }
        }
        Some(expanded)
    }

    /// The name and port by which its key is looked up.
    pub(super) fn key_name(&self) -> (&str, u16) {
        // OpenSSH's client does not consider the port of an alias.
        self.key_alias.as_deref().map_or((&self.host, self.port), |alias| (alias, 22))
    }
}

/// The name that was typed, with what it stands for if that is another.
impl fmt::Display for Route {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.alias)?;
        if self.host != self.alias {
            write!(formatter, " ({})", self.host)?;
        }
        if self.port != 22 {
            write!(formatter, " port {}", self.port)?;
        }
        Ok(())
    }
}

/// What OpenSSH's client would do; or why that is not known.
fn ask(target: &TargetAddress, access: &Access) -> io::Result<String> {
    let mut command = Command::new("ssh");
    command.arg("-G").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(file) = &access.ssh_config {
        command.arg("-F").arg(file);
    }
    if let Some(port) = target.port().or(access.port) {
        command.args(["-p", &port.to_string()]);
    }
    if let Some(user) = target.user() {
        command.args(["-l", user]);
    }
    // An interrupt at the terminal is for us.
    let mut child = command.args(["--", target.host()]).process_group(0).spawn()?;
    let (mut told, mut complaints) = (child.stdout.take(), child.stderr.take());
    let reading = std::thread::spawn(move || {
        let (mut text, mut complaint) = (String::new(), String::new());
        let read = told.as_mut().map_or(Ok(0), |told| told.read_to_string(&mut text));
        let _as_far = complaints.as_mut().map(|complaints| complaints.read_to_string(&mut complaint));
        read.map(|_| (text, complaint))
    });
    // A command in `Match exec` may never end.
    let end = clock::now().plus(access.patience);
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if clock::now() > end => {
                let _ended = child.kill();
                child.wait()?;
                return Err(io::Error::other("ssh -G does not end"));
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    let read = reading.join().map_err(|_panic| io::Error::other("read what ssh -G prints"))?;
    let (text, complaint) = read?;
    if status.success() { Ok(text) } else { Err(io::Error::other(super::ssh::printable(&complaint))) }
}

fn home() -> PathBuf {
    std::env::home_dir().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        let patience = Duration::from_secs(1);
        Access { identity: None, known_hosts: None, port: None, ssh_config: None, patience }
    }

    fn told(text: &str) -> Route {
        Route::as_typed(&"web1:/srv/www".parse().unwrap(), &access()).with(text, &access())
    }

    #[test]
    fn a_route_is_what_the_client_says() {
        let route = told(
            "host web1\nuser deploy\nhostname 10.0.0.5\nport 2222\nidentitiesonly yes\nhostkeyalias web\n\
             identityfile ~/.ssh/%h-%r\nidentityfile /keys/100%%\nidentityfile /keys/%C\nidentityagent none\n\
             userknownhostsfile /a /b\nglobalknownhostsfile none\n",
        );
        assert_eq!(route.to_string(), "web1 (10.0.0.5) port 2222");
        assert_eq!((route.user.as_str(), route.key_name()), ("deploy", ("web", 22)));
        // A token that is not known here leads to no file.
        assert_eq!(route.identities, [home().join(".ssh/10.0.0.5-deploy"), PathBuf::from("/keys/100%")]);
        assert_eq!(route.known_hosts, [PathBuf::from("/a"), PathBuf::from("/b")]);
        assert_eq!((route.identities_only, route.agent, route.proxy), (true, Agent::Nobody, None));
    }

    #[test]
    fn jump_hosts_and_commands_lead_there() {
        let proxy = |text: &str| told(text).proxy.unwrap().join(" ");
        assert_eq!(
            proxy("hostname 10.0.0.5\nport 22\nproxyjump one,deploy@two:2222\n"),
            "ssh -o BatchMode=yes -o ServerAliveInterval=10 -o ServerAliveCountMax=3 -J one -W [10.0.0.5]:22 -- ssh://deploy@two:2222"
        );
        assert_eq!(proxy("proxycommand connect %h %p\n"), "sh -c exec connect web1 22");
        assert_eq!(told("proxycommand none\n").proxy, None);
    }
}
