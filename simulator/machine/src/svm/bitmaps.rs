//! Which ports and MSRs exit: the I/O and MSR permission maps (APM vol. 2 §15.10.1, §15.11).

use crate::arch::{frames, phys};
use snp_model::msr_policy::{self, Direct, Hardware};

const IOPM_PAGES: u64 = 3;
const MSRPM_PAGES: u64 = 2;
const RANGES: [u32; 3] = [0, 0xC000_0000, 0xC001_0000];
const RANGE_MSRS: u32 = 0x2000;

/// The maps' physical addresses; all vCPUs and VMPLs share them.
#[derive(Clone, Copy)]
pub struct Bitmaps {
    /// I/O permission map: every port exits.
    pub io: u64,
    /// MSR permission map, by `msr_policy::direct`.
    pub msr: u64,
}

impl Bitmaps {
    /// Makes them; `None` without memory.
    pub fn new() -> Option<Bitmaps> {
        let io = frames::allocate(IOPM_PAGES)?;
        let msr = frames::allocate(MSRPM_PAGES)?;
        let ones = [0xFF; 4096];
        for page in 0..IOPM_PAGES {
            // SAFETY: a frame taken just now.
            unsafe { phys::write(io + page * 4096, &ones) };
        }
        for (range, first) in RANGES.into_iter().enumerate() {
            let mut map = [0u8; RANGE_MSRS as usize / 4];
            for i in 0..RANGE_MSRS {
                let bits = match msr_policy::direct(first + i) {
                    // PAT and EFER are the processor's own for reading: no exit needed.
                    Direct::Hardware(Hardware::Efer | Hardware::Pat) => 2,
                    Direct::PassThrough | Direct::Hardware(Hardware::TscAux) => 0,
                    Direct::Hardware(_) | Direct::Vc => 3,
                };
                map[i as usize / 4] |= bits << (i % 4 * 2);
            }
            // SAFETY: frames taken just now; the ranges' maps follow each other, 2 KiB each.
            unsafe { phys::write(msr + range as u64 * 2048, &map) };
        }
        Some(Bitmaps { io, msr })
    }
}
