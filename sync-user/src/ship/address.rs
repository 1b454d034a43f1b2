//! Reads where a target is: `[USER@]HOST:DIR`, as scp writes it, or `ssh://[USER@]HOST[:PORT]/DIR`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A directory on another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetAddress {
    user: Option<String>,
    host: String,
    port: Option<u16>,
    directory: PathBuf,
}

/// Why a text is not a [`TargetAddress`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("there is no directory in it: write [USER@]HOST:DIR or ssh://[USER@]HOST[:PORT]/DIR")]
    NoDirectory,
    #[error("there is no host in it: write [USER@]HOST:DIR or ssh://[USER@]HOST[:PORT]/DIR")]
    NoHost,
    #[error("the user before the @ is empty")]
    NoUser,
    #[error("{0:?} is not a port: write a number from 1 to 65535")]
    Port(String),
    #[error("the directory {0:?} is relative: write it from the root on, like /srv/www")]
    Relative(String),
}

impl TargetAddress {
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// A name or an address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Absolute.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl FromStr for TargetAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (authority, directory) = match text.strip_prefix("ssh://") {
            Some(rest) => {
                let slash = rest.find('/').ok_or(AddressError::NoDirectory)?;
                rest.split_at(slash)
            }
            None => split_scp(text)?,
        };
        let (user, place) = match authority.rsplit_once('@') {
            Some(("", _)) => return Err(AddressError::NoUser),
            Some((user, place)) => (Some(user.to_owned()), place),
            None => (None, authority),
        };
        let (host, port) = split_port(place, text.starts_with("ssh://"))?;
        if host.is_empty() {
            return Err(AddressError::NoHost);
        }
        if directory.is_empty() {
            return Err(AddressError::NoDirectory);
        }
        if !directory.starts_with('/') {
            return Err(AddressError::Relative(directory.to_owned()));
        }
        Ok(Self { user, host: host.to_owned(), port, directory: PathBuf::from(directory) })
    }
}

/// Splits at the first colon that is not inside the brackets of an IPv6 address.
fn split_scp(text: &str) -> Result<(&str, &str), AddressError> {
    let after_brackets = text.find(']').map_or(0, |bracket| bracket + 1);
    let colon = text[after_brackets..].find(':').ok_or(AddressError::NoDirectory)? + after_brackets;
    Ok((&text[..colon], &text[colon + 1..]))
}

fn split_port(place: &str, may_have_port: bool) -> Result<(&str, Option<u16>), AddressError> {
    let (host, rest) = match place.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((host, rest)) => (host, rest),
        None if may_have_port => place.find(':').map_or((place, ""), |colon| place.split_at(colon)),
        None => (place, ""),
    };
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Ok((host, None)),
        Some(port) if may_have_port => match port.parse() {
            Ok(0) | Err(_) => Err(AddressError::Port(port.to_owned())),
            Ok(port) => Ok((host, Some(port))),
        },
        _ => Err(AddressError::NoHost),
    }
}

/// `user@host:/dir`; the port, if it has one, stands behind.
impl fmt::Display for TargetAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, host, port, directory } = self;
        if let Some(user) = user {
            write!(formatter, "{user}@")?;
        }
        if host.contains(':') {
            write!(formatter, "[{host}]")?;
        } else {
            formatter.write_str(host)?;
        }
        write!(formatter, ":{}", directory.display())?;
        match port {
            Some(port) => write!(formatter, " (port {port})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_scp_and_ssh_users_write() {
        for (text, shown) in [
            ("host:/srv", "host:/srv"),
            ("me@host:/srv/www", "me@host:/srv/www"),
            ("[::1]:/srv", "[::1]:/srv"),
            ("me@[fe80::1]:/a:b", "me@[fe80::1]:/a:b"),
            ("ssh://me@host:2222/srv", "me@host:/srv (port 2222)"),
            ("ssh://[::1]:22/srv", "[::1]:/srv (port 22)"),
            ("ssh://host/", "host:/"),
        ] {
            assert_eq!(
                text.parse::<TargetAddress>().map(|address| address.to_string()).as_deref(),
                Ok(shown)
            );
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, error) in [
            ("host", AddressError::NoDirectory),
            ("host:", AddressError::NoDirectory),
            (":/srv", AddressError::NoHost),
            ("@host:/srv", AddressError::NoUser),
            ("host:www", AddressError::Relative("www".to_owned())),
            ("ssh://host", AddressError::NoDirectory),
            ("ssh://host:x/srv", AddressError::Port("x".to_owned())),
            ("ssh://host:0/srv", AddressError::Port("0".to_owned())),
        ] {
            assert_eq!(text.parse::<TargetAddress>(), Err(error), "{text}");
        }
    }
}
