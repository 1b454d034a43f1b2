//! Knows whose replica a root is: a source that nobody announced is refused.
//!
//! Two sources that replicate into one directory would remove and replace each other's files, and
//! each would be right. So the stage holds the names of the sources that were let in: the first one,
//! and those that asked to share the root.

use std::os::fd::OwnedFd;

use super::failure::OpenError;
use crate::home::note;

const FILE: &str = "sources";

/// Sources that one root remembers; of more, those that came first are forgotten.
const SOURCES_MAX: usize = 64;

/// Each line is the source's number and its name, which is no longer than this.
const NAME_BYTES_MAX: usize = 1_024;

/// Lets `source` in, called `name`, if it is known, or the first one, or `shares` the root; else says
/// whose that is. What cannot be written down, as the disk is full, has to be said again.
pub(super) fn admit(home: &OwnedFd, source: &[u8; 16], name: &str, shares: bool) -> Result<(), OpenError> {
    let mut known = read(home);
    let number = format!("{:032x}", u128::from_be_bytes(*source));
    if known.iter().any(|line| line.starts_with(&number)) {
        return Ok(());
    }
    if !known.is_empty() && !shares {
        let others: Vec<&str> = known.iter().filter_map(|line| Some(line.split_once(' ')?.1)).collect();
        return Err(OpenError {
            what: format!("the target is the replica of another source: {}", others.join(", ")),
            remedy: "give each source a directory of its own; if this one takes its place, or both are to \
                     write there, start it once with --shared-target"
                .to_owned(),
        });
    }
    let name: String = name.escape_default().take(NAME_BYTES_MAX).collect();
    known.push(format!("{number} {name}"));
    let surplus = known.len().saturating_sub(SOURCES_MAX);
    known.drain(..surplus);
    let _unwritten = note::write(home, FILE, (known.join("\n") + "\n").as_bytes());
    Ok(())
}

/// Whether more than one was let in.
pub(super) fn are_several(home: &OwnedFd) -> bool {
    read(home).len() > 1
}

/// The lines that are there; what cannot be read is none.
fn read(home: &OwnedFd) -> Vec<String> {
    let limit = (SOURCES_MAX * (NAME_BYTES_MAX + 64)) as u64;
    let bytes = note::read(home, FILE, limit).unwrap_or_default();
    String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn the_first_source_and_those_that_share_are_let_in() {
        let directory = tempfile::tempdir().unwrap();
        let home = OwnedFd::from(File::open(directory.path()).unwrap());
        let admit = |source: u8, name: &str, shares| admit(&home, &[source; 16], name, shares);
        assert_eq!(admit(1, "web1:/srv\n/www", false), Ok(()));
        assert_eq!(admit(1, "web1:/srv\n/www", false), Ok(()));
        let refused = admit(2, "web2:/srv", false).unwrap_err();
        assert_eq!(refused.what, r"the target is the replica of another source: web1:/srv\n/www");
        assert!(!are_several(&home));
        assert_eq!(admit(2, "web2:/srv", true), Ok(()));
        assert!(are_several(&home));
        assert_eq!(
            (admit(2, "web2:/srv", false), admit(1, "web1:/", false)),
            (Ok(()), Ok(())),
            "from then on"
        );
        assert!(admit(3, "web3:/", false).unwrap_err().what.ends_with(", web2:/srv"));
        for source in 10..100 {
            assert_eq!(admit(source, &"long".repeat(1_000), true), Ok(()));
        }
        assert_eq!(read(&home).len(), SOURCES_MAX);
    }
}
