//! What ACPICA's disassembler reads in a table.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use svsm_core::madt::MAX_CPUS;

use super::generate::Verdict;
use crate::packages::IASL;
use crate::process;

/// Time for one call.
const LIMIT: Duration = Duration::from_secs(60);

/// An entry as it lists it. What it does not reach is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Entry {
    kind: u8,
    offset: usize,
    length: Option<usize>,
    id: Option<u32>,
    flags: Option<u32>,
}

/// All that it read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    length: usize,
    checksum_holds: bool,
    entries: Vec<Entry>,
}

/// Shows it `tables`, in files of `folder`. `None`: it did not take this one.
pub fn views(folder: &Path, tables: &[&[u8]]) -> Result<Vec<Option<View>>> {
    fs::create_dir_all(folder)?;
    let mut command = Command::new(IASL.program);
    command.arg("-vs").arg("-d").current_dir(folder);
    for (number, table) in tables.iter().enumerate() {
        let name = format!("{number}.dat");
        fs::write(folder.join(&name), table)?;
        command.arg(name);
    }
    process::run(&mut command, LIMIT, |_| {})?;
    (0..tables.len())
        .map(|number| {
            let path = folder.join(format!("{number}.dsl"));
            if !path.exists() {
                return Ok(None);
            }
            let text = fs::read(&path)?;
            fs::remove_file(&path)?;
            let text = String::from_utf8_lossy(&text);
            let view = read(&text).with_context(|| format!("iasl wrote:\n{text}"))?;
            Ok(Some(view))
        })
        .collect()
}

/// Reads lines as `[030h 0048   4]        Flags (decoded below) : 00000001`.
fn read(text: &str) -> Result<View> {
    let mut view = View {
        checksum_holds: true,
        ..View::default()
    };
    for line in text.lines() {
        let Some(((place, name), value)) = line
            .strip_prefix('[')
            .and_then(|line| line.split_once(']'))
            .and_then(|(place, rest)| Some((place, rest.split_once(" : ")?)))
            .map(|(place, (name, value))| ((place, name.trim()), value))
        else {
            continue;
        };
        let mut place = place.split_ascii_whitespace().skip(1);
        let mut decimal = || place.next()?.parse::<usize>().ok();
        let (offset, size) = decimal().zip(decimal()).context("no place")?;
        let digits = value.split_ascii_whitespace().next().unwrap_or_default();
        let number = || u32::from_str_radix(digits, 16).with_context(|| line.to_owned());
        if offset < acpi_madt::HEADER_BYTES {
            match name {
                "Table Length" => view.length = number()? as usize,
                "Checksum" => view.checksum_holds = !value.contains("Incorrect checksum"),
                _ => {}
            }
            continue;
        }
        match (name, view.entries.last_mut()) {
            ("Subtable Type", _) => view.entries.push(Entry {
                kind: number()? as u8,
                offset,
                ..Entry::default()
            }),
            ("Length", Some(entry)) if size == 1 && offset == entry.offset + 1 => {
                entry.length = Some(number()? as usize);
            }
            ("Local Apic ID" | "Processor x2Apic ID", Some(entry)) => entry.id = Some(number()?),
            ("Flags (decoded below)", Some(entry)) => entry.flags = Some(number()?),
            _ => {}
        }
    }
    Ok(view)
}

/// Number of a processor, or that there is none: the broadcast ID.
enum Listed {
    Usable(u32),
    Pluggable,
    None,
}

impl Entry {
    /// ACPI 6.5 §5.2.12.2, §5.2.12.12. An error is an entry without the fields it must have.
    fn listed(&self, length: usize) -> Result<Listed, ()> {
        let (least, broadcast) = match self.kind {
            0 => (8, 0xFF),
            9 => (16, u32::MAX),
            _ => return Ok(Listed::None),
        };
        if length < least {
            return Err(());
        }
        let id = self.id.ok_or(())?;
        let flags = self.flags.ok_or(())?;
        Ok(match flags & 3 {
            _ if id == broadcast => Listed::None,
            1 | 3 => Listed::Usable(id),
            2 => Listed::Pluggable,
            _ => Listed::None,
        })
    }
}

impl View {
    /// What comes of the table as the disassembler reads it. It goes on after almost everything; the first thing that is
    /// wrong counts.
    pub fn verdict(&self, boot: u32) -> Verdict {
        let mut ids: Vec<u32> = Vec::new();
        let mut pluggable = 0;
        let mut end = acpi_madt::HEADER_BYTES;
        for entry in &self.entries {
            let offset = entry.offset;
            let wrong = Verdict::Entry { offset };
            if offset != end {
                // It went on behind an entry that it could not read as something else.
                return wrong;
            }
            let Some(length) = entry.length.filter(|length| *length >= 2) else {
                return wrong;
            };
            end += length;
            if end > self.length {
                return wrong;
            }
            match entry.listed(length) {
                Ok(Listed::Usable(id)) if ids.contains(&id) => {
                    return Verdict::Duplicate { id, offset };
                }
                Ok(Listed::Usable(_)) if ids.len() == MAX_CPUS => {
                    return Verdict::TooMany { offset };
                }
                Ok(Listed::Usable(id)) => ids.push(id),
                Ok(Listed::Pluggable) => pluggable += 1,
                Ok(Listed::None) => {}
                Err(()) => return wrong,
            }
        }
        if end != self.length {
            return Verdict::Entry { offset: end };
        }
        match () {
            () if ids.is_empty() => Verdict::NoCpu,
            () if !ids.contains(&boot) => Verdict::NoBootCpu,
            () => Verdict::Accepted {
                ids,
                pluggable,
                checksum_holds: self.checksum_holds,
            },
        }
    }
}
