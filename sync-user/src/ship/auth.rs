//! Logs in with a key: the one that was named, or the agent's, or the usual ones.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ssh2::Session;

use super::connect::ConnectError;
use super::openssh::{Agent, Route};

/// Logs in by the key that was named, and by nothing else.
pub(super) fn log_in_by(session: &Session, route: &Route, identity: &Path) -> Result<(), ConnectError> {
    let file = identity.to_owned();
    if let Err(cause) = std::fs::File::open(identity) {
        return Err(ConnectError::Identity { file, cause: cause.to_string() });
    }
    match session.userauth_pubkey_file(&route.user, None, identity, None) {
        Ok(()) => Ok(()),
        Err(error) if is_unusable(&error) => {
            Err(ConnectError::Identity { file, cause: error.message().to_owned() })
        }
        Err(_) => Err(refused(route, format!("the key {}", identity.display()))),
    }
}

/// Logs in as OpenSSH's client would: by the keys of the agent, then by those in files.
pub(super) fn log_in(session: &Session, route: &Route) -> Result<(), ConnectError> {
    let mut tried = Vec::new();
    if by_agent(session, route, &mut tried) {
        return Ok(());
    }
    for file in route.identities.iter().filter(|file| file.is_file()) {
        tried.push(format!("the key {}", file.display()));
        if session.userauth_pubkey_file(&route.user, None, file, None).is_ok() {
            return Ok(());
        }
    }
    if tried.is_empty() {
        tried.push("nothing, as there is no SSH agent and none of the usual keys".to_owned());
    }
    Err(refused(route, tried.join(", ")))
}

fn refused(route: &Route, tried: String) -> ConnectError {
    ConnectError::Refused { name: route.to_string(), user: route.user.clone(), tried }
}

/// The user that runs this program.
pub(super) fn current_user() -> String {
    let id = nix::unistd::geteuid();
    let from_system = nix::unistd::User::from_uid(id).ok().flatten().map(|user| user.name);
    from_system.or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| "root".to_owned())
}

fn by_agent(session: &Session, route: &Route, tried: &mut Vec<String>) -> bool {
    let socket = match &route.agent {
        Agent::Nobody => return false,
        Agent::At(socket) => Some(socket),
        Agent::Usual if std::env::var_os("SSH_AUTH_SOCK").is_none() => return false,
        Agent::Usual => None,
    };
    let Ok(mut agent) = session.agent() else {
        return false;
    };
    let named = socket.is_none_or(|socket| agent.set_identity_path(socket).is_ok());
    if !named || agent.connect().is_err() || agent.list_identities().is_err() {
        tried.push("the SSH agent, which does not answer".to_owned());
        return false;
    }
    let mut identities = agent.identities().unwrap_or_default();
    if route.identities_only {
        let named: Vec<Vec<u8>> = route.identities.iter().filter_map(|file| public_key(file)).collect();
        identities.retain(|identity| named.iter().any(|key| key == identity.blob()));
    }
    if identities.is_empty() {
        return false;
    }
    tried.push(format!("{} keys of the SSH agent", identities.len()));
    identities.iter().any(|identity| agent.userauth(&route.user, identity).is_ok())
}

/// The public key beside a private one, in SSH's own format.
fn public_key(identity: &Path) -> Option<Vec<u8>> {
    let mut file = identity.as_os_str().to_owned();
    file.push(".pub");
    let text = std::fs::read_to_string(file).ok()?;
    STANDARD.decode(text.split_whitespace().nth(1)?).ok()
}

/// Whether a key could not even be offered: unreadable, encrypted, or of an unknown format.
fn is_unusable(error: &ssh2::Error) -> bool {
    // `LIBSSH2_ERROR_FILE`: libssh2 could not read or decrypt the key.
    const ERROR_FILE: i32 = -16;
    error.code() == ssh2::ErrorCode::Session(ERROR_FILE)
}
