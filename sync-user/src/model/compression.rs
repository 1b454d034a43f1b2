//! Says what is compressed on its way.

/// Which frames are compressed; one that would not get shorter never is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    Never,
    /// Those of which a sample shrinks.
    #[default]
    Auto,
    Always,
}
