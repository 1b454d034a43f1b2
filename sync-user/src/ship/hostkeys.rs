//! Decides whether a server is the one that its name promises, by `known_hosts` files.
//!
//! There is no way to accept an unknown key from here: that takes a person who compares the
//! fingerprint. The format is that of OpenSSH's sshd(8): plain, hashed and wildcard names,
//! `[host]:port`, and the marker `@revoked`. `@cert-authority` lines are passed over, since
//! libssh2 does not check certificates; such hosts need a line with their plain key.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hmac::{KeyInit as _, Mac as _};
use sha2::Digest as _;

/// What the files say of a host's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Known,
    Unknown,
    /// The host is known by another key of the same type, in this line.
    Changed {
        file: PathBuf,
        line: usize,
    },
    Revoked {
        file: PathBuf,
        line: usize,
    },
}

/// One host, as all `known_hosts` files describe it.
#[derive(Debug, Default)]
pub(super) struct KnownKeys {
    keys: Vec<KnownKey>,
}

#[derive(Debug)]
struct KnownKey {
    revoked: bool,
    kind: String,
    blob: Vec<u8>,
    file: PathBuf,
    line: usize,
}

impl KnownKeys {
    /// Reads what `files` say of `host` at `port`. Files that are not there say nothing.
    pub(super) fn read(files: &[PathBuf], host: &str, port: u16) -> std::io::Result<Self> {
        let mut known = Self::default();
        for file in files {
            match std::fs::read(file) {
                Ok(bytes) => known.add(&String::from_utf8_lossy(&bytes), file, host, port),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(std::io::Error::new(error.kind(), format!("{}: {error}", file.display())));
                }
            }
        }
        Ok(known)
    }

    fn add(&mut self, text: &str, file: &Path, host: &str, port: u16) {
        let lookup =
            if port == 22 { host.to_lowercase() } else { format!("[{}]:{port}", host.to_lowercase()) };
        for (index, line) in text.lines().enumerate() {
            let mut words = line.split_whitespace().peekable();
            let revoked = match words.peek() {
                None => continue,
                Some(word) if word.starts_with('#') => continue,
                Some(&"@revoked") => {
                    words.next();
                    true
                }
                Some(word) if word.starts_with('@') => continue,
                Some(_) => false,
            };
            let (Some(names), Some(kind), Some(key)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            let Ok(blob) = STANDARD.decode(key) else { continue };
            if names_match(names, &lookup) {
                let (kind, file) = (kind.to_owned(), file.to_owned());
                self.keys.push(KnownKey { revoked, kind, blob, file, line: index + 1 });
            }
        }
    }

    /// What to think of a host that shows `blob`, a key in SSH's own format.
    pub(super) fn judge(&self, blob: &[u8]) -> Verdict {
        let place = |key: &KnownKey| (key.file.clone(), key.line);
        if let Some((file, line)) = self.keys.iter().find(|key| key.revoked && key.blob == blob).map(place) {
            return Verdict::Revoked { file, line };
        }
        let mut good = self.keys.iter().filter(|key| !key.revoked).peekable();
        if good.peek().is_none() {
            return Verdict::Unknown;
        }
        let good: Vec<&KnownKey> = good.collect();
        if good.iter().any(|key| key.blob == blob) {
            return Verdict::Known;
        }
        let kind = kind_of(blob);
        match good.iter().find(|key| key.kind == kind).or(good.first()) {
            Some(key) => Verdict::Changed { file: key.file.clone(), line: key.line },
            None => Verdict::Unknown,
        }
    }

    /// The host key algorithms to ask the server for: those of the keys that are known. A
    /// server would else show a key of another type, and look like another server.
    pub(super) fn algorithms(&self) -> Option<String> {
        let mut algorithms: Vec<&str> = Vec::new();
        for key in self.keys.iter().filter(|key| !key.revoked) {
            let names: &[&str] = match key.kind.as_str() {
                "ssh-rsa" => &["rsa-sha2-512", "rsa-sha2-256"],
                "ssh-ed25519" => &["ssh-ed25519"],
                "ecdsa-sha2-nistp256" => &["ecdsa-sha2-nistp256"],
                "ecdsa-sha2-nistp384" => &["ecdsa-sha2-nistp384"],
                "ecdsa-sha2-nistp521" => &["ecdsa-sha2-nistp521"],
                _ => &[],
            };
            algorithms
                .extend(names.iter().filter(|name| !algorithms.contains(name)).copied().collect::<Vec<_>>());
        }
        (!algorithms.is_empty()).then(|| algorithms.join(","))
    }
}

/// The fingerprint as OpenSSH prints it: `SHA256:` and base64 without padding.
pub(super) fn fingerprint(blob: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(sha2::Sha256::digest(blob)))
}

/// The type that a key in SSH's format names at its beginning.
pub(super) fn kind_of(blob: &[u8]) -> String {
    let length = blob.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes) as usize);
    let name = blob.get(4..4_usize.saturating_add(length)).unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

/// Whether a line's first word means the host: hashed, or patterns with commas between.
fn names_match(names: &str, lookup: &str) -> bool {
    if let Some(hashed) = names.strip_prefix("|1|") {
        return hashed_matches(hashed, lookup).unwrap_or(false);
    }
    let mut matched = false;
    for pattern in names.split(',') {
        match pattern.strip_prefix('!') {
            Some(pattern) if wildcard(pattern.to_lowercase().as_bytes(), lookup.as_bytes()) => return false,
            Some(_) => {}
            None => matched |= wildcard(pattern.to_lowercase().as_bytes(), lookup.as_bytes()),
        }
    }
    matched
}

/// `salt|hash`, where the hash is the HMAC-SHA1 of the name with the salt as key.
fn hashed_matches(hashed: &str, lookup: &str) -> Option<bool> {
    let (salt, hash) = hashed.split_once('|')?;
    let (salt, hash) = (STANDARD.decode(salt).ok()?, STANDARD.decode(hash).ok()?);
    let mut mac = hmac::Hmac::<sha1::Sha1>::new_from_slice(&salt).ok()?;
    mac.update(lookup.as_bytes());
    Some(mac.verify_slice(&hash).is_ok())
}

/// `*` is any text, `?` any one character. Iterative: a hostile file cannot make it slow.
fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut in_text, mut star) = (0, 0, None);
    while in_text < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, in_text));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[in_text] => {
                at += 1;
                in_text += 1;
            }
            _ => match star {
                Some((star_at, from)) => {
                    star = Some((star_at, from + 1));
                    at = star_at + 1;
                    in_text = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIB000000000000000000000000000000000000000000";

    fn judge(text: &str, host: &str, port: u16) -> Verdict {
        let mut known = KnownKeys::default();
        known.add(text, Path::new("known_hosts"), host, port);
        known.judge(&STANDARD.decode(KEY).unwrap())
    }

    #[test]
    fn finds_hosts_by_every_kind_of_name() {
        for names in ["web1", "web2,web1", "WEB1", "web?", "*", "web*,!web9"] {
            assert_eq!(
                judge(&format!("{names} ssh-ed25519 {KEY} me"), "web1", 22),
                Verdict::Known,
                "{names}"
            );
        }
        assert_eq!(judge(&format!("[web1]:2222 ssh-ed25519 {KEY}"), "web1", 2222), Verdict::Known);
        // `ssh-keygen -H` of a file that names "web1".
        let hashed = format!(
            "|1|{}|{} ssh-ed25519 {KEY}",
            STANDARD.encode([7; 20]),
            STANDARD.encode({
                let mut mac = hmac::Hmac::<sha1::Sha1>::new_from_slice(&[7; 20]).unwrap();
                mac.update(b"web1");
                mac.finalize().into_bytes()
            })
        );
        assert_eq!(judge(&hashed, "web1", 22), Verdict::Known);
        assert_eq!(judge(&hashed, "web2", 22), Verdict::Unknown);
    }

    #[test]
    fn never_trusts_by_mistake() {
        let line = format!("ssh-ed25519 {KEY}");
        for text in [
            "",
            "# web1",
            "web1",
            "web1 ssh-ed25519 ***",
            &format!("web1,!web* {line}"),
            &format!("@cert-authority web1 {line}"),
            &format!("web1:22 {line}"),
        ] {
            assert_eq!(judge(text, "web1", 22), Verdict::Unknown, "{text}");
        }
        assert_eq!(
            judge(&format!("web1 {line}"), "web1", 2222),
            Verdict::Unknown,
            "another port is another server"
        );
        let file = PathBuf::from("known_hosts");
        let other = line.replace("IB0", "IB1");
        assert_eq!(
            judge(&format!("\nweb1 {other}"), "web1", 22),
            Verdict::Changed { file: file.clone(), line: 2 }
        );
        let revoked = format!("@revoked * {line}\nweb1 {line}");
        assert_eq!(judge(&revoked, "web1", 22), Verdict::Revoked { file, line: 1 });
    }
}
