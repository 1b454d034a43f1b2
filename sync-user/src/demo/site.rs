//! Makes a small web root, of the kinds of files that web roots have.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Fills `root`, which has to exist; the same seed makes the same files.
pub fn make(root: &Path, seed: u64) -> io::Result<()> {
    let mut random = fastrand::Rng::with_seed(seed);
    for directory in ["css", "js", "img/thumbs", "blog/2025", "blog/2026", "empty"] {
        fs::create_dir_all(root.join(directory))?;
    }
    fs::write(root.join("index.html"), page("Welcome", 20))?;
    fs::write(root.join("css/site.css"), "body { margin: 2em auto; max-width: 40em }\n".repeat(40))?;
    fs::write(root.join("js/site.js"), "document.body.dataset.ready = 'yes';\n".repeat(60))?;
    for number in 0..60 {
        let year = 2025 + number % 2;
        fs::write(root.join(format!("blog/{year}/post-{number}.html")), page(&format!("Post {number}"), 30))?;
    }
    for number in 0..20 {
        let mut image = vec![0; random.usize(2_000..60_000)];
        random.fill(&mut image);
        fs::write(root.join(format!("img/thumbs/{number}.webp")), image)?;
    }
    let mut video = vec![0; 3 << 20];
    random.fill(&mut video);
    fs::write(root.join("img/intro.mp4"), video)?;
    symlink("blog/2026", root.join("latest"))
}

fn page(title: &str, paragraphs: usize) -> String {
    let body = "<p>All work and no play makes a dull page.</p>\n".repeat(paragraphs);
    format!("<!doctype html>\n<title>{title}</title>\n<h1>{title}</h1>\n{body}")
}
