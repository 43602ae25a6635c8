//! What the machine is built on and what it offers: the host's memory split between machine and guest, the checks of the
//! processor, and the processor that the guest sees.

use crate::arch::lock::Once;
use crate::arch::{cpu, time};
use crate::diagnosis::stop_without_vcpu;
use crate::exit_status::ExitStatus;
use crate::{GEOMETRY, say};
use boot_info::StartInfo;
use core::sync::atomic::{AtomicBool, Ordering};
use snp_abi::cpuid::CpuidPage;
use snp_model::cpuid::{self, Config, Leaf};
use zerocopy::FromZeros;

/// Everything that does not change once the guest runs.
pub struct Platform {
    /// Processors that came up.
    pub processors: usize,
    /// What CPUID is answered from.
    pub cpuid: CpuidPage,
}

static PLATFORM: Once<Platform> = Once::new();

/// The platform.
pub fn get() -> &'static Platform {
    PLATFORM.get()
}

/// Family, model and stepping of the guest's processor; the digest of the VMSA (RDX) and the secrets page show it, too.
pub fn signature() -> u32 {
    get().cpuid.entries[..get().cpuid.count.get() as usize]
        .iter()
        .find(|entry| entry.eax_in.get() == 1)
        .map_or(0, |entry| entry.eax.get())
}

/// Set when the guest is not to be told of no-execute pages.
static NX_IS_HIDDEN: AtomicBool = AtomicBool::new(false);

/// Takes no-execute pages out of what the guest is told. Other features go by QEMU's option `-cpu`; this one the machine itself
/// cannot do without.
pub fn hide_nx() {
    NX_IS_HIDDEN.store(true, Ordering::Relaxed);
}

/// Fixes the platform once all processors are up.
pub fn init(processors: usize) {
    let mut page = CpuidPage::new_zeroed();
    let config = Config {
        geometry: GEOMETRY,
        vcpus: processors as u32,
        signature: None,
        kvmclock: true,
    };
    let host = |leaf, subleaf| {
        let [eax, ebx, ecx, edx] = cpu::cpuid(leaf, subleaf);
        Leaf { eax, ebx, ecx, edx }
    };
    if let Err(error) = cpuid::build_page(&mut page, &config, host) {
        stop_without_vcpu(ExitStatus::BadPlatform, format_args!("{error}"));
    }
    if NX_IS_HIDDEN.load(Ordering::Relaxed) {
        cpuid::hide_nx(&mut page);
    }
    PLATFORM.set(Platform {
        processors,
        cpuid: page,
    });
}

/// Stops with a reason if the processor lacks what the machine needs.
pub fn check() {
    let missing = |what: &str| -> ! {
        stop_without_vcpu(
            ExitStatus::BadPlatform,
            format_args!(
                "the processor has no {what}: start QEMU with -cpu max,+svm,+npt,phys-bits=48"
            ),
        )
    };
    let features = cpu::cpuid(0x8000_0001, 0);
    if features[2] & 1 << 2 == 0 {
        missing("SVM");
    }
    if features[3] & 1 << 26 == 0 {
        missing("1 GiB pages");
    }
    if features[3] & 1 << 20 == 0 {
        missing("NX");
    }
    if cpu::cpuid(0x8000_000A, 0)[3] & 1 == 0 {
        missing("nested paging");
    }
    if cpu::cpuid(1, 0)[2] & 1 << 26 == 0 {
        missing("XSAVE");
    }
    let width = cpu::cpuid(0x8000_0008, 0)[0] & 0xFF;
    if width < GEOMETRY.physical_bits.into() {
        missing("48-bit physical addresses (phys-bits=48)");
    }
}

/// How the host's memory is used.
#[derive(Clone, Copy)]
pub struct Layout {
    /// The machine's own memory.
    pub reserve: (u64, u64),
    /// End of low RAM as hardware has it, with what firmware keeps at its top.
    pub low_end: u64,
    /// RAM above 4 GiB.
    pub high: Option<(u64, u64)>,
}

const LARGE_PAGE: u64 = 2 << 20;
const FOUR_GIB: u64 = 1 << 32;
/// Video memory: a hole in low RAM.
pub const VIDEO: (u64, u64) = (0xA_0000, 0xC_0000);
/// Memory that the image may require on top of the RAM (the SVSM's), bytes.
const EXTRA: u64 = 16 << 20;
/// Machine code, page tables, stacks, VMCBs: a fixed part and one for each processor.
const FIXED: u64 = 8 << 20;
const PER_PROCESSOR: u64 = 256 << 10;
/// Least RAM that is left to the guest.
const LEAST_GUEST: u64 = 64 << 20;

/// Decides what the machine takes: from the top of low RAM, as much as the RAM's size asks for.
pub fn plan(info: &StartInfo, image_bytes: u64) -> Layout {
    let too_small =
        |what: &str| -> ! { stop_without_vcpu(ExitStatus::BadPlatform, format_args!("{what}")) };
    let Some(low) = info
        .ranges()
        .iter()
        .filter(|r| r.ram && r.end <= FOUR_GIB)
        .max_by_key(|r| r.end)
    else {
        too_small("the memory map has no RAM below 4 GiB");
    };
    // What firmware keeps directly above (ACPI tables) is RAM, too.
    let low_end = info
        .ranges()
        .iter()
        .find(|r| !r.ram && r.start == low.end)
        .map_or(low.end, |r| r.end);
    let high = info
        .ranges()
        .iter()
        .filter(|r| r.ram && r.start >= FOUR_GIB)
        .map(|r| (r.start, r.end))
        .max_by_key(|r| r.1);
    let top = high.map_or(low_end, |(_, end)| end);
    let rmp = (top / 4096 * 16).next_multiple_of(LARGE_PAGE);
    // Worst case: every 2 MiB region of RAM has a table of its own in both views of two VMPLs.
    let nested = top / LARGE_PAGE * 4 * 4096;
    let module = info.module.map_or(0, |(_, size)| size);
    let processors = u64::from(crate::fw_cfg::processors()).max(1);
    let bytes = image_bytes + module + rmp + nested + EXTRA + FIXED + processors * PER_PROCESSOR;
    let end = low.end & !0xFFF;
    let start = end.saturating_sub(bytes) & !(LARGE_PAGE - 1);
    if start < LEAST_GUEST || start < low.start {
        stop_without_vcpu(
            ExitStatus::BadPlatform,
            format_args!(
                "the machine needs {} MiB of its own, which leaves less than {} MiB to the guest: give QEMU more \
                 memory (-m)",
                bytes >> 20,
                LEAST_GUEST >> 20
            ),
        );
    }
    Layout {
        reserve: (start, end),
        low_end,
        high,
    }
}

/// Says what was found.
pub fn announce(layout: &Layout, processors: usize) {
    say!(
        "{processors} processors, TSC {} MHz, guest RAM {:#x} + {:#x}, machine at {:#x}..{:#x}",
        time::tsc_khz() / 1000,
        layout.reserve.0,
        layout.high.map_or(0, |(start, end)| end - start),
        layout.reserve.0,
        layout.reserve.1
    );
}
