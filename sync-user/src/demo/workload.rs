//! Changes a tree in every way that a web root is changed: for the demonstration and the tests.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use crate::clock;

/// Does each operation once, in an order in which the ones before matter to the ones after.
/// `root` has to be empty.
pub fn scripted(root: &Path) -> io::Result<()> {
    let at = |name: &str| root.join(name);
    fs::create_dir_all(at("pages/deep/er"))?;
    fs::write(at("index.html"), "<h1>one</h1>")?;
    fs::write(at("pages/a.html"), "a")?;
    fs::write(at("pages/b.html"), "bb")?;
    fs::write(at("pages/deep/er/c.html"), "ccc")?;
    File::create(at("empty"))?;
    append(&at("index.html"), b"<p>appended</p>")?;
    OpenOptions::new().write(true).open(at("pages/b.html"))?.set_len(1)?;
    truncate(&at("pages/a.html"), 0)?;
    fs::write(at("mapped"), [b'.'; 8192])?;
    write_mapped(&at("mapped"), 4097, b"through a memory map")?;
    fs::rename(at("pages/deep"), at("pages/deeper"))?;
    fs::rename(at("index.html"), at("pages/index.html"))?;
    fs::write(at("one"), "content of one")?;
    fs::write(at("other"), "content of other, longer")?;
    exchange(&at("one"), &at("other"))?;
    fs::write(at("gone"), "x")?;
    fs::remove_file(at("gone"))?;
    fs::create_dir_all(at("gone-too/inner"))?;
    fs::remove_dir_all(at("gone-too"))?;
    symlink("pages/index.html", at("link"))?;
    symlink("/nowhere/at/all", at("dangling"))?;
    fs::hard_link(at("one"), at("hard"))?;
    append(&at("hard"), b" through the other name")?;
    fs::set_permissions(at("other"), PermissionsExt::from_mode(0o640))?;
    fs::set_permissions(at("pages"), PermissionsExt::from_mode(0o2755))?;
    set_mtime(&at("empty"), Duration::new(1_234_567_890, 123_456_789))?;
    // Over an existing name, as editors and deployments do.
    fs::write(at("page.new"), "published")?;
    fs::rename(at("page.new"), at("pages/b.html"))?;
    // What was a file is a directory, and the other way round.
    fs::remove_file(at("mapped"))?;
    fs::create_dir(at("mapped"))?;
    fs::write(at("mapped/inside"), "y")?;
    fs::remove_dir_all(at("pages/deeper"))?;
    fs::write(at("pages/deeper"), "a file now")?;
    Ok(())
}

/// Names that many writers share, so that they collide; few, so that they do so all the time.
const DIRECTORIES: [&str; 8] = ["", "a", "b", "c", "a/a", "a/b", "b/a", "c/c/c"];
const FILES: [&str; 6] = ["f", "g", "h", "x.html", "y.css", "\u{e4}\u{f6} .txt"];

/// What a random writer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Done {
    /// Operations that the file system carried out.
    pub done: u64,
    /// Operations that it refused, because another writer had been there.
    pub refused: u64,
}

/// One of several writers that change the same names at random for `span`. The same seed gives
/// the same operations; what they meet depends on the others.
fn random(root: &Path, seed: u64, span: Duration) -> Done {
    let mut random = fastrand::Rng::with_seed(seed);
    let end = clock::now().plus(span);
    let mut done = Done::default();
    while clock::now() < end {
        match one_operation(root, &mut random) {
            Ok(()) => done.done += 1,
            Err(_) => done.refused += 1,
        }
    }
    done
}

/// Several writers at once, one for each seed.
pub fn collide(root: &Path, seeds: Range<u64>, span: Duration) -> Vec<Done> {
    thread::scope(|scope| {
        let writers: Vec<_> = seeds.map(|seed| scope.spawn(move || random(root, seed, span))).collect();
        let joined = writers.into_iter().map(thread::ScopedJoinHandle::join);
        joined.map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

fn one_operation(root: &Path, random: &mut fastrand::Rng) -> io::Result<()> {
    let directory = |random: &mut fastrand::Rng| root.join(random.choice(DIRECTORIES).unwrap_or_default());
    let file = |random: &mut fastrand::Rng| directory(random).join(random.choice(FILES).unwrap_or_default());
    let path = file(random);
    match random.u8(..100) {
        0..30 => {
            let mut content = vec![0; random.usize(0..10_000)];
            random.fill(&mut content);
            fs::write(path, content)
        }
        30..38 => append(&path, &[random.u8(..); 17]),
        38..42 => truncate(&path, random.u64(0..100)),
        42..45 => write_mapped(&path, 0, &[random.u8(..); 3]),
        45..55 => fs::rename(path, file(random)),
        55..58 => exchange(&path, &file(random)),
        58..66 => fs::create_dir_all(directory(random)),
        66..71 => fs::rename(directory(random), directory(random)),
        71..73 => exchange(&directory(random), &directory(random)),
        73..83 => fs::remove_file(path),
        83..85 => remove_directory(root, &directory(random)),
        85..88 => symlink(random.choice(FILES).unwrap_or_default(), path),
        88..91 => fs::hard_link(path, file(random)),
        91..95 => fs::set_permissions(path, PermissionsExt::from_mode(0o600 | random.u32(0..0o200))),
        95..98 => set_mtime(&path, Duration::new(random.u64(0..2_000_000_000), random.u32(0..1_000_000_000))),
        _ => replace(&path, &[random.u8(..); 300]),
    }
}

fn remove_directory(root: &Path, directory: &Path) -> io::Result<()> {
    if directory == root { Ok(()) } else { fs::remove_dir_all(directory) }
}

/// Writes a new file and renames it over the old one, as deployments do.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut temporary = path.to_owned().into_os_string();
    temporary.push(".new");
    fs::write(&temporary, content)?;
    fs::rename(temporary, path)
}

/// Adds to the end of an existing file.
pub fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().append(true).open(path)?.write_all(bytes)
}

/// Sets the size by path, without opening the file.
fn truncate(path: &Path, size: u64) -> io::Result<()> {
    nix::unistd::truncate(path, size.cast_signed()).map_err(io::Error::from)
}

/// Stores bytes through a shared memory map, which no write call announces.
fn write_mapped(path: &Path, at: usize, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let size = file.seek(SeekFrom::End(0))? as usize;
    let Some(length) = std::num::NonZeroUsize::new(size).filter(|_| at + bytes.len() <= size) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    // SAFETY: a new map of `size` bytes at an address that the kernel chooses. Another writer
    // may truncate the file meanwhile, and a store past its end would be a fault; so the map is
    // written by the kernel instead of by us.
    unsafe {
        let map = mmap(
            None,
            length,
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            MapFlags::MAP_SHARED,
            file.as_fd(),
            0,
        )?;
        // A pipe copies into the map, and reports a fault as an error instead of a signal.
        let (reader, writer) = nix::unistd::pipe()?;
        nix::unistd::write(&writer, bytes)?;
        let target = std::slice::from_raw_parts_mut(map.as_ptr().cast::<u8>().add(at), bytes.len());
        let result = nix::unistd::read(&reader, target);
        munmap(map, size)?;
        result?;
    }
    Ok(())
}

/// Swaps two names in one act.
pub fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    let here = rustix::fs::CWD;
    Ok(rustix::fs::renameat_with(here, one, here, other, rustix::fs::RenameFlags::EXCHANGE)?)
}

fn set_mtime(path: &Path, since_1970: Duration) -> io::Result<()> {
    let spec = nix::sys::time::TimeSpec::from_duration(since_1970);
    nix::sys::stat::utimensat(
        nix::fcntl::AT_FDCWD,
        path,
        &spec,
        &spec,
        nix::sys::stat::UtimensatFlags::NoFollowSymlink,
    )
    .map_err(io::Error::from)
}
