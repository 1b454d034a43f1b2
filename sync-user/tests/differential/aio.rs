//! Writes by the kernel's asynchronous requests (`io_submit`), which no library wraps any more.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

use nix::errno::Errno;

/// `struct iocb` of `linux/aio_abi.h`, little-endian.
#[repr(C)]
#[derive(Default)]
struct Request {
    data: u64,
    key: u32,
    flags_of_rw: i32,
    operation: u16,
    priority: i16,
    file: u32,
    buffer: u64,
    bytes: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    result_file: u32,
}

/// `struct io_event`.
#[repr(C)]
#[derive(Default)]
struct Event {
    data: u64,
    request: u64,
    result: i64,
    result_more: i64,
}

/// `IOCB_CMD_PWRITE`.
const WRITE: u16 = 1;

/// Writes `bytes` at the beginning of `file`, by one request that is waited for.
pub(crate) fn write(file: &File, bytes: &[u8]) -> io::Result<()> {
    let mut context = 0_u64;
    // SAFETY: the kernel writes the context's number to where it is told.
    Errno::result(unsafe { libc::syscall(libc::SYS_io_setup, 1, &raw mut context) })?;
    let written = submit(context, file, bytes);
    // SAFETY: the context is the one that was just made, and nothing of it is on its way.
    Errno::result(unsafe { libc::syscall(libc::SYS_io_destroy, context) })?;
    written
}

fn submit(context: u64, file: &File, bytes: &[u8]) -> io::Result<()> {
    let mut request = Request {
        operation: WRITE,
        file: file.as_raw_fd().cast_unsigned(),
        buffer: bytes.as_ptr() as u64,
        bytes: bytes.len() as u64,
        ..Request::default()
    };
    let requests = [&raw mut request];
    // SAFETY: the request, its bytes and its file outlive it, since it is waited for.
    Errno::result(unsafe { libc::syscall(libc::SYS_io_submit, context, 1, requests.as_ptr()) })?;
    let mut event = Event::default();
    let forever: *const libc::timespec = std::ptr::null();
    // SAFETY: there is room for one event.
    let events = unsafe { libc::syscall(libc::SYS_io_getevents, context, 1, 1, &raw mut event, forever) };
    Errno::result(events)?;
    let failed = i32::try_from(event.result).ok().filter(|result| *result < 0);
    failed.map_or(Ok(()), |error| Err(io::Error::from_raw_os_error(-error)))
}
