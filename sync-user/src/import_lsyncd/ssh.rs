//! Finds out how a target is reached, from what lsyncd gives to ssh.

use super::data::{Data, Table};
use super::part::Part;

/// Options of OpenSSH that ksyncd does without.
const NOT_NEEDED: &[&str] = &[
    "batchmode",
    "compression",
    "connectionattempts",
    "connecttimeout",
    "controlmaster",
    "controlpath",
    "controlpersist",
    "forwardagent",
    "forwardx11",
    "gssapiauthentication",
    "loglevel",
    "passwordauthentication",
    "requesttty",
    "serveralivecountmax",
    "serveraliveinterval",
    "tcpkeepalive",
];

const HOST_KEYS: &str = "host keys are always checked: accept those of the targets by ssh-keyscan HOST >> ~/.ssh/known_hosts, and compare the fingerprints";

const IN_SSH_CONFIG: &str = "put it into ~/.ssh/config: ksyncd reads host names, users, ports, keys, known hosts and jump hosts there";

/// What is known of the way to a target besides its host and directory.
#[derive(Debug, Default)]
pub(super) struct Way {
    pub(super) user: Option<String>,
    pub(super) port: Option<String>,
}

impl Way {
    /// Reads `ssh = {…}`.
    pub(super) fn read(&mut self, table: &mut Table, part: &mut Part) {
        let Some(Data::Table(mut ssh)) = table.take("ssh") else { return };
        if let Some(program) = ssh.take("binary").and_then(|program| program.word())
            && !is_ssh(&program)
        {
            other("ssh.binary", &program, part);
        }
        if let Some(file) = ssh.take("identityFile").and_then(|file| file.word()) {
            self.option("ssh.identityFile", "IdentityFile", &file, part);
        }
        if let Some(port) = ssh.take("port").and_then(|port| port.word()) {
            self.port = Some(port);
        }
        if let Some(Data::Table(options)) = ssh.take("options") {
            for (name, value) in &options.named {
                let about = format!("ssh.options.{name} = {value}");
                self.option(&about, name, &value.word().unwrap_or_default(), part);
            }
        }
        if let Some(words) = ssh.take("_extra") {
            let words = words.words().unwrap_or_default();
            // Each may be an option with its value: "-p 22".
            let words: Vec<&str> = words.iter().flat_map(|word| word.split_whitespace()).collect();
            self.words("ssh._extra", &words, part);
        }
        for (name, value) in ssh.named {
            part.hand(&format!("ssh.{name} = {value}"), IN_SSH_CONFIG);
        }
    }

    /// Reads the command that rsync is to reach the target by: `ssh -p 2222 -i /root/key`.
    pub(super) fn command(&mut self, about: &str, command: &str, part: &mut Part) {
        let words: Vec<&str> =
            command.split_whitespace().map(|word| word.trim_matches(['\'', '"'])).collect();
        match words.split_first() {
            Some((program, words)) if is_ssh(program) => self.words(about, words, part),
            // Its words may be a password, so they are not repeated.
            Some((program, _)) => other(about.split(' ').next().unwrap_or_default(), program, part),
            None => {}
        }
    }

    fn words(&mut self, about: &str, words: &[&str], part: &mut Part) {
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            let about = format!("{about}: {word}");
            let (letter, attached) =
                word.split_at(word.char_indices().nth(2).map_or(word.len(), |(at, _)| at));
            let name = match letter {
                "-p" => "Port",
                "-i" => "IdentityFile",
                "-l" => "User",
                "-F" => "Config",
                "-J" => "ProxyJump",
                "-c" => "Ciphers",
                "-m" => "MACs",
                "-o" => "",
                "-a" | "-A" | "-C" | "-k" | "-n" | "-q" | "-t" | "-T" | "-v" | "-x" | "-X" => {
                    part.not_needed(&about, "ksyncd speaks SSH by itself, over one connection");
                    continue;
                }
                _ => {
                    part.hand(&about, IN_SSH_CONFIG);
                    continue;
                }
            };
            let value = if attached.is_empty() { words.next().unwrap_or_default() } else { attached };
            let about = if attached.is_empty() { format!("{about} {value}") } else { about };
            match (name, value.split_once(['=', ' '])) {
                ("", Some((name, value))) => self.option(&about, name, value, part),
                ("", None) => part.hand(&about, IN_SSH_CONFIG),
                (name, _) => self.option(&about, name, value, part),
            }
        }
    }

    fn option(&mut self, about: &str, name: &str, value: &str, part: &mut Part) {
        match name.to_ascii_lowercase().as_str() {
            "port" => self.port = Some(value.to_owned()),
            "user" => self.user = Some(value.to_owned()),
            "identityfile" => part.set_one(about, "identity", value),
            "config" => part.set_one(about, "ssh_config", value),
            "userknownhostsfile" if value == "/dev/null" => part.hand(about, HOST_KEYS),
            "userknownhostsfile" => part.set_one(about, "known_hosts", value),
            "stricthostkeychecking" if matches!(value, "yes" | "ask") => {
                part.not_needed(about, "host keys are always checked");
            }
            "stricthostkeychecking" => part.hand(about, HOST_KEYS),
            name if NOT_NEEDED.contains(&name) => {
                part.not_needed(about, "ksyncd speaks SSH by itself, over one connection");
            }
            "hostname" | "hostkeyalias" | "identitiesonly" | "identityagent" | "proxyjump"
            | "proxycommand" => {
                part.hand(about, IN_SSH_CONFIG);
            }
            _ => part.hand(about, "ksyncd does not know this option of ssh"),
        }
    }
}

fn is_ssh(program: &str) -> bool {
    program.rsplit('/').next() == Some("ssh")
}

/// Another program was to reach the target.
fn other(about: &str, program: &str, part: &mut Part) {
    let what = format!(
        "ksyncd speaks SSH by itself, and does not start {program}; let it log in with a key, and write host and port into target"
    );
    part.hand(about, &what);
}
