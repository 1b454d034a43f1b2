//! Measures what changes of one large file cost, in time and in bytes.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::contender::{self, Contender};
use super::content::noise;
use super::line::Line;
use super::place::{self, Place};
use super::{Bench, Sample, wire};

const FILE_BYTES: usize = 128 << 20;
const SAMPLES: u64 = 5;

/// Bytes of a file that is on its way for seconds.
const NEW_BYTES: usize = 1 << 30;

/// The file whose changes are measured.
pub(crate) const NAME: &str = "large";

/// Puts a new file into the source, at once.
pub(crate) fn write_new(place: &Place, name: &str) -> Result<()> {
    let prepared = place.path().join("prepared");
    fs::write(&prepared, noise(name.len() as u64, NEW_BYTES))?;
    Ok(fs::rename(&prepared, place.source().join(name))?)
}

/// Puts new files into the source, one after the other. The first one is for everybody to get going.
pub(crate) fn bulk(contender: Contender, ksyncd: &Path, far: Option<Line>) -> Result<Vec<Sample>> {
    let place = Place::new(far)?;
    let running = contender::begin(contender, ksyncd, &place)?;
    let samples = ["a", "ab", "abc"].map(|name| {
        write_new(&place, name)?;
        let (began, before) = (Instant::now(), wire::bytes()?);
        if running.is_none() {
            contender::copy(contender, &place)?;
        }
        place::wait("the file is at the target", Duration::from_millis(1), || {
            place.target().join(name).exists()
        })?;
        let time = began.elapsed();
        // The disk is to have room for the next.
        fs::remove_file(place.source().join(name))?;
        Ok(Sample { time, bytes: wire::bytes()? - before })
    });
    samples.into_iter().skip(1).collect()
}

/// Changes the file again and again, and waits for each change to arrive.
pub(crate) fn measure(
    bench: Bench,
    contender: Contender,
    ksyncd: &Path,
    far: Option<Line>,
) -> Result<Vec<Sample>> {
    let place = Place::new(far)?;
    let mut content = noise(0, FILE_BYTES);
    fs::write(place.source().join(NAME), &content)?;
    let running = contender::begin(contender, ksyncd, &place)?;
    (1..=SAMPLES)
        .map(|number| {
            let changed = if bench == Bench::Copy { format!("copy-{number}") } else { NAME.to_owned() };
            let (source, target) = (place.source().join(&changed), place.target().join(&changed));
            // A second apart, as rsync looks at no finer times by default.
            std::thread::sleep(Duration::from_millis(1_100));
            let appended = change(bench, number, &mut content);
            let prepared = place.path().join("prepared");
            if appended.is_empty() {
                fs::write(&prepared, &content)?;
            }
            let (began, before) = (Instant::now(), wire::bytes()?);
            if appended.is_empty() {
                fs::rename(&prepared, &source)?;
            } else {
                File::options().append(true).open(&source)?.write_all(&appended)?;
            }
            if running.is_none() {
                contender::copy(contender, &place)?;
            }
            let expected = fs::metadata(&source)?;
            let is_there = |metadata: &fs::Metadata| {
                metadata.len() == expected.len() && metadata.modified().ok() == expected.modified().ok()
            };
            // Both give the file its name last.
            place::wait("the change is at the target", Duration::from_millis(1), || {
                fs::metadata(&target).is_ok_and(|metadata| is_there(&metadata))
            })?;
            let time = began.elapsed();
            // The answer is on its way.
            std::thread::sleep(Duration::from_millis(300));
            let bytes = wire::bytes()? - before;
            if fs::read(&target)? != content {
                bail!("the target has another content");
            }
            Ok(Sample { time, bytes })
        })
        .collect()
}

/// Changes the content; gives what was only added to it.
fn change(bench: Bench, number: u64, content: &mut Vec<u8>) -> Vec<u8> {
    match bench {
        Bench::Insert => {
            let middle = content.len() / 2;
            content.splice(middle..middle, noise(number, 1 << 10));
        }
        Bench::Scatter => {
            // One per cent, in blocks of 4 KiB as databases write them.
            let places = noise(number, FILE_BYTES / 100 / 4096 * 8);
            for (index, place) in places.as_chunks::<8>().0.iter().enumerate() {
                let at = u64::from_le_bytes(*place) as usize % (content.len() / 4096) * 4096;
                content[at..at + 4096].copy_from_slice(&noise(number << 32 | index as u64, 4096));
            }
        }
        Bench::Append => {
            let tail = noise(number, 64 << 10);
            content.extend_from_slice(&tail);
            return tail;
        }
        Bench::Whole => *content = noise(number, FILE_BYTES),
        _ => {}
    }
    Vec::new()
}
