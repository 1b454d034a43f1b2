//! Says what a verification has found, and how far it is: what those are told who asked for it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Something to tell while a verification is at work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum News {
    /// How far it is, about once a second.
    Progress(Verification),
    Found(Found),
    Unverified(Unverified),
}

/// How much was compared, with however many targets.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Verification {
    /// Paths of the source, directories too.
    pub paths: u64,
    /// Files among them.
    pub files: u64,
    /// Bytes of the source that were hashed: those of files that are looked at again count again.
    pub bytes: u64,
    pub seconds: f64,
}

/// A path that is not the same at both ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    pub target: String,
    /// Below the root; bytes that are not UTF-8 are escaped.
    pub path: String,
    pub outcome: Outcome,
    /// In what it differs; of what was mended, in what it did.
    pub differs: Vec<Differs>,
}

/// What came of a path that was not the same at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It stays so, and nothing is on its way that would change that.
    Different,
    /// It was sent again, and is the same now.
    Mended,
    /// It changes again and again, so that nothing can be said.
    Changing,
}

/// What is not the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Differs {
    /// Only the source has it.
    Missing,
    /// Only the target has it.
    Extra,
    /// A file here, a directory there, and the like.
    Kind,
    Content,
    /// Where a symbolic link leads.
    LinkTarget,
    Mode,
    Owner,
    Group,
    /// The modification time.
    Time,
    /// Extended attributes, or an access control list.
    Xattrs,
}

/// A path that could not be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unverified {
    /// `None` when it is the source's that cannot be read.
    pub target: Option<String>,
    pub path: String,
    pub cause: String,
}

/// What a verification came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verified {
    #[serde(flatten)]
    pub compared: Verification,
    /// Paths that could not be read at the source.
    pub unreadable: u64,
    pub targets: Vec<VerifiedTarget>,
}

/// How one target compares.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VerifiedTarget {
    pub name: String,
    /// Why not all was compared with it; `None` when all was.
    pub ended: Option<String>,
    /// Paths that differ.
    pub different: u64,
    /// How many of them differ in what: a path may differ in several ways.
    pub by_kind: BTreeMap<Differs, u64>,
    pub mended: u64,
    pub changing: u64,
    /// Paths that could not be read there.
    pub unreadable: u64,
}

impl Verified {
    /// Whether any path of any target is known to differ.
    pub fn differs(&self) -> bool {
        self.targets.iter().any(|target| target.different > 0)
    }

    /// Whether everything could be compared with every target.
    pub fn is_complete(&self) -> bool {
        let is_complete =
            |target: &VerifiedTarget| target.ended.is_none() && target.changing + target.unreadable == 0;
        self.unreadable == 0 && self.targets.iter().all(is_complete)
    }
}

impl fmt::Display for Differs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Kind => "kind",
            Self::Content => "content",
            Self::LinkTarget => "link target",
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::Group => "group",
            Self::Time => "time",
            Self::Xattrs => "xattrs",
        })
    }
}
