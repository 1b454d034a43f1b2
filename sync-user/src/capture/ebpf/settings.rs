//! Finds out what the programs have to know of this kernel.

use nix::sys::statfs::{EXT4_SUPER_MAGIC, FsType, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, XFS_SUPER_MAGIC};
use sync_ebpf::{DENTRY_WORDS, Settings};

use super::btf::Btf;
use super::hooks::{HOOKS, Hook};

/// File systems that draw a generation for each new inode, or count it up. Others show the same
/// number and generation twice (the snapshots of btrfs), or have none (overlays), or were not
/// looked at.
const INODES_ARE_UNIQUE: [FsType; 3] = [EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, TMPFS_MAGIC];

/// The first field that this kernel does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the kernel has no `{0}`")]
pub(super) struct Missing(String);

/// Reads the settings from the kernel's type information, for a root on a file system of this
/// kind.
pub(super) fn settings(btf: &Btf, kind: FsType) -> Result<Settings, Missing> {
    for Hook { function, arguments } in HOOKS {
        if btf.arguments(function) != Some(arguments) {
            return Err(Missing(format!("{function}() with {arguments} arguments")));
        }
    }
    let field = |structure: &str, name: &str| {
        btf.offset(structure, name).ok_or_else(|| Missing(format!("struct {structure}.{name}")))
    };
    let value = |name: &str| {
        btf.enumerator("fsnotify_data_type", name)
            .ok_or_else(|| Missing(format!("fsnotify_data_type.{name}")))
    };
    Ok(Settings {
        dentry_words: words(btf)?,
        dentry_inode: field("dentry", "d_inode")?,
        dentry_superblock: field("dentry", "d_sb")?,
        // It left its union in Linux 7.
        dentry_alias: field("dentry", "d_u.d_alias").or_else(|_| field("dentry", "d_alias"))?,
        inode_number: field("inode", "i_ino")?,
        inode_superblock: field("inode", "i_sb")?,
        inode_mode: field("inode", "i_mode")?,
        inode_links: field("inode", "i_nlink")?,
        inode_generation: field("inode", "i_generation")?,
        inode_dentries: field("inode", "i_dentry.first")?,
        inodes_are_unique: u32::from(INODES_ARE_UNIQUE.contains(&kind)),
        superblock_root: field("super_block", "s_root")?,
        file_dentry: field("file", "f_path.dentry")?,
        backing_dentry: if kind == OVERLAYFS_SUPER_MAGIC {
            // Since Linux 6.8; before, such a file has the overlay's name itself.
            field("backing_file", "user_path.dentry").unwrap_or(Settings::NONE)
        } else {
            Settings::NONE
        },
        path_dentry: field("path", "dentry")?,
        name_bytes: field("qstr", "name")?,
        // Renames pass a struct of their own in Linux 7; before, the dentry.
        rename_moved: field("fsnotify_rename_data", "moved").unwrap_or(Settings::NONE),
        data_path: value("FSNOTIFY_EVENT_PATH")?,
        data_inode: value("FSNOTIFY_EVENT_INODE")?,
        data_dentry: value("FSNOTIFY_EVENT_DENTRY")?,
        data_rename: value("FSNOTIFY_EVENT_RENAME").unwrap_or(Settings::NONE),
    })
}

/// Where the words of a dentry begin that are read at once, if they stand side by side.
fn words(btf: &Btf) -> Result<u32, Missing> {
    const NAMES: [&str; DENTRY_WORDS] = ["d_hash.pprev", "d_parent", "d_name.hash_len", "d_name.name"];
    let first =
        btf.offset("dentry", NAMES[0]).ok_or_else(|| Missing(format!("struct dentry.{}", NAMES[0])))?;
    for (index, name) in (0..).zip(NAMES) {
        if btf.offset("dentry", name) != Some(first + 8 * index) {
            return Err(Missing(format!("struct dentry.{name} behind {}", NAMES[0])));
        }
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_field_in_the_running_kernel() {
        let Ok(bytes) = std::fs::read(crate::capture::ebpf::BTF) else {
            println!("skipped: this kernel has no type information");
            return;
        };
        let settings = settings(&Btf::parse(bytes).unwrap(), OVERLAYFS_SUPER_MAGIC).unwrap();
        assert_ne!(settings.dentry_words, settings.dentry_inode);
    }
}
