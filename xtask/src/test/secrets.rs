//! Nobody outside of the SVSM sees the vTPM's secrets: a run with a vTPM of known seeds, all of the machine's memory after
//! it, and a search. The seeds must be in the SVSM's own memory, or the search finds nothing at all; nothing of them may be
//! in a page that guest or host can read, nor on the console. What goes through the TPM is in the guest's memory, and in no
//! page that it shares with the host.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::compile;
use crate::paths::Paths;
use crate::process;
use crate::watch::Outcome;

/// What the guest does.
pub const SCRIPT: &str = "tests/vtpm/secrets.sh";
/// The program that knows what its seeds make.
const PROGRAM: &str = "svsm-vtpm";
const BINARY: &str = "svsm-vtpm-known-seeds";

const PAGE: usize = 4096;
/// Bytes that are searched for at a time: part of a key is a find as well.
const PIECE: usize = 16;

/// Who must not see something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nobody but the SVSM.
    Secret,
    /// The host: the guest has it.
    Traffic,
}

/// Something to search for.
#[derive(Clone, Debug)]
pub struct Wanted {
    kind: Kind,
    name: String,
    bytes: Vec<u8>,
    /// Whether it must be found where it belongs.
    certain: bool,
}

/// Whose a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// No VMPL but 0 may read it.
    Svsm,
    /// The guest may.
    Guest,
    /// The guest's, without protection: the host reads it.
    Shared,
    /// Never the guest's: here are the machine, QEMU's tables, and files for the guest.
    Host,
}

const OWNERS: [Owner; 4] = [Owner::Svsm, Owner::Guest, Owner::Shared, Owner::Host];

impl Owner {
    /// Whether something of this kind must not be here.
    fn forbids(self, kind: Kind) -> bool {
        match kind {
            Kind::Secret => self != Owner::Svsm,
            Kind::Traffic => matches!(self, Owner::Shared | Owner::Host),
        }
    }
}

/// Secrets and public keys of the known seeds, and the patterns of the guest's script.
pub fn wanted(paths: &Paths) -> Result<Vec<Wanted>> {
    let program = compile::host_binary(paths, PROGRAM, BINARY, "building the known seeds")?;
    let mut wanted = Vec::new();
    for line in process::output(&mut Command::new(program))?.lines() {
        let mut words = line.splitn(3, ' ');
        let (Some(kind), Some(digits), Some(name)) = (words.next(), words.next(), words.next())
        else {
            bail!("{BINARY} says {line:?}");
        };
        wanted.push(Wanted {
            kind: if kind == "secret" {
                Kind::Secret
            } else {
                Kind::Traffic
            },
            name: name.to_owned(),
            bytes: bytes(digits).with_context(|| format!("{BINARY} says {line:?}"))?,
            // Entropy is spent, seeds and keys are not.
            certain: name != "entropy" && !name.starts_with("null"),
        });
    }
    let script = fs::read_to_string(paths.root.join(SCRIPT))?;
    for line in script.lines() {
        if let Some((name, text)) = line
            .strip_prefix("pattern ")
            .and_then(|rest| rest.split_once(' '))
        {
            ensure!(text.len() == 32, "{SCRIPT}: {name} has not 32 bytes");
            wanted.push(Wanted {
                kind: Kind::Traffic,
                name: format!("the guest's {name}"),
                bytes: text.bytes().rev().collect(),
                certain: true,
            });
        }
    }
    ensure!(wanted.len() >= 19, "{} things to search for", wanted.len());
    Ok(wanted)
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok())
        .collect()
}

/// Searches the memory and the logs of a run. What is said of it.
pub fn check(paths: &Paths, outcome: &Outcome, dump: &Path, wanted: &[Wanted]) -> Result<String> {
    let memory = fs::read(dump).with_context(|| format!("no {}", dump.display()))?;
    let owners = owners(&memory, &layout(outcome)?)?;
    let pieces = Pieces::new(wanted);
    let mut found = vec![[0usize; OWNERS.len()]; wanted.len()];
    let mut complaints = Vec::new();
    pieces.search(&memory, |at, index, text| {
        let Some(thing) = wanted.get(index) else {
            return;
        };
        // Either end counts: a piece may lie across two pages.
        for place in [at, at + PIECE - 1] {
            let owner = owners.get(place / PAGE).copied().unwrap_or(Owner::Host);
            if let Some(counts) = found.get_mut(index) {
                counts[owner as usize] += 1;
            }
            if owner.forbids(thing.kind) {
                complaints.push(format!("{}{text}: {owner:?} page at {at:#x}", thing.name));
            }
        }
    });
    for log in [&outcome.serial_log, &outcome.machine_log] {
        let text = fs::read(log).unwrap_or_default();
        pieces.search(&text, |_, index, how| {
            if let Some(thing) = wanted.get(index) {
                complaints.push(format!("{}{how}: in {}", thing.name, paths.show(log)));
            }
        });
        let text = String::from_utf8_lossy(&text).to_lowercase();
        for thing in wanted {
            for piece in thing.bytes.chunks_exact(PIECE) {
                let digits: String = piece.iter().map(|byte| format!("{byte:02x}")).collect();
                if text.contains(&digits) {
                    complaints.push(format!("{}, digits: in {}", thing.name, paths.show(log)));
                }
            }
        }
    }
    for (thing, counts) in wanted.iter().zip(&found) {
        let owner = match thing.kind {
            Kind::Secret => Owner::Svsm,
            Kind::Traffic => Owner::Guest,
        };
        if thing.certain && counts[owner as usize] == 0 {
            complaints.push(format!("{}: not found in any {owner:?} page", thing.name));
        }
    }
    if !complaints.is_empty() {
        let count = complaints.len();
        complaints.dedup();
        complaints.truncate(20);
        bail!("{count} complaints:\n{}", complaints.join("\n"));
    }
    let pages = |wanted: Owner| owners.iter().filter(|owner| **owner == wanted).count();
    Ok(format!(
        "{} secrets and {} patterns; pages: {} of the SVSM, {} of the guest, {} shared, {} of the host",
        wanted
            .iter()
            .filter(|thing| thing.kind == Kind::Secret)
            .count(),
        wanted
            .iter()
            .filter(|thing| thing.kind == Kind::Traffic)
            .count(),
        pages(Owner::Svsm),
        pages(Owner::Guest),
        pages(Owner::Shared),
        pages(Owner::Host)
    ))
}

/// Where the machine says that memory is.
struct Layout {
    /// The guest's memory, in QEMU's addresses.
    backings: Vec<(u64, u64)>,
    /// Address and entries of the RMP.
    rmp: (u64, u64),
}

fn layout(outcome: &Outcome) -> Result<Layout> {
    let text: String = outcome
        .lines
        .iter()
        .map(|line| format!("{}\n", line.text))
        .chain([outcome.machine_text()])
        .collect();
    let mut layout = Layout {
        backings: Vec::new(),
        rmp: (0, 0),
    };
    for line in text.lines() {
        let Some((_, rest)) = line.split_once("memory: ") else {
            continue;
        };
        let numbers: Vec<u64> = rest
            .split(|c: char| c.is_whitespace() || c == '.' || c == ',')
            .filter_map(|word| match word.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16).ok(),
                None => word.parse().ok(),
            })
            .collect();
        match numbers[..] {
            [from, to, at] if rest.starts_with("gpa ") => {
                layout.backings.push((at, at + (to - from)));
            }
            [at, entries, 16] if rest.starts_with("rmp ") => layout.rmp = (at, entries),
            _ => {}
        }
    }
    ensure!(
        layout.rmp.1 > 0 && !layout.backings.is_empty(),
        "the machine does not say where memory is"
    );
    Ok(layout)
}

/// Whose each page is. Bits of the RMP: docs/src/machine.md.
fn owners(memory: &[u8], layout: &Layout) -> Result<Vec<Owner>> {
    const ASSIGNED: u64 = 1;
    const LARGE: u64 = 2;
    const READ: u8 = 1;
    let entry = |frame: u64| -> Result<(u64, &[u8])> {
        ensure!(frame < layout.rmp.1, "frame {frame:#x} has no RMP entry");
        let at = usize::try_from(layout.rmp.0 + frame * 16)?;
        let bytes = memory
            .get(at..at + 16)
            .context("the RMP is not in the dump")?;
        let (state, rest) = bytes.split_at(8);
        Ok((u64::from_le_bytes(state.try_into()?), &rest[..4]))
    };
    (0..(memory.len() / PAGE) as u64)
        .map(|frame| {
            let at = frame * PAGE as u64;
            if !layout
                .backings
                .iter()
                .any(|(from, to)| (*from..*to).contains(&at))
            {
                return Ok(Owner::Host);
            }
            let large = entry(frame & !511)?;
            let (state, permissions) = if large.0 & (ASSIGNED | LARGE) == ASSIGNED | LARGE {
                large
            } else {
                entry(frame)?
            };
            Ok(if state & ASSIGNED == 0 {
                Owner::Shared
            } else if permissions[1..].iter().any(|rights| rights & READ != 0) {
                Owner::Guest
            } else {
                Owner::Svsm
            })
        })
        .collect()
}

/// All pieces of all things, as they are and backwards, as large numbers are in memory.
struct Pieces {
    /// By their first two bytes.
    starts: Vec<Vec<(usize, [u8; PIECE], &'static str)>>,
}

impl Pieces {
    fn new(wanted: &[Wanted]) -> Pieces {
        let mut starts = vec![Vec::new(); 1 << 16];
        for (index, thing) in wanted.iter().enumerate() {
            for chunk in thing.bytes.chunks_exact(PIECE) {
                let Ok(piece) = <[u8; PIECE]>::try_from(chunk) else {
                    continue;
                };
                let mut backwards = piece;
                backwards.reverse();
                for (bytes, how) in [(piece, ""), (backwards, ", backwards")] {
                    starts[usize::from(u16::from_be_bytes([bytes[0], bytes[1]]))]
                        .push((index, bytes, how));
                }
            }
        }
        Pieces { starts }
    }

    /// Calls `each` with place, number of the thing, and how it is written.
    fn search(&self, memory: &[u8], mut each: impl FnMut(usize, usize, &'static str)) {
        for (at, window) in memory.windows(PIECE).enumerate() {
            for (index, piece, how) in
                &self.starts[usize::from(u16::from_be_bytes([window[0], window[1]]))]
            {
                if window == piece {
                    each(at, *index, how);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_found_at_any_place_and_backwards() {
        let thing = Wanted {
            kind: Kind::Secret,
            name: "it".into(),
            bytes: (1..=32).collect(),
            certain: true,
        };
        let mut memory = vec![0; 100];
        memory[7..23].copy_from_slice(&thing.bytes[16..]);
        memory[50..66].copy_from_slice(&thing.bytes[..16]);
        memory[50..66].reverse();
        let mut found = Vec::new();
        Pieces::new(&[thing]).search(&memory, |at, _, how| found.push((at, how)));
        assert_eq!(found, [(7, ""), (50, ", backwards")]);
    }
}
