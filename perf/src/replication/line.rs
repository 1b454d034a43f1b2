//! Makes the way to the target long: a line that everything shares, and on which it takes its time.
//!
//! Written here, since the kernel's own way (netem) is not in every kernel.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// From Moscow to Amsterdam and back.
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(45);

/// A line to another continent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    /// What it carries in either direction, of all connections together, in Mbit/s.
    pub(crate) mbit: u32,
}

impl Line {
    fn bytes_a_second(self) -> f64 {
        f64::from(self.mbit) * 125e3
    }
}

const PIECE_BYTES: usize = 64 << 10;

/// Pieces on their way in one direction of one connection: more than any window of SSH, so that it is
/// the windows that limit, as on a real line.
const PIECES_MAX: usize = 1024;

/// When the line is free again.
type Free = Arc<Mutex<Instant>>;

/// Takes connections at a port of loopback until the program ends, and makes one to `to` for each.
pub(crate) fn lay(line: Line, to: u16) -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen")?;
    let port = listener.local_addr().context("listen")?.port();
    let directions: [Free; 2] = std::array::from_fn(|_| Arc::new(Mutex::new(Instant::now())));
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let (Ok(near), Ok(far)) = (near, TcpStream::connect(SocketAddrV4::new(Ipv4Addr::LOCALHOST, to)))
            else {
                continue;
            };
            let ends = [(&near, &far), (&far, &near)];
            for ((from, to), free) in ends.into_iter().zip(&directions) {
                // Nothing is to wait for company, beyond the delay.
                let pair = from.set_nodelay(true).and_then(|()| Ok((from.try_clone()?, to.try_clone()?)));
                if let Ok((from, to)) = pair {
                    carry(from, to, line, Arc::clone(free));
                }
            }
        }
    });
    Ok(port)
}

/// Passes on in one direction until either end closes.
fn carry(mut from: TcpStream, mut to: TcpStream, line: Line, free: Free) {
    let (sender, pieces) = mpsc::sync_channel::<(Instant, Vec<u8>)>(PIECES_MAX);
    std::thread::spawn(move || {
        let mut buffer = vec![0; PIECE_BYTES];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let sent = {
                let mut free = free.lock().unwrap_or_else(PoisonError::into_inner);
                let takes = Duration::from_secs_f64(count as f64 / line.bytes_a_second());
                *free = (*free).max(Instant::now()) + takes;
                *free
            };
            if sender.send((sent + ROUND_TRIP / 2, buffer[..count].to_vec())).is_err() {
                break;
            }
        }
    });
    std::thread::spawn(move || {
        for (due, piece) in pieces {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        let _closed = to.shutdown(Shutdown::Both);
    });
}
