//! The machine's run-time options: one line of `name` and `name=value`, separated by blanks.

/// What can be traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Topic {
    Npf,
    Ghcb,
    Msr,
    Vc,
    Psc,
    Rmp,
    Svsm,
    Irq,
    Ap,
    Io,
    Cpuid,
    Mmio,
    Exit,
}

/// Which topics are on, and for I/O which port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Filter {
    topics: u32,
    port: Option<u16>,
}

/// A part of the options that means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum OptionError<'a> {
    #[error(
        "trace topic '{0}' is unknown; known: npf ghcb msr vc psc rmp svsm irq ap io io:PORT cpuid mmio exit all"
    )]
    UnknownTopic(&'a str),
    #[error("'{0}' is not a port number (hexadecimal, up to ffff)")]
    BadPort(&'a str),
    #[error("option '{0}' is unknown")]
    UnknownOption(&'a str),
    #[error("option '{name}' is '{value}', expected {expected}")]
    BadValue {
        name: &'a str,
        value: &'a str,
        expected: &'static str,
    },
}

impl Filter {
    /// Parses `npf,ghcb,io:3f8`. Unknown names go to `report`, the rest still counts.
    pub fn parse<'a>(list: &'a str, report: impl FnMut(OptionError<'a>)) -> Filter {
        let _ = (list, report);
        todo!()
    }

    /// Whether `topic` is wanted.
    pub const fn wants(self, topic: Topic) -> bool {
        self.topics & 1 << topic as u32 != 0
    }

    /// Whether I/O at `port` is wanted.
    pub const fn wants_port(self, port: u16) -> bool {
        self.wants(Topic::Io)
            && match self.port {
                Some(only) => only == port,
                None => true,
            }
    }
}

/// One option of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuntimeOption<'a> {
    /// Left of `=`.
    pub name: &'a str,
    /// Right of it; `None` without `=`.
    pub value: Option<&'a str>,
}

/// The options in `line`, in order.
pub fn options(line: &str) -> impl Iterator<Item = RuntimeOption<'_>> {
    line.split_ascii_whitespace()
        .map(|word| match word.split_once('=') {
            Some((name, value)) => RuntimeOption {
                name,
                value: Some(value),
            },
            None => RuntimeOption {
                name: word,
                value: None,
            },
        })
}

impl<'a> RuntimeOption<'a> {
    /// The value as a number, decimal or with 0x.
    pub fn number(self) -> Result<u64, OptionError<'a>> {
        todo!()
    }

    /// `name`, `name=1`, `name=on`, or `name=0`, `name=off`.
    pub fn flag(self) -> Result<bool, OptionError<'a>> {
        todo!()
    }
}
