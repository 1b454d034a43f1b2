//! Turns requests of SFTP version 3 into bytes, and bytes into answers: pure, with no sockets.
//!
//! ```text
//!  0        4      5      9
//!  │ length │ type │ id   │ the rest, by type          big endian; the length counts from the type on
//! ```
//!
//! The format is that of draft-ietf-secsh-filexfer-02, with the extensions of OpenSSH (its file
//! `PROTOCOL`, section 4). Where the two differ, as in the order of a symbolic link's arguments, it is
//! OpenSSH's way: every other server follows it.

use super::attributes::Attributes;

/// The version that all servers have.
pub(super) const VERSION: u32 = 3;

/// No server sends more in one packet (OpenSSH: `SFTP_MAX_MSG_LENGTH`).
const PACKET_BYTES_MAX: usize = 256 << 10;

/// Names of extensions that a server may tell of.
const EXTENSIONS_MAX: usize = 256;

/// For opening: `SSH_FXF_READ`, and write with create, and nothing there before.
pub(super) const READ: u32 = 0x01;
pub(super) const MAKE: u32 = 0x02 | 0x08 | 0x20;

const INIT: u8 = 1;
const HELLO: u8 = 2;
const EXTENDED: u8 = 200;

/// A request, with names as the server takes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request<'a> {
    Open {
        path: &'a [u8],
        flags: u32,
        attributes: Attributes,
    },
    Close(&'a [u8]),
    Read {
        handle: &'a [u8],
        offset: u64,
        length: u32,
    },
    Write {
        handle: &'a [u8],
        offset: u64,
        bytes: &'a [u8],
    },
    /// Not through symbolic links.
    LookAt(&'a [u8]),
    LookAtHandle(&'a [u8]),
    /// Through symbolic links.
    Set {
        path: &'a [u8],
        attributes: Attributes,
    },
    SetOnHandle {
        handle: &'a [u8],
        attributes: Attributes,
    },
    /// Not through symbolic links (`lsetstat@openssh.com`).
    SetHere {
        path: &'a [u8],
        attributes: Attributes,
    },
    OpenDirectory(&'a [u8]),
    ReadDirectory(&'a [u8]),
    Remove(&'a [u8]),
    MakeDirectory {
        path: &'a [u8],
        attributes: Attributes,
    },
    RemoveDirectory(&'a [u8]),
    WholeName(&'a [u8]),
    /// Where nothing is.
    Rename {
        from: &'a [u8],
        to: &'a [u8],
    },
    /// Over whatever is there, in one act (`posix-rename@openssh.com`).
    Replace {
        from: &'a [u8],
        to: &'a [u8],
    },
    ReadLink(&'a [u8]),
    Symlink {
        path: &'a [u8],
        destination: &'a [u8],
    },
    /// `hardlink@openssh.com`
    Link {
        from: &'a [u8],
        to: &'a [u8],
    },
    /// `fsync@openssh.com`
    Sync(&'a [u8]),
    /// `statvfs@openssh.com`
    FileSystem(&'a [u8]),
}

/// What a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    Status(Status),
    Handle(Vec<u8>),
    Data(Vec<u8>),
    Names(Vec<Name>),
    Attributes(Attributes),
    /// Of an extension.
    Other(Vec<u8>),
}

/// How a request went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) code: u32,
    pub(super) message: String,
}

impl Status {
    pub(super) const OK: u32 = 0;
    pub(super) const END: u32 = 1;
    /// Of a directory above as well.
    pub(super) const NO_SUCH_FILE: u32 = 2;
    pub(super) const DENIED: u32 = 3;
    pub(super) const FAILURE: u32 = 4;
}

/// One name of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) name: Vec<u8>,
    pub(super) attributes: Attributes,
}

/// Why bytes are no answer. The connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum PacketError {
    #[error("a packet claims {0} bytes, more than the {PACKET_BYTES_MAX} that are allowed")]
    TooLong(usize),
    #[error("a packet is not one of SFTP version {VERSION}")]
    Malformed,
}

/// What begins a connection.
pub(super) fn greeting() -> Vec<u8> {
    let mut out = Vec::new();
    packet(&mut out, |out| {
        out.push(INIT);
        out.extend_from_slice(&VERSION.to_be_bytes());
    });
    out
}

/// Appends `request` under the number `id`.
pub(super) fn encode(id: u32, request: &Request<'_>, out: &mut Vec<u8>) {
    let extended = |out: &mut Vec<u8>, name: &str| {
        head(out, EXTENDED, id);
        string(out, name.as_bytes());
    };
    packet(out, |out| match request {
        Request::Open { path, flags, attributes } => {
            head(out, 3, id);
            string(out, path);
            out.extend_from_slice(&flags.to_be_bytes());
            attributes.encode(out);
        }
        Request::Close(handle) => named(out, 4, id, handle),
        Request::Read { handle, offset, length } => {
            named(out, 5, id, handle);
            out.extend_from_slice(&offset.to_be_bytes());
            out.extend_from_slice(&length.to_be_bytes());
        }
        Request::Write { handle, offset, bytes } => {
            named(out, 6, id, handle);
            out.extend_from_slice(&offset.to_be_bytes());
            string(out, bytes);
        }
        Request::LookAt(path) => named(out, 7, id, path),
        Request::LookAtHandle(handle) => named(out, 8, id, handle),
        Request::Set { path, attributes } => {
            named(out, 9, id, path);
            attributes.encode(out);
        }
        Request::SetOnHandle { handle, attributes } => {
            named(out, 10, id, handle);
            attributes.encode(out);
        }
        Request::OpenDirectory(path) => named(out, 11, id, path),
        Request::ReadDirectory(handle) => named(out, 12, id, handle),
        Request::Remove(path) => named(out, 13, id, path),
        Request::MakeDirectory { path, attributes } => {
            named(out, 14, id, path);
            attributes.encode(out);
        }
        Request::RemoveDirectory(path) => named(out, 15, id, path),
        Request::WholeName(path) => named(out, 16, id, path),
        Request::Rename { from, to } => {
            named(out, 18, id, from);
            string(out, to);
        }
        Request::ReadLink(path) => named(out, 19, id, path),
        // The draft has them the other way round.
        Request::Symlink { path, destination } => {
            named(out, 20, id, destination);
            string(out, path);
        }
        Request::Replace { from, to } => {
            extended(out, "posix-rename@openssh.com");
            string(out, from);
            string(out, to);
        }
        Request::Link { from, to } => {
            extended(out, "hardlink@openssh.com");
            string(out, from);
            string(out, to);
        }
        Request::SetHere { path, attributes } => {
            extended(out, "lsetstat@openssh.com");
            string(out, path);
            attributes.encode(out);
        }
        Request::Sync(handle) => {
            extended(out, "fsync@openssh.com");
            string(out, handle);
        }
        Request::FileSystem(path) => {
            extended(out, "statvfs@openssh.com");
            string(out, path);
        }
    });
}

fn packet(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn head(out: &mut Vec<u8>, kind: u8, id: u32) {
    out.push(kind);
    out.extend_from_slice(&id.to_be_bytes());
}

fn named(out: &mut Vec<u8>, kind: u8, id: u32, name: &[u8]) {
    head(out, kind, id);
    string(out, name);
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Takes answers out of a stream of bytes that arrive in pieces.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    buffer: Vec<u8>,
    taken: usize,
}

impl Decoder {
    /// Adds bytes that have arrived.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The extensions that a server has, by name: what it begins with. `None` until more bytes arrive.
    pub(super) fn hello(&mut self) -> Result<Option<Vec<Vec<u8>>>, PacketError> {
        let Some(mut body) = self.body()? else { return Ok(None) };
        if body.byte()? != HELLO || body.number()? < VERSION {
            return Err(PacketError::Malformed);
        }
        let mut names = Vec::new();
        while !body.0.is_empty() && names.len() < EXTENSIONS_MAX {
            names.push(body.string()?.to_vec());
            // The extension's own version.
            body.string()?;
        }
        Ok(Some(names))
    }

    /// The next whole answer, with the number of what it answers; `None` until more bytes arrive.
    pub(super) fn take(&mut self) -> Result<Option<(u32, Reply)>, PacketError> {
        let Some(mut body) = self.body()? else { return Ok(None) };
        let (kind, id) = (body.byte()?, body.number()?);
        let reply = match kind {
            101 => {
                let code = body.number()?;
                // Some servers leave the message out.
                let message = if body.0.is_empty() { &[][..] } else { body.string()? };
                Reply::Status(Status { code, message: shown(message) })
            }
            102 => Reply::Handle(body.string()?.to_vec()),
            103 => Reply::Data(body.string()?.to_vec()),
            104 => {
                let count = body.number()?;
                let mut names = Vec::new();
                for _ in 0..count {
                    let name = body.string()?.to_vec();
                    // As `ls -l` has it.
                    body.string()?;
                    names.push(Name { name, attributes: body.attributes()? });
                }
                Reply::Names(names)
            }
            105 => Reply::Attributes(body.attributes()?),
            201 => Reply::Other(body.0.to_vec()),
            _ => return Err(PacketError::Malformed),
        };
        Ok(Some((id, reply)))
    }

    /// What stands behind the length of the next packet.
    fn body(&mut self) -> Result<Option<Body<'_>>, PacketError> {
        let waiting = &self.buffer[self.taken..];
        let Some((length, rest)) = waiting.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length > PACKET_BYTES_MAX {
            return Err(PacketError::TooLong(length));
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        self.taken += 4 + length;
        Ok(Some(Body(body)))
    }
}

/// A packet that is being read.
#[derive(Debug)]
pub(super) struct Body<'a>(pub(super) &'a [u8]);

impl<'a> Body<'a> {
    fn byte(&mut self) -> Result<u8, PacketError> {
        let (first, rest) = self.0.split_first().ok_or(PacketError::Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn number(&mut self) -> Result<u32, PacketError> {
        let (first, rest) = self.0.split_first_chunk::<4>().ok_or(PacketError::Malformed)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*first))
    }

    pub(super) fn long(&mut self) -> Result<u64, PacketError> {
        let (first, rest) = self.0.split_first_chunk::<8>().ok_or(PacketError::Malformed)?;
        self.0 = rest;
        Ok(u64::from_be_bytes(*first))
    }

    pub(super) fn string(&mut self) -> Result<&'a [u8], PacketError> {
        let length = self.number()? as usize;
        let (string, rest) = self.0.split_at_checked(length).ok_or(PacketError::Malformed)?;
        self.0 = rest;
        Ok(string)
    }

    fn attributes(&mut self) -> Result<Attributes, PacketError> {
        Attributes::decode(self)
    }
}

/// A server's words, for people.
fn shown(message: &[u8]) -> String {
    const CHARACTERS_MAX: usize = 200;
    let text = String::from_utf8_lossy(message);
    text.chars().filter(|character| !character.is_control()).take(CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reply(kind: u8, id: u32, rest: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        packet(&mut out, |out| {
            head(out, kind, id);
            out.extend_from_slice(rest);
        });
        out
    }

    #[test]
    fn requests_are_as_openssh_reads_them() {
        let mut out = Vec::new();
        encode(7, &Request::Symlink { path: b"new", destination: b"to" }, &mut out);
        assert_eq!(out, b"\0\0\0\x12\x14\0\0\0\x07\0\0\0\x02to\0\0\0\x03new");
        out.clear();
        encode(1, &Request::Replace { from: b"a", to: b"b" }, &mut out);
        assert_eq!(out, b"\0\0\0\x2b\xc8\0\0\0\x01\0\0\0\x18posix-rename@openssh.com\0\0\0\x01a\0\0\0\x01b");
        assert_eq!(greeting(), b"\0\0\0\x05\x01\0\0\0\x03");
    }

    #[test]
    fn a_greeting_tells_the_extensions() {
        let mut decoder = Decoder::default();
        let mut hello = Vec::new();
        packet(&mut hello, |out| {
            out.extend_from_slice(b"\x02\0\0\0\x03");
            string(out, b"fsync@openssh.com");
            string(out, b"1");
        });
        let (first, rest) = hello.split_at(9);
        decoder.extend(first);
        assert_eq!(decoder.hello(), Ok(None));
        decoder.extend(rest);
        assert_eq!(decoder.hello(), Ok(Some(vec![b"fsync@openssh.com".to_vec()])));
        let mut decoder = Decoder::default();
        decoder.extend(b"Welcome to this machine");
        assert!(matches!(decoder.hello(), Err(PacketError::TooLong(_))), "a login script prints");
    }

    #[test]
    fn answers_are_taken_with_their_number() {
        let mut decoder = Decoder::default();
        decoder.extend(&reply(101, 3, b"\0\0\0\x02\0\0\0\x04gone\0\0\0\0"));
        decoder.extend(&reply(101, 4, b"\0\0\0\0"));
        decoder.extend(&reply(104, 5, b"\0\0\0\x01\0\0\0\x01f\0\0\0\0\0\0\0\0"));
        let status = |code, message: &str| Reply::Status(Status { code, message: message.to_owned() });
        assert_eq!(decoder.take(), Ok(Some((3, status(2, "gone")))));
        assert_eq!(decoder.take(), Ok(Some((4, status(0, "")))));
        let name = Name { name: b"f".to_vec(), attributes: Attributes::default() };
        assert_eq!(decoder.take(), Ok(Some((5, Reply::Names(vec![name])))));
        assert_eq!(decoder.take(), Ok(None));
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let long = (PACKET_BYTES_MAX as u32 + 1).to_be_bytes();
        for (bytes, error) in [
            (long.to_vec(), PacketError::TooLong(PACKET_BYTES_MAX + 1)),
            (reply(102, 1, &[0xff; 4]), PacketError::Malformed),
            (reply(104, 1, b"\xff\xff\xff\xff"), PacketError::Malformed),
            (reply(99, 1, b""), PacketError::Malformed),
            (b"\0\0\0\x01\x65".to_vec(), PacketError::Malformed),
        ] {
            let mut decoder = Decoder::default();
            decoder.extend(&bytes);
            assert_eq!(decoder.take(), Err(error), "{bytes:?}");
        }
    }

    proptest! {
        /// I6: whatever comes, nothing is kept that did not come, and nothing panics.
        #[test]
        fn hostile_bytes_do_no_harm(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..20)) {
            let mut decoder = Decoder::default();
            for piece in pieces {
                decoder.extend(&piece);
                while let Ok(Some(_)) = decoder.take() {}
            }
        }

        #[test]
        fn answers_survive_being_cut_anywhere(code: u32, id: u32, message in "[a-z ]{0,50}", cut: prop::sample::Index) {
            let mut rest = code.to_be_bytes().to_vec();
            string(&mut rest, message.as_bytes());
            let bytes = reply(101, id, &rest);
            let (first, last) = bytes.split_at(cut.index(bytes.len()));
            let mut decoder = Decoder::default();
            decoder.extend(first);
            prop_assert_eq!(decoder.take(), Ok(None));
            decoder.extend(last);
            prop_assert_eq!(decoder.take(), Ok(Some((id, Reply::Status(Status { code, message })))));
        }
    }
}
