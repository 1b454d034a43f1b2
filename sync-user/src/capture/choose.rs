//! Chooses the backend, and says why.

use super::{Backend, Config, Error, Source, ebpf, fanotify};

/// Opens the backend that `config` asks for; whatever changes from then on will be delivered.
/// The text says which it is and why, for people.
pub fn open(config: &Config) -> Result<(Box<dyn Source>, String), Error> {
    let told = |source: Box<dyn Source>, because: &str| {
        let reason = format!("capturing by {} ({}){because}", name_of(&*source), source.how());
        (source, reason)
    };
    match config.backend {
        Backend::Ebpf => Ok(told(ebpf::open(config)?, ", as asked")),
        Backend::Fanotify => Ok(told(fanotify::open(config)?, ", as asked")),
        Backend::Auto => match ebpf::open(config) {
            Ok(source) => Ok(told(source, "")),
            Err(unavailable) => {
                let because = format!(", because eBPF is not to be had: {unavailable}");
                Ok(told(fanotify::open(config)?, &because))
            }
        },
    }
}

fn name_of(source: &dyn Source) -> &'static str {
    if source.name() == "ebpf" { "eBPF" } else { source.name() }
}
