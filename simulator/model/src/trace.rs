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

impl Topic {
    /// Every topic with its name on the command line.
    pub const ALL: [(&'static str, Topic); 13] = [
        ("npf", Topic::Npf),
        ("ghcb", Topic::Ghcb),
        ("msr", Topic::Msr),
        ("vc", Topic::Vc),
        ("psc", Topic::Psc),
        ("rmp", Topic::Rmp),
        ("svsm", Topic::Svsm),
        ("irq", Topic::Irq),
        ("ap", Topic::Ap),
        ("io", Topic::Io),
        ("cpuid", Topic::Cpuid),
        ("mmio", Topic::Mmio),
        ("exit", Topic::Exit),
    ];
}

impl Filter {
    /// Parses `npf,ghcb,io:3f8`. Unknown names go to `report`, the rest still counts. `io` after `io:PORT` means all
    /// ports again.
    pub fn parse<'a>(list: &'a str, mut report: impl FnMut(OptionError<'a>)) -> Filter {
        let mut filter = Filter::default();
        for name in list.split(',').filter(|name| !name.is_empty()) {
            if let Err(error) = filter.add(name) {
                report(error);
            }
        }
        filter
    }

    fn add<'a>(&mut self, name: &'a str) -> Result<(), OptionError<'a>> {
        if name == "all" {
            self.topics = u32::MAX;
            self.port = None;
            return Ok(());
        }
        if let Some(port) = name.strip_prefix("io:") {
            let digits = port.strip_prefix("0x").unwrap_or(port);
            let number = u16::from_str_radix(digits, 16).map_err(|_| OptionError::BadPort(port))?;
            self.port = Some(number);
            self.topics |= 1 << Topic::Io as u32;
            return Ok(());
        }
        let (_, topic) = Topic::ALL
            .into_iter()
            .find(|(known, _)| *known == name)
            .ok_or(OptionError::UnknownTopic(name))?;
        if topic == Topic::Io {
            self.port = None;
        }
        self.topics |= 1 << topic as u32;
        Ok(())
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
        let value = self.value.unwrap_or("");
        let number = match value.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => value.parse(),
        };
        number.map_err(|_| self.bad("a number, decimal or 0x..."))
    }

    /// `name`, `name=1`, `name=on`, or `name=0`, `name=off`.
    pub fn flag(self) -> Result<bool, OptionError<'a>> {
        match self.value {
            None | Some("1" | "on") => Ok(true),
            Some("0" | "off") => Ok(false),
            Some(_) => Err(self.bad("on or off")),
        }
    }

    /// The error for a value that the option does not take.
    pub fn bad(self, expected: &'static str) -> OptionError<'a> {
        OptionError::BadValue {
            name: self.name,
            value: self.value.unwrap_or(""),
            expected,
        }
    }

    /// The error for an option that does not exist.
    pub fn unknown(self) -> OptionError<'a> {
        OptionError::UnknownOption(self.name)
    }
}

#[cfg(test)]
mod tests;
