//! Logs in with a key: the one that was named, or the agent's, or the usual ones.

use std::path::{Path, PathBuf};

use ssh2::Session;

use super::connect::ConnectError;

/// The files that OpenSSH tries, in its order, without those that libssh2 cannot use.
const USUAL_KEYS: [&str; 3] = ["id_rsa", "id_ecdsa", "id_ed25519"];

/// Logs `user` in.
pub(super) fn log_in(
    session: &Session,
    user: &str,
    name: &str,
    identity: Option<&Path>,
) -> Result<(), ConnectError> {
    let mut tried = Vec::new();
    if let Some(identity) = identity {
        tried.push(format!("the key {}", identity.display()));
        if let Err(cause) = std::fs::File::open(identity) {
            return Err(ConnectError::Identity { file: identity.to_owned(), cause: cause.to_string() });
        }
        match session.userauth_pubkey_file(user, None, identity, None) {
            Ok(()) => return Ok(()),
            Err(error) if is_unusable(&error) => {
                return Err(ConnectError::Identity {
                    file: identity.to_owned(),
                    cause: error.message().to_owned(),
                });
            }
            Err(_) => {}
        }
    } else {
        if by_agent(session, user, &mut tried) {
            return Ok(());
        }
        for file in usual_keys() {
            tried.push(format!("the key {}", file.display()));
            if session.userauth_pubkey_file(user, None, &file, None).is_ok() {
                return Ok(());
            }
        }
        if tried.is_empty() {
            tried.push("nothing, as there is no SSH agent and no key in ~/.ssh".to_owned());
        }
    }
    Err(ConnectError::Refused { name: name.to_owned(), user: user.to_owned(), tried: tried.join(", ") })
}

/// The user that runs this program.
pub(super) fn current_user() -> String {
    let id = nix::unistd::geteuid();
    let from_system = nix::unistd::User::from_uid(id).ok().flatten().map(|user| user.name);
    from_system.or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| "root".to_owned())
}

fn by_agent(session: &Session, user: &str, tried: &mut Vec<String>) -> bool {
    if std::env::var_os("SSH_AUTH_SOCK").is_none() {
        return false;
    }
    let Ok(mut agent) = session.agent() else {
        return false;
    };
    if agent.connect().is_err() || agent.list_identities().is_err() {
        tried.push("the SSH agent, which does not answer".to_owned());
        return false;
    }
    let identities = agent.identities().unwrap_or_default();
    tried.push(format!("{} keys of the SSH agent", identities.len()));
    identities.iter().any(|identity| agent.userauth(user, identity).is_ok())
}

fn usual_keys() -> Vec<PathBuf> {
    let directory = std::env::home_dir().unwrap_or_default().join(".ssh");
    USUAL_KEYS.iter().map(|name| directory.join(name)).filter(|file| file.is_file()).collect()
}

/// Whether a key could not even be offered: unreadable, encrypted, or of an unknown format.
fn is_unusable(error: &ssh2::Error) -> bool {
    // `LIBSSH2_ERROR_FILE`: libssh2 could not read or decrypt the key.
    const ERROR_FILE: i32 = -16;
    error.code() == ssh2::ErrorCode::Session(ERROR_FILE)
}
