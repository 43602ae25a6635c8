//! The SVSM's MADT parser against what two others say of 100,000 tables: the generator, which knows what it made and broke,
//! and ACPICA's disassembler, which shares no code with either.

mod generate;
mod iasl;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use acpi_madt::{HEADER_BYTES, Random};
use anyhow::{Context, Result, ensure};

use crate::host;
use crate::packages;
use crate::paths::Paths;
use crate::test::runner::{Step, Verdict as StepVerdict};
use crate::ui::Progress;
use generate::{Case, Verdict};

/// Tables in all.
const TABLES: usize = 100_000;
/// Tables for one call of the disassembler.
const BATCH: usize = 500;
/// Where the generator starts.
const SEED: u64 = 655_212;

/// The step.
pub fn step(paths: &Paths) -> Step<'_> {
    Step::new("MADT: same reading as iasl", move |progress| {
        host::require(&[packages::IASL])?;
        let folder = folder(paths);
        let result = compare(&folder, progress);
        let _ = fs::remove_dir_all(&folder);
        result
    })
}

/// Where the tables and what iasl writes are for a moment: in memory if that can be.
fn folder(paths: &Paths) -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        memory.join(format!("macadamia-madt-{}", process::id()))
    } else {
        paths.cache.join("madt")
    }
}

fn compare(folder: &Path, progress: &Progress) -> Result<StepVerdict> {
    let mut random = Random::new(SEED);
    let mut tally = Tally::default();
    for batch in 0..TABLES / BATCH {
        progress.detail(&format!("{} of {TABLES}", batch * BATCH));
        let cases: Vec<Case> = (0..BATCH).map(|_| generate::next(&mut random)).collect();
        let shown: Vec<Option<&[u8]>> = cases.iter().map(for_iasl).collect();
        let tables: Vec<&[u8]> = shown.iter().flatten().copied().collect();
        let mut views = iasl::views(folder, &tables)?.into_iter();
        for (number, (case, shown)) in cases.iter().zip(&shown).enumerate() {
            let view = match shown {
                Some(_) => views.next().flatten().map(|view| view.verdict(case.boot)),
                None => None,
            };
            ensure!(
                shown.is_none() || view.is_some(),
                "iasl takes table {} of {TABLES} for none: {case:x?}",
                batch * BATCH + number
            );
            tally.add(case, view).with_context(|| {
                format!("table {} of {TABLES}: {case:x?}", batch * BATCH + number)
            })?;
        }
    }
    tally.check()?;
    Ok(StepVerdict::Passed(tally.line()))
}

/// What the disassembler is shown: the table without what follows it, if signature and length make it one.
fn for_iasl(case: &Case) -> Option<&[u8]> {
    let area = &case.area;
    let length = u32::from_le_bytes(*area.get(4..)?.first_chunk()?) as usize;
    area.get(..length)
        .filter(|table| length >= HEADER_BYTES && table.starts_with(b"APIC"))
}

#[derive(Default)]
struct Tally {
    accepted: usize,
    refused: usize,
    by_iasl: usize,
    by_generator: usize,
    /// Which kinds of tables came to which kinds of ends.
    seen: BTreeSet<(generate::Kind, &'static str)>,
}

impl Tally {
    fn add(&mut self, case: &Case, iasl: Option<Verdict>) -> Result<()> {
        let ours = Verdict::of(&case.area, case.boot);
        for (who, theirs) in [("iasl", &iasl), ("the generator", &case.truth)] {
            if let Some(theirs) = theirs {
                ensure!(ours == *theirs, "SVSM: {ours:?}; {who}: {theirs:?}");
            }
        }
        self.by_iasl += usize::from(iasl.is_some());
        self.by_generator += usize::from(case.truth.is_some());
        let end = match ours {
            Verdict::Accepted { .. } => {
                self.accepted += 1;
                "accepted"
            }
            _ => {
                self.refused += 1;
                "refused"
            }
        };
        self.seen.insert((case.kind, end));
        Ok(())
    }

    /// What every run must have had: tables that are read, and of the kinds that may come to either end both.
    fn check(&self) -> Result<()> {
        ensure!(self.accepted > TABLES / 4, "{} accepted", self.accepted);
        for kind in [generate::Kind::Shortened, generate::Kind::Flipped] {
            for end in ["accepted", "refused"] {
                ensure!(self.seen.contains(&(kind, end)), "no {kind:?} was {end}");
            }
        }
        Ok(())
    }

    fn line(&self) -> String {
        format!(
            "{TABLES} tables, {} accepted, {} refused; {} as iasl reads them, {} as the generator made them",
            self.accepted, self.refused, self.by_iasl, self.by_generator
        )
    }
}
