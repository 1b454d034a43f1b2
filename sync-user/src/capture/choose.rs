//! Chooses the backend, and says why.

use super::{Backend, Config, Error, Source, ebpf, fanotify};

/// Opens the backend that `config` asks for; whatever changes from then on will be delivered.
/// The text says which it is and why, for people.
pub fn open(config: &Config) -> Result<(Box<dyn Source>, String), Error> {
    match config.backend {
        Backend::Ebpf => Ok((ebpf::open(config)?, "capturing by eBPF, as asked".to_owned())),
        Backend::Fanotify => Ok((fanotify::open(config)?, "capturing by fanotify, as asked".to_owned())),
        Backend::Auto => match ebpf::open(config) {
            Ok(source) => Ok((source, "capturing by eBPF".to_owned())),
            Err(unavailable) => {
                let source = fanotify::open(config)?;
                Ok((source, format!("capturing by fanotify, because eBPF is not to be had: {unavailable}")))
            }
        },
    }
}
