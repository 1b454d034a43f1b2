//! Looks at the source as the target looks at itself: what is at a path, and the hash of its content.

use std::io::{self, Read as _};

use super::VerifyError;
use super::teller::Teller;
use crate::model::{Content, FileKind, Owner, Sight, TreePath, Version, Xattr, XattrHash};
use crate::tree::{Seen, Tree};

/// What is read at once.
const BUFFER_BYTES: usize = 256 << 10;

/// What is at `path`, without the content of files; `None` when it is left out.
pub(super) fn look(tree: &Tree, path: &TreePath) -> Option<Sight> {
    Some(match tree.look(path) {
        Seen::Present(entry) => {
            let content = entry.destination.as_deref().map(Content::of);
            Sight::Present { version: entry.version, content }
        }
        Seen::Absent => Sight::Absent,
        Seen::Special => Sight::Foreign,
        Seen::Ignored => return None,
        Seen::Unreadable(cause) => Sight::Unreadable { cause },
    })
}

/// Whom a target has to know by name to tell of `path` by our numbers.
pub(super) fn owners(tree: &Tree, path: &TreePath, sight: &Sight) -> Option<(Owner, Vec<Xattr>)> {
    let Sight::Present { version, .. } = sight else { return None };
    let lists = if version.xattrs == XattrHash::NONE {
        Vec::new()
    } else {
        // What cannot be read now will show as a difference, and be looked at again.
        let mut xattrs = tree.xattrs(path).unwrap_or_default();
        xattrs.retain(|xattr| crate::metadata::is_acl(&xattr.name));
        xattrs
    };
    Some((version.owner, lists))
}

/// Bytes that have to be hashed.
pub(super) fn size(sight: &Sight) -> u64 {
    match sight {
        Sight::Present { version: Version { kind: FileKind::File, size, .. }, .. } => *size,
        _ => 0,
    }
}

/// Hashes what `sight` saw, if it is a file.
pub(super) fn hash(
    tree: &Tree,
    path: &TreePath,
    sight: Sight,
    teller: &mut Teller<'_>,
) -> Result<Sight, VerifyError> {
    let Sight::Present { version, content: None } = sight else { return Ok(sight) };
    if version.kind != FileKind::File {
        return Ok(sight);
    }
    Ok(match read(tree, path, version, teller)? {
        Ok(Some(content)) => Sight::Present { version, content: Some(content) },
        Err(error) if look(tree, path).as_ref() == Some(&sight) => {
            Sight::Unreadable { cause: error.to_string() }
        }
        // Something else may have taken its name: another look tells.
        Ok(None) | Err(_) => Sight::Changing,
    })
}

/// The hash of the file at `path`; `None` when that is, or becomes, another than `version`.
fn read(
    tree: &Tree,
    path: &TreePath,
    version: Version,
    teller: &mut Teller<'_>,
) -> Result<io::Result<Option<Content>>, VerifyError> {
    let opened = tree.open_file(path).and_then(|file| Ok((tree.version_of(&file)?.0, file)));
    let mut file = match opened {
        Ok((before, file)) if before == version => file,
        Ok(_) => return Ok(Ok(None)),
        Err(error) => return Ok(Err(error)),
    };
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; BUFFER_BYTES.min(usize::try_from(version.size).unwrap_or(usize::MAX).max(1))];
    loop {
        teller.tick()?;
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                hasher.update(&buffer[..count]);
                teller.counts.bytes += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Ok(Err(error)),
        }
    }
    let unchanged = tree.version_of(&file).map(|(after, _)| after == version);
    Ok(unchanged.map(|unchanged| unchanged.then(|| Content(hasher.finalize().into()))))
}
