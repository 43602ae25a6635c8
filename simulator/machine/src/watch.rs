//! A canary over the SVSM's memory, for tests: `watch=GPA+BYTES,…` (hexadecimal) names memory that must not change while a
//! guest runs below VMPL0. Its digest is taken when the first less privileged VMPL is created and again when the guest powers
//! off. At the same moment the RMP is looked through: no page of the memory that only VMPL0 was given may be open to another
//! VMPL, but for VMSAs, which may be read.

use crate::arch::guest;
use crate::arch::lock::SpinLock;
use crate::diagnosis::stop_without_vcpu;
use crate::exit_status::ExitStatus;
use crate::{memory, say};
use launch_digest::{LaunchDigest, PageType};
use snp_abi::{PAGE_SIZE, RmpPermissions, Vmpl};

const MAX_RANGES: usize = 8;

struct Watch {
    /// GPA and bytes; unused ones have no bytes.
    ranges: [(u64, u64); MAX_RANGES],
    before: Option<LaunchDigest>,
}

static WATCH: SpinLock<Watch> = SpinLock::new(Watch {
    ranges: [(0, 0); MAX_RANGES],
    before: None,
});

/// Takes the option's value. What cannot be understood is given back.
pub fn set(list: &str) -> Result<(), &str> {
    let mut watch = WATCH.lock();
    for (i, range) in list.split(',').enumerate() {
        let number = |text: &str| {
            let digits = text.strip_prefix("0x").unwrap_or(text);
            u64::from_str_radix(digits, 16).ok()
        };
        let parsed = range
            .split_once('+')
            .and_then(|(gpa, bytes)| Some((number(gpa)?, number(bytes)?)))
            .filter(|(gpa, bytes)| (gpa | bytes) % PAGE_SIZE == 0 && *bytes != 0);
        match (watch.ranges.get_mut(i), parsed) {
            (Some(slot), Some(range)) => *slot = range,
            _ => return Err(range),
        }
    }
    Ok(())
}

/// A less privileged VMPL is about to exist.
pub fn begin() {
    let mut watch = WATCH.lock();
    if watch.before.is_none() && watch.ranges[0].1 != 0 {
        watch.before = Some(digest(&watch.ranges));
    }
}

/// The guest powers off: compares, and says so.
pub fn check() {
    let watch = WATCH.lock();
    let Some(before) = watch.before else {
        return;
    };
    let pages: u64 = watch.ranges.iter().map(|range| range.1 / PAGE_SIZE).sum();
    if digest(&watch.ranges) != before {
        stop_without_vcpu(
            ExitStatus::Diagnosis,
            format_args!("watched memory changed while the guest ran ({pages} pages)"),
        );
    }
    let closed = closed_pages();
    say!("watched memory is unchanged: {pages} pages; {closed} pages are closed to VMPL1-3");
}

fn digest(ranges: &[(u64, u64)]) -> LaunchDigest {
    let memory = memory::lock();
    let mut digest = LaunchDigest::new();
    let mut page = [0; PAGE_SIZE as usize];
    for &(start, bytes) in ranges {
        for gpa in (start..start.saturating_add(bytes)).step_by(PAGE_SIZE as usize) {
            match memory.frame(gpa) {
                Some(hpa) => guest::read(hpa, &mut page),
                None => page.fill(0),
            }
            digest.update(PageType::Normal, gpa, &page);
        }
    }
    digest
}

/// How many of VMPL0's own pages are closed to the others; ends the run if one is not.
fn closed_pages() -> u64 {
    let mut memory = memory::lock();
    let mut closed = 0;
    for i in 0..memory.backings().len() {
        let backing = memory.backings()[i];
        if backing.ram {
            continue;
        }
        for offset in (0..backing.bytes).step_by(PAGE_SIZE as usize) {
            let entry = memory.entry(backing.hpa + offset);
            let allowed = if entry.vmsa() {
                RmpPermissions::READ
            } else {
                RmpPermissions::empty()
            };
            for vmpl in [Vmpl::Vmpl1, Vmpl::Vmpl2, Vmpl::Vmpl3] {
                let given = entry.permissions(vmpl);
                if entry.assigned() && !allowed.contains(given) {
                    let gpa = backing.gpa + offset;
                    stop_without_vcpu(
                        ExitStatus::Diagnosis,
                        format_args!(
                            "page {gpa:#x} of VMPL0 is open to VMPL{}: {given:?}",
                            vmpl as u8
                        ),
                    );
                }
            }
            closed += 1;
        }
    }
    closed
}
