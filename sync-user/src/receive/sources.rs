//! Lets a source in, or refuses it: a root is the replica of those that its note names.

use std::os::fd::OwnedFd;

use super::failure::OpenError;
use crate::home::note;
use crate::home::sources::{BYTES_MAX, NAME, REMEDY, Sources};

/// Lets `source` in, called `name`, if it is known, or the first one, or `shares` the root; else says
/// whose that is. What cannot be written down, as the disk is full, has to be said again.
pub(super) fn admit(home: &OwnedFd, source: &[u8; 16], name: &str, shares: bool) -> Result<(), OpenError> {
    let mut known = read(home);
    let is_new =
        known.admit(source, name, shares).map_err(|what| OpenError { what, remedy: REMEDY.to_owned() })?;
    if is_new {
        let _unwritten = note::write(home, NAME, &known.note());
    }
    Ok(())
}

/// Whether more than one was let in.
pub(super) fn are_several(home: &OwnedFd) -> bool {
    read(home).len() > 1
}

/// Those that are noted; what cannot be read is none.
fn read(home: &OwnedFd) -> Sources {
    Sources::of_note(&note::read(home, NAME, BYTES_MAX).unwrap_or_default())
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
        assert_eq!(read(&home).len(), 64);
    }
}
